package lan

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// ListenDNS opens the sockets of a DNS at a port of all addresses: the firewall sees to
// it who reaches them. A system without IPv6 has only half of them.
func ListenDNS(ctx context.Context, port uint16) (packets []*net.UDPConn, streams []net.Listener, err error) {
	told := map[string][2]int{"udp4": {unix.SOL_IP, unix.IP_PKTINFO}, "udp6": {unix.SOL_IPV6, unix.IPV6_RECVPKTINFO}}
	for _, family := range []string{"4", "6"} {
		option := told["udp"+family]
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return setOption(c, option[0], option[1]) }}
		pc, e := lc.ListenPacket(ctx, "udp"+family, fmt.Sprintf(":%d", port))
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		packets = append(packets, pc.(*net.UDPConn))
	}
	streams, e := ListenTCP(ctx, port)
	if err = errors.Join(err, e); len(packets) > 0 && len(streams) > 0 && onlyNoIPv6(err) {
		return packets, streams, nil
	}
	for _, c := range packets {
		c.Close()
	}
	for _, l := range streams {
		l.Close()
	}
	return nil, nil, err
}

// ListenTCP opens a port of all addresses, a socket each family.
func ListenTCP(ctx context.Context, port uint16) (list []net.Listener, err error) {
	for _, network := range []string{"tcp4", "tcp6"} {
		l, e := new(net.ListenConfig).Listen(ctx, network, fmt.Sprintf(":%d", port))
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		list = append(list, l)
	}
	if len(list) > 0 && onlyNoIPv6(err) {
		return list, nil
	}
	for _, l := range list {
		l.Close()
	}
	return nil, err
}

// onlyNoIPv6 reports whether err is no worse than a system without IPv6.
func onlyNoIPv6(err error) bool { return err == nil || errors.Is(err, unix.EAFNOSUPPORT) }

func setOption(c syscall.RawConn, level, option int) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, option, 1) }); e != nil {
		return e
	}
	return err
}

// originalDst returns where a redirected connection wanted to go; where conn was not
// redirected, that is conn's own address.
func originalDst(conn *net.TCPConn) (netip.AddrPort, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	var dst netip.AddrPort
	e := raw.Control(func(fd uintptr) {
		if local.Addr().Unmap().Is4() {
			// A struct sockaddr_in in the place of another struct of at least its size.
			var m *unix.IPv6Mreq
			if m, err = unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, unix.SO_ORIGINAL_DST); err == nil {
				a := m.Multiaddr
				dst = netip.AddrPortFrom(netip.AddrFrom4([4]byte(a[4:8])), uint16(a[2])<<8|uint16(a[3]))
			}
			return
		}
		// The same of struct sockaddr_in6, whose port and address are in wire order.
		var m *unix.IPv6MTUInfo
		if m, err = unix.GetsockoptIPv6MTUInfo(int(fd), unix.SOL_IPV6, unix.SO_ORIGINAL_DST); err == nil {
			dst = netip.AddrPortFrom(netip.AddrFrom16(m.Addr.Addr), ntohs(m.Addr.Port))
		}
	})
	if err = errors.Join(e, err); err != nil {
		return netip.AddrPort{}, fmt.Errorf("reading the original destination: %w", err)
	}
	return dst, nil
}

// ntohs mends a number in network order that was read as one of the machine's.
func ntohs(n uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, n))
}
