package rtnl

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Route is a route with one next hop at most.
type Route struct {
	Destination netip.Prefix
	Table       int
	Protocol    uint8
	Type        uint8  // unix.RTN_UNICAST, RTN_UNREACHABLE …; 0 for removal is any
	Scope       uint8  // unix.RT_SCOPE_UNIVERSE …
	Flags       uint32 // unix.RTNH_F_ONLINK
	Metric      int
	Index       int        // of the interface, 0 for none
	Gateway     netip.Addr // zero for none, as is
	Source      netip.Addr // the source address that is preferred
}

// header is struct rtmsg, and much the same is struct fib_rule_hdr:
//
//	family u8, length of destination u8, of source u8, TOS u8,
//	table u8, protocol u8, scope u8, type u8, flags u32
//
// The table is in an attribute, since it may be greater than 255.
func (r Route) header() fixed {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[1] = familyOf(r.Destination.Addr()), uint8(r.Destination.Bits())
	b[5], b[6], b[7] = r.Protocol, r.Scope, r.Type
	native.PutUint32(b[8:], r.Flags)
	return b
}

// Routes lists the routes of a table that a protocol number marks.
func Routes(family, table int, protocol uint8) ([]Route, error) {
	header := make(fixed, unix.SizeofRtMsg)
	header[0] = uint8(family)
	msgs, err := list(unix.RTM_GETROUTE, header)
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	var routes []Route
	for _, m := range msgs {
		r, err := parseRoute(m)
		if err != nil {
			return nil, fmt.Errorf("listing routes: %w", err)
		}
		if r.Table == table && r.Protocol == protocol && r.Flags&unix.RTM_F_CLONED == 0 {
			routes = append(routes, r)
		}
	}
	return routes, nil
}

func parseRoute(b []byte) (r Route, err error) {
	var to netip.Addr
	err = decode(b, unix.SizeofRtMsg, func(typ int, v value) {
		switch typ {
		case unix.RTA_DST:
			to = v.address()
		case unix.RTA_TABLE:
			r.Table = int(v.number())
		case unix.RTA_PRIORITY:
			r.Metric = int(v.number())
		case unix.RTA_OIF:
			r.Index = int(v.number())
		case unix.RTA_GATEWAY:
			r.Gateway = v.address()
		case unix.RTA_PREFSRC:
			r.Source = v.address()
		}
	})
	if err != nil {
		return Route{}, err
	}
	r.Protocol, r.Scope, r.Type = b[5], b[6], b[7]
	r.Flags = native.Uint32(b[8:])
	r.Destination = everything(b[0])
	if to.IsValid() {
		r.Destination = netip.PrefixFrom(to, int(b[1]))
	}
	return r, nil
}

// Replace adds a route in place of the one that has the same destination and metric.
func (r Route) Replace() error {
	if r.Type == 0 {
		r.Type = unix.RTN_UNICAST
	}
	return r.change(unix.RTM_NEWROUTE, replace)
}

// Delete removes a route; unix.ESRCH means that it is not there.
func (r Route) Delete() error { return r.change(unix.RTM_DELROUTE, ack) }

func (r Route) change(typ, flags int) error {
	attributes := []*nl.RtAttr{
		address(unix.RTA_DST, r.Destination.Addr()), number(unix.RTA_TABLE, uint32(r.Table)), number(unix.RTA_PRIORITY, uint32(r.Metric)),
	}
	if r.Index != 0 {
		attributes = append(attributes, number(unix.RTA_OIF, uint32(r.Index)))
	}
	if r.Gateway.IsValid() {
		attributes = append(attributes, address(unix.RTA_GATEWAY, r.Gateway))
	}
	if r.Source.IsValid() {
		attributes = append(attributes, address(unix.RTA_PREFSRC, r.Source))
	}
	return change(typ, flags, r.header(), attributes...)
}
