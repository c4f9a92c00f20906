package kernel_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"globalnet/mesh"
	"globalnet/mesh/kernel/kerneltest"
)

// modes runs a test with WireGuard of each kind that there is.
func modes(t *testing.T, test func(t *testing.T, o kerneltest.Options)) {
	t.Run("fast", func(t *testing.T) { test(t, kerneltest.Options{Userspace: true}) })
	t.Run("small", func(t *testing.T) { test(t, kerneltest.Options{Userspace: true, Small: true}) })
	if kerneltest.NativeWireGuard(t) {
		t.Run("native", func(t *testing.T) { test(t, kerneltest.Options{}) })
	}
}

func ping(t testing.TB, l *kerneltest.Line, from, to int) {
	t.Helper()
	if _, err := l.Nodes[from].Ping(l.Address(to), 15*time.Second); err != nil {
		t.Fatalf("node %d: %v", from, err)
	}
}

func noPing(t testing.TB, l *kerneltest.Line, from, to int) {
	t.Helper()
	if _, err := l.Nodes[from].Ping(l.Address(to), 300*time.Millisecond); err == nil {
		t.Fatalf("node %d still reaches node %d", from, to)
	}
}

func setLink(t testing.TB, n *kerneltest.Node, c mesh.LinkConfig) {
	t.Helper()
	if err := n.SetLink(c); err != nil {
		t.Fatal(err)
	}
}

