package control

import (
	"context"
	"errors"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"globalnet/internal/identity"
)

// fakeOnion has two circuits, and tunnels that end when told.
type fakeOnion struct {
	closed []uint32
	newnym int
	events []TunnelEvent
	err    error
	ended  chan struct{}
}

func (f *fakeOnion) Status() OnionStatus { return OnionStatus{Relay: true, Hops: 3} }
func (f *fakeOnion) Relays() []Relay     { return nil }
func (f *fakeOnion) Circuits() []Circuit {
	return []Circuit{{ID: 1, Path: []identity.NodeID{{1}}}, {ID: 2}}
}

func (f *fakeOnion) CloseCircuit(id uint32) error {
	if id > 2 {
		return &Error{Code: BadRequest, Message: "no such circuit"}
	}
	f.closed = append(f.closed, id)
	return nil
}
func (f *fakeOnion) NewIdentity() { f.newnym++ }

func (f *fakeOnion) Tunnel(ctx context.Context, path string, tell func(TunnelEvent)) error {
	if f.err != nil {
		return f.err
	}
	for _, e := range f.events {
		tell(e)
	}
	<-ctx.Done()
	close(f.ended)
	return nil
}

func TestOnionRequests(t *testing.T) {
	o := &fakeOnion{}
	for _, tt := range []struct {
		method, path, body string
		onion              Onion
		status             int
		want               string
	}{
		{"GET", "/v1/onion", "", o, 200, `"hops": 3`},
		{"GET", "/v1/relays", "", o, 200, `[]`},
		{"GET", "/v1/circuits", "", o, 200, `"id": 2`},
		{"POST", "/v1/circuits/close", `{"id": 2}`, o, 200, `{}`},
		{"POST", "/v1/circuits/close", `{"id": 9}`, o, 400, `"no such circuit"`},
		{"POST", "/v1/circuits/close", `x`, o, 400, `bad_request`},
		{"POST", "/v1/newnym", "", o, 200, `{}`},
		{"GET", "/v1/newnym", "", o, 405, `bad_method`},
		{"GET", "/v1/tunnel", "", o, 405, `bad_method`},
		{"POST", "/v1/tunnel", "x", o, 400, `bad_request`},
		{"POST", "/v1/tunnel", `{"path": "` + strings.Repeat("x", 2*maxBody) + `"}`, o, 400, `bad_request`},
		{"GET", "/v1/onion", "", nil, 409, `onion_off`},
		{"POST", "/v1/tunnel", "{}", nil, 409, `onion_off`},
	} {
		w := httptest.NewRecorder()
		Handler(&fake{onion: tt.onion}).ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body)))
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.want) {
			t.Errorf("%s %s %.40s: %d %s; want %d and %s", tt.method, tt.path, tt.body, w.Code, w.Body, tt.status, tt.want)
		}
		if got := w.Header().Get("Content-Type"); got != "application/json" {
			t.Errorf("%s: type %q", tt.path, got)
		}
	}
	if len(o.closed) != 1 || o.closed[0] != 2 || o.newnym != 1 {
		t.Errorf("closed %v, %d new identities", o.closed, o.newnym)
	}
}

// A tunnel lasts as long as its request, longer than any other, and ends with it.
func TestTunnel(t *testing.T) {
	o := &fakeOnion{events: []TunnelEvent{{Listen: "127.0.0.1:1000"}, {Error: "hop 2: it is gone"}}, ended: make(chan struct{})}
	socket := serve(t, &fake{onion: o})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []TunnelEvent
	err := NewClient(socket).Tunnel(ctx, "1000>rand>a.org:80", func(e TunnelEvent) {
		if got = append(got, e); len(got) == 2 {
			cancel()
		}
	})
	if err != nil || len(got) != 2 || got[0] != o.events[0] || got[1] != o.events[1] {
		t.Errorf("told %v, %v", got, err)
	}
	select {
	case <-o.ended:
	case <-time.After(10 * time.Second):
		t.Error("the tunnel outlives its request")
	}
	// One that cannot be is explained.
	var e *Error
	err = NewClient(serve(t, &fake{onion: &fakeOnion{err: &Error{Code: BadRequest, Message: "no path", Hint: "write one"}}})).
		Tunnel(t.Context(), "x", func(TunnelEvent) {})
	if !errors.As(err, &e) || e.Hint != "write one" {
		t.Errorf("a wrong path: %v", err)
	}
	if err := NewClient("/nowhere/s").Tunnel(t.Context(), "x", nil); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without an agent: %v", err)
	}
}

func TestOnionClient(t *testing.T) {
	o := &fakeOnion{}
	c := NewClient(serve(t, &fake{onion: o}))
	status, err := c.Onion(t.Context())
	if err != nil || status.Hops != 3 {
		t.Errorf("%+v, %v", status, err)
	}
	if list, err := c.Circuits(t.Context()); err != nil || len(list) != 2 || list[0].Path[0] != (identity.NodeID{1}) {
		t.Errorf("%v, %v", list, err)
	}
	if list, err := c.Relays(t.Context()); err != nil || list == nil {
		t.Errorf("%v, %v", list, err)
	}
	var e *Error
	if err := c.CloseCircuit(t.Context(), 7); !errors.As(err, &e) || e.Code != BadRequest {
		t.Errorf("closing what is not there: %v", err)
	}
	if err := errors.Join(c.CloseCircuit(t.Context(), 1), c.NewIdentity(t.Context())); err != nil || o.newnym != 1 {
		t.Error(err)
	}
}

// serve has an agent on a socket until the test ends.
func serve(t *testing.T, a Agent) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	t.Cleanup(start(t, socket, a))
	return socket
}
