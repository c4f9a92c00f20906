package link

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"globalnet/internal/identity"
)

// testNode is an Engine that listens on loopback, and what its Handler was told.
type testNode struct {
	*Engine
	id   *identity.Identity
	addr netip.AddrPort

	mu       sync.Mutex
	switched []Established
	round    int
	admit    func(Peer) error
	peers    []PeerAddress
	onSwitch chan Established

	failSwitch atomic.Bool
}

func (n *testNode) Admit(_ context.Context, p Peer) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.admit != nil {
		return n.admit(p)
	}
	return nil
}

func (n *testNode) Switch(_ context.Context, est Established) error {
	if n.failSwitch.Load() {
		return errors.New("no such luck")
	}
	// The port must be free on all addresses by now.
	c, err := net.ListenUDP("udp", &net.UDPAddr{Port: int(est.Port)})
	if err != nil {
		return err
	}
	c.Close()
	n.mu.Lock()
	n.switched = append(n.switched, est)
	n.mu.Unlock()
	n.onSwitch <- est
	return nil
}

func (n *testNode) Peers(context.Context, identity.NodeID) []PeerAddress { return n.peers }

func (n *testNode) made() []Established {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.switched
}

func (n *testNode) waitSwitch(t *testing.T) Established {
	t.Helper()
	select {
	case est := <-n.onSwitch:
		return est
	case <-time.After(10 * time.Second):
		t.Fatal("no link was made")
	}
	panic("unreachable")
}

var testKey = NetworkKey("test", "")

func testTag(b byte) (t Tag) {
	for i := range t {
		t[i] = b
	}
	return t
}

func loopback() []LocalAddress {
	return []LocalAddress{{Addr: netip.MustParseAddr("127.0.0.1"), Ifname: "lo", Class: Wire, MTU: 65536}}
}

// newTestNode makes a node of tag b; change may alter its configuration.
func newTestNode(t testing.TB, b byte, change func(*Config)) *testNode {
	t.Helper()
	if err := loopbackUp(); err != nil {
		t.Fatal(err)
	}
	seed := make([]byte, 32)
	seed[0] = b
	id, err := identity.FromSeed(seed)
	if err != nil {
		t.Fatal(err)
	}
	n := &testNode{id: id, onSwitch: make(chan Established, 1000)}
	cfg := Config{Identity: id, NetworkKey: testKey, Tag: testTag(b), Local: loopback, Handler: n, PortMin: 40000, PortMax: 40999}
	if os.Getenv("LINK_DEBUG") != "" {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})).With("self", b)
	}
	if change != nil {
		change(&cfg)
	}
	if n.Engine, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	n.starts = newBuckets(1000, time.Millisecond, maxSources) // all tests have one source
	return n
}

// serve lets the node listen on address until the test ends.
func (n *testNode) serve(t testing.TB, address string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	n.addr = addrPortOf(l.Addr())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func (n *testNode) target() DialTarget { return DialTarget{Addr: n.addr, Tag: n.cfg.Tag} }

func TestSessionOverLoopback(t *testing.T) {
	for _, c := range []struct {
		name   string
		dialer byte // 1 is lower than the server's tag: controlling
	}{{"controlling client", 1}, {"controlled client", 9}} {
		t.Run(c.name, func(t *testing.T) {
			server := newTestNode(t, 5, nil)
			server.serve(t, "127.0.0.1:0")
			client := newTestNode(t, c.dialer, nil)
			target := server.target()
			began := time.Now()
			got, err := client.Dial(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("session took %v", time.Since(began))
			other := server.waitSwitch(t)
			switch {
			case got.Node != server.id.NodeID() || other.Node != client.id.NodeID():
				t.Error("wrong nodes")
			case got.Remote.Port() != other.Port || other.Remote.Port() != got.Port:
				t.Errorf("ports differ: %v, %v", got, other)
			case got.PresharedKey != other.PresharedKey || got.PresharedKey == Secret{}:
				t.Error("preshared keys differ")
			case got.PeerKey == other.PeerKey || got.PrivateKey == other.PrivateKey:
				t.Error("keys are not of each side")
			case got.Initiator == other.Initiator || got.Initiator != (c.dialer < 5):
				t.Error("wrong roles")
			case !got.Outgoing || other.Outgoing:
				t.Error("wrong direction")
			case got.Ifname != "lo" || got.Class != Wire || got.MTU != 65456:
				t.Errorf("ifname %s, class %v, MTU %d", got.Ifname, got.Class, got.MTU)
			case !got.Observed.IsValid() || got.Observed.Addr() != netip.MustParseAddr("127.0.0.1"):
				t.Errorf("observed %v", got.Observed)
			}
		})
	}
}

func TestDialErrors(t *testing.T) {
	server := newTestNode(t, 5, nil)
	server.serve(t, "127.0.0.1:0")
	stranger, _ := identity.Generate()
	for _, c := range []struct {
		name   string
		change func(*Config)
		target DialTarget
		want   error
	}{
		{"other passphrase", func(c *Config) { c.NetworkKey = NetworkKey("test", "secret") }, server.target(), ErrWrongNetwork},
		{"other tag", nil, DialTarget{Addr: server.addr, Tag: testTag(6)}, ErrWrongNetwork},
		{"other node", nil, DialTarget{Addr: server.addr, Tag: testTag(5), Node: stranger.NodeID()}, ErrWrongNode},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := newTestNode(t, 1, c.change)
			if _, err := client.Dial(t.Context(), c.target); !errors.Is(err, c.want) {
				t.Errorf("Dial: %v, want %v", err, c.want)
			}
		})
	}
}
