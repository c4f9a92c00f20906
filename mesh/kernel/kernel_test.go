package kernel_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"globalnet/mesh"
	"globalnet/mesh/kernel"
	"globalnet/mesh/kernel/kerneltest"
)

// newKernel opens a kernel in the namespace of the tests and cleans up after it.
func newKernel(t testing.TB) *kernel.Kernel {
	t.Helper()
	kerneltest.Require(t)
	k, err := kernel.New(kernel.Config{ForceUserspace: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Cleanup(context.Background()); err != nil {
			t.Error(err)
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func run(t testing.TB, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", argv, err, out)
	}
	return string(out)
}

func count(t testing.TB, part string, argv ...string) int {
	t.Helper()
	return strings.Count(run(t, argv...), part)
}

const allForwarding = "/proc/sys/net/ipv6/conf/all/forwarding"

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// An address whose route in the kernel's table is gone is there, but nothing arrives.
func TestSetAddressWithoutRoute(t *testing.T) {
	k := newKernel(t)
	for range 2 {
		if err := k.SetAddress(t.Context(), netip.MustParseAddr("fd47:4e45::a")); err != nil {
			t.Fatal(err)
		}
		if count(t, "local fd47:4e45::a dev lo", "ip", "-6", "route", "show", "table", "local") != 1 {
			t.Fatal("the address has no route")
		}
		if out, err := exec.Command("ip", "-6", "route", "del", "local", "fd47:4e45::a", "dev", "lo", "table", "local").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

func TestSetAddress(t *testing.T) {
	k := newKernel(t)
	ctx := context.Background()
	a, b := netip.MustParseAddr("fd47:4e45::a"), netip.MustParseAddr("fd47:4e45::b")
	forwarding := read(t, allForwarding)
	for _, addr := range []netip.Addr{a, a, b} {
		if err := k.SetAddress(ctx, addr); err != nil {
			t.Fatal(err)
		}
		if n := count(t, "fd47:4e45:", "ip", "-6", "addr", "show", "dev", "lo"); n != 1 {
			t.Errorf("%d mesh addresses on lo, 1 expected", n)
		}
		if n := count(t, addr.String()+"/128", "ip", "-6", "addr", "show", "dev", "lo"); n != 1 {
			t.Errorf("lo does not have %v", addr)
		}
		if n := count(t, "18245:\tfrom all to fd47:4e45::/32 lookup 18245", "ip", "-6", "rule"); n != 1 {
			t.Errorf("%d rules, 1 expected", n)
		}
		if n := count(t, "unreachable fd47:4e45::/32", "ip", "-6", "route", "show", "table", "18245"); n != 1 {
			t.Errorf("%d unreachable routes, 1 expected", n)
		}
	}
	if got := read(t, allForwarding); got != "1" {
		t.Errorf("forwarding is %s", got)
	}
	if _, err := net.Dial("udp6", "[fd47:4e45::77]:9"); err == nil {
		t.Error("an address of the mesh to which there is no route can be dialled")
	}
	if err := k.SetAddress(ctx, netip.MustParseAddr("fd00::1")); err == nil {
		t.Error("an address outside the mesh was accepted")
	}
	for range 2 {
		if err := k.Cleanup(ctx); err != nil {
			t.Fatal(err)
		}
		if n := count(t, "fd47", "ip", "-6", "addr") + count(t, "18245", "ip", "-6", "rule") + count(t, "fd47", "ip", "-6", "route", "show", "table", "all"); n != 0 {
			t.Errorf("%d things left after cleanup", n)
		}
		if got := read(t, allForwarding); got != forwarding {
			t.Errorf("forwarding is %s after cleanup, %s before", got, forwarding)
		}
	}
}

// TestAcceptRA: joining a mesh must not cost a laptop the uplink it learned from
// router advertisements.
func TestAcceptRA(t *testing.T) {
	k := newKernel(t)
	addVeth(t, "ra0", "ra1")
	if err := k.SetAddress(context.Background(), netip.MustParseAddr("fd47:4e45::a")); err != nil {
		t.Fatal(err)
	}
	const path = "/proc/sys/net/ipv6/conf/ra0/accept_ra"
	if got := read(t, path); got != "2" {
		t.Errorf("accept_ra is %s, 2 expected", got)
	}
	if err := k.Cleanup(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != "1" {
		t.Errorf("accept_ra is %s after cleanup, 1 expected", got)
	}
}

// TestCleanupAfterCrash leaves what a killed run leaves, and things of others that
// look alike.
func TestCleanupAfterCrash(t *testing.T) {
	k := newKernel(t)
	ctx := context.Background()
	addVeth(t, "gn-foreign", "other1")
	addVeth(t, "gn-ours", "other2")
	run(t, "ip", "link", "set", "gn-ours", "alias", kernel.Alias)
	run(t, "ip", "tuntap", "add", "gn-tun", "mode", "tun")
	run(t, "ip", "link", "set", "other1", "up")
	run(t, "ip", "-6", "addr", "add", "fd47:4e45::dead/128", "dev", "lo")
	run(t, "ip", "-6", "addr", "add", "fd00::1/128", "dev", "lo")
	t.Cleanup(func() { run(t, "ip", "-6", "addr", "del", "fd00::1/128", "dev", "lo") })
	run(t, "ip", "-6", "rule", "add", "to", "fd47:4e45::/32", "lookup", "18245", "priority", "18245")
	run(t, "ip", "-6", "rule", "add", "to", "fd99::/16", "lookup", "18245", "priority", "18245")
	run(t, "ip", "-6", "rule", "add", "to", "fd98::/16", "lookup", "18245", "priority", "99")
	t.Cleanup(func() { run(t, "ip", "-6", "rule", "del", "priority", "99") })
	run(t, "ip", "-6", "route", "add", "fd47:4e45::1/128", "dev", "other1", "table", "18245", "proto", "71")
	run(t, "ip", "-6", "route", "add", "fd47:4e45::2/128", "dev", "other1", "table", "18245", "proto", "static")
	if err := k.Cleanup(ctx); err != nil {
		t.Fatal(err)
	}
	links := run(t, "ip", "link")
	for name, want := range map[string]bool{"gn-foreign": true, "gn-ours": false, "gn-tun": false} {
		if strings.Contains(links, name) != want {
			t.Errorf("interface %s is there: %v", name, !want)
		}
	}
	rules := run(t, "ip", "-6", "rule")
	if strings.Contains(rules, "18245:") || !strings.Contains(rules, "99:") {
		t.Errorf("rules: %s", rules)
	}
	routes := run(t, "ip", "-6", "route", "show", "table", "18245")
	if strings.Contains(routes, "fd47:4e45::1 ") || !strings.Contains(routes, "fd47:4e45::2 ") {
		t.Errorf("routes: %s", routes)
	}
	addrs := run(t, "ip", "-6", "addr", "show", "dev", "lo")
	if strings.Contains(addrs, "fd47:") || !strings.Contains(addrs, "fd00::1") {
		t.Errorf("addresses of lo: %s", addrs)
	}
}

func addVeth(t testing.TB, name, peer string) {
	t.Helper()
	run(t, "ip", "link", "add", name, "type", "veth", "peer", "name", peer)
	t.Cleanup(func() {
		if l, err := netlink.LinkByName(peer); err == nil {
			if err := netlink.LinkDel(l); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestInterfaces(t *testing.T) {
	k := newKernel(t)
	addVeth(t, "if0", "if1")
	run(t, "ip", "link", "set", "if0", "mtu", "1400", "alias", "radio", "up")
	run(t, "ip", "addr", "add", "192.0.2.1/24", "dev", "if0")
	run(t, "ip", "addr", "add", "2001:db8::1/64", "dev", "if0", "nodad")
	run(t, "ip", "addr", "add", "2001:db8::2/64", "dev", "if0", "nodad", "preferred_lft", "0")
	run(t, "ip", "addr", "add", "2001:db8::3/64", "dev", "if0") // tentative while there is no carrier
	addVeth(t, "gn-x", "if2")
	get := func() mesh.Interface {
		t.Helper()
		list, err := k.Interfaces(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var found mesh.Interface
		for _, i := range list {
			if i.Name == "gn-x" {
				t.Error("an interface of ours is listed")
			}
			if i.Name == "lo" && (!i.Loopback || i.Radio) {
				t.Errorf("loopback: %+v", i)
			}
			if i.Name == "if0" {
				found = i
			}
		}
		return found
	}
	i := get()
	want := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("2001:db8::1/64")}
	if !slices.Equal(i.Addresses, want) {
		t.Errorf("addresses %v, %v expected", i.Addresses, want)
	}
	if i.Up || !i.Radio || !i.Multicast || i.Loopback || i.MTU != 1400 || i.Index == 0 {
		t.Errorf("without carrier: %+v", i)
	}
	run(t, "ip", "link", "set", "if1", "up")
	wait(t, "carrier", func() bool { return get().Up })
}

// wait waits until a condition holds.
func wait(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// expect reads changes until one of ifname comes.
func expect(t testing.TB, k *kernel.Kernel, ifname string) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case c := <-k.Changes():
			if strings.HasPrefix(c.Ifname, mesh.LinkPrefix) {
				t.Errorf("a change of an interface of ours: %+v", c)
			}
			if c.Kind == mesh.InterfacesChanged && c.Ifname == ifname {
				return
			}
		case <-timeout:
			t.Fatalf("no change of %q", ifname)
		}
	}
}

// drain reads changes until there are none for a moment.
func drain(k *kernel.Kernel) (n int) {
	for {
		select {
		case <-k.Changes():
			n++
		case <-time.After(100 * time.Millisecond):
			return n
		}
	}
}

func TestChanges(t *testing.T) {
	k := newKernel(t)
	addVeth(t, "ch0", "ch1")
	expect(t, k, "ch0")
	drain(k)
	run(t, "ip", "link", "set", "ch0", "up")
	expect(t, k, "ch0")
	drain(k)
	run(t, "ip", "addr", "add", "192.0.2.1/24", "dev", "ch0")
	expect(t, k, "ch0")
	drain(k)
	addVeth(t, "gn-y", "ch2")
	run(t, "ip", "link", "set", "gn-y", "up")
	run(t, "ip", "link", "del", "ch0")
	expect(t, k, "ch1")
}

// TestChangesOverflow changes interfaces faster than anybody reads: nothing grows,
// and the reader learns of it.
func TestChangesOverflow(t *testing.T) {
	k := newKernel(t)
	addVeth(t, "of0", "of1")
	l, err := netlink.LinkByName("of0")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5000 {
		if err := netlink.LinkSetMTU(l, 1400+i%2); err != nil {
			t.Fatal(err)
		}
	}
	if n := drain(k); n < 1 || n > 1000 {
		t.Errorf("%d changes delivered of 5000, fewer expected", n)
	}
	run(t, "ip", "link", "set", "of0", "up")
	expect(t, k, "of0")
}

func TestReplaceRoute(t *testing.T) {
	k := newKernel(t)
	ctx := context.Background()
	src := netip.MustParseAddr("fd47:4e45::a")
	if err := k.SetAddress(ctx, src); err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][2]string{{"rt0", "rt1"}, {"rt2", "rt3"}} {
		addVeth(t, pair[0], pair[1])
		run(t, "ip", "link", "set", pair[0], "up")
		run(t, "ip", "link", "set", pair[1], "up")
	}
	r := mesh.Route{
		Destination: netip.MustParsePrefix("fd47:4e45::b/128"),
		Gateway:     netip.MustParseAddr("fe80::1"), Ifname: "rt0", Source: src,
	}
	for _, change := range []func(){func() {}, func() {}, func() { r.Gateway = netip.MustParseAddr("fe80::2") }, func() { r.Ifname = "rt2" }} {
		change()
		if err := k.ReplaceRoute(ctx, r); err != nil {
			t.Fatal(err)
		}
		out := run(t, "ip", "-6", "-d", "route", "show", "table", "18245")
		if strings.Count(out, "fd47:4e45::b") != 1 {
			t.Errorf("the route is not there once:\n%s", out)
		}
		for _, part := range []string{"via " + r.Gateway.String(), "dev " + r.Ifname, "src " + src.String(), "onlink", "proto 71"} {
			if !strings.Contains(out, part) {
				t.Errorf("%q is missing in\n%s", part, out)
			}
		}
	}
	for range 2 {
		if err := k.RemoveRoute(ctx, r.Destination); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, "fd47:4e45::b", "ip", "-6", "route", "show", "table", "18245"); n != 0 {
		t.Error("the route is still there")
	}
	r.Ifname = "missing"
	if err := k.ReplaceRoute(ctx, r); err == nil {
		t.Error("a route through an interface that is not there was accepted")
	}
}

func TestCalls(t *testing.T) {
	k := newKernel(t)
	good := mesh.LinkConfig{Name: "gn-a", LinkLocal: netip.MustParseAddr("fe80::1"), MTU: 1420}
	bad := map[string]func(*mesh.LinkConfig){
		"foreign name":     func(l *mesh.LinkConfig) { l.Name = "eth0" },
		"long name":        func(l *mesh.LinkConfig) { l.Name = "gn-0123456789abc" },
		"global address":   func(l *mesh.LinkConfig) { l.LinkLocal = netip.MustParseAddr("2001:db8::1") },
		"small MTU":        func(l *mesh.LinkConfig) { l.MTU = 1279 },
		"endpoint no zone": func(l *mesh.LinkConfig) { l.Endpoint = netip.MustParseAddrPort("[fe80::2]:1") },
	}
	for name, spoil := range bad {
		l := good
		spoil(&l)
		if err := k.SetLink(context.Background(), l); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := k.RemoveLink(context.Background(), "lo"); err == nil {
		t.Error("removing lo was accepted")
	}
	if err := k.RemoveLink(context.Background(), "gn-missing"); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := k.SetLink(ctx, good); err == nil {
		t.Error("a call with a cancelled context was carried out")
	}
}

// TestNoPrivilege asks for what it may not do, and must hear how to get it.
func TestNoPrivilege(t *testing.T) {
	k := newKernel(t)
	if err := k.SetAddress(context.Background(), netip.MustParseAddr("fd47:4e45::a")); err != nil {
		t.Fatal(err)
	}
	errc := make(chan error)
	go func() {
		// The thread loses its capabilities and ends with the goroutine.
		runtime.LockOSThread()
		var hdr unix.CapUserHeader
		hdr.Version = unix.LINUX_CAPABILITY_VERSION_3
		var data [2]unix.CapUserData
		if err := unix.Capset(&hdr, &data[0]); err != nil {
			errc <- err
			return
		}
		errc <- k.SetAddress(context.Background(), netip.MustParseAddr("fd47:4e45::b"))
	}()
	if err := <-errc; err == nil || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("error %v, a word on CAP_NET_ADMIN expected", err)
	}
}
