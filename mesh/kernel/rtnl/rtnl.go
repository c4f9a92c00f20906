// Package rtnl reads and changes interfaces, addresses, routes and policy rules of the
// current network namespace by rtnetlink(7), as far as an agent needs them. It keeps no
// state: each call opens a socket of its own. Errors wrap the kernel's number (unix.ENODEV …).
package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Flags of requests.
const (
	ack     = netlink.Request | netlink.Acknowledge
	add     = ack | netlink.Create | netlink.Excl
	replace = ack | netlink.Create | netlink.Replace
	dump    = netlink.Request | netlink.Dump
)

// do sends one request, a fixed header and attributes, and returns what the kernel answers.
func do(typ netlink.HeaderType, flags netlink.HeaderFlags, header []byte, attributes func(*netlink.AttributeEncoder)) ([]netlink.Message, error) {
	ae := netlink.NewAttributeEncoder()
	attributes(ae)
	encoded, err := ae.Encode()
	if err != nil {
		return nil, err
	}
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	m := netlink.Message{Header: netlink.Header{Type: typ, Flags: flags}, Data: append(header, encoded...)}
	return c.Execute(m)
}

// change sends a request that is answered by an acknowledgement alone.
func change(typ netlink.HeaderType, flags netlink.HeaderFlags, header []byte, attributes func(*netlink.AttributeEncoder)) error {
	_, err := do(typ, flags, header, attributes)
	return err
}

// list asks for all objects of a kind; header begins with the family, of which 0 is any. A
// listing that the kernel says changed under way is repeated; the third is taken as it is.
func list(typ netlink.HeaderType, header []byte) ([]netlink.Message, error) {
	for try := 1; ; try++ {
		msgs, err := do(typ, dump, header, func(*netlink.AttributeEncoder) {})
		if err != nil || try == 3 || !interrupted(msgs) {
			return msgs, err
		}
	}
}

func interrupted(msgs []netlink.Message) bool {
	for _, m := range msgs {
		if m.Header.Flags&netlink.DumpInterrupted != 0 {
			return true
		}
	}
	return false
}

var errMalformed = errors.New("malformed answer of the kernel")

// decode passes each attribute after a header of n bytes to visit.
func decode(data []byte, n int, visit func(*netlink.AttributeDecoder)) error {
	if len(data) < n {
		return errMalformed
	}
	ad, err := netlink.NewAttributeDecoder(data[n:])
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	for ad.Next() {
		visit(ad)
	}
	if err := ad.Err(); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	return nil
}

// address reads an attribute that is an address; one of another family is no valid one.
func address(ad *netlink.AttributeDecoder) netip.Addr {
	a, _ := netip.AddrFromSlice(ad.Bytes())
	return a
}

// familyOf is the number of an address's family.
func familyOf(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// everything is the prefix of length 0.
func everything(family uint8) netip.Prefix {
	if family == unix.AF_INET {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

var native = binary.NativeEndian
