package lab_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

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
	if err := l.Cut("a", "b"); err != nil {
		t.Fatal(err)
	}
	ab.dead()
	if err := l.Heal("a", "b"); err != nil {
		t.Fatal(err)
	}
	ab.works()
	if err := l.SetQuality("b", "a", "loss", "100%", true); err != nil {
		t.Fatal(err)
	}
	ab.dead()
}
