package exit_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/channel"
	"globalnet/onion/circuit"
	"globalnet/onion/exit"
	"globalnet/onion/layer"
	"globalnet/onion/ntor"
	"globalnet/onion/policy"
	"globalnet/onion/relay"
	"globalnet/onion/stream"
)

// loopback is an Underlay where everybody is on loopback.
type loopback map[identity.NodeID]string

func (l loopback) DialNode(ctx context.Context, id identity.NodeID) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", l[id])
}

// dialer closes the circle of relay and manager.
type dialer struct{ *channel.Manager }

// start starts a node and returns its manager, and its exit made by newExit.
func start(t *testing.T, nodes loopback, newExit func(self identity.NodeID) *exit.Exit) (*channel.Manager, circuit.Hop, *exit.Exit) {
	t.Helper()
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ntor.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	d := new(dialer)
	e := newExit(id.NodeID())
	r := relay.New(relay.Config{Identity: id, OnionKey: key, Dialer: d, Exit: e})
	d.Manager = channel.NewManager(channel.Config{Identity: id, Accept: r}, nodes, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nodes[id.NodeID()] = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	running.Go(func() { d.Manager.Run(ctx, l) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return d.Manager, circuit.Hop{Node: id.NodeID(), OnionKey: key.Public(), Suite: layer.ChaCha}, e
}

func TestThroughACircuit(t *testing.T) {
	page := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if b, _ := io.ReadAll(c); string(b) == "GET" {
					c.Write(page)
				}
			}()
		}
	}()
	server := netip.MustParseAddrPort(l.Addr().String())
	secret := []byte("sixteen octets..")
	nodes := make(loopback)
	none := func(self identity.NodeID) *exit.Exit { return exit.New(exit.Config{Self: self}) }
	client, _, _ := start(t, nodes, none)
	_, middle, _ := start(t, nodes, none)
	_, last, e := start(t, nodes, func(self identity.NodeID) *exit.Exit {
		p, err := policy.Parse("all", nil)
		if err != nil {
			t.Fatal(err)
		}
		p.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		return exit.New(exit.Config{Self: self, Policy: p, Secret: secret, ServePorts: []uint16{server.Port()}})
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	fetch := func(secret []byte, target cell.Target) ([]byte, error) {
		t.Helper()
		ch, err := client.Channel(ctx, middle.Node)
		if err != nil {
			t.Fatal(err)
		}
		hop := last
		hop.Secret = secret
		c, err := circuit.Build(ctx, ch, []circuit.Hop{middle, hop})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := c.Open(target, []byte("GET"))
		if err != nil {
			t.Fatal(err)
		}
		s.CloseWrite()
		return io.ReadAll(s)
	}
	outside := cell.Target{Addr: server.Addr(), Port: server.Port()}
	refused := func(err error) bool {
		end := (*stream.EndError)(nil)
		return errors.As(err, &end) && end.Reason == cell.EndPolicy
	}
	if _, err := fetch(nil, outside); !refused(err) {
		t.Errorf("without the secret: %v", err)
	}
	if _, err := fetch([]byte("another secret.."), outside); !refused(err) {
		t.Errorf("with another secret: %v", err)
	}
	if b, err := fetch(secret, outside); err != nil || !bytes.Equal(b, page) {
		t.Errorf("with the secret: %d bytes, %v", len(b), err)
	}
	if s := e.Stats(); s.RefusedSecret != 2 || s.BytesIn != uint64(len(page)) || s.BytesOut != 3 {
		t.Errorf("%+v", s)
	}
	if b, err := fetch(nil, cell.Target{Node: last.Node, Port: server.Port()}); err != nil || !bytes.Equal(b, page) {
		t.Errorf("a port of the node itself: %d bytes, %v", len(b), err)
	}
	e.SetLimits(exit.Limits{BytesPerMonth: 1 << 21})
	if b, err := fetch(secret, outside); !refused(err) || len(b) == len(page) {
		t.Errorf("beyond the month's bytes: %d bytes, %v", len(b), err)
	}
	for deadline := time.Now().Add(10 * time.Second); e.Stats().Open > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("connections stay: %+v", e.Stats())
		}
	}
}
