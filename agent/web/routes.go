package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	"globalnet/agent/control"
)

// metricsPath is where Prometheus asks: it has no session.
const metricsPath = "/metrics"

// route is a request that the page answers.
type route struct {
	serve   http.HandlerFunc // for the owner
	guest   http.HandlerFunc // for who has not logged in; nil: not at all
	anybody bool             // serve sees for itself who asks
}

// table is what the page answers: all of the control API for its owner but what lasts,
// events of its own, and what guests may see, by functions that name each field of it. A request that is
// new to the API is for the owner, until somebody writes such a function.
func (s *Server) table() map[string]*route {
	all := make(map[string]*route)
	for _, r := range control.Routes() {
		if !r.Lasts && strings.HasPrefix(r.Path, "/v1/") {
			all[r.Method+" "+r.Path] = &route{serve: s.api.ServeHTTP}
		}
	}
	for name, guest := range map[string]http.HandlerFunc{
		"GET /v1/status": s.guestStatus, "GET /v1/neighbours": s.guestNeighbours, "GET /v1/map": s.guestMap,
		"GET /v1/onion": s.guestOnion, "GET /v1/lan": s.guestLAN,
	} {
		all[name].guest = guest
	}
	for name, serve := range map[string]http.HandlerFunc{
		"GET /v1/session": s.getSession, "POST /v1/login": s.login, "POST /v1/setup": s.setup,
	} {
		all[name] = &route{serve: serve, anybody: true}
	}
	all["GET "+eventsPath] = &route{serve: s.events(true), guest: s.events(false)}
	all["GET "+metricsPath] = &route{serve: s.api.ServeHTTP}
	all["POST /v1/logout"] = &route{serve: s.logout}
	return all
}

// Session is the answer to GET /v1/session.
type Session struct {
	Login    bool   `json:"login"`
	ReadOnly bool   `json:"readonly"` // guests may see the status
	Wizard   bool   `json:"wizard"`   // no password is set
	Name     string `json:"name"`
	Node     string `json:"node"`
	Version  string `json:"version"`

	Radios []string `json:"radios"` // for the wizard
	LANs   []LAN    `json:"lans"`
}

// LAN is a network and its mode.
type LAN struct {
	Name string `json:"name"`
	Mode string `json:"mode"`
}

func (s *Server) getSession(w http.ResponseWriter, r *http.Request) {
	answer(w, s.session(r.Context(), s.sessions.valid(time.Now(), r, s.password.hash())))
}

func (s *Server) session(ctx context.Context, login bool) Session {
	view := s.cfg.View()
	out := Session{Login: login, ReadOnly: view.Public, Wizard: s.password.hash() == "", Name: s.name(), Radios: []string{}, LANs: []LAN{}}
	if login {
		out.Version = s.cfg.Version
	}
	if status, err := s.cfg.Agent.Status(ctx); err == nil && (login || view.Public) {
		out.Node = status.Node.String()
	}
	if !out.Wizard {
		return out
	}
	if s.cfg.Radios != nil {
		out.Radios = append(out.Radios, s.cfg.Radios()...)
	}
	for _, n := range s.cfg.Agent.LAN().Status().Networks {
		out.LANs = append(out.LANs, LAN{n.Name, n.Mode})
	}
	return out
}

