package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"globalnet/agent/control"
)

// Bounds of streams. A page opens one while it is seen.
const (
	eventsPath  = "/v1/events"
	streamEvery = 2 * time.Second // is looked whether something changed
	maxStreams  = 8
	streamsEach = 3 // of one client
)

// streamed are the resources that a page may have sent to it, as it would ask for them.
var streamed = []string{"neighbours", "map", "onion", "lan", "circuits", "services"}

// streams counts those that are open, by client.
type streams struct {
	mu  sync.Mutex
	of  map[netip.Prefix]int
	all int
}

// begin reports whether there is room for another one.
func (s *streams) begin(client netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= maxStreams || s.of[client] >= streamsEach {
		return false
	}
	if s.of == nil {
		s.of = make(map[netip.Prefix]int)
	}
	s.of[client]++
	s.all++
	return true
}

func (s *streams) end(client netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.of[client]--; s.of[client] == 0 {
		delete(s.of, client)
	}
}

// events is GET /v1/events?of=NAME,NAME: what those resources answer to this reader, as
// events, until they would answer otherwise because a session has begun or ended.
func (s *Server) events(owner bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		names := streamed[:3]
		if text := r.URL.Query().Get("of"); text != "" {
			names = strings.Split(text, ",")
		}
		var feeds []control.Feed
		for k, name := range names {
			if !slices.Contains(streamed, name) || slices.Contains(names[:k], name) {
				fail(w, http.StatusBadRequest, control.Error{Code: control.BadRequest, Message: "of: want some of " + strings.Join(streamed, ",")})
				return
			}
			feeds = append(feeds, s.feed(r, name, owner))
		}
		client := clientOf(clientAddr(r))
		if !s.streams.begin(client) {
			fail(w, http.StatusServiceUnavailable, control.Error{Code: "busy", Message: "there are too many readers of events", Hint: "ask now and then instead"})
			return
		}
		defer s.streams.end(client)
		control.Tell(w, r, streamEvery, feeds, func() bool {
			return s.sessions.valid(time.Now(), r, s.password.hash()) == owner && (owner || s.cfg.View().Public)
		})
	}
}

// feed asks the resource as a GET of this reader would. A refusal is told as
// {"refused": status, …}.
func (s *Server) feed(r *http.Request, name string, owner bool) control.Feed {
	route := s.routes["GET /v1/"+name]
	serve := route.serve
	if !owner {
		serve = route.guest
	}
	return control.Feed{Name: name, Take: func(ctx context.Context) (any, uint64) {
		w := &memory{header: make(http.Header), status: http.StatusOK}
		if serve == nil {
			fail(w, http.StatusForbidden, control.Error{Code: "login", Message: "this is for the owner of the router"})
		} else {
			ask := r.Clone(ctx)
			ask.URL = &url.URL{Path: "/v1/" + name}
			serve(w, ask)
		}
		body := bytes.TrimSpace(w.body.Bytes())
		if w.status != http.StatusOK && len(body) > 2 {
			body = fmt.Appendf(nil, `{"refused":%d,%s`, w.status, body[1:])
		}
		sum := fnv.New64a()
		sum.Write(body)
		return json.RawMessage(body), sum.Sum64() | 1
	}}
}

// memory is an answer that is kept.
type memory struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (m *memory) Header() http.Header         { return m.header }
func (m *memory) WriteHeader(status int)      { m.status = status }
func (m *memory) Write(b []byte) (int, error) { return m.body.Write(b) }
