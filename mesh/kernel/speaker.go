package kernel

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"globalnet/mesh"
)

// babelPort and babelGroup are those of RFC 8966 section 4.
const babelPort = 6696

var babelGroup = netip.MustParseAddr("ff02::1:6")

// classCS6 is the traffic class of network control, RFC 4594 section 3.1.
const classCS6 = 48 << 2

// speaker is a Babel socket on one interface.
type speaker struct {
	conn   *net.UDPConn
	ifname string
}

// OpenSpeaker implements mesh.Kernel.
func (k *Kernel) OpenSpeaker(ctx context.Context, ifname string) (mesh.SpeakerConn, error) {
	s, err := openSpeaker(ctx, ifname)
	if err != nil {
		return nil, fmt.Errorf("opening a Babel socket on %s: %w", ifname, explain(err))
	}
	return s, nil
}

func openSpeaker(ctx context.Context, ifname string) (*speaker, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		var err error
		if e := rc.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			if err == nil {
				// Before the bind: several sockets share the port, one an interface.
				err = unix.BindToDevice(int(fd), ifname)
			}
		}); e != nil {
			return e
		}
		return err
	}}
	pc, err := lc.ListenPacket(ctx, "udp6", netip.AddrPortFrom(netip.IPv6Unspecified(), babelPort).String())
	if err != nil {
		return nil, err
	}
	p := ipv6.NewPacketConn(pc)
	for _, step := range []func() error{
		func() error { return p.JoinGroup(ifi, &net.UDPAddr{IP: babelGroup.AsSlice()}) },
		func() error { return p.SetMulticastInterface(ifi) },
		func() error { return p.SetMulticastLoopback(false) },
		func() error { return p.SetMulticastHopLimit(1) },
		func() error { return p.SetHopLimit(1) },
		func() error { return p.SetTrafficClass(classCS6) },
	} {
		if err := step(); err != nil {
			pc.Close()
			return nil, err
		}
	}
	return &speaker{conn: pc.(*net.UDPConn), ifname: ifname}, nil
}

func (s *speaker) Send(packet []byte, to netip.Addr) error {
	_, err := s.conn.WriteToUDPAddrPort(packet, netip.AddrPortFrom(to.WithZone(s.ifname), babelPort))
	return err
}

// Receive passes over packets that Babel must not see: those from another port or
// from an address that is not link-local (RFC 8966 section 4).
func (s *speaker) Receive(buf []byte) (n int, from netip.Addr, err error) {
	for {
		n, ap, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return 0, netip.Addr{}, err
		}
		if from := ap.Addr().WithZone(""); ap.Port() == babelPort && from.IsLinkLocalUnicast() {
			return n, from, nil
		}
	}
}

func (s *speaker) Close() error { return s.conn.Close() }
