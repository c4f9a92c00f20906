package scenario

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"globalnet/lab/labtest"
)

// a - b on a cable; the link-local address of b changes, then its MAC as well
func TestAddressChange(t *testing.T) {
	l := start(t, "router a b\nwire a b")
	allReach(t, l)
	h, err := l.Node("b").Namespace().Netlink()
	must(t, err)
	defer h.Close()
	wire, err := h.LinkByName("wire-a")
	must(t, err)
	addrs, err := h.AddrList(wire, unix.AF_INET6)
	must(t, err)
	fresh := &netlink.Addr{
		IPNet: &net.IPNet{IP: net.ParseIP("fe80::b:2"), Mask: net.CIDRMask(64, 128)},
		Flags: unix.IFA_F_NODAD,
	}
	must(t, h.AddrAdd(wire, fresh))
	for _, a := range addrs {
		if a.IP.IsLinkLocalUnicast() {
			must(t, h.AddrDel(wire, &a))
		}
	}
	allReach(t, l)
	eventually(t, "the neighbours are linked over the new address", func() bool {
		n, ok := neighbour(t, l, "a", "b")
		return ok && n.State == "up" && strings.Contains(n.Endpoint, "fe80::b:2")
	})
	allReach(t, l)
}

// a ~ b ~ c; the loopback interface is emptied and taken down, as netifd does when the
// network of a router is restarted: the mesh address and its routes come back
func TestLoopbackEmptied(t *testing.T) {
	ip := labtest.RequireProgram(t, "ip")
	l := start(t, "router a b c\nradio a b\nradio b c")
	allReach(t, l)
	b := l.Node("b")
	for _, args := range [][]string{
		{"-6", "route", "flush", "dev", "lo"}, {"-6", "address", "flush", "dev", "lo", "scope", "global"},
		{"link", "set", "lo", "down"}, {"link", "set", "lo", "up"},
	} {
		_, err := b.Exec(t.Context(), ip, args...)
		must(t, err)
		if args[1] != "route" {
			eventually(t, "the mesh address is back", func() bool {
				out, err := b.Exec(t.Context(), ip, "-6", "address", "show", "dev", "lo", "to", "fd47:4e45::/32")
				return err == nil && len(out) > 0
			})
		}
	}
	allReach(t, l)
	eventually(t, "what cannot be reached goes nowhere", func() bool {
		out, err := b.Exec(t.Context(), ip, "-6", "route", "show", "table", "all", "type", "unreachable")
		return err == nil && strings.Contains(string(out), "fd47:4e45::/32")
	})
}

// a ~ b; an interface is there only after the agents have started
func TestHotplug(t *testing.T) {
	l := start(t, "router a b\nradio a b\nset * interface plug*")
	for _, name := range []string{"a", "b"} {
		if s := status(t, l, name); len(s.Neighbours) != 0 {
			t.Fatalf("%s has a neighbour on an interface it may not use", name)
		}
	}
	a, err := l.Node("a").Namespace().Netlink()
	must(t, err)
	defer a.Close()
	must(t, a.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "plug0"}, PeerName: "plug1",
		PeerNamespace: netlink.NsFd(l.Node("b").Namespace().Fd()),
	}))
	b, err := l.Node("b").Namespace().Netlink()
	must(t, err)
	defer b.Close()
	for h, name := range map[*netlink.Handle]string{a: "plug0", b: "plug1"} {
		link, err := h.LinkByName(name)
		must(t, err)
		must(t, h.LinkSetUp(link))
	}
	allReach(t, l)
	// And it goes again.
	link, err := a.LinkByName("plug0")
	must(t, err)
	must(t, a.LinkDel(link))
	eventually(t, "a forgets b", func() bool { return metric(t, l, "a", "b") == 0 })
}

// a ~ b; SIGTERM leaves nothing, and neither does a crash once the agent has started again
func TestNothingIsLeft(t *testing.T) {
	l := start(t, "router a b\nradio a b")
	allReach(t, l)
	if len(traces(t, l, "a")) < 4 {
		t.Fatalf("a running agent has only these traces: %q", traces(t, l, "a"))
	}
	must(t, l.Node("a").Terminate(5*time.Second))
	if left := traces(t, l, "a"); len(left) != 0 {
		t.Errorf("left after SIGTERM: %q", left)
	}
	must(t, l.Node("b").Kill())
	if len(traces(t, l, "b")) == 0 {
		t.Fatal("a killed agent cannot have cleaned up: the test looks in the wrong place")
	}
	out, err := l.Node("b").Exec(context.Background(), labtest.Agent(t)[0],
		"cleanup", "--config", l.Node("b").Dir()+"/globalnet.conf")
	if err != nil {
		t.Errorf("cleanup: %v\n%s", err, out)
	}
	if left := traces(t, l, "b"); len(left) != 0 {
		t.Errorf("left after cleanup: %q", left)
	}
	must(t, l.Node("a").Restart())
	must(t, l.Node("b").Restart())
	allReach(t, l)
}