func show(t testing.TB, n *kerneltest.Node, argv ...string) string {
	t.Helper()
	out, err := n.Exec(argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func ifindex(t testing.TB, n *kerneltest.Node, ifname string) string {
	t.Helper()
	index, _, _ := strings.Cut(show(t, n, "ip", "-o", "link", "show", "dev", ifname), ":")
	return index
}

func stats(t testing.TB, n *kerneltest.Node, ifname string) mesh.LinkStats {
	t.Helper()
	all, err := n.LinkStats()
	if err != nil {
		t.Fatal(err)
	}
	s, ok := all[ifname]
	if !ok {
		t.Fatalf("no counters of %s", ifname)
	}
	return s
}

// TestInterfaceOfLink looks at the interface as the kernel shows it.
func TestInterfaceOfLink(t *testing.T) {
	modes(t, func(t *testing.T, o kerneltest.Options) {
		l := newLine(t, 2, o)
		c := l.Links[0].Left
		look := func() {
			t.Helper()
			out := show(t, l.Nodes[0], "ip", "-d", "addr", "show", "dev", c.Name) + show(t, l.Nodes[0], "ip", "-d", "link", "show", "dev", c.Name)
			for _, part := range []string{"MULTICAST", ",UP", "alias globalnet", fmt.Sprintf("mtu %d", c.MTU), "inet6 " + c.LinkLocal.String() + "/64 scope link nodad", "addrgenmode none"} {
				if !strings.Contains(out, part) {
					t.Errorf("%q is missing in\n%s", part, out)
				}
			}
			if strings.Count(out, "inet6") != 1 || strings.Contains(out, "tentative") {
				t.Errorf("one usable address expected in\n%s", out)
			}
		}
		look()
		c.MTU = 1300
		c.LinkLocal = netip.MustParseAddr("fe80::99")
		setLink(t, l.Nodes[0], c)
		look()
	})
}

// TestEndpointChange moves both ends of a link to other addresses and ports, to
// IPv4 and back; the interface, its routes and the session must survive.
func TestEndpointChange(t *testing.T) {
	modes(t, func(t *testing.T, o kerneltest.Options) {
		l := newLine(t, 2, o)
		left, right := l.Nodes[0], l.Nodes[1]
		for i, n := range l.Nodes {
			ifname := "eth1"
			if i == 1 {
				ifname = "eth0"
			}
			if err := n.AddAddress(ifname, netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/24", i+1))); err != nil {
				t.Fatal(err)
			}
			if err := n.AddAddress(ifname, netip.MustParsePrefix(fmt.Sprintf("2001:db8::%d/64", i+1))); err != nil {
				t.Fatal(err)
			}
		}
		ping(t, l, 0, 1)
		index := ifindex(t, left, "gn-right")
		handshake := stats(t, left, "gn-right").LastHandshake
		if handshake.IsZero() {
			t.Error("no handshake in the counters")
		}
		c := l.Links[0]
		for i, addrs := range [][2]string{{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8::2"}, {c.Right.Endpoint.Addr().WithZone("").String() + "%eth0", c.Left.Endpoint.Addr().String()}} {
			c.Left.ListenPort, c.Right.ListenPort = uint16(18300+i), uint16(18310+i)
			c.Right.Endpoint = netip.AddrPortFrom(netip.MustParseAddr(addrs[0]), c.Left.ListenPort)
			c.Left.Endpoint = netip.AddrPortFrom(netip.MustParseAddr(addrs[1]), c.Right.ListenPort)
			setLink(t, right, c.Right)
			setLink(t, left, c.Left)
			ping(t, l, 0, 1)
			ping(t, l, 1, 0)
			for n, want := range map[*kerneltest.Node]netip.AddrPort{left: c.Left.Endpoint, right: c.Right.Endpoint} {
				name := map[bool]string{true: "gn-right", false: "gn-left"}[n == left]
				if s := stats(t, n, name); s.Endpoint != want {
					t.Errorf("endpoint %v, %v expected", s.Endpoint, want)
				}
			}
			// The kernel opens one socket for each family, we one for both.
			port := fmt.Sprintf(":%d ", c.Left.ListenPort)
			if out := show(t, left, "ss", "-Hlnu"); strings.Count(out, port) != strings.Count(out, ":18") || !strings.Contains(out, port) {
				t.Errorf("sockets:\n%s", out)
			}
		}
		if got := ifindex(t, left, "gn-right"); got != index {
			t.Error("the interface was made anew")
		}
		if got := stats(t, left, "gn-right").LastHandshake; got != handshake {
			t.Errorf("another handshake at %v, the session of %v expected to last", got, handshake)
		}
	})
}

// TestKeyChange gives the link new keys, as after a restart of the neighbour.
func TestKeyChange(t *testing.T) {
	l := newLine(t, 2, kerneltest.Options{})
	ping(t, l, 0, 1)
	before := stats(t, l.Nodes[0], "gn-right").LastHandshake
	fresh, err := kerneltest.NewLink("gn-right", "gn-left")
	if err != nil {
		t.Fatal(err)
	}
	old := l.Links[0]
	fresh.Left.ListenPort, fresh.Left.Endpoint = old.Left.ListenPort, old.Left.Endpoint
	fresh.Right.ListenPort, fresh.Right.Endpoint = old.Right.ListenPort, old.Right.Endpoint
	// While only one side has them, nothing passes.
	setLink(t, l.Nodes[1], fresh.Right)
	noPing(t, l, 0, 1)
	setLink(t, l.Nodes[0], fresh.Left)
	ping(t, l, 0, 1)
	wait(t, "a newer handshake", func() bool { return stats(t, l.Nodes[0], "gn-right").LastHandshake.After(before) })
	// A wrong preshared key is as good as none.
	wrong := fresh.Left
	wrong.PresharedKey[0] ^= 1
	setLink(t, l.Nodes[0], wrong)
	noPing(t, l, 0, 1)
}

// TestRepeatedHandshake: the first handshake is lost because the neighbour is not
// there yet; SetLink repeated must not wait for WireGuard's timer of five seconds.
func TestRepeatedHandshake(t *testing.T) {
	l := newLine(t, 2, kerneltest.Options{})
	left, right, c := l.Nodes[0], l.Nodes[1], l.Links[0]
	for n, name := range map[*kerneltest.Node]string{left: "gn-right", right: "gn-left"} {
		if err := n.RemoveLink(name); err != nil {
			t.Fatal(err)
		}
	}
	setLink(t, left, c.Left)
	setLink(t, right, c.Right)
	begin := time.Now()
	wait(t, "a handshake", func() bool {
		setLink(t, left, c.Left)
		time.Sleep(50 * time.Millisecond)
		return !stats(t, left, "gn-right").LastHandshake.IsZero()
	})
	if d := time.Since(begin); d > 4*time.Second {
		t.Errorf("the handshake took %v", d)
	}
}

// TestPortHandover: the port is still held when the link is set.
func TestPortHandover(t *testing.T) {
	modes(t, func(t *testing.T, o kerneltest.Options) {
		l := newLine(t, 2, o)
		c := l.Links[0].Left
		c.ListenPort = 18260
		if err := l.Nodes[0].HoldPort(c.ListenPort, 100*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		setLink(t, l.Nodes[0], c)
		ping(t, l, 0, 1)
		// The same for a new link.
		if err := l.Nodes[0].RemoveLink(c.Name); err != nil {
			t.Fatal(err)
		}
		if err := l.Nodes[0].HoldPort(c.ListenPort, 100*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		setLink(t, l.Nodes[0], c)
		// One that is not given back is an error.
		if err := l.Nodes[0].HoldPort(18261, time.Minute); err != nil {
			t.Fatal(err)
		}
		c.ListenPort = 18261
		if err := l.Nodes[0].SetLink(c); err == nil {
			t.Error("a port that another holds was accepted")
		}
		c.ListenPort = 18262
		setLink(t, l.Nodes[0], c)
		if err := l.Route(); err != nil {
			t.Fatal(err)
		}
		ping(t, l, 0, 1)
	})
}

// TestNothingLeft: after RemoveLink nothing of the link is left, and links that
// come and go leave nothing behind.
func TestNothingLeft(t *testing.T) {
	modes(t, func(t *testing.T, o kerneltest.Options) {
		l := newLine(t, 2, o)
		n, c := l.Nodes[0], l.Links[0].Left
		ping(t, l, 0, 1)
		if err := n.RemoveLink(c.Name); err != nil {
			t.Fatal(err)
		}
		usage := func() kerneltest.Usage {
			t.Helper()
			u, err := n.Usage(true)
			if err != nil {
				t.Fatal(err)
			}
			return u
		}
		base := usage()
		for range 5 {
			setLink(t, n, c)
			if err := l.Route(); err != nil {
				t.Fatal(err)
			}
			ping(t, l, 0, 1)
			for range 2 {
				if err := n.RemoveLink(c.Name); err != nil {
					t.Fatal(err)
				}
			}
		}
		if out := show(t, n, "ip", "link"); strings.Contains(out, "gn-") {
			t.Errorf("interfaces left:\n%s", out)
		}
		if out := show(t, n, "ip", "-6", "route", "show", "table", "18245"); strings.Contains(out, "gn-") {
			t.Errorf("routes left:\n%s", out)
		}
		var u kerneltest.Usage
		wait(t, "goroutines and descriptors to go", func() bool {
			u = usage()
			return u.Goroutines <= base.Goroutines && u.Sockets <= base.Sockets && u.Files <= base.Files
		})
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestForeignInterface: somebody deletes our interface, or made one of its name.
func TestForeignInterface(t *testing.T) {
	l := newLine(t, 2, kerneltest.Options{})
	n, c := l.Nodes[0], l.Links[0].Left
	show(t, n, "ip", "link", "del", c.Name)
	setLink(t, n, c)
	if err := l.Route(); err != nil {
		t.Fatal(err)
	}
	ping(t, l, 0, 1)
	if err := n.RemoveLink(c.Name); err != nil {
		t.Fatal(err)
	}
	show(t, n, "ip", "link", "add", c.Name, "type", "veth", "peer", "name", "x")
	setLink(t, n, c)
	if err := l.Route(); err != nil {
		t.Fatal(err)
	}
	ping(t, l, 0, 1)
}

func TestSpeaker(t *testing.T) {
	l := newLine(t, 2, kerneltest.Options{})
	type result struct {
		got string
		err error
	}
	results := make([]chan result, 2)
	for i, name := range []string{"gn-right", "gn-left"} {
		results[i] = make(chan result, 1)
		go func() {
			got, err := l.Nodes[i].Babel(name, fmt.Sprintf("hello of %d", i))
			results[i] <- result{got, err}
		}()
	}
	for i, want := range []string{"fe80::2 hello of 1", "fe80::1 hello of 0"} {
		if r := <-results[i]; r.err != nil || r.got != want {
			t.Errorf("node %d received %q, %v; %q expected", i, r.got, r.err, want)
		}
	}
}
