package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"slices"
	"strings"
	"time"

	"globalnet/agent/control"
)

// words are those of the status that is readable without JavaScript.
type words struct {
	lang, title, login, starting       string
	network, running, neighbours, none string
	node, state, path, delay, loss     string
	relays, carried, mode, off         string
	states, classes, modes             map[string]string
	needs                              string // in place of what index.html says
}

var english = words{
	lang: "en", title: "This router", login: "Its owner shows nothing to guests.", starting: "The agent is starting.",
	network: "Network", running: "Running for", neighbours: "Neighbours", none: "No router is in reach.",
	node: "Node", state: "State", path: "Path", delay: "Delay", loss: "Loss",
	relays: "Relays known", carried: "Circuits carried for others", mode: "Network of this house", off: "switched off",
}

var spanish = words{
	lang: "es", title: "Este router", login: "Su dueño no muestra nada a los invitados.", starting: "El agente está arrancando.",
	network: "Red", running: "En marcha desde hace", neighbours: "Vecinos", none: "Ningún router al alcance.",
	node: "Nodo", state: "Estado", path: "Camino", delay: "Retardo", loss: "Pérdida",
	relays: "Relés conocidos", carried: "Circuitos que lleva para otros", mode: "Red de esta casa", off: "desactivado",
	states:  map[string]string{"up": "activo", "connecting": "conectando", "failed": "fallido"},
	classes: map[string]string{"radio": "radio", "wire": "cable", "internet": "internet", "mesh": "malla"},
	modes:   map[string]string{"names": "nombres", "all": "todo", "off": "nada"},
	needs: "Sin JavaScript sólo ves el estado, tal como era al pedirlo. El mapa, los servicios, las redes y los ajustes necesitan JavaScript; " +
		"<code>globalnet --help</code> en el router hace lo mismo sin él.",
}

func say(in map[string]string, word string) string {
	if t, ok := in[word]; ok {
		return t
	}
	return word
}

// languageOf is the first of ours that the browser asks for.
func languageOf(accept string) *words {
	for part := range strings.SplitSeq(accept, ",") {
		tag, quality, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.ReplaceAll(quality, " ", "") == "q=0" {
			continue
		}
		switch lang, _, _ := strings.Cut(strings.ToLower(tag), "-"); lang {
		case "es":
			return &spanish
		case "en":
			return &english
		}
	}
	return &english
}

// servePage answers with index.html, and the session and the status in it.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	t := languageOf(r.Header.Get("Accept-Language"))
	owner := s.sessions.valid(time.Now(), r, s.password.hash())
	page := bytes.ReplaceAll(s.assets.index, []byte("<!--lang-->"), []byte(t.lang))
	// The page needs not ask for it. As an attribute it is no script, which the policy forbids.
	session, _ := json.Marshal(s.session(r.Context(), owner))
	page = bytes.Replace(page, []byte(`data-session=""`), []byte(`data-session="`+html.EscapeString(string(session))+`"`), 1)
	page = bytes.Replace(page, []byte("<!--status-->"), s.status(r, t, owner), 1)
	if head, rest, _ := bytes.Cut(page, []byte("<!--needs-->")); t.needs != "" {
		_, tail, _ := bytes.Cut(rest, []byte("<!--/needs-->"))
		page = slices.Concat(head, []byte(t.needs), tail)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", t.lang)
	h.Set("Vary", "Accept-Language, Cookie")
	h.Set("Content-Length", fmt.Sprint(len(page)))
	if r.Method == http.MethodGet {
		w.Write(page)
	}
}

// maxRows bounds the table of neighbours.
const maxRows = 64

// status is what the router does, as HTML; of it a guest sees what the API shows guests.
func (s *Server) status(r *http.Request, t *words, owner bool) []byte {
	var b bytes.Buffer
	e := html.EscapeString
	fmt.Fprintf(&b, "<section class=\"status\"><h1>%s</h1>\n", e(s.name()))
	if !owner && !s.cfg.View().Public {
		fmt.Fprintf(&b, "<p>%s</p></section>\n", e(t.login))
		return b.Bytes()
	}
	m, err := s.cfg.Agent.Status(r.Context())
	if err != nil {
		fmt.Fprintf(&b, "<p>%s</p></section>\n", e(t.starting))
		return b.Bytes()
	}
	row := func(name, value string) { fmt.Fprintf(&b, "<dt>%s</dt><dd>%s</dd>\n", e(name), e(value)) }
	b.WriteString("<dl>\n")
	row(t.node, m.Node.String())
	row(t.network, m.Network)
	row(t.running, m.Uptime.Truncate(time.Second).String())
	if o := s.cfg.Agent.Onion(); o != nil {
		x := o.Status()
		row(t.relays, fmt.Sprint(x.Relays))
		row(t.carried, fmt.Sprint(x.Carried))
	}
	row(t.mode, s.modes(t))
	b.WriteString("</dl>\n")
	if len(m.Neighbours) == 0 {
		fmt.Fprintf(&b, "<p>%s</p></section>\n", e(t.none))
		return b.Bytes()
	}
	fmt.Fprintf(&b, "<table><caption>%s: %d</caption>\n<thead><tr><th scope=\"col\">%s</th><th scope=\"col\">%s</th><th scope=\"col\">%s</th>"+
		"<th scope=\"col\">%s</th><th scope=\"col\">%s</th></tr></thead>\n<tbody>\n", e(t.neighbours), len(m.Neighbours),
		e(t.node), e(t.state), e(t.path), e(t.delay), e(t.loss))
	for _, n := range m.Neighbours[:min(len(m.Neighbours), maxRows)] {
		delay, loss := "–", "–"
		if n.RTT > 0 {
			delay = fmt.Sprintf("%.1f ms", float64(n.RTT.Microseconds())/1000)
		}
		if n.Loss >= 0 {
			loss = fmt.Sprintf("%d %%", n.Loss)
		}
		fmt.Fprintf(&b, "<tr><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n", e(n.Node.String()[:12]+"…"),
			e(say(t.states, n.State)), e(say(t.classes, n.Class)), e(delay), e(loss))
	}
	b.WriteString("</tbody></table></section>\n")
	return b.Bytes()
}

// modes says what LANs get.
func (s *Server) modes(t *words) string {
	lan := s.cfg.Agent.LAN().Status()
	if lan.Off || len(lan.Networks) == 0 {
		return t.off
	}
	return strings.Join(modesOf(lan, t), ", ")
}

func modesOf(lan control.LANStatus, t *words) (list []string) {
	for _, n := range lan.Networks {
		list = append(list, n.Name+": "+say(t.modes, n.Mode))
	}
	return list
}
