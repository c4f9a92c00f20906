// Package rtnl reads and changes interfaces, addresses, routes and policy rules of the
// current network namespace by rtnetlink(7), as far as an agent needs them. It makes and reads the
// messages; sockets and attributes are those of vishvananda/netlink/nl. It keeps no state: each
// call opens a socket of its own. Errors wrap the kernel's number (unix.ENODEV …).
package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Flags of requests.
const (
	ack     = unix.NLM_F_ACK
	add     = ack | unix.NLM_F_CREATE | unix.NLM_F_EXCL
	replace = ack | unix.NLM_F_CREATE | unix.NLM_F_REPLACE
	dump    = unix.NLM_F_DUMP
)

// fixed is the struct that a message begins with.
type fixed []byte

// Len and Serialize implement nl.NetlinkRequestData.
func (f fixed) Len() int          { return len(f) }
func (f fixed) Serialize() []byte { return f }

// do sends one request, a fixed header and attributes, and returns what the kernel answers.
func do(typ, flags int, header fixed, attributes ...*nl.RtAttr) ([][]byte, error) {
	r := nl.NewNetlinkRequest(typ, flags)
	r.AddData(header)
	for _, a := range attributes {
		r.AddData(a)
	}
	return r.Execute(unix.NETLINK_ROUTE, 0)
}

// change sends a request that is answered by an acknowledgement alone.
func change(typ, flags int, header fixed, attributes ...*nl.RtAttr) error {
	_, err := do(typ, flags, header, attributes...)
	return err
}

// list asks for all objects of a kind; header begins with the family, of which 0 is any. A
// listing that the kernel says changed under way is repeated; the third is taken as it is.
func list(typ int, header fixed) (msgs [][]byte, err error) {
	for range 3 {
		if msgs, err = do(typ, dump, header); !errors.Is(err, nl.ErrDumpInterrupted) {
			return msgs, err
		}
	}
	return msgs, nil
}

// Attributes of requests.
func number(typ int, v uint32) *nl.RtAttr      { return nl.NewRtAttr(typ, nl.Uint32Attr(v)) }
func text(typ int, s string) *nl.RtAttr        { return nl.NewRtAttr(typ, nl.ZeroTerminated(s)) }
func address(typ int, a netip.Addr) *nl.RtAttr { return nl.NewRtAttr(typ, a.AsSlice()) }
func nested(typ int, inner *nl.RtAttr) *nl.RtAttr {
	outer := nl.NewRtAttr(typ, nil)
	outer.AddChild(inner)
	return outer
}

var errMalformed = errors.New("malformed answer of the kernel")

// decode passes each attribute after a header of n bytes to visit.
func decode(data []byte, n int, visit func(typ int, v value)) error {
	if len(data) < n {
		return errMalformed
	}
	data = data[n:]
	for len(data)%unix.RTA_ALIGNTO != 0 { // nl counts on it
		data = append(data[:len(data):len(data)], 0)
	}
	attributes, err := nl.ParseRouteAttr(data)
	if err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	for _, a := range attributes {
		visit(int(a.Attr.Type&nl.NLA_TYPE_MASK), a.Value)
	}
	return nil
}

// value is what an attribute holds; what does not fit the type that is asked for is zero.
type value []byte

func (v value) number() uint32 {
	if len(v) != 4 {
		return 0
	}
	return native.Uint32(v)
}

func (v value) text() string { return unix.ByteSliceToString(v) }

func (v value) address() netip.Addr {
	a, _ := netip.AddrFromSlice(v)
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
