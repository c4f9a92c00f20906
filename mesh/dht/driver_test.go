package dht_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"globalnet/mesh/dht"
	"globalnet/mesh/dht/dhttest"
)

// hub joins connections in memory; a datagram takes a millisecond.
type hub struct {
	mu    sync.Mutex
	conns map[netip.Addr]*conn
}

type conn struct {
	hub  *hub
	addr netip.AddrPort
	in   chan datagram
	stop chan struct{}
	once sync.Once
}

type datagram struct {
	from netip.AddrPort
	data []byte
}

func (h *hub) conn(addr netip.Addr) *conn {
	c := &conn{hub: h, addr: netip.AddrPortFrom(addr, dht.Port), in: make(chan datagram, 256), stop: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns[addr] = c
	return c
}

func (c *conn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case d := <-c.in:
		return copy(b, d.data), d.from, nil
	case <-c.stop:
		return 0, netip.AddrPort{}, os.ErrDeadlineExceeded
	}
}

func (c *conn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	c.hub.mu.Lock()
	other := c.hub.conns[to.Addr()]
	c.hub.mu.Unlock()
	if other == nil {
		return 0, errors.New("no route")
	}
	d := datagram{c.addr, append([]byte(nil), b...)}
	time.AfterFunc(time.Millisecond, func() {
		select {
		case other.in <- d:
		default:
		}
	})
	return len(b), nil
}

func (c *conn) SetReadDeadline(time.Time) error {
	c.once.Do(func() { close(c.stop) })
	return nil
}

func TestNodesPublishAndGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{conns: make(map[netip.Addr]*conn)}
		net := dhttest.New(1)
		ctx, cancel := context.WithCancel(t.Context())
		var nodes []*dht.Node
		var addrs []netip.Addr
		var running sync.WaitGroup
		for i := range 6 {
			addrs = append(addrs, net.RandomAddr())
			n := dht.NewNode(dht.Config{
				Self: addrs[i], Rand: rand.New(rand.NewChaCha8([32]byte{byte(i)})), Membership: true,
			}, slog.New(slog.DiscardHandler))
			nodes = append(nodes, n)
			c := h.conn(addrs[i])
			running.Go(func() {
				if err := n.Run(ctx, c); err != nil {
					t.Errorf("node %d: %v", i, err)
				}
			})
		}
		for i, n := range nodes {
			for j, a := range addrs {
				if i != j {
					n.SetReachable(a, "")
				}
			}
		}
		time.Sleep(5 * time.Second)
		p := publication(1, []byte("hello"))
		put, err := nodes[0].Publish(ctx, p)
		if err != nil || put.Stored != 6 || put.Of != 6 {
			t.Fatalf("stored on %d of %d: %v", put.Stored, put.Of, err)
		}
		got, err := nodes[5].Get(ctx, p.Type, key(p))
		if err != nil || got.Record == nil || string(got.Record.Value) != "hello" {
			t.Fatalf("got %+v, %v", got, err)
		}
		looked, err := nodes[3].Lookup(ctx, key(p))
		if err != nil || len(looked.Result.Closest) != 5 {
			t.Errorf("lookup found %v, %v", looked.Result.Closest, err)
		}
		if s, err := nodes[2].Status(ctx); err != nil || s.Estimate != 6 || s.Records != 1 {
			t.Errorf("status %+v, %v", s, err)
		}
		if m, err := nodes[2].Counters(ctx); err != nil || m["dht_stores_accepted"] != 1 {
			t.Errorf("counters %v, %v", m, err)
		}
		// All end at once: nobody is there to take what they hand on.
		cancel()
		running.Wait()
		if _, err := nodes[0].Get(t.Context(), p.Type, key(p)); !errors.Is(err, dht.ErrClosed) {
			t.Errorf("get after the end: %v", err)
		}
	})
}

// A request whose caller gave up leaves nothing behind that blocks the loop.
func TestNodeSurvivesImpatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{conns: make(map[netip.Addr]*conn)}
		net := dhttest.New(2)
		self, ghost := net.RandomAddr(), net.RandomAddr()
		n := dht.NewNode(dht.Config{Self: self, Rand: rand.New(rand.NewChaCha8([32]byte{}))}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- n.Run(ctx, h.conn(self)) }()
		n.SetReachable(ghost, "") // nobody answers there
		time.Sleep(time.Second)
		brief, stop := context.WithTimeout(ctx, 10*time.Millisecond)
		defer stop()
		if _, err := n.Get(brief, dht.TypeGeneric, dht.Key{1}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("impatient get: %v", err)
		}
		got, err := n.Get(ctx, dht.TypeGeneric, dht.Key{1})
		if err != nil || got.Record != nil {
			t.Errorf("patient get: %+v, %v", got, err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// A node that has nobody to hand anything on to ends at once.
func TestLoneNodeEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hub{conns: make(map[netip.Addr]*conn)}
		self := dhttest.New(3).RandomAddr()
		n := dht.NewNode(dht.Config{Self: self, Rand: rand.New(rand.NewChaCha8([32]byte{}))}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- n.Run(ctx, h.conn(self)) }()
		time.Sleep(time.Minute)
		cancel()
		begin := time.Now()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("it took %v", d)
		}
	})
}

// The driver runs on a real socket: here two on ::1 cannot be, their addresses are no
// mesh addresses, but packets of strangers are refused and the node ends.
func TestNodeOnSocket(t *testing.T) {
	c, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Skip(err)
	}
	defer c.Close()
	n := dht.NewNode(dht.Config{Self: dhttest.New(3).RandomAddr(), Rand: rand.New(rand.NewChaCha8([32]byte{}))}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- n.Run(ctx, c) }()
	other, err := net.Dial("udp6", c.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for {
		other.Write([]byte("not for us"))
		m, err := n.Counters(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m["dht_packets_malformed"] > 0 {
			break
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
