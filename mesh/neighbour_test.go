package mesh

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/mesh/link"
	"globalnet/mesh/peers"
)

// newTestNode is a node that does not run: the test is its loop.
func newTestNode(t *testing.T, most int) *Node {
	t.Helper()
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	n, err := New(Config{
		Identity: id, NetworkKey: []byte("key"), Kernel: &recordingKernel{},
		Log: slog.New(slog.DiscardHandler), Rand: rng,
		ListenPort: 1, PortMin: 2, PortMax: 3,
		Book:     peers.New(id.NodeID(), rng),
		Settings: Settings{MaxNeighbours: most, UseInterface: func(Interface) bool { return true }},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.childCtx = t.Context()
	return n
}

func node(b byte) identity.NodeID { return identity.NodeID{0: b, 31: 1} }

// fakeConn is a speaker's connection that hears nothing.
type fakeConn struct{ sent int }

func (c *fakeConn) Send([]byte, netip.Addr) error { c.sent++; return nil }
func (c *fakeConn) Receive([]byte) (int, netip.Addr, error) {
	return 0, netip.Addr{}, errors.New("closed")
}
func (c *fakeConn) Close() error { return nil }

// up makes a link with a node, as a session would.
func up(t *testing.T, n *Node, now time.Time, id identity.NodeID, tag link.Tag) *neighbour {
	t.Helper()
	if err := n.admit(now, link.Peer{Node: id, Tag: tag}); err != nil {
		t.Fatal(err)
	}
	n.linkMade(now, link.Established{Node: id, Tag: tag, MTU: 1420, Ifname: "radio0"}, LinkConfig{}, &fakeConn{})
	return n.neighbours[id]
}

func TestAdmit(t *testing.T) {
	now := time.Now()
	tag := link.Tag{1}
	t.Run("ourselves", func(t *testing.T) {
		n := newTestNode(t, 4)
		if err := n.admit(now, link.Peer{Node: n.id, Tag: tag}); !errors.Is(err, link.ErrRefused) {
			t.Errorf("error %v, want ErrRefused", err)
		}
	})
	t.Run("too many", func(t *testing.T) {
		n := newTestNode(t, 2)
		up(t, n, now, node(1), link.Tag{1})
		up(t, n, now, node(2), link.Tag{2})
		if err := n.admit(now, link.Peer{Node: node(3), Tag: tag}); !errors.Is(err, link.ErrBusy) {
			t.Errorf("error %v, want ErrBusy", err)
		}
		n.lostNeighbour(now, n.neighbours[node(1)], "test")
		if err := n.admit(now, link.Peer{Node: node(3), Tag: tag}); err != nil {
			t.Errorf("a failed neighbour does not make room: %v", err)
		}
		if n.neighbours[node(1)] != nil || n.neighbours[node(2)] == nil {
			t.Error("the wrong neighbour made room")
		}
	})
	t.Run("again at once", func(t *testing.T) {
		n := newTestNode(t, 4)
		up(t, n, now, node(1), tag)
		if err := n.admit(now.Add(admitInterval/2), link.Peer{Node: node(1), Tag: tag}); !errors.Is(err, link.ErrDuplicate) {
			t.Errorf("error %v, want ErrDuplicate", err)
		}
		if err := n.admit(now.Add(admitInterval), link.Peer{Node: node(1), Tag: tag}); err != nil {
			t.Errorf("later it may: %v", err)
		}
	})
	t.Run("it has restarted", func(t *testing.T) {
		n := newTestNode(t, 4)
		up(t, n, now, node(1), tag)
		if err := n.admit(now, link.Peer{Node: node(1), Tag: link.Tag{9}}); err != nil {
			t.Errorf("a new tag is a new start: %v", err)
		}
	})
	t.Run("the same interface name", func(t *testing.T) {
		n := newTestNode(t, 4)
		up(t, n, now, node(1), tag)
		twin := node(1)
		twin[20] = 1 // differs after the first 60 bits
		if err := n.admit(now, link.Peer{Node: twin, Tag: link.Tag{9}}); !errors.Is(err, link.ErrRefused) {
			t.Errorf("error %v, want ErrRefused", err)
		}
		if n.neighbours[node(1)] == nil {
			t.Error("the first one lost its place")
		}
	})
}

func TestNewLinkWithoutBabelIsGivenUp(t *testing.T) {
	n := newTestNode(t, 4)
	now := time.Now()
	nb := up(t, n, now, node(1), link.Tag{1})
	n.checkNeighbours(now.Add(firstHello))
	if nb.state != stateUp {
		t.Fatal("given up too early")
	}
	n.checkNeighbours(now.Add(firstHello + time.Millisecond))
	if nb.state != stateFailed {
		t.Fatal("a link that carries nothing is not given up")
	}
	n.checkNeighbours(now.Add(firstHello + neighbourLife + time.Second))
	if n.neighbours[node(1)] != nil || n.byIfname[nb.ifname] != nil {
		t.Error("a neighbour that failed for long is still there")
	}
}

func TestInterfaceDownTakesItsLinksDown(t *testing.T) {
	n := newTestNode(t, 4)
	now := time.Now()
	nb := up(t, n, now, node(1), link.Tag{1})
	n.setInterfaces(now, []Interface{{Name: "radio0", Index: 1, Up: true}})
	if nb.state != stateUp {
		t.Fatal("the link went down with its interface up")
	}
	n.setInterfaces(now, []Interface{{Name: "radio0", Index: 1, Up: false}})
	if nb.state != stateFailed {
		t.Error("the link stays up without its interface")
	}
}

func TestRestartedNeighbourForgetsItsOldTag(t *testing.T) {
	n := newTestNode(t, 4)
	now := time.Now()
	up(t, n, now, node(1), link.Tag{1})
	n.seen.add(now, "radio0", link.Tag{1}, netip.MustParseAddrPort("[fe80::1%radio0]:1"))
	n.linkMade(now.Add(time.Second), link.Established{Node: node(1), Tag: link.Tag{2}, MTU: 1420, Ifname: "radio0"}, LinkConfig{}, nil)
	if _, _, ok := n.seen.best(link.Tag{1}, n.isRadio); ok {
		t.Error("the tag of its earlier life would still be dialled")
	}
	if nb := n.neighbours[node(1)]; nb.restarts != 1 || nb.heard {
		t.Errorf("restarts %d, heard %v; want 1, false", nb.restarts, nb.heard)
	}
}

func TestPathClass(t *testing.T) {
	n := newTestNode(t, 4)
	n.interfaces = []Interface{
		{Name: "wlan0", Radio: true, Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}},
		{Name: "wan", Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.2/24")}},
	}
	for _, test := range []struct {
		ifname, remote string
		want           link.Class
	}{
		{"wlan0", "fe80::1%wlan0", link.Radio},
		{"wlan0", "10.0.0.7", link.Radio},
		{"wlan0", "10.0.1.7", link.Internet},
		{"wan", "fe80::1%wan", link.Wire},
		{"wan", "198.51.100.9", link.Wire},
		{"wan", "203.0.113.9", link.Internet},
		{"gone", "fe80::1%gone", link.Internet},
	} {
		if got := n.pathClass(test.ifname, netip.MustParseAddr(test.remote)); got != test.want {
			t.Errorf("%s over %s is %v, want %v", test.remote, test.ifname, got, test.want)
		}
	}
}

func TestDirectPathsAreCheaperThanTheInternet(t *testing.T) {
	if 7*linkCost(link.Radio) >= linkCost(link.Internet) || linkCost(link.Wire) >= linkCost(link.Radio) {
		t.Errorf("costs: wire %d, radio %d, internet %d", linkCost(link.Wire), linkCost(link.Radio), linkCost(link.Internet))
	}
}

func TestCallsAfterTheEndReturn(t *testing.T) {
	n := newTestNode(t, 4)
	close(n.ended)
	if _, err := n.Status(context.Background()); !errors.Is(err, ErrStopped) {
		t.Errorf("error %v, want ErrStopped", err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	c := LinkConfig{PrivateKey: Secret{1, 2, 3}, PresharedKey: Secret{4, 5, 6}}
	var out []byte
	h := slog.NewTextHandler(writerFunc(func(p []byte) (int, error) { out = append(out, p...); return len(p), nil }), nil)
	slog.New(h).Info("x", "conf", c, "key", c.PrivateKey)
	for _, s := range []string{"1 2 3", "4 5 6", "010203", "AQID"} {
		if bytes.Contains(out, []byte(s)) {
			t.Errorf("the log holds a key: %s", out)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A node without anything has nothing to do, and says so at any time.
func TestHousekeepingOfALoneNode(t *testing.T) {
	n := newTestNode(t, 4)
	now := time.Now()
	for range 1000 {
		n.housekeep(now)
		now = now.Add(time.Second)
	}
	if n.counters["dials"] != 0 {
		t.Errorf("%d dials to nobody", n.counters["dials"])
	}
}
