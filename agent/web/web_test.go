package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func lanOnly(from netip.Addr) bool { return netip.MustParsePrefix("192.168.1.0/24").Contains(from) }

func keysOf(t *testing.T, body []byte) []string {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(v))
}

func (p *page) post(path, body string, cookie *http.Cookie) *recorder {
	r := p.whole("POST", path, cookie)
	other := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.Body = other.Body
	return p.ask(r)
}

func cookieOf(w *recorder) *http.Cookie {
	list := (&http.Response{Header: w.header}).Cookies()
	if len(list) != 1 {
		return nil
	}
	return list[0]
}

func TestLogin(t *testing.T) {
	p := newPage(t)
	if w := p.post("/v1/login", `{"password":"wrong horse"}`, nil); w.code != 403 || !bytes.Contains(w.body, []byte("wrong_password")) || cookieOf(w) != nil {
		t.Errorf("wrong password: %d %s", w.code, w.body)
	}
	w := p.post("/v1/login", bodies["/v1/login"], nil)
	c := cookieOf(w)
	if w.code != 200 || c == nil || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || len(c.Value) < 40 {
		t.Fatalf("%d %s, cookie %+v", w.code, w.body, c)
	}
	if again := cookieOf(p.post("/v1/login", bodies["/v1/login"], c)); again == nil || again.Value == c.Value {
		t.Error("the cookie of another login is the same")
	}
	services := func() int { return p.ask(p.whole("GET", "/v1/services", c)).code }
	if got := services(); got != 200 {
		t.Errorf("services: %d", got)
	}
	if w := p.post("/v1/logout", "{}", c); w.code != 200 || cookieOf(w) == nil || cookieOf(w).MaxAge >= 0 {
		t.Errorf("logout: %d", w.code)
	}
	if got := services(); got != 403 {
		t.Errorf("services after the logout: %d", got)
	}
	c = cookieOf(p.post("/v1/login", bodies["/v1/login"], nil))
	if err := SetPassword(p.cfg.Password, "another password"); err != nil {
		t.Fatal(err)
	}
	if got := services(); got != 403 {
		t.Errorf("services after a new password: %d", got)
	}
}

func TestLoginsAreFew(t *testing.T) {
	l := newLogins()
	now := time.Now()
	a, b := netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("2001:db8::1")
	try := func(who netip.Addr) bool {
		if l.begin(now, who) > 0 {
			return false
		}
		l.done(who, false)
		return true
	}
	for i := range loginsEach + 1 {
		if try(a) != (i < loginsEach) {
			t.Errorf("try %d of a", i)
		}
	}
	for i := range loginsEach + 1 {
		if try(b.Next()) != (i < loginsEach) {
			t.Errorf("try %d of b", i)
		}
		b = b.Next()
	}
	passed := 0
	for i := range 300 {
		if try(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})) {
			passed++
		}
	}
	if passed != loginsAll-2*loginsEach || len(l.clients) > maxSuspects {
		t.Errorf("%d of many clients, %d are remembered", passed, len(l.clients))
	}
	now = now.Add(loginWindow)
	if !try(a) {
		t.Error("nothing is forgiven")
	}
	for range maxWaitHash {
		l.begin(now, netip.AddrFrom4([4]byte{10, 1, 0, byte(l.waiting)}))
	}
	if try(b) {
		t.Error("more wait for a hash than may")
	}
}

