package link

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"globalnet/lab/labtest"
	"globalnet/lab/netns"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// The tests on loopback run in a sandbox's namespace too, where it is down at first.
var loopbackUp = sync.OnceValue(func() error {
	if !netns.Inside() {
		return nil
	}
	return netlink.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1}})
})

// box is a namespace with interfaces, and maybe a node in it.
type box struct {
	*testNode
	t  *testing.T
	ns *netns.Namespace
	h  *netlink.Handle
}

func newBox(t *testing.T, name string) *box {
	t.Helper()
	b := &box{t: t, ns: labtest.Namespace(t, name)}
	var err error
	if b.h, err = b.ns.Netlink(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.h.Close)
	for _, name := range []string{"all", "default"} {
		if err := b.ns.Sysctl("net/ipv6/conf/"+name+"/accept_dad", "0"); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// node starts a node in the box, which listens on all addresses and uses those
// of the named interfaces.
func (b *box) node(tag byte, ifaces map[string]Class, change func(*Config)) *box {
	b.t.Helper()
	b.testNode = newTestNode(b.t, tag, func(c *Config) {
		c.Local = func() []LocalAddress { return b.local(ifaces) }
		if change != nil {
			change(c)
		}
	})
	b.enter = b.ns.Do
	var l net.Listener
	if err := b.ns.Do(func() (err error) {
		l, err = net.Listen("tcp", "[::]:18245")
		return err
	}); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Serve(ctx, l) }()
	b.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("Serve: %v", err)
		}
	})
	return b
}

func (b *box) local(ifaces map[string]Class) []LocalAddress {
	var list []LocalAddress
	for name, class := range ifaces {
		l, err := b.h.LinkByName(name)
		if err != nil {
			continue
		}
		addrs, _ := b.h.AddrList(l, netlink.FAMILY_ALL)
		for _, a := range addrs {
			if a.Flags&unix.IFA_F_TENTATIVE != 0 {
				continue
			}
			ip, _ := netip.AddrFromSlice(a.IP)
			if ip = ip.Unmap(); linkLocal6(ip) {
				ip = ip.WithZone(name)
			}
			list = append(list, LocalAddress{Addr: ip, Ifname: name, Class: class, MTU: l.Attrs().MTU})
		}
	}
	return list
}

// linkLocal returns the link-local address of an interface, with the zone that
// leads to it from ifname of another box.
func (b *box) linkLocal(name, zone string) netip.AddrPort {
	b.t.Helper()
	var found netip.Addr
	eventually(b.t, "no link-local address on "+name, func() bool {
		for _, l := range b.local(map[string]Class{name: Wire}) {
			if linkLocal6(l.Addr) {
				found = l.Addr.WithZone(zone)
				return true
			}
		}
		return false
	})
	return netip.AddrPortFrom(found, 18245)
}

func (b *box) up(name string, addrs ...string) {
	b.t.Helper()
	l, err := b.h.LinkByName(name)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, s := range addrs {
		a, err := netlink.ParseAddr(s)
		if err != nil {
			b.t.Fatal(err)
		}
		a.Flags |= unix.IFA_F_NODAD
		if err := b.h.AddrAdd(l, a); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := b.h.LinkSetUp(l); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) down(name string) {
	b.t.Helper()
	l, err := b.h.LinkByName(name)
	if err == nil {
		err = b.h.LinkSetDown(l)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// route sends everything to gateway.
func (b *box) route(gateway string) {
	b.t.Helper()
	err := b.h.RouteAdd(&netlink.Route{Gw: net.ParseIP(gateway)})
	if err != nil {
		b.t.Fatal(err)
	}
}

// cable joins interface ifA of a with ifB of b, and waits for their link-local addresses.
func cable(a *box, ifA string, b *box, ifB string, mac net.HardwareAddr) {
	a.t.Helper()
	err := a.h.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: ifA, HardwareAddr: mac},
		PeerName:  ifB, PeerNamespace: netlink.NsFd(b.ns.Fd()),
	})
	if err != nil {
		a.t.Fatal(err)
	}
	a.up(ifA)
	b.up(ifB)
	a.linkLocal(ifA, ifA)
	b.linkLocal(ifB, ifB)
}

// chain gives the box an nftables chain with one rule.
func (b *box) chain(family nftables.TableFamily, c nftables.Chain, rule ...expr.Any) {
	b.t.Helper()
	err := b.ns.Do(func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		c.Table = conn.AddTable(&nftables.Table{Family: family, Name: "test"})
		conn.AddRule(&nftables.Rule{Table: c.Table, Chain: conn.AddChain(&c), Exprs: rule})
		return conn.Flush()
	})
	if err != nil {
		b.t.Fatalf("nftables: %v", err)
	}
}

