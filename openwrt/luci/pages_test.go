package luci

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"globalnet/internal/chromium"
)

// luciVariable may name a folder with LuCI's modules/luci-base and
// themes/luci-theme-bootstrap: then the views run in LuCI itself.
const luciVariable = "LUCI"

// pages is a router's web server with LuCI, or what stands in for it, and this
// application.
type pages struct {
	t    *testing.T
	url  string
	ubus *ubus
	luci string
}

// serve starts it on l.
func serve(t *testing.T, l net.Listener, u *ubus) *pages {
	p := &pages{t: t, ubus: u, luci: os.Getenv(luciVariable), url: "http://" + l.Addr().String()}
	mux := http.NewServeMux()
	mux.Handle("/ubus/", u)
	mux.HandleFunc("/luci-static/", p.static)
	mux.HandleFunc("/cgi-bin/luci/", p.page)
	mux.HandleFunc("POST /cgi-bin/luci/admin/uci/", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("token") != "token" || !u.commit(r.FormValue("sid")) {
			http.Error(w, "refused", http.StatusForbidden)
		}
	})
	mux.HandleFunc("/cgi-bin/cgi-exec", func(http.ResponseWriter, *http.Request) {}) // LuCI itself asks
	mux.HandleFunc("/favicon.ico", func(http.ResponseWriter, *http.Request) {})
	s := &http.Server{Handler: mux}
	served := make(chan struct{})
	go func() {
		s.Serve(l)
		close(served)
	}()
	t.Cleanup(func() {
		s.Close()
		<-served
	})
	return p
}

func (p *pages) static(w http.ResponseWriter, r *http.Request) {
	name := filepath.Clean(r.URL.Path)
	folders := []string{"htdocs", "testdata/htdocs"}
	if p.luci != "" {
		folders = []string{"htdocs", p.luci + "/modules/luci-base/htdocs", p.luci + "/themes/luci-theme-bootstrap/htdocs"}
	}
	for _, folder := range folders {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			continue
		}
		switch filepath.Ext(name) {
		case ".js":
			w.Header().Set("Content-Type", "application/javascript")
		case ".css":
			w.Header().Set("Content-Type", "text/css")
		}
		w.Write(text)
		return
	}
	http.NotFound(w, r)
}

type menuEntry struct {
	Title   string
	Order   int
	Action  struct{ Type, Path string }
	Depends struct {
		ACL []string
		UCI map[string]bool
	}
}

func readMenu(t *testing.T) map[string]menuEntry {
	t.Helper()
	text, err := os.ReadFile(menuFile)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]menuEntry
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// page is a view of the menu, as LuCI's dispatcher gives it to a session: not at all,
// to be looked at, or to be used.
func (p *pages) page(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/cgi-bin/luci/")
	entry, ok := readMenu(p.t)[path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	session := r.URL.Query().Get("session")
	readonly := true
	for _, group := range entry.Depends.ACL {
		reads, writes := p.ubus.grants[session]["access-group "+group+" read"], p.ubus.grants[session]["access-group "+group+" write"]
		if !reads && !writes {
			http.Error(w, "no access", http.StatusForbidden)
			return
		}
		readonly = readonly && !writes
	}
	env, err := json.Marshal(map[string]any{
		"token": "token", "media": "/luci-static/bootstrap", "resource": "/luci-static/resources", "scriptname": "/cgi-bin/luci",
		"pathinfo": "/" + path, "documentroot": "/www", "requestpath": strings.Split(path, "/"), "dispatchpath": strings.Split(path, "/"),
		"pollinterval": 1, "ubuspath": "/ubus/", "sessionid": session, "nodespec": map[string]any{"satisfied": true, "readonly": readonly, "title": entry.Title},
		"apply_rollback": 90, "apply_holdoff": 4, "apply_timeout": 5, "apply_display": 1.5,
	})
	if err != nil {
		p.t.Error(err)
	}
	scripts := ""
	if p.luci != "" {
		scripts = `<script>window.TR = {}</script><script src="/luci-static/resources/cbi.js"></script><script src="/luci-static/resources/promis.min.js"></script>`
	}
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	fmt.Fprintf(w, `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>router - %s - LuCI</title>
<meta name="viewport" content="initial-scale=1.0">
<script>{
	const q = window.matchMedia('(prefers-color-scheme: dark)'), set = m => document.documentElement.setAttribute('data-darkmode', m.matches);
	q.addEventListener('change', set);
	set(q);
}</script>
<link rel="stylesheet" href="/luci-static/bootstrap/cascade.css">%s</head>
<body><header><a class="brand" href="/">router</a><ul class="nav" id="topmenu"></ul><div id="indicators" class="pull-right"></div></header>
<div id="maincontent" class="container"><div id="tabmenu"></div>
<script src="/luci-static/resources/luci.js"></script>
<script>L = new LuCI(%s)</script>
<div id="view"><div class="spinning">Loading view…</div>
<script>L.require('ui').then(ui => ui.instantiateView('%s'))</script></div></div></body></html>`, entry.Title, scripts, env, entry.Action.Path)
}

// open shows a view to a session, and waits until it is there.
func (p *pages) open(b *chromium.Browser, view, session string) {
	p.t.Helper()
	b.Navigate(p.url + "/cgi-bin/luci/admin/services/globalnet/" + view + "?session=" + session)
	b.WaitFor("document.querySelector('#view h2') && !document.querySelector('#view > .spinning')")
}