func (s *Server) name() string {
	host, _ := os.Hostname()
	return cmp.Or(s.cfg.View().Name, host, "GlobalNet")
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	var form struct {
		Password string `json:"password"`
	}
	if err := json.NewDecoder(r.Body).Decode(&form); err != nil || len(form.Password) > maxPassword {
		fail(w, http.StatusBadRequest, control.Error{Code: control.BadRequest, Message: "the body has no password"})
		return
	}
	from := clientAddr(r)
	if wait := s.logins.begin(time.Now(), from); wait > 0 {
		tooMany(w, wait)
		return
	}
	right := false
	defer func() { s.logins.done(from, right) }()
	select {
	case s.logins.turn <- struct{}{}:
		defer func() { <-s.logins.turn }()
	case <-r.Context().Done():
		return
	}
	hash := s.password.hash()
	if right = matches(hash, form.Password); !right {
		s.cfg.Log.Warn("a wrong password was given to the page")
		fail(w, http.StatusForbidden, control.Error{Code: "wrong_password", Message: "wrong password", Hint: "`globalnet web password` on the router sets a new one"})
		return
	}
	http.SetCookie(w, s.sessions.begin(time.Now(), hash))
	answer(w, s.session(r.Context(), true))
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	s.sessions.end(r)
	http.SetCookie(w, cookie("", -1))
	answer(w, struct{}{})
}

// Setup is the body of POST /v1/setup.
type Setup struct {
	Name     string `json:"name"`
	Password string `json:"password"`
	Radio    string `json:"radio"`
	LAN      string `json:"lan"`
	LANMode  string `json:"lan_mode"`
}

// setup is the first-run wizard. Whoever of the LAN comes first is the owner.
func (s *Server) setup(w http.ResponseWriter, r *http.Request) {
	var form Setup
	if err := json.NewDecoder(r.Body).Decode(&form); err != nil {
		fail(w, http.StatusBadRequest, control.Error{Code: control.BadRequest, Message: "the body is no answer of the wizard"})
		return
	}
	select {
	case s.logins.turn <- struct{}{}: // one at a time: the second finds a password
		defer func() { <-s.logins.turn }()
	case <-r.Context().Done():
		return
	}
	if s.password.hash() != "" {
		fail(w, http.StatusForbidden, control.Error{Code: "login", Message: "the router is set up", Hint: "log in with the password of the page"})
		return
	}
	if err := CheckPassword(form.Password); err != nil {
		fail(w, http.StatusBadRequest, control.Error{Code: control.BadRequest, Message: err.Error(), Option: "password"})
		return
	}
	var out control.Changed
	changes, err := s.setupChanges(form)
	if err == nil && len(changes) > 0 {
		out, err = s.cfg.Agent.Settings().Change(r.Context(), control.ChangeRequest{Changes: changes})
	}
	if err == nil {
		err = SetPassword(s.cfg.Password, form.Password)
	}
	if err != nil {
		e, ok := errors.AsType[*control.Error](err)
		if !ok {
			e = &control.Error{Code: "unavailable", Message: err.Error()}
		}
		fail(w, http.StatusBadRequest, *e)
		return
	}
	s.cfg.Log.Info("the page has a password now")
	http.SetCookie(w, s.sessions.begin(time.Now(), s.password.hash()))
	out.Live, out.Restart = append([]string{}, out.Live...), append([]string{}, out.Restart...)
	answer(w, out)
}

// setupChanges are what the answers of the wizard mean for the configuration.
func (s *Server) setupChanges(form Setup) (list []control.OptionChange, err error) {
	view, err := s.cfg.Agent.Settings().Settings()
	if err != nil {
		return nil, err
	}
	ref := func(typ string) string {
		for _, x := range view.Sections {
			if x.Type == typ {
				return x.Ref
			}
		}
		return typ
	}
	set := func(section, typ, option, value string) {
		if value != "" {
			list = append(list, control.OptionChange{Section: section, Type: typ, Option: option, Value: control.Values{value}})
		}
	}
	set(ref("web"), "web", "name", form.Name)
	if form.Radio != "" {
		set(form.Radio, "radio", "enabled", "1")
		set(ref("service"), "service", "manage_wireless", "1")
	}
	if form.LANMode != "" {
		lan := cmp.Or(form.LAN, "lan")
		for _, x := range view.Sections {
			if x.Type == "lan" && x.Name == lan {
				set(lan, "lan", "mode", form.LANMode)
				return list, nil
			}
		}
		return nil, &control.Error{Code: control.BadRequest, Message: "there is no lan section " + lan, Option: "lan"}
	}
	return list, nil
}
