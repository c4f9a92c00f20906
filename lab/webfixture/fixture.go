// Package webfixture plays a router's web page without a router: the files of
// agent/web/static and made-up answers below /v1/, as docs/protocols/web.md has them.
// Tests and benchmarks look at the page with as many nodes as they like.
//
// A Server owns what it answers; Update changes it while browsers look.
package webfixture

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Node and Link are those of GET /v1/map.
type Node struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Self      bool   `json:"self"`
	Neighbour bool   `json:"neighbour"`
	Gateway   bool   `json:"gateway"`
	Relay     bool   `json:"relay"`
	Exit      bool   `json:"exit"`
	Metric    int    `json:"metric"`
	Via       string `json:"via"`
}

// Link is a link of two nodes.
type Link struct {
	A    string `json:"a"`
	B    string `json:"b"`
	Kind string `json:"kind"`
	Cost int    `json:"cost"`
	RTT  int64  `json:"rtt_ns"`
}

// Map is the answer to GET /v1/map.
type Map struct {
	Nodes []Node `json:"nodes"`
	Links []Link `json:"links"`
	More  int    `json:"more"`
}

// Session is the answer to GET /v1/session.
type Session struct {
	Login    bool     `json:"login"`
	ReadOnly bool     `json:"readonly"`
	Wizard   bool     `json:"wizard"`
	Name     string   `json:"name"`
	Node     string   `json:"node"`
	Version  string   `json:"version"`
	Radios   []string `json:"radios"`
	LANs     []any    `json:"lans"`
}

// Password lets the owner in.
const Password = "correct horse"

// Server is a made-up router.
type Server struct {
	fs    fs.FS
	files http.Handler
	mux   http.ServeMux

	mu      sync.Mutex
	Map     Map
	Session Session
	Gone    bool // whoever comes finds the connection closed
	posts   []Post
	modes   map[string]string
	rand    *rand.Rand
}

// Post is a change that a browser asked for.
type Post struct {
	Path string
	Body map[string]any
}

// New returns a router with so many nodes in reach; the same number gives the same network.
func New(files fs.FS, nodes int) *Server {
	s := &Server{fs: files, files: http.FileServerFS(files), modes: map[string]string{"lan": "names", "guest": "off"}, rand: rand.New(rand.NewPCG(1, uint64(nodes)))}
	s.Map = s.network(nodes)
	s.Session = Session{Login: true, ReadOnly: true, Name: "attic", Node: s.Map.Nodes[0].ID, Version: "fixture", Radios: []string{}, LANs: []any{}}
	s.routes()
	return s
}