// masquerade hides what leaves by ifname behind its address, and lets in nothing
// that was not asked for.
func (b *box) masquerade(ifname string) {
	b.t.Helper()
	ifreq := make([]byte, 16)
	copy(ifreq, ifname)
	b.chain(nftables.TableFamilyIPv4, nftables.Chain{
		Name: "nat", Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: ifreq},
		&expr.Masq{})
	for name, hook := range map[string]*nftables.ChainHook{
		"forward": nftables.ChainHookForward, "input": nftables.ChainHookInput,
	} {
		b.chain(nftables.TableFamilyIPv4, nftables.Chain{
			Name: name, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter,
		},
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: ifreq},
			&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
			&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4,
				Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitNEW | expr.CtStateBitINVALID), Xor: make([]byte, 4)},
			&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
			&expr.Verdict{Kind: expr.VerdictDrop})
	}
	if err := b.ns.Sysctl("net/ipv4/ip_forward", "1"); err != nil {
		b.t.Fatal(err)
	}
}

// lose drops percent of what arrives at the box.
func (b *box) lose(percent uint32) {
	b.chain(nftables.TableFamilyINet, nftables.Chain{
		Name: "lose", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
	},
		&expr.Numgen{Register: 1, Modulus: 100, Type: unix.NFT_NG_RANDOM},
		&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binaryutil.NativeEndian.PutUint32(percent)},
		&expr.Verdict{Kind: expr.VerdictDrop})
}

// dial makes a link from b to other, and checks that both ends agree on it.
func (b *box) dial(other *box, at netip.AddrPort) (ours, theirs Established) {
	b.t.Helper()
	began := time.Now()
	est, err := b.Dial(b.t.Context(), DialTarget{Addr: at, Tag: other.cfg.Tag})
	if err != nil {
		b.t.Fatal(err)
	}
	took := time.Since(began)
	theirs = other.waitSwitch(b.t)
	if est.PresharedKey != theirs.PresharedKey || est.Initiator == theirs.Initiator || est.MTU != theirs.MTU {
		b.t.Errorf("the ends differ: %+v, %+v", est, theirs)
	}
	b.t.Logf("%v by %s: %v to %v", took, est.Ifname, est.Local, est.Remote)
	return *est, theirs
}

func bare(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port())
}

// sameCable checks that a link runs between the link-local addresses of two interfaces.
func sameCable(t *testing.T, a, b Established, ifA, ifB string, class Class) {
	t.Helper()
	switch {
	case a.Ifname != ifA || b.Ifname != ifB || a.Class != class || b.Class != class:
		t.Errorf("%s (%v) to %s (%v), want %s to %s (%v)", a.Ifname, a.Class, b.Ifname, b.Class, ifA, ifB, class)
	case a.Local.Addr().Zone() != ifA || a.Remote.Addr().Zone() != ifA || b.Local.Addr().Zone() != ifB || b.Remote.Addr().Zone() != ifB:
		t.Errorf("zones: %v to %v, %v to %v", a.Local, a.Remote, b.Local, b.Remote)
	case bare(a.Local) != bare(b.Remote) || bare(a.Remote) != bare(b.Local):
		t.Errorf("ends differ: %v to %v, %v to %v", a.Local, a.Remote, b.Local, b.Remote)
	}
}

// a (wlan1) ── (wlan2) b, with nothing but link-local addresses.
func TestLinkLocalOnly(t *testing.T) {
	a, b := newBox(t, "a"), newBox(t, "b")
	cable(a, "wlan1", b, "wlan2", nil)
	a.node(1, map[string]Class{"wlan1": Radio}, nil)
	b.node(2, map[string]Class{"wlan2": Radio}, nil)
	var times []time.Duration
	for i := range 40 {
		from, to, at, ifFrom, ifTo := a, b, b.linkLocal("wlan2", "wlan1"), "wlan1", "wlan2"
		if i%2 == 1 {
			from, to, at, ifFrom, ifTo = b, a, a.linkLocal("wlan1", "wlan2"), "wlan2", "wlan1"
		}
		began := time.Now()
		ours, theirs := from.dial(to, at)
		times = append(times, time.Since(began))
		sameCable(t, ours, theirs, ifFrom, ifTo, Radio)
		if ours.MTU != 1420 {
			t.Errorf("MTU %d", ours.MTU)
		}
		<-from.onSwitch
		waitIdle(t, to.testNode)
	}
	slices.Sort(times)
	t.Logf("whole sessions: median %v, slowest %v of %d", times[len(times)/2], times[len(times)-1], len(times))
}

