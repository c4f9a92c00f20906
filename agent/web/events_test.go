package web

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lasting is an answer that a test reads while it is written.
type lasting struct {
	recorder
	mu sync.Mutex
}

func (l *lasting) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.recorder.Write(b)
}

func (l *lasting) Flush()                           {}
func (l *lasting) SetReadDeadline(time.Time) error  { return nil }
func (l *lasting) SetWriteDeadline(time.Time) error { return nil }

func (l *lasting) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.body)
}

// follow opens a stream; ended is closed when the router has ended it.
func (p *page) follow(ctx context.Context, of, client string, cookie *http.Cookie) (w *lasting, ended chan struct{}) {
	r := p.whole("GET", eventsPath, cookie)
	r.URL.RawQuery = "of=" + of
	r.RemoteAddr = client + ":40000"
	w, ended = &lasting{recorder: recorder{header: make(http.Header)}}, make(chan struct{})
	go func() {
		defer close(ended)
		p.ServeHTTP(w, r.WithContext(context.WithValue(ctx, doorKey{}, p.door)))
	}()
	return w, ended
}

func over(ended chan struct{}) bool {
	synctest.Wait()
	select {
	case <-ended:
		return true
	default:
		return false
	}
}

// A stream brings what its reader may ask for, and ends with what let it begin.
func TestStreamsEndWithTheSession(t *testing.T) {
	for name, end := range map[string]func(p *page, c *http.Cookie){
		"logout":       func(p *page, c *http.Cookie) { p.sessions.end(p.whole("GET", "/", c)) },
		"new password": func(p *page, _ *http.Cookie) { SetPassword(p.cfg.Password, "another password") },
		"age":          func(p *page, _ *http.Cookie) { p.age(sessionAge, 0) },
		"no guests":    func(p *page, _ *http.Cookie) { p.public.Store(false) },
	} {
		p := newPage(t)
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := p.session()
			owner, ownerEnded := p.follow(ctx, "map,services", "192.168.1.20", c)
			guest, guestEnded := p.follow(ctx, "map,services", "192.168.1.20", nil)
			time.Sleep(time.Minute)
			if over(ownerEnded) || over(guestEnded) {
				t.Fatalf("%s: ended before: %s %s", name, owner.text(), guest.text())
			}
			end(p, c)
			time.Sleep(2 * streamEvery)
			if guests := name == "no guests"; over(ownerEnded) == guests || over(guestEnded) != guests {
				t.Errorf("%s: the owner's ended: %v, the guest's: %v", name, over(ownerEnded), over(guestEnded))
			}
			cancel()
			synctest.Wait()
			for _, part := range []string{"event: map\ndata: {\"nodes\":[", private + "name", "event: services\ndata: [{", private + "service"} {
				if !strings.Contains(owner.text(), part) {
					t.Errorf("the owner is not told %s: %.300s", part, owner.text())
				}
			}
			if text := guest.text(); strings.Contains(text, private) || !strings.Contains(text, `data: {"refused":403,"code":"login"`) || !strings.Contains(text, "event: map") {
				t.Errorf("a guest is told %.300s", text)
			}
			if len(p.streams.of) != 0 || p.streams.all != 0 {
				t.Errorf("streams are left: %v", p.streams.of)
			}
		})
	}
}

// Nobody has more than a few, and all together have not many.
func TestStreamsAreFew(t *testing.T) {
	p := newPage(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		open := func(client string) bool {
			w, ended := p.follow(ctx, "map", client, nil)
			refused := over(ended)
			if refused && (w.code != http.StatusServiceUnavailable || !bytes.Contains(w.body, []byte("busy"))) {
				t.Errorf("%d %s", w.code, w.body)
			}
			return !refused
		}
		for i := range 3 * maxStreams {
			client := []string{"192.168.1.20", "[fd12::7]", "[fd12::8]", "192.168.1.21", "192.168.1.22"}[i%5]
			open(client)
		}
		// The two addresses of one /64 are one client.
		if p.streams.all != maxStreams || p.streams.of[clientOf(clientAddr(p.whole("GET", "/", nil)))] > streamsEach || len(p.streams.of) != 4 {
			t.Errorf("%d streams: %v", p.streams.all, p.streams.of)
		}
		cancel()
		synctest.Wait()
		if p.streams.all != 0 {
			t.Errorf("%d are left", p.streams.all)
		}
		again, stop := context.WithCancel(t.Context())
		ctx = again
		for i := range streamsEach + 1 {
			if open("192.168.1.20") != (i < streamsEach) {
				t.Errorf("stream %d of one client", i)
			}
		}
		stop()
	})
	for _, of := range []string{"config", "map,map", "status", "map,", "../map"} {
		w, ended := p.follow(t.Context(), of, "192.168.1.20", p.session())
		<-ended
		if w.code != http.StatusBadRequest {
			t.Errorf("of=%s: %d %s", of, w.code, w.body)
		}
	}
}
