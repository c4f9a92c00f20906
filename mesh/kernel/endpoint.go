package kernel

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// endpoint is a neighbour's address, for Go and for the kernel. It never changes.
type endpoint struct {
	ap  netip.AddrPort // IPv4 as itself
	raw unix.RawSockaddrInet6
}

var _ conn.Endpoint = (*endpoint)(nil)

func newEndpoint(ap netip.AddrPort) (*endpoint, error) {
	ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	e := &endpoint{ap: ap, raw: unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: ap.Addr().As16()}}
	*portOf(&e.raw) = [2]byte(binary.BigEndian.AppendUint16(nil, ap.Port()))
	if zone := ap.Addr().Zone(); zone != "" {
		index, err := zoneIndex(zone)
		if err != nil {
			return nil, fmt.Errorf("endpoint %v: %w", ap, err)
		}
		e.raw.Scope_id = index
	}
	return e, nil
}

// endpointFrom is the sender of a datagram.
func endpointFrom(raw unix.RawSockaddrInet6) *endpoint {
	a := netip.AddrFrom16(raw.Addr).Unmap()
	if raw.Scope_id != 0 {
		zone := strconv.Itoa(int(raw.Scope_id))
		if i, err := net.InterfaceByIndex(int(raw.Scope_id)); err == nil {
			zone = i.Name
		}
		a = a.WithZone(zone)
	}
	raw.Flowinfo = 0
	return &endpoint{ap: netip.AddrPortFrom(a, binary.BigEndian.Uint16(portOf(&raw)[:])), raw: raw}
}

// portOf is the port as the kernel has it, big-endian on every machine.
func portOf(raw *unix.RawSockaddrInet6) *[2]byte { return (*[2]byte)(unsafe.Pointer(&raw.Port)) }

// zoneIndex is the interface index of a zone, which is a name or a number.
func zoneIndex(zone string) (uint32, error) {
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index), nil
	}
	n, err := strconv.ParseUint(zone, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("no interface %s", zone)
	}
	return uint32(n), nil
}

func (e *endpoint) addrPort() netip.AddrPort { return e.ap }

// The address that we send from is the kernel's choice, so there is none to keep.

func (e *endpoint) ClearSrc()           {}
func (e *endpoint) SrcToString() string { return "" }
func (e *endpoint) SrcIP() netip.Addr   { return netip.Addr{} }
func (e *endpoint) DstIP() netip.Addr   { return e.ap.Addr() }
func (e *endpoint) DstToString() string { return e.ap.String() }

// DstToBytes is what a cookie is bound to.
func (e *endpoint) DstToBytes() []byte {
	b, _ := e.ap.MarshalBinary()
	return b
}
