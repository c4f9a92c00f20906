package rtnl

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Link is an interface.
type Link struct {
	Index int
	Name  string
	Alias string
	Kind  string // wireguard, tun, bridge …; empty for hardware
	MTU   int
	Flags uint32 // unix.IFF_UP …
}

// linkHeader is struct ifinfomsg:
//
//	family u8, padding u8, type u16, index i32, flags u32, change u32
func linkHeader(index int, flags, mask uint32) fixed {
	b := make([]byte, unix.SizeofIfInfomsg)
	native.PutUint32(b[4:], uint32(index))
	native.PutUint32(b[8:], flags)
	native.PutUint32(b[12:], mask)
	return b
}

// Links lists all interfaces.
func Links() ([]Link, error) {
	msgs, err := list(unix.RTM_GETLINK, linkHeader(0, 0, 0))
	if err != nil {
		return nil, fmt.Errorf("listing interfaces: %w", err)
	}
	links := make([]Link, len(msgs))
	for i, m := range msgs {
		if links[i], err = parseLink(m); err != nil {
			return nil, fmt.Errorf("listing interfaces: %w", err)
		}
	}
	return links, nil
}

// LinkByName finds an interface; unix.ENODEV means that there is none.
func LinkByName(name string) (*Link, error) {
	if len(name) >= unix.IFNAMSIZ {
		return nil, fmt.Errorf("finding interface %s: %w", name, unix.ENODEV)
	}
	msgs, err := do(unix.RTM_GETLINK, 0, linkHeader(0, 0, 0), text(unix.IFLA_IFNAME, name))
	if err == nil && len(msgs) != 1 {
		err = errMalformed
	}
	if err != nil {
		return nil, fmt.Errorf("finding interface %s: %w", name, err)
	}
	l, err := parseLink(msgs[0])
	return &l, err
}

func parseLink(b []byte) (l Link, err error) {
	var malformed error
	err = decode(b, unix.SizeofIfInfomsg, func(typ int, v value) {
		switch typ {
		case unix.IFLA_IFNAME:
			l.Name = v.text()
		case unix.IFLA_IFALIAS:
			l.Alias = v.text()
		case unix.IFLA_MTU:
			l.MTU = int(v.number())
		case unix.IFLA_LINKINFO:
			malformed = decode(v, 0, func(typ int, v value) {
				if typ == unix.IFLA_INFO_KIND {
					l.Kind = v.text()
				}
			})
		}
	})
	if err = errors.Join(err, malformed); err != nil {
		return Link{}, err
	}
	l.Index = int(int32(native.Uint32(b[4:])))
	l.Flags = native.Uint32(b[8:])
	return l, nil
}

// AddLink makes an interface of a kind, which is down.
func AddLink(name, kind string) error {
	return change(unix.RTM_NEWLINK, add, linkHeader(0, 0, 0),
		text(unix.IFLA_IFNAME, name), nested(unix.IFLA_LINKINFO, text(unix.IFLA_INFO_KIND, kind)))
}

// Delete removes an interface.
func (l *Link) Delete() error {
	return change(unix.RTM_DELLINK, ack, linkHeader(l.Index, 0, 0))
}

// SetFlags switches those of mask (unix.IFF_UP …) on that are in flags, the others off.
func (l *Link) SetFlags(flags, mask uint32) error {
	return change(unix.RTM_NEWLINK, ack, linkHeader(l.Index, flags, mask))
}

// SetUp brings an interface up.
func (l *Link) SetUp() error { return l.SetFlags(unix.IFF_UP, unix.IFF_UP) }

// SetDown brings an interface down.
func (l *Link) SetDown() error { return l.SetFlags(0, unix.IFF_UP) }

// SetAlias sets what ip(8) shows as the interface's alias.
func (l *Link) SetAlias(alias string) error {
	return l.set(nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(alias)))
}

// SetMTU sets the size of the largest packet.
func (l *Link) SetMTU(mtu int) error {
	return l.set(number(unix.IFLA_MTU, uint32(mtu)))
}

// SetAddrGenMode says how the kernel makes IPv6 addresses for the interface: IN6_ADDR_GEN_MODE_NONE
// and others. Kernels before 4.1 do not know it: unix.EINVAL.
func (l *Link) SetAddrGenMode(mode uint8) error {
	return l.set(nested(unix.IFLA_AF_SPEC, nested(unix.AF_INET6, nl.NewRtAttr(unix.IFLA_INET6_ADDR_GEN_MODE, []byte{mode}))))
}

func (l *Link) set(attribute *nl.RtAttr) error {
	return change(unix.RTM_SETLINK, ack, linkHeader(l.Index, 0, 0), attribute)
}
