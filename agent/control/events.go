package control

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"time"

	"globalnet/mesh"
)

// Events are server-sent events (WHATWG HTML, section 9.2). Each has the name of a
// resource and, as its data, what a GET of it answers.
const (
	eventInterval = time.Second      // how often is looked whether something changed
	eventRefresh  = 5 * time.Second  // what only counts or ages is sent this often
	eventWrite    = 10 * time.Second // a reader that takes nothing for so long is gone
	maxWatchers   = 8
)

// eventView is a resource that events tell of. Mark is a digest of what a viewer wants to
// see at once; ages and counters are left out of it.
type eventView struct {
	name string
	take func(ctx context.Context, agent Agent) (any, bool)
	mark func(v any) any
}

var eventViews = []eventView{
	{"status", takeStatus, markStatus},
	{"services", takeServices, markServices},
	{"lan", takeLAN, markLAN},
}

func takeStatus(ctx context.Context, agent Agent) (any, bool) {
	s, err := agent.Status(ctx)
	return withLists(s), err == nil
}

func markStatus(v any) any {
	s := v.(mesh.Status)
	type link struct {
		node, state, class, via string
		cost                    uint16
	}
	type route struct{ destination, next string }
	mark := struct {
		interfaces []mesh.InterfaceStatus
		links      []link
		routes     []route
	}{interfaces: s.Interfaces}
	for _, n := range s.Neighbours {
		mark.links = append(mark.links, link{n.Node.String(), n.State, n.Class, n.Via, n.Cost})
	}
	for _, r := range s.Routes {
		if r.Selected {
			mark.routes = append(mark.routes, route{r.Destination.String(), r.Neighbour})
		}
	}
	return mark
}

func takeServices(_ context.Context, agent Agent) (any, bool) {
	s := agent.Services()
	if s == nil {
		return nil, false
	}
	return servicesOf(s), true
}

func markServices(v any) any {
	var mark []any
	for _, s := range v.([]Service) {
		mark = append(mark, s.Name, s.Address, s.Ports, len(s.Points), s.Published >= 0, s.Clients, s.Error)
	}
	return mark
}

func takeLAN(_ context.Context, agent Agent) (any, bool) {
	with, ok := agent.(lanAgent)
	if !ok {
		return nil, false
	}
	return lanOf(with.LAN()), true
}

func markLAN(v any) any {
	s := v.(LANStatus)
	return []any{s.Off, s.Error, s.Networks, s.Clients}
}

// Feed is a resource that events tell of.
type Feed struct {
	Name string

	// Take returns what a GET answers, and a digest, never 0, of what a reader wants to
	// see at once; nil if there is nothing to tell.
	Take func(ctx context.Context) (v any, mark uint64)
}

// events sends what changes, until the reader or the agent goes.
func (a api) events(w http.ResponseWriter, r *http.Request) {
	defer a.watchers.Add(-1)
	if a.watchers.Add(1) > maxWatchers {
		w.Header().Set("Content-Type", "application/json")
		fail(w, http.StatusServiceUnavailable, Error{Code: "busy", Message: fmt.Sprintf("%d readers of events are there already", maxWatchers), Hint: "close one, or ask for /v1/status now and then"})
		return
	}
	var feeds []Feed
	for _, view := range eventViews {
		feeds = append(feeds, Feed{view.name, func(ctx context.Context) (any, uint64) {
			v, ok := view.take(ctx, a.agent)
			if !ok {
				return nil, 0
			}
			return v, digest(view.mark(v))
		}})
	}
	Tell(w, r, eventInterval, feeds, func() bool { return true })
}

// Tell sends feeds as events, whenever one has changed, and now and then, until the reader
// goes or is not to go on.
func Tell(w http.ResponseWriter, r *http.Request, every time.Duration, feeds []Feed, goOn func() bool) {
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Time{}) // the request has been read; a closed connection is still noticed
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	sent := make([]struct {
		mark uint64
		at   time.Time
	}, len(feeds))
	for goOn() {
		control.SetWriteDeadline(time.Now().Add(eventWrite))
		for i, feed := range feeds {
			v, mark := feed.Take(r.Context())
			now := time.Now()
			if v == nil || mark == sent[i].mark && now.Sub(sent[i].at) < eventRefresh {
				continue
			}
			sent[i].mark, sent[i].at = mark, now
			data, err := json.Marshal(v)
			if err != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", feed.Name, data); err != nil {
				return
			}
		}
		if control.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-ticker.C:
		}
	}
}

// digest is never zero, so that what was not sent yet differs from all.
func digest(v any) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%v", v)
	return h.Sum64() | 1
}
