package scenario

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"globalnet/lab"
	"globalnet/mesh/babel/wire"
)

// inject sends a Babel packet from a router's interface as its agent would, port
// and all, while the agent has the port.
func inject(t *testing.T, l *lab.Lab, node, ifname string, tlvs ...wire.TLV) {
	t.Helper()
	packet, err := wire.Append(nil, tlvs...)
	must(t, err)
	must(t, l.Node(node).Namespace().Do(func() error {
		link, err := net.InterfaceByName(ifname)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		const checksumAt = 6
		udp := []byte{wire.Port >> 8, wire.Port & 0xff, wire.Port >> 8, wire.Port & 0xff, 0, byte(8 + len(packet)), 0, 0}
		return errors.Join(
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_CHECKSUM, checksumAt),
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 1),
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, link.Index),
			unix.Sendto(fd, append(udp, packet...), 0, &unix.SockaddrInet6{Addr: wire.Group.As16(), ZoneId: uint32(link.Index)}),
		)
	}))
}

// kernelRoutes are the destinations in the agent's table.
func kernelRoutes(t *testing.T, l *lab.Lab, name string) string {
	t.Helper()
	h, err := l.Node(name).Namespace().Netlink()
	must(t, err)
	defer h.Close()
	routes, err := h.RouteListFiltered(unix.AF_INET6, ourTable, tableFilter)
	must(t, err)
	var text strings.Builder
	for _, r := range routes {
		fmt.Fprintln(&text, r.Dst, r.Gw)
	}
	return text.String()
}

// v ~ e ~ c: the evil e tells its neighbour v that it is the way to the internet,
// to a part of the mesh, and that it is c itself.
func TestForeignAddressesAreRefused(t *testing.T) {
	l := start(t, "router v e c\nradio v e c")
	allReach(t, l)
	link, ok := neighbour(t, l, "e", "v")
	if !ok {
		t.Fatal("e has no link to v")
	}
	c, err := l.Node("c").Address()
	must(t, err)
	v, err := l.Node("v").Address()
	must(t, err)
	e, err := l.Node("e").Address()
	must(t, err)
	evil := wire.RouterID(e.AsSlice()[8:])
	before := status(t, l, "v").Counters["babel_updates_refused_filter"]
	lies := []wire.TLV{
		wire.Update{Prefix: netip.MustParsePrefix("::/0"), Interval: 400, RouterID: evil},
		wire.Update{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Interval: 400, RouterID: evil, NextHop: netip.MustParseAddr("192.0.2.1")},
		wire.Update{Prefix: netip.MustParsePrefix("fd47:4e45::/32"), Interval: 400, RouterID: evil},
		wire.Update{Prefix: netip.MustParsePrefix("2001:db8::1/128"), Interval: 400, RouterID: evil},
		wire.Update{Prefix: netip.PrefixFrom(c, 128), Interval: 400, Seqno: 100, RouterID: evil},
		// Even under its right router-id, nobody may tell us that we are elsewhere.
		wire.Update{Prefix: netip.PrefixFrom(v, 128), Interval: 400, Seqno: 100, RouterID: wire.RouterID(v.AsSlice()[8:])},
	}
	for _, lie := range lies {
		inject(t, l, "e", link.Ifname, lie)
	}
	eventually(t, "v counts what it refuses", func() bool {
		return status(t, l, "v").Counters["babel_updates_refused_filter"] >= before+5
	})
	// The mesh prefix itself is there, as unreachable; nothing else is wider than an address.
	for line := range strings.Lines(kernelRoutes(t, l, "v")) {
		if !strings.Contains(line, "/128") && !strings.HasPrefix(line, "fd47:4e45::/32 <nil>") {
			t.Errorf("v has the route %s", line)
		}
		if strings.Contains(line, "2001:db8") {
			t.Errorf("v has a route out of the mesh: %s", line)
		}
	}
	allReach(t, l)
}

// a ~ b, and strangers that knock on a's signalling port: one sends nothing, one
// sends rubbish, one a great deal of it. a says nothing to them and serves b.
func TestStrangersAtThePort(t *testing.T) {
	l := start(t, "router a b\nhost x\nsegment hall a b x")
	allReach(t, l)
	h, err := l.Node("a").Namespace().Netlink()
	must(t, err)
	defer h.Close()
	wire0, err := h.LinkByName("wire-hall")
	must(t, err)
	addrs, err := h.AddrList(wire0, unix.AF_INET6)
	must(t, err)
	var target unix.SockaddrInet6
	for _, a := range addrs {
		if a.IP.IsLinkLocalUnicast() {
			target.Addr = [16]byte(a.IP)
		}
	}
	target.Port = 18245
	var open []int
	defer func() {
		for _, fd := range open {
			unix.Close(fd)
		}
	}()
	must(t, l.Node("x").Namespace().Do(func() error {
		link, err := net.InterfaceByName("wire-hall")
		if err != nil {
			return err
		}
		target.ZoneId = uint32(link.Index)
		for i := range 200 {
			fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			open = append(open, fd)
			timeout := unix.Timeval{Sec: 1}
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout)
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
			if err := unix.Connect(fd, &target); err != nil {
				return err
			}
			if i%2 == 1 {
				unix.Write(fd, []byte(strings.Repeat("GET / HTTP/1.1\r\n", 1<<(i%12))))
			}
		}
		buf := make([]byte, 64)
		for _, fd := range open[len(open)-8:] {
			if n, _ := unix.Read(fd, buf); n > 0 {
				return fmt.Errorf("a stranger was told %q", buf[:n])
			}
		}
		return nil
	}))
	if rss := residentKiB(t, l.Node("a").Pid()); rss > 64<<10 {
		t.Errorf("the agent takes %d KiB", rss)
	}
	must(t, l.Node("b").Kill())
	must(t, l.Node("b").Restart())
	allReach(t, l)
	refused := status(t, l, "a").Counters
	if refused["preambles_wrong"]+refused["preambles_missing"]+refused["connections_refused_per_source"]+refused["connections_evicted"] == 0 {
		t.Errorf("nothing was counted: %v", refused)
	}
}

func residentKiB(t *testing.T, pid int) (kib int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			fmt.Sscan(rest, &kib)
		}
	}
	return kib
}
