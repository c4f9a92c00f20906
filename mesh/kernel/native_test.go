package kernel_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"globalnet/mesh/kernel"
	"globalnet/mesh/kernel/kerneltest"
)

// requireNative skips a test where the kernel has no WireGuard: the virtual
// laboratory runs it (make vm-test).
func requireNative(t *testing.T) {
	t.Helper()
	if !kerneltest.NativeWireGuard(t) {
		t.Skip("the kernel has no WireGuard")
	}
}

// TestNativeIsUsed: without a word to the contrary, the links are the kernel's.
func TestNativeIsUsed(t *testing.T) {
	requireNative(t)
	l := newLine(t, 2, kerneltest.Options{})
	ping(t, l, 0, 1)
	if out := show(t, l.Nodes[0], "ip", "-d", "link", "show", "dev", "gn-right"); !strings.Contains(out, " wireguard ") {
		t.Errorf("not the kernel's WireGuard:\n%s", out)
	}
}

// TestNativeAndUserspace joins one end in the kernel with one in this process, both
// ways, with traffic in both directions.
func TestNativeAndUserspace(t *testing.T) {
	requireNative(t)
	l := newLine(t, 3, kerneltest.Options{Mixed: true})
	for i, want := range []int{1, 0, 1} {
		out := show(t, l.Nodes[i], "ip", "-d", "-o", "link", "show", "type", "wireguard")
		if n := min(strings.Count(out, "gn-"), 1); n != want {
			t.Errorf("node %d has WireGuard in the kernel: %d, %d expected", i, n, want)
		}
	}
	ping(t, l, 0, 2)
	ping(t, l, 2, 0)
}

// TestNativeUnchanged repeats SetLink with the same and with another MTU under a
// session; the session, its counters and the interface stay.
func TestNativeUnchanged(t *testing.T) {
	requireNative(t)
	l := newLine(t, 2, kerneltest.Options{})
	left, c := l.Nodes[0], l.Links[0].Left
	ping(t, l, 0, 1)
	before, index := stats(t, left, c.Name), ifindex(t, left, c.Name)
	for _, mtu := range []int{c.MTU, c.MTU, 1300} {
		c.MTU = mtu
		setLink(t, left, c)
		// Once the session is there, it does not matter who began.
		c.Handshake = !c.Handshake
		setLink(t, left, c)
	}
	ping(t, l, 0, 1)
	after := stats(t, left, c.Name)
	if after.LastHandshake != before.LastHandshake || after.RxBytes <= before.RxBytes || after.Endpoint != before.Endpoint {
		t.Errorf("counters %+v, before %+v", after, before)
	}
	if got := ifindex(t, left, c.Name); got != index {
		t.Error("the interface was made anew")
	}
}

// TestNativeCrash: kernel interfaces outlive their process. The next run removes
// them, and one that it does not remove it takes over.
func TestNativeCrash(t *testing.T) {
	requireNative(t)
	ctx := context.Background()
	link, err := kerneltest.NewLink("gn-left", "gn-right")
	if err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParseAddr("fd47:4e45::a")
	open := func() *kernel.Kernel {
		t.Helper()
		k, err := kernel.New(kernel.Config{})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	left := func() string { return run(t, "ip", "-o", "link", "show", "type", "wireguard") }
	crashed := open()
	if err := crashed.SetAddress(ctx, addr); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"gn-one", "gn-two"} {
		l := link.Left
		l.Name, l.ListenPort = name, uint16(18250+i)
		if err := crashed.SetLink(ctx, l); err != nil {
			t.Fatal(err)
		}
	}
	if err := crashed.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(left(), "gn-"); n != 2 {
		t.Fatalf("%d interfaces after the crash, 2 expected", n)
	}
	k := open()
	defer k.Close()
	taken := link.Right
	taken.Name, taken.ListenPort = "gn-one", 18312
	if err := k.SetLink(ctx, taken); err != nil {
		t.Fatal(err)
	}
	s, err := k.LinkStats(ctx)
	if err != nil || len(s) != 1 {
		t.Errorf("counters %+v, %v; those of the interface taken over expected", s, err)
	}
	if err := k.Cleanup(ctx); err != nil {
		t.Fatal(err)
	}
	if out := left(); out != "" {
		t.Errorf("interfaces left:\n%s", out)
	}
	if n := count(t, "fd47:4e45:", "ip", "-6", "addr"); n != 0 {
		t.Error("the mesh address is left")
	}
}

// TestNativeFirstHandshakeLost: the neighbour's port opens late, and nothing is
// asked of SetLink again: WireGuard's own timer must bring the link up.
func TestNativeFirstHandshakeLost(t *testing.T) {
	requireNative(t)
	l := newLine(t, 2, kerneltest.Options{})
	left, right, c := l.Nodes[0], l.Nodes[1], l.Links[0]
	for n, name := range map[*kerneltest.Node]string{left: c.Left.Name, right: c.Right.Name} {
		if err := n.RemoveLink(name); err != nil {
			t.Fatal(err)
		}
	}
	setLink(t, left, c.Left)
	time.Sleep(100 * time.Millisecond) // the handshake is sent and lost
	setLink(t, right, c.Right)
	wait(t, "a handshake", func() bool { return !stats(t, left, c.Left.Name).LastHandshake.IsZero() })
}