// a ══ b: a cable and a radio, on which a has the same link-local address, as
// VLANs of one switch have. The cable is preferred, then, cut, the radio.
func TestTwoInterfaces(t *testing.T) {
	a, b := newBox(t, "a"), newBox(t, "b")
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 7}
	cable(a, "wlan1", b, "wlan2", mac)
	cable(a, "lan1", b, "lan2", mac)
	if a.linkLocal("wlan1", "") != a.linkLocal("lan1", "") {
		t.Fatal("the addresses differ")
	}
	a.node(1, map[string]Class{"wlan1": Radio, "lan1": Wire}, nil)
	b.node(2, map[string]Class{"wlan2": Radio, "lan2": Wire}, nil)
	wires := 0
	for range 5 { // the cable has a head start, no more: on a busy machine it may come too late
		ours, theirs := a.dial(b, b.linkLocal("wlan2", "wlan1"))
		if ours.Ifname == "lan1" {
			wires++
			sameCable(t, ours, theirs, "lan1", "lan2", Wire)
		} else {
			sameCable(t, ours, theirs, "wlan1", "wlan2", Radio)
		}
		<-a.onSwitch
		waitIdle(t, b.testNode)
	}
	if wires < 3 {
		t.Errorf("the cable was taken %d times of 5", wires)
	}
	b.down("lan2")
	ours, theirs := a.dial(b, b.linkLocal("wlan2", "wlan1"))
	sameCable(t, ours, theirs, "wlan1", "wlan2", Radio)
}

// Both have a cable, but it leads to someone else: what looks best does not work.
//
//	a (lan1) ── c ── (lan2) b
//	  (wlan1) ──────── (wlan2)
func TestBetterPathIsDead(t *testing.T) {
	a, b, c := newBox(t, "a"), newBox(t, "b"), newBox(t, "c")
	cable(a, "wlan1", b, "wlan2", nil)
	cable(a, "lan1", c, "c1", nil)
	cable(b, "lan2", c, "c2", nil)
	a.node(1, map[string]Class{"wlan1": Radio, "lan1": Wire}, nil)
	b.node(2, map[string]Class{"wlan2": Radio, "lan2": Wire}, nil)
	ours, theirs := a.dial(b, b.linkLocal("wlan2", "wlan1"))
	sameCable(t, ours, theirs, "wlan1", "wlan2", Radio)
}

// They signal over c but have no segment in common, and no internet: both learn
// that there is no path, and neither has switched.
func TestNoPath(t *testing.T) {
	a, b, c := newBox(t, "a"), newBox(t, "b"), newBox(t, "c")
	cable(a, "lan1", c, "c1", nil)
	cable(b, "lan2", c, "c2", nil)
	cable(a, "mesh1", b, "mesh2", nil)
	a.node(1, map[string]Class{"lan1": Wire}, nil)
	b.node(2, map[string]Class{"lan2": Wire}, nil)
	a.patience = 500 * time.Millisecond
	_, err := a.Dial(t.Context(), DialTarget{Addr: b.linkLocal("mesh2", "mesh1"), Tag: b.cfg.Tag})
	if !errors.Is(err, ErrNoPath) {
		t.Errorf("Dial: %v, want ErrNoPath", err)
	}
	b.waitCounter(t, endedNoPath, 1)
	if len(a.made())+len(b.made()) != 0 {
		t.Error("WireGuard was switched")
	}
}

// A radio is preferred to the internet, even if the internet answers first.
//
//	a (wan1 10.1.0.2) ── router ── (wan2 10.2.0.2) b
//	  (wlan1) ─────────────────────── (wlan2)
func TestRadioBeforeInternet(t *testing.T) {
	a, b, r := newBox(t, "a"), newBox(t, "b"), newBox(t, "r")
	cable(a, "wlan1", b, "wlan2", nil)
	internet(r, a, "wan1", "10.1.0")
	internet(r, b, "wan2", "10.2.0")
	ifaces := map[string]Class{"wlan1": Radio, "wan1": Internet, "wlan2": Radio, "wan2": Internet}
	a.node(1, ifaces, nil)
	b.node(2, ifaces, nil)
	at := netip.MustParseAddrPort("10.2.0.2:18245")
	ours, theirs := a.dial(b, at) // signalled over the internet
	sameCable(t, ours, theirs, "wlan1", "wlan2", Radio)
	<-a.onSwitch
	waitIdle(t, b.testNode)

	a.down("wlan1")
	if ours, _ = a.dial(b, at); ours.Class != Internet || ours.Remote.Addr() != at.Addr() {
		t.Errorf("without radio: %v by %v", ours.Remote, ours.Class)
	}
}