func TestSessionsAreBounded(t *testing.T) {
	s := newSessions()
	now := time.Now()
	first := s.begin(now, "h")
	for i := range 3 * maxSessions {
		s.begin(now.Add(time.Duration(i+1)*time.Second), "h")
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(first)
	if len(s.of) != maxSessions || s.valid(now, r, "h") {
		t.Errorf("%d sessions, the first is one of them: %v", len(s.of), s.valid(now, r, "h"))
	}
	for key := range s.of {
		if bytes.Contains([]byte(first.Value), key[:8]) {
			t.Error("a cookie is kept as it is")
		}
	}
}

func TestSetup(t *testing.T) {
	p := newPage(t)
	if w := p.post("/v1/setup", `{"password":"somebody else"}`, nil); w.code != 403 {
		t.Errorf("a router that has an owner: %d", w.code)
	}
	if err := SetPassword(p.cfg.Password, ""); err != nil {
		t.Fatal(err)
	}
	var s Session
	if w := p.ask(p.whole("GET", "/v1/session", nil)); json.Unmarshal(w.body, &s) != nil || !s.Wizard || s.Login || len(s.LANs) != 1 {
		t.Errorf("%s", w.body)
	}
	for body, option := range map[string]string{
		`{"password":"short"}`: "password", `{"password":"long enough","lan":"none","lan_mode":"all"}`: "lan", `[]`: "",
	} {
		before := p.agent.done.Load()
		w := p.post("/v1/setup", body, nil)
		var e struct{ Option string }
		if json.Unmarshal(w.body, &e); w.code != 400 || e.Option != option || p.agent.done.Load() != before || p.password.hash() != "" {
			t.Errorf("%s: %d %s", body, w.code, w.body)
		}
	}
	w := p.post("/v1/setup", `{"password":"long enough","name":"attic","radio":"radio0","lan":"home","lan_mode":"all"}`, nil)
	if w.code != 200 || cookieOf(w) == nil || p.agent.done.Load() == 0 {
		t.Fatalf("%d %s", w.code, w.body)
	}
	if got := p.ask(p.whole("GET", "/v1/services", cookieOf(w))).code; got != 200 {
		t.Errorf("the owner is not logged in: %d", got)
	}
	if w := p.post("/v1/setup", `{"password":"the second one"}`, nil); w.code != 403 {
		t.Errorf("a second owner: %d", w.code)
	}
}

func TestFiles(t *testing.T) {
	p := newPage(t)
	for _, tt := range []struct {
		path, encoding, tag string
		status              int
		zipped, forever     bool
	}{
		{"/static/app.js", "gzip, br", "", 200, true, false},
		{"/static/" + p.assets.tag + "/app.js", "gzip", "", 200, true, true},
		{"/static/" + p.assets.tag + "/app.js", "", "", 200, false, true},
		{"/static/app.js", "gzip", `"` + p.assets.tag + `"`, 304, false, false},
		{"/static/index.html", "", "", 404, false, false},
		{"/static/", "", "", 404, false, false},
		{"/static/../web.go", "", "", 404, false, false},
		{"/static/000000000000/app.js", "", "", 404, false, false},
		{"/app.js", "", "", 404, false, false},
		{"/v2/status", "", "", 404, false, false},
	} {
		r := p.whole("GET", tt.path, nil)
		r.Header.Set("Accept-Encoding", tt.encoding)
		if tt.tag != "" {
			r.Header.Set("If-None-Match", tt.tag)
		}
		w := p.ask(r)
		if w.code != tt.status || (w.header.Get("Content-Encoding") == "gzip") != tt.zipped ||
			strings.Contains(w.header.Get("Cache-Control"), "immutable") != tt.forever {
			t.Errorf("%s: %d %v", tt.path, w.code, w.header)
		}
		if tt.status == 200 && !tt.zipped && !bytes.Contains(w.body, []byte("import")) {
			t.Errorf("%s: %.50q", tt.path, w.body)
		}
		if csp := w.header.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || !strings.Contains(csp, "default-src 'none'") ||
			w.header.Get("X-Content-Type-Options") != "nosniff" || w.header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: headers %v", tt.path, w.header)
		}
	}
}

func TestPageWithoutScript(t *testing.T) {
	p := newPage(t)
	for language, want := range map[string][]string{
		"":                          {`<html lang="en">`, "Neighbours: 1", "1.0 ms", "6 %", "home: names", "<noscript>", "Without JavaScript you see only the status", `data-session="{&#34;login&#34;:false,`, "</noscript>\n</main>"},
		"es-AR,es;q=0.9,en;q=0.8":   {`<html lang="es">`, "Vecinos: 1", "activo", "home: nombres", "Sin JavaScript sólo ves el estado", "</noscript>\n</main>"},
		"fr, de;q=0.9, en;q=0.5":    {`<html lang="en">`},
		"es;q=0, en":                {`<html lang="en">`},
		"<script>, es":              {`<html lang="es">`},
		strings.Repeat("x,", 10000): {`<html lang="en">`},
	} {
		r := p.whole("GET", "/", nil)
		r.Header.Set("Accept-Language", language)
		w := p.ask(r)
		for _, text := range want {
			if !bytes.Contains(w.body, []byte(text)) {
				t.Errorf("%.30s: %q is missing in\n%s", language, text, w.body)
			}
		}
		for _, text := range []string{private, "<!--status-->", "<!--lang-->", "style=", "onclick"} {
			if bytes.Contains(w.body, []byte(text)) {
				t.Errorf("%.30s: %q is on the page", language, text)
			}
		}
	}
	hostile := "<script>alert(1)</script>\"'&"
	p.cfg.View = func() View { return View{Public: true, Name: hostile} }
	if w := p.ask(p.whole("GET", "/", nil)); bytes.Contains(w.body, []byte(hostile)) || !bytes.Contains(w.body, []byte("&lt;script&gt;alert(1)")) {
		t.Errorf("a name is not escaped:\n%s", w.body)
	}
}

func TestPassword(t *testing.T) {
	path := t.TempDir() + "/deep/" + PasswordFile
	for _, wrong := range []string{"short", strings.Repeat("x", maxPassword+1), "\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8"} {
		if err := SetPassword(path, wrong); err == nil || strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if err := SetPassword(path, rightPassword); err != nil {
		t.Fatal(err)
	}
	hash := password{path}.hash()
	if !matches(hash, rightPassword) || matches(hash, rightPassword+" ") || matches("", "") || matches("unreadable", "unreadable") ||
		matches(strings.Replace(hash, "argon2id-3-8192", "argon2id-1-8", 1), rightPassword) {
		t.Errorf("hash %s", hash)
	}
	if again := (password{path}); SetPassword(path, rightPassword) != nil || again.hash() == hash {
		t.Error("two hashes of a password are the same: there is no salt")
	}
	if fmt.Sprint(len(strings.Fields(hash))) != "3" || strings.Contains(hash, rightPassword) {
		t.Errorf("hash %s", hash)
	}
}
