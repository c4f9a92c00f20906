// Package policy says which connections an exit makes. A Policy judges the address
// that is dialled; a Summary, the part that descriptors carry, tells clients
// which ports are worth asking for.
//
// The package does no I/O and its values do not change once made. The default
// follows DESIGN: web ports only, never private, local or mesh ranges.
package policy

import (
	"encoding/binary"
	"errors"
	"slices"

	"globalnet/onion/cell"
)

// Range is a range of ports, both ends included.
type Range struct{ First, Last uint16 }

// Ports are ranges in rising order that neither overlap nor touch.
type Ports []Range

// Has reports whether port is in one of the ranges.
func (p Ports) Has(port uint16) bool {
	i, _ := slices.BinarySearchFunc(p, port, func(r Range, port uint16) int {
		if r.Last < port {
			return -1
		}
		return 1
	})
	return i < len(p) && p[i].First <= port
}

// MaxRanges bounds the ranges that one Ports of a Summary has.
const MaxRanges = 32

// Summary is what an exit tells about its policy. The zero value is no exit.
type Summary struct {
	IPv4, IPv6 bool // families it reaches
	TCP, UDP   Ports
}

// IsExit reports whether any connection is made at all.
func (s Summary) IsExit() bool { return (s.IPv4 || s.IPv6) && len(s.TCP)+len(s.UDP) > 0 }

// Allows reports whether the target may be asked for. A name may have addresses of
// any family; the exit finds out. A node is no matter of exits.
func (s Summary) Allows(t cell.Target) bool {
	ports := s.TCP
	if t.Network == cell.UDP {
		ports = s.UDP
	}
	switch {
	case t.Addr.Is4():
		return s.IPv4 && ports.Has(t.Port)
	case t.Addr.IsValid():
		return s.IPv6 && ports.Has(t.Port)
	case t.Name != "":
		return (s.IPv4 || s.IPv6) && ports.Has(t.Port)
	}
	return false
}

const (
	flagIPv4 = 1 << iota
	flagIPv6
)

// AppendSummary appends flags (1) ‖ n TCP (1) ‖ n UDP (1) ‖ ranges, first (2) ‖ last (2) each.
func AppendSummary(dst []byte, s Summary) []byte {
	var flags byte
	if s.IPv4 {
		flags |= flagIPv4
	}
	if s.IPv6 {
		flags |= flagIPv6
	}
	dst = append(dst, flags, byte(len(s.TCP)), byte(len(s.UDP)))
	for _, ports := range []Ports{s.TCP, s.UDP} {
		for _, r := range ports {
			dst = binary.BigEndian.AppendUint16(dst, r.First)
			dst = binary.BigEndian.AppendUint16(dst, r.Last)
		}
	}
	return dst
}

// ErrSummary means that bytes are no Summary.
var ErrSummary = errors.New("malformed exit summary")

// ParseSummary reads what AppendSummary wrote and returns what follows.
func ParseSummary(b []byte) (s Summary, rest []byte, err error) {
	if len(b) < 3 || b[0]&^(flagIPv4|flagIPv6) != 0 {
		return s, nil, ErrSummary
	}
	s.IPv4, s.IPv6 = b[0]&flagIPv4 != 0, b[0]&flagIPv6 != 0
	nTCP, nUDP := int(b[1]), int(b[2])
	rest = b[3:]
	if s.TCP, rest, err = parsePorts(rest, nTCP); err == nil {
		s.UDP, rest, err = parsePorts(rest, nUDP)
	}
	if err != nil {
		return Summary{}, nil, err
	}
	return s, rest, nil
}

func parsePorts(b []byte, n int) (p Ports, rest []byte, err error) {
	if n > MaxRanges || len(b) < 4*n {
		return nil, nil, ErrSummary
	}
	for ; n > 0; n-- {
		r := Range{binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])}
		if r.First > r.Last || len(p) > 0 && int(r.First) <= int(p[len(p)-1].Last)+1 {
			return nil, nil, ErrSummary
		}
		p, b = append(p, r), b[4:]
	}
	return p, b, nil
}
