package link

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"testing"
	"time"
)

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// However a session ends, no goroutine, socket or reserved port is left.
func TestNothingIsLeft(t *testing.T) {
	newTestNode(t, 3, nil).Engine.Dial(t.Context(), DialTarget{}) // what is made once a process
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	var nodes []*testNode
	t.Run("sessions", func(t *testing.T) {
		server, client := newTestNode(t, 5, nil), newTestNode(t, 1, nil)
		nodes = []*testNode{server, client}
		server.serve(t, "127.0.0.1:0")
		for range 3 {
			if _, err := client.Dial(t.Context(), server.target()); err != nil {
				t.Fatal(err)
			}
			waitIdle(t, server) // a session that has just made its link is preferred
		}

		client.failSwitch.Store(true)
		if _, err := client.Dial(t.Context(), server.target()); err == nil {
			t.Error("Dial succeeded although Switch failed")
		}
		client.failSwitch.Store(false)

		// The caller loses interest while the checks run: the server has no address in common.
		server.cfg.Local = func() []LocalAddress { return nil }
		if _, err := client.Dial(t.Context(), server.target()); !errors.Is(err, ErrNoPath) {
			t.Errorf("Dial without a common address: %v, want ErrNoPath", err)
		}
		server.cfg.Local = loopback
		entered := make(chan struct{})
		server.admit = func(Peer) error {
			close(entered)
			time.Sleep(50 * time.Millisecond)
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(0, func() { <-entered; cancel() })
		if _, err := client.Dial(ctx, server.target()); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled Dial: %v", err)
		}

		// A connection that says nothing, and one within TLS, when Serve is cancelled.
		for _, first := range [][]byte{nil, newPreamble(testTag(9)).append(nil, testKey, server.cfg.Tag)} {
			conn, err := net.Dial("tcp", server.addr.String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.Write(first)
		}
		eventually(t, "the connection was not taken", func() bool {
			server.Engine.mu.Lock()
			defer server.Engine.mu.Unlock()
			return len(server.half) == 1 && len(server.sessions) >= 1
		})
	})
	for _, n := range nodes {
		waitIdle(t, n)
		if len(n.ports.used) != 0 {
			t.Errorf("ports still reserved: %v", n.ports.used)
		}
	}
	eventually(t, "goroutines are left", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "sockets are left", func() bool { return openFiles(t) <= files })
}

// brokenListener fails as one does when the process has no files left, then for good.
type brokenListener struct {
	net.Listener
	errs []error
}

func (l *brokenListener) Accept() (net.Conn, error) {
	err := l.errs[0]
	l.errs = l.errs[1:]
	return nil, err
}

func TestServeSurvivesWhatPasses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := newTestNode(t, 1, nil)
	err = n.Serve(t.Context(), &brokenListener{l, []error{errors.New("too many open files"), net.ErrClosed}})
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve: %v, want that the listener is closed", err)
	}
	if n.Counters()["accepts_failed"] != 1 {
		t.Error("the failure was not counted")
	}
}
