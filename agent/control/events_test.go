package control

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"globalnet/mesh"
)

// changing is an agent whose state a test changes while it is watched.
type changing struct {
	fake
	mu sync.Mutex
}

func (c *changing) Status(context.Context) (mesh.Status, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status, nil
}

func (c *changing) set(change func(s *mesh.Status)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := sample()
	change(&s)
	c.status = s
}

// recorder is a response that a test reads while it is written. Flush is in it.
type recorder struct {
	*httptest.ResponseRecorder
	mu sync.Mutex
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ResponseRecorder.Write(b)
}

func (r *recorder) count(part string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.Body.String(), part)
}

func TestEventsTellOfChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		agent := &changing{}
		agent.set(func(*mesh.Status) {})
		ctx, cancel := context.WithCancel(t.Context())
		w, ended := &recorder{ResponseRecorder: httptest.NewRecorder()}, make(chan struct{})
		go func() {
			Handler(agent).ServeHTTP(w, httptest.NewRequest("GET", "/v1/events", nil).WithContext(ctx))
			close(ended)
		}()
		expect := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			if got := w.count("event: status\n"); got != want {
				t.Errorf("%s: %d events, want %d", when, got, want)
			}
		}
		expect("at once", 1)
		agent.set(func(s *mesh.Status) { s.Uptime, s.Neighbours[0].RxBytes = time.Hour, 7 })
		time.Sleep(2500 * time.Millisecond)
		expect("after bytes and time", 1)
		agent.set(func(s *mesh.Status) { s.Neighbours[0].State = "failed" })
		time.Sleep(time.Second)
		expect("after a link failed", 2)
		time.Sleep(4 * time.Second)
		expect("before the refresh", 2)
		time.Sleep(2 * time.Second)
		expect("after the refresh", 3)
		cancel()
		<-ended
		if w.Header().Get("Content-Type") != "text/event-stream" {
			t.Errorf("type %q", w.Header().Get("Content-Type"))
		}
	})
}

func TestEventsByClient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	a := whole(3)
	stop := start(t, path, a)
	seen := map[string]int{}
	err := NewClient(path).Watch(t.Context(), func(event string, data []byte) {
		seen[event]++
		switch event {
		case "status":
			var s mesh.Status
			if err := json.Unmarshal(data, &s); err != nil || len(s.Neighbours) != 3 {
				t.Errorf("status: %v, %d neighbours", err, len(s.Neighbours))
			}
		case "lan":
			var s LANStatus
			if err := json.Unmarshal(data, &s); err != nil || len(s.Clients) != 1 {
				t.Errorf("lan: %v, %+v", err, s)
			}
			go stop() // the last of the first round
		}
	})
	if !errors.Is(err, ErrEnded) {
		t.Errorf("when the agent stops: %v", err)
	}
	for _, event := range []string{"status", "services", "lan"} {
		if seen[event] == 0 {
			t.Errorf("nothing of %s", event)
		}
	}
}

func TestWatchersAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	start(t, path, whole(1))
	c := NewClient(path)
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	begun := make(chan struct{}, maxWatchers)
	for range maxWatchers {
		readers.Go(func() {
			var once sync.Once
			c.Watch(ctx, func(string, []byte) { once.Do(func() { begun <- struct{}{} }) })
		})
	}
	for range maxWatchers {
		<-begun
	}
	err := c.Watch(t.Context(), func(string, []byte) { t.Error("one too many is served") })
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != "busy" {
		t.Errorf("one too many: %v", err)
	}
	cancel()
	readers.Wait()
}
