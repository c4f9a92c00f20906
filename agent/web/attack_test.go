package web

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// bodies are what routes that change something take; a route that is not here is asked
// with an empty object, and must be refused all the same.
var bodies = map[string]string{
	"/v1/circuits/close": `{"id":1}`, "/v1/config": `{"changes":[{"section":"a","option":"b","value":"c"}]}`,
	"/v1/dht/put": `{"name":"a","value":"YQ=="}`, "/v1/dht/withdraw": `{"name":"a"}`,
	"/v1/services/add": `{"name":"a","ports":[{"port":80,"target":"127.0.0.1:1"}]}`,
	"/v1/login":        `{"password":"` + rightPassword + `"}`,
}

// whole is the request of a browser that does everything right.
func (p *page) whole(method, path string, cookie *http.Cookie) *http.Request {
	body := bodies[path]
	if body == "" {
		body = "{}"
	}
	var r *http.Request
	if method == http.MethodPost {
		r = httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", "http://"+Host)
	} else {
		r = httptest.NewRequest(method, path+"?node="+fakeNode.String()+"&target="+fakeNode.String()+"&neighbour="+fakeNode.String(), nil)
	}
	r.Host = Host
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if cookie != nil {
		r.AddCookie(cookie)
	}
	return r
}

// attacks turn a right request into one that must be refused.
var attacks = []struct {
	name string
	// also says that a request which only reads is refused too.
	also bool
	do   func(p *page, r *http.Request)
}{
	{"wrong Host", true, func(_ *page, r *http.Request) { r.Host = "evil.example" }},
	{"Host with another port", true, func(_ *page, r *http.Request) { r.Host = Host + ":8081" }},
	{"Host that begins like ours", true, func(_ *page, r *http.Request) { r.Host = Host + ".evil.example" }},
	{"Host by address, rebinding", true, func(_ *page, r *http.Request) { r.Host = "192.168.1.1" }},
	{"IPv6 literal", true, func(_ *page, r *http.Request) { r.Host = "[fd00::1]" }},
	{"no Host", true, func(_ *page, r *http.Request) { r.Host = "" }},
	{"Origin of another site", true, func(_ *page, r *http.Request) { r.Header.Set("Origin", "http://evil.example") }},
	{"Origin null", true, func(_ *page, r *http.Request) { r.Header.Set("Origin", "null") }},
	{"Origin by TLS", true, func(_ *page, r *http.Request) { r.Header.Set("Origin", "https://"+Host) }},
	{"Sec-Fetch-Site cross-site", true, func(_ *page, r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }},
	{"Sec-Fetch-Site same-site", true, func(_ *page, r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }},
	{"cross-site, Origin hidden", true, func(_ *page, r *http.Request) {
		r.Header.Del("Origin")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	}},
	{"WebSocket of another site", true, func(_ *page, r *http.Request) {
		r.Header.Set("Origin", "http://evil.example")
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
	}},
	{"form", false, func(_ *page, r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }},
	{"form with files", false, func(_ *page, r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data; boundary=x") }},
	{"JSON as text/plain", false, func(_ *page, r *http.Request) { r.Header.Set("Content-Type", "text/plain") }},
	{"no content type", false, func(_ *page, r *http.Request) { r.Header.Del("Content-Type") }},
	{"text/plain with JSON in a parameter", false, func(_ *page, r *http.Request) { r.Header.Set("Content-Type", "text/plain; a=application/json") }},
	{"GET", false, func(_ *page, r *http.Request) { r.Method = http.MethodGet }},
	{"HEAD", true, func(_ *page, r *http.Request) { r.Method = http.MethodHead }},
	{"PUT", true, func(_ *page, r *http.Request) { r.Method = http.MethodPut }},
	{"OPTIONS, preflight", true, func(_ *page, r *http.Request) { r.Method = http.MethodOptions }},
	{"method in a header", false, func(_ *page, r *http.Request) {
		r.Method = http.MethodGet
		r.Header.Set("X-HTTP-Method-Override", "POST")
	}},
	{"from the mesh", true, func(_ *page, r *http.Request) { r.RemoteAddr = "[fd47:4e45:1::1]:4000" }},
	{"from outside the LAN", true, func(_ *page, r *http.Request) { r.RemoteAddr = "203.0.113.5:4000" }},
	{"from outside, by a header's word", true, func(_ *page, r *http.Request) {
		r.RemoteAddr = "203.0.113.5:4000"
		r.Header.Set("X-Forwarded-For", "192.168.1.20")
		r.Header.Set("X-Real-Ip", "192.168.1.20")
	}},
	{"from nowhere", true, func(_ *page, r *http.Request) { r.RemoteAddr = "@" }},
	{"path with dots", true, func(_ *page, r *http.Request) { r.URL.Path = "/v1/../v1" + strings.TrimPrefix(r.URL.Path, "/v1") }},
	{"path with two slashes", true, func(_ *page, r *http.Request) { r.URL.Path = "/" + r.URL.Path }},
	{"path below a file", true, func(_ *page, r *http.Request) { r.URL.Path = "/static/.." + r.URL.Path }},
	{"path with a slash at the end", true, func(_ *page, r *http.Request) { r.URL.Path += "/" }},
	{"path in capitals", true, func(_ *page, r *http.Request) { r.URL.Path = strings.ToUpper(r.URL.Path) }},
	{"10 MiB", false, func(_ *page, r *http.Request) { r.Body = io.NopCloser(bytes.NewReader(make([]byte, 10<<20))) }},
}

// ownerAttacks are about the session; of what needs none they say nothing.
var ownerAttacks = []struct {
	name string
	do   func(p *page, r *http.Request)
}{
	{"no cookie", func(_ *page, r *http.Request) { r.Header.Del("Cookie") }},
	{"empty cookie", func(_ *page, r *http.Request) { r.Header.Set("Cookie", cookieName+"=") }},
	{"made-up cookie", func(_ *page, r *http.Request) { r.Header.Set("Cookie", cookieName+"="+strings.Repeat("A", 43)) }},
	{"cookie of another name", func(_ *page, r *http.Request) {
		r.Header.Set("Cookie", strings.Replace(r.Header.Get("Cookie"), cookieName, "session", 1))
	}},
	{"session that was not used for long", func(p *page, _ *http.Request) { p.age(0, sessionIdle) }},
	{"session that is old", func(p *page, _ *http.Request) { p.age(sessionAge, 0) }},
	{"session of the password before", func(p *page, _ *http.Request) {
		for _, s := range p.sessions.of {
			s.password += "x"
		}
	}},
	{"session that was logged out", func(p *page, r *http.Request) { p.sessions.end(r) }},
}

func (p *page) age(begun, used time.Duration) {
	p.sessions.mu.Lock()
	defer p.sessions.mu.Unlock()
	for _, s := range p.sessions.of {
		s.begun, s.used = s.begun.Add(-begun), s.used.Add(-used)
	}
}

// changing are the routes that change something, taken from the page's own table: a new
// one is attacked too.
func (p *page) changing() (paths []string) {
	for name := range p.routes {
		if path, ok := strings.CutPrefix(name, "POST "); ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// Every route, every attack: nothing is done.
func TestAttacks(t *testing.T) {
	p := newPage(t)
	p.door.From = lanOnly
	tried, refused := 0, 0
	try := func(name, method, path string, do func(p *page, r *http.Request), cookie *http.Cookie) {
		t.Helper()
		r := p.whole(method, path, cookie)
		do(p, r)
		before := p.agent.done.Load()
		tried++
		w := p.ask(r)
		if method == http.MethodPost && r.Method == http.MethodGet && p.routes["GET "+path] != nil {
			if p.agent.done.Load() != before {
				t.Errorf("%s: GET %s changed something", name, path)
			}
			refused++ // it reads, which is no attack
			return
		}
		if w.code < 400 || p.agent.done.Load() != before || w.header.Get("Set-Cookie") != "" || bytes.Contains(w.body, []byte(private)) {
			t.Errorf("%s, %s %s: %d %.100s, cookie %q", name, method, path, w.code, w.body, w.header.Get("Set-Cookie"))
			return
		}
		refused++
	}
	for _, path := range p.changing() {
		for _, a := range attacks {
			try(a.name, http.MethodPost, path, a.do, p.session())
		}
		if p.routes["POST "+path].anybody {
			continue
		}
		for _, a := range ownerAttacks {
			try(a.name, http.MethodPost, path, a.do, p.session())
		}
	}
	if tried < 500 || refused != tried {
		t.Errorf("%d of %d attacks refused", refused, tried)
	}
	for name, route := range p.routes {
		path, ok := strings.CutPrefix(name, "GET ")
		if !ok {
			continue
		}
		for _, a := range attacks {
			if a.also {
				try(a.name, http.MethodGet, path, a.do, p.session())
			}
		}
		if route.anybody || route.guest != nil {
			continue
		}
		for _, a := range ownerAttacks {
			try(a.name, http.MethodGet, path, a.do, p.session())
		}
	}
	t.Logf("%d attacks", tried)
}

// The same requests without any attack are done: the table above proves something.
func TestOwnerIsServed(t *testing.T) {
	p := newPage(t)
	p.door.From = lanOnly
	for name := range p.routes {
		method, path, _ := strings.Cut(name, " ")
		if path == "/v1/setup" {
			continue // only before there is a password
		}
		before := p.agent.done.Load()
		w := p.ask(p.whole(method, path, p.session()))
		if w.code != 200 {
			t.Errorf("%s: %d %s", name, w.code, w.body)
		}
		if done := p.agent.done.Load() > before; done != (method == "POST" && path != "/v1/login" && path != "/v1/logout") {
			t.Errorf("%s: something done: %v", name, done)
		}
	}
}

// Guests see neither the fields that are private, nor the routes.
func TestGuests(t *testing.T) {
	p := newPage(t)
	want := map[string]string{
		"GET /v1/status": "node address network uptime_ns neighbours", "GET /v1/neighbours": "", "GET /v1/map": "nodes links more",
		"GET /v1/onion": "relay exit relays exits hops carried channels", "GET /v1/lan": "off networks",
		"GET /v1/events":  "",
		"GET /v1/session": "login readonly wizard name node version radios lans",
	}
	for name := range p.routes {
		method, path, _ := strings.Cut(name, " ")
		if method != "GET" {
			continue
		}
		for _, public := range []bool{true, false} {
			p.public.Store(public)
			w := p.ask(p.whole(method, path, nil))
			fields, listed := want[name]
			if open := listed && (public || path == "/v1/session"); open != (w.code == 200) || !open && w.code != 403 {
				t.Errorf("%s, public %v: %d", name, public, w.code)
			}
			for _, word := range []string{private, "7770", "192.0.2.77"} {
				if bytes.Contains(w.body, []byte(word)) {
					t.Errorf("%s shows guests %s", name, w.body)
				}
			}
			if w.code == 200 && fields != "" {
				checkFields(t, name, w.body, strings.Fields(fields))
			}
		}
	}
	w := p.ask(p.whole("GET", "/", nil))
	if w.code != 200 || bytes.Contains(w.body, []byte(fakeNode.String())) {
		t.Errorf("the page shows the node although guests are to see nothing: %d", w.code)
	}
}

func checkFields(t *testing.T, name string, body []byte, want []string) {
	t.Helper()
	got := fmt.Sprint(keysOf(t, body))
	slices.Sort(want)
	if got != fmt.Sprint(want) {
		t.Errorf("%s has the fields %s, want %v", name, got, want)
	}
}
