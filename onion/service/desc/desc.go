// Package desc is the codec of the descriptors by which hidden services are found: a
// signed value for the hash table, in two layers of encryption. The outer one opens
// to whoever knows the service's address and the place, the inner one, where the
// introduction points are, to those whom the service lets in.
//
// The shape is that of rend-spec-v3, the layout is in docs/protocols/service.md,
// vectors are in testdata. The package has no state and does no I/O.
package desc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"globalnet/internal/identity"
	"globalnet/onion/layer"
	"globalnet/onion/ntor"
	"globalnet/onion/service/key"
	"globalnet/onion/service/pow"
)

const (
	// MaxPoints is how many introduction points a descriptor holds.
	MaxPoints = 10
	// DefaultPoints is how many a service has if it says nothing.
	DefaultPoints = 3
)

// IntroPoint is a relay that passes introductions on to the service.
type IntroPoint struct {
	Node     identity.NodeID
	OnionKey ntor.PublicKey
	Suites   []layer.Suite   // of the relay, the fastest first; at most two
	Auth     identity.NodeID // Ed25519, by which the relay knows the service's circuit
	Enc      ntor.PublicKey  // to which introductions are sealed
}

// Descriptor is what a service, or one machine of it, says of itself.
type Descriptor struct {
	Revision  uint64 // rises with each descriptor of a machine
	Instance  [8]byte
	Slots     uint8 // how many slots the service uses, 1 to key.MaxSlots
	SingleHop bool  // the service is not hidden, only its clients are
	Work      pow.Params
	Points    []IntroPoint // 1 to MaxPoints
}

const (
	fixedSize = 8 + 8 + 1 + 1 + 4 + pow.SeedSize + 8 + 1
	pointSize = 32 + 32 + 1 + 32 + 32

	flagSingleHop = 1
	maxSlots      = key.MaxSlots
)

var errFormat = errors.New("malformed descriptor")

// check refuses what cannot be written or must not be believed.
func (d *Descriptor) check() error {
	if len(d.Points) == 0 || len(d.Points) > MaxPoints {
		return fmt.Errorf("%w: %d introduction points", errFormat, len(d.Points))
	}
	if d.Slots == 0 || d.Slots > maxSlots {
		return fmt.Errorf("%w: %d slots", errFormat, d.Slots)
	}
	for _, p := range d.Points {
		if len(p.Suites) == 0 || len(p.Suites) > 2 || len(p.Suites) == 2 && p.Suites[0] == p.Suites[1] ||
			slices.ContainsFunc(p.Suites, func(s layer.Suite) bool { return s == 0 || s > 15 }) {
			return fmt.Errorf("%w: suites of an introduction point", errFormat)
		}
	}
	return nil
}

// appendInner appends revision (8) ‖ instance (8) ‖ slots (1) ‖ flags (1) ‖ effort (4) ‖
// seed (32) ‖ expires (8) ‖ n (1) ‖ n introduction points.
func (d *Descriptor) appendInner(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, d.Revision)
	dst = append(dst, d.Instance[:]...)
	var flags byte
	if d.SingleHop {
		flags |= flagSingleHop
	}
	dst = append(dst, d.Slots, flags)
	dst = binary.BigEndian.AppendUint32(dst, d.Work.Effort)
	dst = append(dst, d.Work.Seed[:]...)
	dst = binary.BigEndian.AppendUint64(dst, d.Work.Expires)
	dst = append(dst, byte(len(d.Points)))
	for _, p := range d.Points {
		dst = append(append(dst, p.Node[:]...), p.OnionKey[:]...)
		suites := byte(p.Suites[0]) << 4
		if len(p.Suites) > 1 {
			suites |= byte(p.Suites[1])
		}
		dst = append(dst, suites)
		dst = append(append(dst, p.Auth[:]...), p.Enc[:]...)
	}
	return dst
}

// parseInner reads what appendInner wrote, and zeros behind it.
func parseInner(b []byte) (*Descriptor, error) {
	if len(b) < fixedSize {
		return nil, fmt.Errorf("%w: %d bytes", errFormat, len(b))
	}
	d := &Descriptor{
		Revision:  binary.BigEndian.Uint64(b),
		Instance:  [8]byte(b[8:]),
		Slots:     b[16],
		SingleHop: b[17]&flagSingleHop != 0,
		Work: pow.Params{
			Effort:  binary.BigEndian.Uint32(b[18:]),
			Seed:    pow.Seed(b[22:]),
			Expires: binary.BigEndian.Uint64(b[54:]),
		},
	}
	if b[17]&^flagSingleHop != 0 {
		return nil, fmt.Errorf("%w: flags %#x", errFormat, b[17])
	}
	n := int(b[62])
	b = b[fixedSize:]
	if n > MaxPoints || len(b) < n*pointSize {
		return nil, fmt.Errorf("%w: %d introduction points in %d bytes", errFormat, n, len(b))
	}
	for ; n > 0; n-- {
		p := IntroPoint{Node: identity.NodeID(b), OnionKey: ntor.PublicKey(b[32:]), Auth: identity.NodeID(b[65:]), Enc: ntor.PublicKey(b[97:])}
		p.Suites = []layer.Suite{layer.Suite(b[64] >> 4)}
		if second := layer.Suite(b[64] & 15); second != 0 {
			p.Suites = append(p.Suites, second)
		}
		d.Points, b = append(d.Points, p), b[pointSize:]
	}
	if slices.ContainsFunc(b, func(x byte) bool { return x != 0 }) {
		return nil, fmt.Errorf("%w: bytes behind", errFormat)
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	return d, nil
}
