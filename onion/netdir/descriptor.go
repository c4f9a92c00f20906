package netdir

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"globalnet/internal/identity"
	"globalnet/onion/layer"
	"globalnet/onion/policy"
)

const (
	version = 1

	// MaxDescriptor bounds a descriptor: it must fit in a value of the hash table.
	MaxDescriptor = 4096

	maxSuites     = 8
	maxProtocols  = 16
	signatureSize = 64
	headerSize    = 1 + 32 + 8 // version, node, sequence

	descriptorContext = "globalnet descriptor 1"
)

// ErrForged means that a signature in a descriptor is not what it says.
var ErrForged = errors.New("forged descriptor")

var errFormat = errors.New("malformed descriptor")

// Sign sets d.Node and returns the signed form of d.
func Sign(id *identity.Identity, d *Descriptor) ([]byte, error) {
	d.Node = id.NodeID()
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("signing descriptor: %w", err)
	}
	raw := appendDescriptor(nil, d)
	return append(raw, id.Sign(descriptorContext, raw)...), nil
}

// appendDescriptor appends everything before the signature.
func appendDescriptor(b []byte, d *Descriptor) []byte {
	b = append(b, version)
	b = append(b, d.Node[:]...)
	b = binary.BigEndian.AppendUint64(b, d.Sequence)
	b = binary.BigEndian.AppendUint16(b, uint16(d.Flags))
	b = append(b, d.OnionKey[:]...)
	b = append(b, byte(len(d.Protocols)))
	for _, v := range d.Protocols {
		b = append(b, byte(v.Protocol), v.First, v.Last)
	}
	b = append(b, byte(len(d.Suites)))
	for _, s := range d.Suites {
		b = append(b, byte(s))
	}
	b = policy.AppendSummary(b, d.Exit)
	b = append(b, byte(len(d.Families)))
	for i := range d.Families {
		b = append(b, d.Families[i].Key[:]...)
		b = append(b, d.Families[i].Signature[:]...)
	}
	b = append(b, byte(len(d.Vouches)))
	for i := range d.Vouches {
		b = append(b, d.Vouches[i].Voucher[:]...)
		b = append(b, d.Vouches[i].Signature[:]...)
	}
	return b
}

// Parse reads a descriptor and checks every signature in it.
func Parse(raw []byte) (*Descriptor, error) { return parse(raw, nil) }

// parse is Parse; vouches and families that known has as well, byte for byte, are
// not checked again: a new descriptor of a node mostly has those of the last.
func parse(raw []byte, known *Descriptor) (*Descriptor, error) {
	d, err := decode(raw)
	if err != nil {
		return nil, err
	}
	end := len(raw) - signatureSize
	if !d.Node.Verify(descriptorContext, raw[:end], raw[end:]) {
		return nil, fmt.Errorf("%w: its own signature", ErrForged)
	}
	if known == nil || known.Node != d.Node {
		known = &Descriptor{}
	}
	for _, f := range d.Families {
		if !slices.Contains(known.Families, f) && !f.verify(d.Node) {
			return nil, fmt.Errorf("%w: a family's signature", ErrForged)
		}
	}
	for _, v := range d.Vouches {
		if !slices.Contains(known.Vouches, v) && !v.verify(d.Node) {
			return nil, fmt.Errorf("%w: a vouch", ErrForged)
		}
	}
	return d, nil
}

// header returns whose descriptor raw says it is, and its sequence.
func header(raw []byte) (node identity.NodeID, sequence uint64, err error) {
	if len(raw) < headerSize+signatureSize || len(raw) > MaxDescriptor {
		return node, 0, fmt.Errorf("%w of %d bytes", errFormat, len(raw))
	}
	if raw[0] != version {
		return node, 0, fmt.Errorf("%w: version %d", errFormat, raw[0])
	}
	copy(node[:], raw[1:])
	if node.IsZero() {
		return node, 0, fmt.Errorf("%w: no node", errFormat)
	}
	return node, binary.BigEndian.Uint64(raw[33:]), nil
}

// decode reads a descriptor without looking at signatures. What follows the
// vouches belongs to later versions: it is skipped, but signed.
func decode(raw []byte) (*Descriptor, error) {
	d := &Descriptor{}
	var err error
	if d.Node, d.Sequence, err = header(raw); err != nil {
		return nil, err
	}
	r := reader{rest: raw[headerSize : len(raw)-signatureSize]}
	d.Flags = Flags(binary.BigEndian.Uint16(r.take(2)))
	copy(d.OnionKey[:], r.take(32))
	for range r.count(maxProtocols) {
		b := r.take(3)
		d.Protocols = append(d.Protocols, Versions{Protocol(b[0]), b[1], b[2]})
	}
	for range r.count(maxSuites) {
		d.Suites = append(d.Suites, layer.Suite(r.take(1)[0]))
	}
	if r.bad {
		return nil, fmt.Errorf("%w: too short", errFormat)
	}
	if d.Exit, r.rest, err = policy.ParseSummary(r.rest); err != nil {
		return nil, fmt.Errorf("%w: %w", errFormat, err)
	}
	for range r.count(MaxFamilies) {
		d.Families = append(d.Families, Family{[32]byte(r.take(32)), [64]byte(r.take(64))})
	}
	for range r.count(MaxVouches) {
		d.Vouches = append(d.Vouches, Vouch{identity.NodeID(r.take(32)), [64]byte(r.take(64))})
	}
	if r.bad {
		return nil, fmt.Errorf("%w: too short", errFormat)
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	return d, nil
}

// check says what is wrong with d, signatures aside.
func (d *Descriptor) check() error {
	bad := func(what string) error { return fmt.Errorf("%w: %s", errFormat, what) }
	if d.Sequence == 0 {
		return bad("sequence 0")
	}
	if d.Flags&FlagRelay != 0 && (d.OnionKey == [32]byte{} || len(d.Suites) == 0) {
		return bad("a relay without onion key or suite")
	}
	if len(d.Suites) > maxSuites || len(d.Protocols) > maxProtocols ||
		len(d.Families) > MaxFamilies || len(d.Vouches) > MaxVouches ||
		len(d.Exit.TCP) > policy.MaxRanges || len(d.Exit.UDP) > policy.MaxRanges {
		return bad("too many of something")
	}
	for i, v := range d.Protocols {
		if v.First > v.Last || i > 0 && d.Protocols[i-1].Protocol >= v.Protocol {
			return bad("protocol versions")
		}
	}
	for i, s := range d.Suites {
		if slices.Contains(d.Suites[:i], s) {
			return bad("a suite twice")
		}
	}
	for i, f := range d.Families {
		if f.Key == ([32]byte{}) || slices.ContainsFunc(d.Families[:i], func(o Family) bool { return o.Key == f.Key }) {
			return bad("a family twice, or none")
		}
	}
	for i, v := range d.Vouches {
		if v.Voucher.IsZero() || v.Voucher == d.Node ||
			slices.ContainsFunc(d.Vouches[:i], func(o Vouch) bool { return o.Voucher == v.Voucher }) {
			return bad("a vouch twice, of nobody or of itself")
		}
	}
	return nil
}

// reader takes fields from the front; once one was missing, all are zero.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.rest) < n {
		r.bad = true
		return make([]byte, n) // n is one of ours, at most 4 KiB
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// count reads how many of something follow; more than most is an error.
func (r *reader) count(most int) int {
	n := int(r.take(1)[0])
	if n > most {
		r.bad = true
	}
	if r.bad {
		return 0
	}
	return n
}