// internet joins b to router as prefix.2, with a route to everywhere.
func internet(router, b *box, ifname, prefix string) {
	cable(router, "to_"+ifname, b, ifname, nil)
	router.up("to_"+ifname, prefix+".1/24")
	b.up(ifname, prefix+".2/24")
	b.route(prefix + ".1")
	if err := router.ns.Sysctl("net/ipv4/ip_forward", "1"); err != nil {
		router.t.Fatal(err)
	}
}

// a ── NAT ── router ── b: a dials b, which has a public address.
func TestThroughNAT(t *testing.T) {
	a, b, r, nat := newBox(t, "a"), newBox(t, "b"), newBox(t, "r"), newBox(t, "nat")
	internet(r, nat, "wan1", "198.51.100")
	internet(r, b, "wan2", "203.0.113")
	internet(nat, a, "lan1", "192.168.1")
	nat.masquerade("wan1")
	a.node(1, map[string]Class{"lan1": Internet}, nil)
	b.node(2, map[string]Class{"wan2": Internet}, nil)
	ours, theirs := a.dial(b, netip.MustParseAddrPort("203.0.113.2:18245"))
	switch {
	case ours.Class != Internet || theirs.Class != Internet:
		t.Errorf("classes %v, %v", ours.Class, theirs.Class)
	case theirs.Remote.Addr() != netip.MustParseAddr("198.51.100.2"):
		t.Errorf("b's endpoint is %v, want the translator's", theirs.Remote)
	case ours.Observed.Addr() != netip.MustParseAddr("198.51.100.2"):
		t.Errorf("observed %v", ours.Observed)
	case !ours.Public || theirs.Public:
		t.Errorf("public: %v, %v", ours.Public, theirs.Public)
	}
}

// Both are behind translators that let nothing in; s answers STUN. They signal
// over another way, as nodes do that reach each other through the mesh.
//
//	a ── NAT ── router ── NAT ── b
//	│             s              │
//	└────────── (mesh) ──────────┘
func TestHolePunching(t *testing.T) {
	a, b, s, r := newBox(t, "a"), newBox(t, "b"), newBox(t, "s"), newBox(t, "r")
	nat1, nat2 := newBox(t, "nat1"), newBox(t, "nat2")
	internet(r, nat1, "wan1", "198.51.100")
	internet(r, nat2, "wan2", "203.0.113")
	internet(r, s, "wan3", "192.0.2")
	internet(nat1, a, "lan1", "192.168.1")
	internet(nat2, b, "lan2", "192.168.2")
	nat1.masquerade("wan1")
	nat2.masquerade("wan2")
	cable(a, "mesh1", b, "mesh2", nil)

	s.node(3, map[string]Class{"wan3": Internet}, nil)
	var conn net.PacketConn
	if err := s.ns.Do(func() (err error) {
		conn, err = net.ListenPacket("udp", "[::]:18245")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.ServeSTUN(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("ServeSTUN: %v", err)
		}
	})

	ask := func(c *Config) {
		c.STUN = func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:18245")} }
	}
	a.node(1, map[string]Class{"lan1": Internet}, ask)
	b.node(2, map[string]Class{"lan2": Internet}, ask)
	ours, theirs := a.dial(b, b.linkLocal("mesh2", "mesh1"))
	if ours.Remote.Addr() != netip.MustParseAddr("203.0.113.2") || theirs.Remote.Addr() != netip.MustParseAddr("198.51.100.2") {
		t.Errorf("a to %v, b to %v: want the translators' addresses", ours.Remote, theirs.Remote)
	}
	if n := s.Counters()[counterNames[stunAnswered]]; n < 2 {
		t.Errorf("%d STUN requests answered", n)
	}
}

// Every third packet is lost, in both directions: a node that tries again gets its link.
func TestLoss(t *testing.T) {
	a, b := newBox(t, "a"), newBox(t, "b")
	cable(a, "wlan1", b, "wlan2", nil)
	at := b.linkLocal("wlan2", "wlan1")
	a.node(1, map[string]Class{"wlan1": Radio}, nil)
	b.node(2, map[string]Class{"wlan2": Radio}, nil)
	a.lose(30)
	b.lose(30)
	for try := range 10 {
		began := time.Now()
		_, err := a.Dial(t.Context(), DialTarget{Addr: at, Tag: b.cfg.Tag})
		t.Logf("try %d: %v after %v", try+1, err, time.Since(began))
		if err == nil {
			return
		}
	}
	t.Error("no link")
}
