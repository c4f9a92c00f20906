package rtnl

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Address is an address of an interface.
type Address struct {
	Index  int // of the interface
	Prefix netip.Prefix
	Flags  uint32 // unix.IFA_F_NODAD …
	Scope  uint8  // unix.RT_SCOPE_LINK …
}

// header is struct ifaddrmsg:
//
//	family u8, prefix length u8, flags u8, scope u8, index u32
func (a Address) header() fixed {
	b := make([]byte, unix.SizeofIfAddrmsg)
	b[0], b[1], b[2], b[3] = familyOf(a.Prefix.Addr()), uint8(a.Prefix.Bits()), uint8(a.Flags), a.Scope
	native.PutUint32(b[4:], uint32(a.Index))
	return b
}

// Addresses lists the addresses of an interface, or of all for index 0.
func Addresses(index int) ([]Address, error) {
	msgs, err := list(unix.RTM_GETADDR, make(fixed, unix.SizeofIfAddrmsg))
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	var all []Address
	for _, m := range msgs {
		a, err := parseAddress(m)
		if err != nil {
			return nil, fmt.Errorf("listing addresses: %w", err)
		}
		if a.Prefix.IsValid() && (index == 0 || a.Index == index) {
			all = append(all, a)
		}
	}
	return all, nil
}

func parseAddress(b []byte) (a Address, err error) {
	var own, local netip.Addr
	err = decode(b, unix.SizeofIfAddrmsg, func(typ int, v value) {
		switch typ {
		case unix.IFA_ADDRESS:
			own = v.address()
		case unix.IFA_LOCAL:
			local = v.address()
		case unix.IFA_FLAGS:
			a.Flags = v.number()
		}
	})
	if err != nil {
		return Address{}, err
	}
	if a.Flags == 0 {
		a.Flags = uint32(b[2])
	}
	a.Scope = b[3]
	a.Index = int(native.Uint32(b[4:]))
	a.Prefix = netip.PrefixFrom(own, int(b[1]))
	if local.IsValid() && local != own { // the other is the peer's, and the prefix is of that
		a.Prefix = netip.PrefixFrom(local, local.BitLen())
	}
	return a, nil
}

// Replace adds an address, or changes its flags.
func (a Address) Replace() error { return a.change(unix.RTM_NEWADDR, replace) }

// Delete removes an address; unix.EADDRNOTAVAIL means that it is not there.
func (a Address) Delete() error { return a.change(unix.RTM_DELADDR, ack) }

func (a Address) change(typ, flags int) error {
	attributes := []*nl.RtAttr{address(unix.IFA_LOCAL, a.Prefix.Addr()), address(unix.IFA_ADDRESS, a.Prefix.Addr())}
	if a.Flags > 0xff {
		attributes = append(attributes, number(unix.IFA_FLAGS, a.Flags))
	}
	return change(typ, flags, a.header(), attributes...)
}
