package lab_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"globalnet/lab"
	"globalnet/lab/labtest"
	"globalnet/lab/topology"
)

func TestMain(m *testing.M) { labtest.Main(m) }

func start(t *testing.T, text string, o lab.Options) *lab.Lab {
	t.Helper()
	labtest.Require(t)
	top, err := topology.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	l := lab.New(top, o)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := l.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// address returns the link-local address of a node's interface.
func address(t *testing.T, l *lab.Lab, node, ifname string) netip.Addr {
	t.Helper()
	h, err := l.Node(node).Namespace().Netlink()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	link, err := h.LinkByName(ifname)
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := h.AddrList(link, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if ip, _ := netip.AddrFromSlice(a.IP); ip.IsLinkLocalUnicast() {
			return ip.WithZone(ifname)
		}
	}
	t.Fatalf("%s has no link-local address on %s", node, ifname)
	return netip.Addr{}
}

type link struct {
	t    *testing.T
	p    *lab.Pinger
	to   netip.Addr
	name string
}

// carrier reports whether a node's interface has one.
func carrier(t *testing.T, l *lab.Lab, node, ifname string) bool {
	t.Helper()
	h, err := l.Node(node).Namespace().Netlink()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	link, err := h.LinkByName(ifname)
	if err != nil {
		t.Fatal(err)
	}
	return link.Attrs().OperState == netlink.OperUp
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func apply(t *testing.T, l *lab.Lab, change string) {
	t.Helper()
	if err := l.Apply(strings.Fields(change)); err != nil {
		t.Fatalf("%s: %v", change, err)
	}
}

// newLink pings from one node to the interface of another over the segment they share.
func newLink(t *testing.T, l *lab.Lab, from, fromIf, to, toIf string) link {
	t.Helper()
	p, err := lab.NewPinger(l.Node(from).Namespace())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return link{t, p, address(t, l, to, toIf).WithZone(fromIf), from + "→" + to}
}

func (k link) works() {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := k.p.Until(ctx, k.to, 50*time.Millisecond); err != nil {
		k.t.Errorf("%s: %v", k.name, err)
	}
}

func (k link) dead() {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if _, err := k.p.Until(ctx, k.to, 50*time.Millisecond); err == nil {
		k.t.Errorf("%s: still reaches", k.name)
	}
}

// a ~ b ~ c on one channel: b hears both, a and c do not hear each other.
func TestRadio(t *testing.T) {
	l := start(t, "host a b c\nradio a b c", lab.Options{})
	ab, ac := newLink(t, l, "a", "radio1", "b", "radio1"), newLink(t, l, "a", "radio1", "c", "radio1")
	ab.works()
	ac.dead()
	apply(t, l, "cut a b")
	ab.dead()
	apply(t, l, "heal a b")
	ab.works()
	apply(t, l, "loss b a 100% one-way")
	ab.dead()
	apply(t, l, "loss b a 0%")
	ab.works()
	apply(t, l, "partition a / b,c")
	ab.dead()
	apply(t, l, "heal")
	ab.works()
}

// Positions: a walks out of b's reach and back.
func TestMove(t *testing.T) {
	l := start(t, "host a b\nplace a 0 0\nplace b 50 0\nrange 100", lab.Options{})
	ab := newLink(t, l, "a", "radio1", "b", "radio1")
	ab.works()
	apply(t, l, "move a -51 0")
	ab.dead()
	apply(t, l, "move a 0 0")
	ab.works()
}

func TestDelay(t *testing.T) {
	l := start(t, "host a b\nradio a b delay=30ms", lab.Options{})
	ab := newLink(t, l, "a", "radio1", "b", "radio1")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if rtt, err := ab.p.Until(ctx, ab.to, time.Second); err != nil || rtt < 60*time.Millisecond {
		t.Errorf("round trip %v, %v; want at least twice the delay", rtt, err)
	}
}

func TestWire(t *testing.T) {
	l := start(t, "host a b c\nwire a b c", lab.Options{})
	ab, bc := newLink(t, l, "a", "wire-b", "b", "wire-a"), newLink(t, l, "b", "wire-c", "c", "wire-b")
	ab.works()
	bc.works()

	apply(t, l, "silent a b")
	ab.dead()
	bc.works()
	if !carrier(t, l, "a", "wire-b") || !carrier(t, l, "b", "wire-a") {
		t.Error("a silent wire took the carrier away")
	}
	apply(t, l, "heal a b")
	ab.works()

	apply(t, l, "cut a b")
	until(t, "no carrier at both ends", func() bool { return !carrier(t, l, "a", "wire-b") && !carrier(t, l, "b", "wire-a") })
	if !carrier(t, l, "b", "wire-c") {
		t.Error("another wire lost its carrier")
	}
	apply(t, l, "heal")
	until(t, "carrier at both ends", func() bool { return carrier(t, l, "a", "wire-b") && carrier(t, l, "b", "wire-a") })
	ab.works()

	apply(t, l, "partition a / b,c")
	ab.dead()
	bc.works()
	apply(t, l, "heal")
	ab.works()
}

func TestSegment(t *testing.T) {
	l := start(t, "host a b c\nsegment hall a b c", lab.Options{})
	ab, ac := newLink(t, l, "a", "wire-hall", "b", "wire-hall"), newLink(t, l, "a", "wire-hall", "c", "wire-hall")
	ab.works()
	ac.works()
	apply(t, l, "silent b hall")
	ab.dead()
	ac.works()
	apply(t, l, "heal b hall")
	ab.works()
}

func TestBadChanges(t *testing.T) {
	l := start(t, "host a b\nradio a b", lab.Options{})
	for _, change := range []string{
		"", "fly a", "cut a", "cut a nobody", "cut nobody a", "move a x y", "move nobody 1 2",
		"loss a b 200%", "loss a nobody 1%", "loss a a 1%", "kill a", "kill nobody", "partition a / nobody", "rate a b fast",
	} {
		if err := l.Apply(strings.Fields(change)); err == nil {
			t.Errorf("%q was accepted", change)
		}
	}
}
