package beacon

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	mdnsPort      = 5353
	hopLimit      = 255 // RFC 6762 section 11
	receiveBuffer = 128 << 10
)

var (
	group4 = netip.AddrFrom4([4]byte{224, 0, 0, 251})
	group6 = netip.MustParseAddr("ff02::fb")
)

// openSocket opens a socket for multicast DNS on one interface alone. It is bound
// to the group's address, so that unicast, which may come from anywhere, never
// reaches it; and it shares the port with avahi or umdns. Joining the group may be
// left to the caller.
func openSocket(ifc *net.Interface, group netip.Addr, join bool, filter []bpf.RawInstruction) (*net.UDPConn, error) {
	family := unix.AF_INET6
	if group.Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := prepareSocket(fd, ifc, group, join, filter); err != nil {
		unix.Close(fd)
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "mdns")
	defer f.Close() // FilePacketConn makes a copy
	pc, err := net.FilePacketConn(f)
	if err != nil {
		return nil, err
	}
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		pc.Close()
		return nil, errors.New("socket is not UDP")
	}
	return udp, nil
}

func prepareSocket(fd int, ifc *net.Interface, group netip.Addr, join bool, filter []bpf.RawInstruction) error {
	set := func(level, name, value int) error { return unix.SetsockoptInt(fd, level, name, value) }
	err := errors.Join(
		set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1),
		unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, ifc.Name),
		set(unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer),
		attachFilter(fd, filter), // before bind: nothing comes in unfiltered
	)
	if err != nil {
		return fmt.Errorf("setting socket options: %w", err)
	}
	var addr unix.Sockaddr
	if group.Is4() {
		mreq := &unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(ifc.Index)}
		err = errors.Join(
			set(unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0),
			set(unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, hopLimit),
			unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, mreq),
		)
		if join {
			err = errors.Join(err, unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, mreq))
		}
		addr = &unix.SockaddrInet4{Port: mdnsPort, Addr: group.As4()}
	} else {
		err = errors.Join(
			set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1),
			set(unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, hopLimit),
			set(unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, ifc.Index),
		)
		if join {
			mreq := &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(ifc.Index)}
			err = errors.Join(err, unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, mreq))
		}
		addr = &unix.SockaddrInet6{Port: mdnsPort, Addr: group.As16(), ZoneId: uint32(ifc.Index)}
	}
	if err != nil {
		return fmt.Errorf("joining group: %w", err)
	}
	return os.NewSyscallError("bind", unix.Bind(fd, addr))
}

func attachFilter(fd int, filter []bpf.RawInstruction) error {
	code := make([]unix.SockFilter, len(filter))
	for i, in := range filter {
		code[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	return os.NewSyscallError("attaching filter", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog))
}
