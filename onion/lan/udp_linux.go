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

// Options of x/sys that differ by family.
type transparentOptions struct{ level, transparent, original int }

var transparentFor = map[string]transparentOptions{
	"udp4": {unix.SOL_IP, unix.IP_TRANSPARENT, unix.IP_RECVORIGDSTADDR},
	"udp6": {unix.SOL_IPV6, unix.IPV6_TRANSPARENT, unix.IPV6_RECVORIGDSTADDR},
}

// transparent is a socket that TPROXY gives datagrams to.
type transparent struct {
	*net.UDPConn
	network string
}

// ListenUDP opens the sockets that TPROXY gives datagrams to: it takes CAP_NET_ADMIN.
func ListenUDP(ctx context.Context, port uint16) (list []Datagrams, err error) {
	for _, network := range []string{"udp4", "udp6"} {
		o := transparentFor[network]
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return errors.Join(setOption(c, o.level, o.transparent), setOption(c, o.level, o.original))
		}}
		pc, e := lc.ListenPacket(ctx, network, fmt.Sprintf(":%d", port))
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		list = append(list, &transparent{pc.(*net.UDPConn), network})
	}
	if len(list) > 0 && onlyNoIPv6(err) {
		return list, nil
	}
	for _, d := range list {
		d.Close()
	}
	return nil, err
}

// Read implements Datagrams.
func (t *transparent) Read(b []byte) (n int, from, to netip.AddrPort, err error) {
	var oob [128]byte
	n, oobn, _, from, err := t.ReadMsgUDPAddrPort(b, oob[:])
	if err != nil {
		return n, from, to, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return n, from, to, fmt.Errorf("reading the original destination: %w", err)
	}
	for _, m := range messages {
		// Both begin like a socket address: family, port in network order.
		switch d := m.Data; {
		case m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_ORIGDSTADDR && len(d) >= 8:
			to = netip.AddrPortFrom(netip.AddrFrom4([4]byte(d[4:8])), binary.BigEndian.Uint16(d[2:]))
		case m.Header.Level == unix.SOL_IPV6 && m.Header.Type == unix.IPV6_ORIGDSTADDR && len(d) >= 24:
			to = netip.AddrPortFrom(netip.AddrFrom16([16]byte(d[8:24])), binary.BigEndian.Uint16(d[2:]))
		}
	}
	if !to.IsValid() {
		return n, from, to, errors.New("a datagram without an original destination")
	}
	return n, netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port()), to, nil
}

// Answer implements Datagrams: a socket that pretends to be at `to`.
func (t *transparent) Answer(from, to netip.AddrPort) (net.Conn, error) {
	o := transparentFor[t.network]
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(to), Control: func(_, _ string, c syscall.RawConn) error {
		return errors.Join(setOption(c, o.level, o.transparent), setOption(c, unix.SOL_SOCKET, unix.SO_REUSEADDR))
	}}
	return d.Dial(t.network, from.String())
}
