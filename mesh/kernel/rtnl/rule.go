package rtnl

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Rule is a policy rule: which packets are routed by which table.
type Rule struct {
	Family      int
	Priority    int
	Protocol    uint8        // who made it
	Action      uint8        // unix.FR_ACT_TO_TBL, FR_ACT_GOTO, FR_ACT_NOP …
	Table       int          // for FR_ACT_TO_TBL
	Goto        int          // the priority to go on at, for FR_ACT_GOTO
	Destination netip.Prefix // zero for any
	Ifname      string       // where packets come in, empty for any
	Mark, Mask  uint32       // a mask of 0 for any
}

func (r Rule) header() fixed {
	b := make([]byte, unix.SizeofRtMsg)
	b[0], b[7] = uint8(r.Family), r.Action
	if r.Destination.IsValid() {
		b[1] = uint8(r.Destination.Bits())
	}
	return b
}

// Rules lists the rules of a family.
func Rules(family int) ([]Rule, error) {
	msgs, err := list(unix.RTM_GETRULE, Rule{Family: family}.header())
	if err != nil {
		return nil, fmt.Errorf("listing rules: %w", err)
	}
	rules := make([]Rule, len(msgs))
	for i, m := range msgs {
		if rules[i], err = parseRule(m); err != nil {
			return nil, fmt.Errorf("listing rules: %w", err)
		}
	}
	return rules, nil
}

func parseRule(b []byte) (r Rule, err error) {
	err = decode(b, unix.SizeofRtMsg, func(typ int, v value) {
		switch typ {
		case unix.FRA_DST:
			r.Destination = netip.PrefixFrom(v.address(), int(b[1]))
		case unix.FRA_IIFNAME:
			r.Ifname = v.text()
		case unix.FRA_GOTO:
			r.Goto = int(v.number())
		case unix.FRA_PRIORITY:
			r.Priority = int(v.number())
		case unix.FRA_FWMARK:
			r.Mark = v.number()
		case unix.FRA_FWMASK:
			r.Mask = v.number()
		case unix.FRA_TABLE:
			r.Table = int(v.number())
		case unix.FRA_PROTOCOL:
			if len(v) == 1 {
				r.Protocol = v[0]
			}
		}
	})
	if err != nil {
		return Rule{}, err
	}
	r.Family, r.Action = int(b[0]), b[7]
	return r, nil
}

// Add adds a rule; unix.EEXIST means that there is the same already.
func (r Rule) Add() error { return r.change(unix.RTM_NEWRULE, add) }

// Delete removes a rule; unix.ENOENT means that it is not there.
func (r Rule) Delete() error { return r.change(unix.RTM_DELRULE, ack) }

func (r Rule) change(typ, flags int) error {
	attributes := []*nl.RtAttr{number(unix.FRA_PRIORITY, uint32(r.Priority)), nl.NewRtAttr(unix.FRA_PROTOCOL, []byte{r.Protocol})}
	if r.Table != 0 {
		attributes = append(attributes, number(unix.FRA_TABLE, uint32(r.Table)))
	}
	if r.Action == unix.FR_ACT_GOTO {
		attributes = append(attributes, number(unix.FRA_GOTO, uint32(r.Goto)))
	}
	if r.Destination.IsValid() {
		attributes = append(attributes, address(unix.FRA_DST, r.Destination.Addr()))
	}
	if r.Ifname != "" {
		attributes = append(attributes, text(unix.FRA_IIFNAME, r.Ifname))
	}
	if r.Mask != 0 {
		attributes = append(attributes, number(unix.FRA_FWMARK, r.Mark), number(unix.FRA_FWMASK, r.Mask))
	}
	return change(typ, flags, r.header(), attributes...)
}