// a and b are in one private network, c in the public one, d has the wrong
// passphrase, and all hear each other
func TestPrivateNetwork(t *testing.T) {
	l := start(t, `router a b c d
segment hall a b c d
set a network street
set a passphrase correct-horse
set b network street
set b passphrase correct-horse
set d network street
set d passphrase wrong-horse`)
	reach(t, l, "a", "b")
	time.Sleep(5 * time.Second) // several announcements
	for _, name := range []string{"a", "b"} {
		if n := len(status(t, l, name).Neighbours); n != 1 {
			t.Errorf("%s has %d neighbours, want 1", name, n)
		}
	}
	for _, name := range []string{"c", "d"} {
		if n := len(status(t, l, name).Neighbours); n != 0 {
			t.Errorf("%s has %d neighbours, want none", name, n)
		}
	}
	for _, n := range l.Routers() {
		log, err := os.ReadFile(n.LogPath())
		must(t, err)
		if strings.Contains(string(log), "horse") {
			t.Errorf("the log of %s holds the passphrase", n.Name)
		}
	}
}

// a ~ b; the configuration is read again: the link stays as it is
func TestReloadKeepsLinks(t *testing.T) {
	l := start(t, "router a b\nradio a b")
	allReach(t, l)
	before, ok := neighbour(t, l, "a", "b")
	if !ok {
		t.Fatal("a has no link to b")
	}
	path := l.Node("a").Dir() + "/globalnet.conf"
	text, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, []byte(strings.Replace(string(text), "\toption identity", "\toption log_level 'debug'\n\toption max_neighbours '7'\n\toption identity", 1)), 0o600))
	must(t, unix.Kill(l.Node("a").Pid(), unix.SIGHUP))
	eventually(t, "the log says so", func() bool {
		log, _ := os.ReadFile(l.Node("a").LogPath())
		return strings.Contains(string(log), "configuration reloaded")
	})
	after, ok := neighbour(t, l, "a", "b")
	if !ok || after.Endpoint != before.Endpoint || after.RxBytes < before.RxBytes {
		t.Errorf("the link was %+v, it is %+v", before, after)
	}
	// A reload that cannot be read changes nothing.
	must(t, os.WriteFile(path, []byte("config globalnet 'main'\n\toption listen_port 'many'\n"), 0o600))
	must(t, unix.Kill(l.Node("a").Pid(), unix.SIGHUP))
	eventually(t, "the log says that it stays", func() bool {
		log, _ := os.ReadFile(l.Node("a").LogPath())
		return strings.Contains(string(log), "not reloaded")
	})
	allReach(t, l)
}

// a - b, and a ~ b: a cable and a radio; each goes in turn and the link moves on
func TestLinkMovesAmongInterfaces(t *testing.T) {
	l := start(t, "router a b\nwire a b\nradio a b")
	allReach(t, l)
	must(t, l.Cut("a", "b")) // the cable; the radio is cut with it
	eventually(t, "a notices", func() bool { return metric(t, l, "a", "b") == 0 })
	must(t, l.Heal("a", "b"))
	allReach(t, l)
	h, err := l.Node("a").Namespace().Netlink()
	must(t, err)
	defer h.Close()
	for range 2 {
		n, ok := neighbour(t, l, "a", "b")
		if !ok {
			t.Fatal("no link")
		}
		link, err := h.LinkByName(n.Via)
		must(t, err)
		addrs, err := h.AddrList(link, unix.AF_INET6) // they go with the interface
		must(t, err)
		must(t, h.LinkSetDown(link))
		eventually(t, "the link moves to another interface", func() bool {
			now, ok := neighbour(t, l, "a", "b")
			return ok && now.State == "up" && now.Via != n.Via
		})
		allReach(t, l)
		must(t, h.LinkSetUp(link))
		for _, a := range addrs {
			must(t, h.AddrReplace(link, &netlink.Addr{IPNet: a.IPNet, Flags: unix.IFA_F_NODAD}))
		}
	}
	eventually(t, "the link returns to the cable", func() bool {
		n, ok := neighbour(t, l, "a", "b")
		return ok && n.State == "up" && n.Class == "wire"
	})
	allReach(t, l)
}

// a ~ b ~ c     b is told to end; a and c go by d at once
//
//	\     /
//	 ~ d ~
func TestEndIsAnnounced(t *testing.T) {
	l := start(t, "router a b c d\nradio a b c\nradio a d loss=5%\nradio d c loss=5%")
	allReach(t, l)
	must(t, l.Node("b").Terminate(5*time.Second))
	eventually(t, "nobody has a route by b", func() bool {
		id, err := l.Node("b").ID()
		must(t, err)
		for _, r := range status(t, l, "a").Routes {
			if r.Selected && r.Neighbour == id.String() {
				return false
			}
		}
		return true
	})
	reach(t, l, "a", "c", "d")
}
