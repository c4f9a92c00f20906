package channel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"globalnet/internal/identity"
)

// street is nodes that reach each other over loopback.
type street struct {
	mu    sync.Mutex
	addrs map[identity.NodeID]string
	dials int
}

// DialNode implements Underlay.
func (s *street) DialNode(ctx context.Context, id identity.NodeID) (net.Conn, error) {
	s.mu.Lock()
	s.dials++
	addr := s.addrs[id]
	s.mu.Unlock()
	if addr == "" {
		return nil, errors.New("no such node")
	}
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

// move runs a Manager; stop ends it.
func (s *street) move(t testing.TB) (m *Manager, id identity.NodeID, stop func()) {
	t.Helper()
	self := newIdentity(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.addrs[self.NodeID()] = l.Addr().String()
	s.mu.Unlock()
	m = NewManager(Config{Identity: self}, s, nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return m, self.NodeID(), stop
}

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestManagerSharesChannels(t *testing.T) {
	s := &street{addrs: make(map[identity.NodeID]string)}
	before := runtime.NumGoroutine()
	a, aID, stopA := s.move(t)
	b, bID, stopB := s.move(t)
	var all sync.WaitGroup
	channels := make([]*Channel, 20)
	for i := range channels {
		all.Go(func() {
			c, err := a.Channel(t.Context(), bID)
			if err != nil {
				t.Error(err)
			}
			channels[i] = c
		})
	}
	all.Wait()
	for _, c := range channels {
		if c != channels[0] || c.Node() != bID {
			t.Fatal("more than one channel to a node")
		}
	}
	eventually(t, "the other side has it too", func() bool { return len(b.Channels()) == 1 })
	back, err := b.Channel(t.Context(), aID)
	if err != nil || back.Outgoing() || s.dials != 1 {
		t.Errorf("outgoing %v, %d dials, %v", back.Outgoing(), s.dials, err)
	}
	channels[0].Close()
	eventually(t, "closed channels are forgotten", func() bool { return len(a.Channels()) == 0 })
	if c, err := a.Channel(t.Context(), bID); err != nil || c == channels[0] {
		t.Errorf("after it was closed: %v", err)
	}
	stopA()
	eventually(t, "the other side forgets", func() bool { return len(b.Channels()) == 0 })
	stopB()
	if _, err := a.Channel(t.Context(), bID); !errors.Is(err, errStopped) {
		t.Errorf("after the end: %v", err)
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

func TestManagerErrors(t *testing.T) {
	s := &street{addrs: make(map[identity.NodeID]string)}
	a, _, _ := s.move(t)
	_, bID, _ := s.move(t)
	nobody := identity.NodeID{1}
	if _, err := a.Channel(t.Context(), nobody); err == nil || !strings.Contains(err.Error(), "no such node") {
		t.Error(err)
	}
	s.mu.Lock()
	s.addrs[nobody] = s.addrs[bID]
	s.mu.Unlock()
	if _, err := a.Channel(t.Context(), nobody); !errors.Is(err, ErrWrongNode) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Channel(ctx, bID); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Connections that say nothing do not keep others out.
func TestSilentConnections(t *testing.T) {
	s := &street{addrs: make(map[identity.NodeID]string)}
	_, id, _ := s.move(t)
	from := func(addr string) net.Conn {
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}).Dial("tcp", s.addrs[id])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for i := range 30 { // addresses
		for range 10 {
			from(netip.AddrFrom4([4]byte{127, 0, 1, byte(i)}).String())
		}
	}
	other, _, _ := s.move(t)
	for range 20 {
		c, err := other.Channel(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		eventually(t, "it is closed", func() bool { return len(other.Channels()) == 0 })
	}
}
