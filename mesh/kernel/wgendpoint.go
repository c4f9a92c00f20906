package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// This file sets the endpoint of a kernel WireGuard peer. wgctrl does all else, but
// it writes no scope id, and without one the kernel cannot send to a link-local
// address. docs/decisions/0004-kernel-wireguard-endpoint-zone.md has the story.

// peerUpdateOnly is WGPEER_F_UPDATE_ONLY of linux/wireguard.h: the peer must exist.
const peerUpdateOnly = 1 << 2

func (c *wgControl) setEndpoint(ifname string, key [32]byte, to netip.AddrPort) error {
	var index uint32
	if zone := to.Addr().Zone(); zone != "" {
		var err error
		if index, err = zoneIndex(zone); err != nil {
			return fmt.Errorf("endpoint %v: %w", to, err)
		}
	}
	data, err := endpointMessage(ifname, key, sockaddr(to, index))
	if err != nil {
		return fmt.Errorf("endpoint %v: %w", to, err)
	}
	m := genetlink.Message{
		Header: genetlink.Header{Command: unix.WG_CMD_SET_DEVICE, Version: unix.WG_GENL_VERSION},
		Data:   data,
	}
	if _, err := c.conn.Execute(m, c.family.ID, netlink.Request|netlink.Acknowledge); err != nil {
		return fmt.Errorf("endpoint %v: %w", to, err)
	}
	return nil
}

// endpointMessage is the body of WG_CMD_SET_DEVICE that changes one endpoint:
//
//	WGDEVICE_A_IFNAME
//	WGDEVICE_A_PEERS
//	  0
//	    WGPEER_A_PUBLIC_KEY
//	    WGPEER_A_FLAGS = WGPEER_F_UPDATE_ONLY
//	    WGPEER_A_ENDPOINT
func endpointMessage(ifname string, key [32]byte, sockaddr []byte) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.String(unix.WGDEVICE_A_IFNAME, ifname)
	ae.Nested(unix.WGDEVICE_A_PEERS, func(ae *netlink.AttributeEncoder) error {
		ae.Nested(0, func(ae *netlink.AttributeEncoder) error {
			ae.Bytes(unix.WGPEER_A_PUBLIC_KEY, key[:])
			ae.Uint32(unix.WGPEER_A_FLAGS, peerUpdateOnly)
			ae.Bytes(unix.WGPEER_A_ENDPOINT, sockaddr)
			return nil
		})
		return nil
	})
	return ae.Encode()
}

// sockaddr is struct sockaddr_in or sockaddr_in6: family and scope id in the order
// of the machine, port and address in that of the network.
func sockaddr(to netip.AddrPort, scope uint32) []byte {
	a := to.Addr().Unmap()
	if a.Is4() {
		b := binary.NativeEndian.AppendUint16(nil, unix.AF_INET)
		b = binary.BigEndian.AppendUint16(b, to.Port())
		b = append(b, a.AsSlice()...)
		return append(b, make([]byte, unix.SizeofSockaddrInet4-len(b))...)
	}
	b := binary.NativeEndian.AppendUint16(nil, unix.AF_INET6)
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = binary.NativeEndian.AppendUint32(b, 0) // flow label
	b = append(b, a.AsSlice()...)
	return binary.NativeEndian.AppendUint32(b, scope)
}
