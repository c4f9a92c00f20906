// Package netdir is what a node knows of the relays: signed descriptors, which
// spread between neighbours and through the hash table, and what was measured
// of each relay. There is no authority: whoever holds a descriptor can check it.
//
// A Directory owns all of it; its methods may be called from any goroutine and
// take the time as an argument. docs/protocols/directory.md has the bytes.
package netdir

import (
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/layer"
	"globalnet/onion/ntor"
	"globalnet/onion/policy"
)

// Flags of a descriptor.
type Flags uint16

const (
	FlagRelay   Flags = 1 << iota // extends circuits of others
	FlagService                   // takes introduction and rendezvous points
)

// Descriptor is what a node says of itself. It is not changed once made.
type Descriptor struct {
	Node     identity.NodeID
	Sequence uint64 // rises with each new descriptor of the node
	Flags    Flags
	OnionKey ntor.PublicKey
	// Protocols are what it speaks, in rising order; unknown ones may be among them.
	Protocols []Versions
	Suites    []layer.Suite // that it works with, the fastest first
	Exit      policy.Summary
	Families  []Family // at most MaxFamilies
	Vouches   []Vouch  // at most MaxVouches
}

// Protocol is a part of the onion that has versions of its own.
type Protocol uint8

const (
	Link  Protocol = 1 + iota // channels
	Circ                      // handshakes of circuits
	Cell                      // cells and their layers
	Flow                      // credits and windows
	Svc                       // introduction and rendezvous
	Dgram                     // datagrams in streams
)

// Versions are those of one protocol that a node speaks, both ends included.
type Versions struct {
	Protocol    Protocol
	First, Last uint8
}

// CurrentProtocols returns what this program speaks as a relay.
func CurrentProtocols() []Versions {
	return []Versions{{Link, 1, 1}, {Circ, 1, 1}, {Cell, 1, 1}, {Flow, 1, 1}, {Svc, 1, 1}, {Dgram, 1, 1}}
}

// Speaks reports whether the node speaks version of p.
func (d *Descriptor) Speaks(p Protocol, version uint8) bool {
	for _, v := range d.Protocols {
		if v.Protocol == p {
			return v.First <= version && version <= v.Last
		}
	}
	return false
}

const (
	MaxFamilies = 4
	MaxVouches  = 8
)

// Family is a group of relays of one owner, which no path has two of. The holder of
// the family's key signs each member.
type Family struct {
	Key       [32]byte // Ed25519
	Signature [64]byte // over the member's NodeID
}

// Vouch is the word of a neighbour that it has a link with the node.
type Vouch struct {
	Voucher   identity.NodeID
	Signature [64]byte // over the NodeID of whom it vouches for
}

// Relay is a descriptor, and what this node knows of the relay itself. It is a copy.
type Relay struct {
	*Descriptor
	Known     time.Duration // for how long this node has known it, over restarts
	Bandwidth int64         // measured by this node, bytes a second; 0: never
	Tries     int           // circuits through it that were tried lately
	Failures  int           // of Tries, those that failed because of it
}