// Lock, change, unlock: what f changes is in the next answers.
func (s *Server) Update(f func(s *Server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

// Shake gives n links other costs, one in ten of them none, as a bad day on the air does.
func (s *Server) Shake(n int) {
	s.Update(func(s *Server) {
		for range n {
			l := &s.Map.Links[s.rand.IntN(len(s.Map.Links))]
			if l.Cost = 128 + s.rand.IntN(400); s.rand.IntN(10) == 0 {
				l.Cost = 65535
			}
		}
	})
}

// Posts returns what was asked for since the last call.
func (s *Server) Posts() []Post {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.posts
	s.posts = nil
	return p
}

const alphabet = "abcdefghijklmnopqrstuvwxyz234567"

func (s *Server) id() string {
	b := make([]byte, 56)
	for i := range b {
		b[i] = alphabet[s.rand.IntN(len(alphabet))]
	}
	return string(b)
}

var someNames = []string{"baker", "church", "mill", "school", "tower", "harbour", "orchard", "library", "station", "garden", "bridge", "market"}

// network places nodes in a square and links those that are close, as radios do. The
// routes are the cheapest ways from the first node.
func (s *Server) network(n int) Map {
	var m Map
	type place struct{ x, y float64 }
	places := make([]place, n)
	for i := range n {
		places[i] = place{s.rand.Float64(), s.rand.Float64()}
		node := Node{ID: s.id(), Relay: s.rand.IntN(5) > 0, Exit: i%23 == 7, Metric: 65535}
		if i > 0 && i <= len(someNames) {
			node.Name = someNames[i-1]
		}
		m.Nodes = append(m.Nodes, node)
	}
	places[0] = place{0.5, 0.5}
	m.Nodes[0].Self, m.Nodes[0].Metric = true, 0
	reach := 1.9 / math.Sqrt(float64(n)) // about seven neighbours each
	link := func(a, b int, d float64) {
		l := Link{A: m.Nodes[a].ID, B: m.Nodes[b].ID, Kind: "radio", Cost: 128 + int(300*math.Pow(d/reach, 3)), RTT: int64(1e6 + d*2e7)}
		if s.rand.IntN(25) == 0 {
			l.Kind = "wire"
		}
		m.Links = append(m.Links, l)
	}
	for i := range n {
		near, least := -1, math.Inf(1)
		linked := false
		for j := range i {
			d := math.Hypot(places[i].x-places[j].x, places[i].y-places[j].y)
			if d < reach*0.75 {
				link(j, i, d)
				linked = true
			}
			if d < least {
				near, least = j, d
			}
		}
		if !linked && near >= 0 {
			link(near, i, reach*0.9)
		}
	}
	if n > 20 { // and two friends far away
		m.Links = append(m.Links, Link{m.Nodes[0].ID, m.Nodes[n-1].ID, "internet", 1060, 38e6})
	}
	m.route()
	return m
}

// route sets metrics and first hops.
func (m *Map) route() {
	index := map[string]int{}
	for i, n := range m.Nodes {
		index[n.ID] = i
		m.Nodes[i].Metric, m.Nodes[i].Via, m.Nodes[i].Neighbour, m.Nodes[i].Gateway = 65535, "", false, false
	}
	m.Nodes[0].Metric = 0
	for changed := true; changed; {
		changed = false
		for _, l := range m.Links {
			for _, x := range [][2]int{{index[l.A], index[l.B]}, {index[l.B], index[l.A]}} {
				from, to := m.Nodes[x[0]], &m.Nodes[x[1]]
				if l.Cost < 65535 && from.Metric < 65535 && from.Metric+l.Cost < to.Metric {
					to.Metric, to.Via, changed = from.Metric+l.Cost, from.Via, true
					if from.Self {
						to.Via = to.ID
					}
				}
			}
		}
	}
	for _, l := range m.Links {
		if l.A == m.Nodes[0].ID {
			m.Nodes[index[l.B]].Neighbour = true
		} else if l.B == m.Nodes[0].ID {
			m.Nodes[index[l.A]].Neighbour = true
		}
	}
	for _, n := range m.Nodes {
		if n.Via != "" && n.Via != n.ID {
			m.Nodes[index[n.Via]].Gateway = true
		}
	}
}

// Headers are those of the agent's page that matter to a browser.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.now().gone {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	s.mux.ServeHTTP(w, r)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

func (s *Server) routes() {
	s.mux.Handle("GET /static/", http.StripPrefix("/static", s.files))
	s.mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		page, err := fs.ReadFile(s.fs, "index.html")
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(bytes.ReplaceAll(page, []byte("<!--lang-->"), []byte("en")))
	})
	s.mux.HandleFunc("POST /v1/", s.post)
	s.mux.HandleFunc("GET /v1/events", s.events)
	for path, f := range map[string]func(r *http.Request) any{
		"session":    func(*http.Request) any { return s.Session },
		"map":        func(*http.Request) any { return s.Map },
		"neighbours": func(*http.Request) any { return s.neighbours() },
		"status":     func(*http.Request) any { return map[string]any{"interfaces": []any{}, "neighbours": s.neighbours()} },
		"onion":      func(*http.Request) any { return onion },
		"circuits":   func(*http.Request) any { return s.circuits() },
		"services":   func(*http.Request) any { return s.services() },
		"lan":        func(*http.Request) any { return s.lan() },
		"history":    func(r *http.Request) any { return history(r.FormValue("neighbour")) },
		"config":     func(*http.Request) any { return json.RawMessage(configuration) },
		"log":        func(r *http.Request) any { return logLines(r.FormValue("after")) },
	} {
		s.mux.HandleFunc("GET /v1/"+path, func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if owners := map[string]bool{"circuits": true, "services": true, "history": true, "config": true, "log": true, "status": true}; owners[path] && !s.Session.Login {
				answer(w, http.StatusForbidden, map[string]string{"code": "login", "error": "a session is needed", "hint": "log in"})
				return
			}
			answer(w, http.StatusOK, f(r))
		})
	}
}

func (s *Server) post(w http.ResponseWriter, r *http.Request) {
	body := map[string]any{}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"code": "bad_request", "error": err.Error(), "hint": "send JSON"})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posts = append(s.posts, Post{r.URL.Path, body})
	switch r.URL.Path {
	case "/v1/login":
		if body["password"] != Password {
			answer(w, http.StatusForbidden, map[string]string{"code": "wrong_password", "error": "this is not the password", "hint": "try again"})
			return
		}
		s.Session.Login = true
		answer(w, http.StatusOK, s.Session)
	case "/v1/logout":
		s.Session.Login = false
		answer(w, http.StatusOK, struct{}{})
	case "/v1/setup":
		s.Session.Login, s.Session.Wizard = true, false
		answer(w, http.StatusOK, map[string]any{"live": []string{}, "restart": []string{}})
	case "/v1/lan/mode":
		s.modes[fmt.Sprint(body["network"])] = fmt.Sprint(body["mode"])
		answer(w, http.StatusOK, map[string]any{"id": "4f", "confirm_seconds": 60, "live": []string{"lan"}, "restart": []string{}})
	case "/v1/config":
		answer(w, http.StatusOK, map[string]any{"id": "4f", "confirm_seconds": 60, "live": []string{}, "restart": []string{"globalnet"}})
	default:
		answer(w, http.StatusOK, struct{}{})
	}
}

func stamp(seconds int) string {
	return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds) * time.Second).Format(time.RFC3339)
}
