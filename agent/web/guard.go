package web

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"globalnet/agent/control"
	"globalnet/internal/identity"
)

// policy is what a browser may do with the page: nothing that does not come from here.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; " +
	"manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServeHTTP lets a request through to its route, or refuses it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for _, h := range [][2]string{
		{"Content-Security-Policy", policy}, {"X-Content-Type-Options", "nosniff"}, {"X-Frame-Options", "DENY"},
		{"Referrer-Policy", "no-referrer"}, {"Cross-Origin-Resource-Policy", "same-origin"},
		{"Cache-Control", "no-store"},
	} {
		w.Header().Set(h[0], h[1])
	}
	if status, e := s.admit(r); status != 0 {
		fail(w, status, e)
		return
	}
	if !strings.HasPrefix(r.URL.Path, "/v1/") && r.URL.Path != metricsPath {
		s.serveFile(w, r)
		return
	}
	route := s.routes[r.Method+" "+r.URL.Path]
	if route == nil {
		fail(w, http.StatusNotFound, control.Error{Code: "not_found", Message: "no such resource on the page", Hint: "see docs/protocols/web.md"})
		return
	}
	if r.Method == http.MethodPost {
		if status, e := s.readForm(r); status != 0 {
			fail(w, status, e)
			return
		}
	}
	if c, ok := r.Context().Value(connKey{}).(*conn); ok {
		c.answering(true, time.Now())
		defer func() { c.answering(false, time.Now()) }()
	}
	owner := s.sessions.valid(time.Now(), r, s.password.hash())
	switch {
	case route.anybody, owner, r.URL.Path == metricsPath && s.cfg.View().Metrics:
		route.serve(w, r)
	case route.guest != nil && s.cfg.View().Public:
		route.guest(w, r)
	default:
		fail(w, http.StatusForbidden, control.Error{Code: "login", Message: "this is for the owner of the router", Hint: "log in with the password of the page"})
	}
}

// admit judges where a request comes from and what it was meant for; 0: it may go on.
func (s *Server) admit(r *http.Request) (int, control.Error) {
	door, _ := r.Context().Value(doorKey{}).(Door)
	from := clientAddr(r)
	if !from.IsValid() || identity.MeshPrefix.Contains(from) || door.From != nil && !door.From(from) {
		return http.StatusForbidden, control.Error{Code: "source", Message: "the page is for the LAN of this router", Hint: "connect to the router's own network"}
	}
	if !slices.Contains(door.Hosts, strings.ToLower(r.Host)) {
		return http.StatusMisdirectedRequest, control.Error{Code: "host", Message: "the page has another name", Hint: "open http://" + Host + "/"}
	}
	crossing := control.Error{Code: "origin", Message: "another site asks for this", Hint: "open http://" + Host + "/ itself"}
	if s.origin.Check(r) != nil {
		return http.StatusForbidden, crossing
	}
	// Check lets all methods pass that change nothing. No other site has business with the
	// API at all; it may link to the page.
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host {
		return http.StatusForbidden, crossing
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" && r.URL.Path != "/" {
		return http.StatusForbidden, crossing
	}
	return 0, control.Error{}
}

// readForm reads the body before anything is done, and takes nothing but JSON, which no
// form of another site can send.
func (s *Server) readForm(r *http.Request) (int, control.Error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return http.StatusUnsupportedMediaType, control.Error{Code: "content_type", Message: "the body is not of type application/json", Hint: "send JSON"}
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	switch {
	case err != nil:
		return http.StatusBadRequest, control.Error{Code: control.BadRequest, Message: "the body did not come to its end"}
	case len(body) > maxBody:
		return http.StatusRequestEntityTooLarge, control.Error{Code: "too_large", Message: "request body is too large"}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return 0, control.Error{}
}

// clientAddr is who asks. There is no proxy whose word would count.
func clientAddr(r *http.Request) netip.Addr {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	addr, _ := netip.ParseAddr(host)
	return addr.Unmap()
}

func answer(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		fail(w, http.StatusInternalServerError, control.Error{Code: "internal", Message: "the answer cannot be encoded"})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(body, '\n'))
}

func fail(w http.ResponseWriter, status int, e control.Error) {
	body, _ := json.Marshal(e)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}

func tooMany(w http.ResponseWriter, wait time.Duration) {
	seconds := int(max(wait, time.Second).Round(time.Second).Seconds())
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	fail(w, http.StatusTooManyRequests, control.Error{Code: "too_many", Message: "too many passwords were tried", Hint: "wait " + strconv.Itoa(seconds) + " s"})
}
