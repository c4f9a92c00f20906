package dht

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"globalnet/internal/identity"
)

// The types of records that every node stores.
const (
	TypeNode    uint16 = 1 // where a node is reached: NodeRecord, sealed
	TypeRelay   uint16 = 2 // descriptor of a relay
	TypeService uint16 = 3 // descriptor of a hidden service, encrypted
	TypeMailbox uint16 = 4 // messages for somebody who is away
	TypeGeneric uint16 = 5 // of an application, which the salt names
)

// TypeSpec says how the records of a type are treated.
type TypeSpec struct {
	Name     string
	MaxValue int

	// TTL is how long a holder keeps a record of which it hears no more.
	TTL time.Duration

	// Replicate is how long a holder waits for the publisher before it puts the
	// record on the other holders itself.
	Replicate time.Duration

	// Secure lookups go by several disjoint paths and do not stop at the first
	// agreement.
	Secure bool

	// Validate judges the fields of a record, not its signature: before it is
	// stored and after it was found. It must be quick, and the same everywhere.
	Validate func(r *Record) error
}

// DefaultTypes returns the types of this version. The owner may add to it.
func DefaultTypes() map[uint16]TypeSpec {
	return map[uint16]TypeSpec{
		TypeNode: {Name: "node", MaxValue: 512, TTL: time.Hour, Replicate: time.Hour, Secure: true,
			Validate: versioned(1, sealOverhead+2)},
		TypeRelay: {Name: "relay", MaxValue: 4096, TTL: time.Hour, Replicate: time.Hour, Secure: true,
			Validate: versioned(1, 1)},
		TypeService: {Name: "service", MaxValue: 4096, TTL: 3 * time.Hour, Replicate: time.Hour, Secure: true,
			Validate: versioned(1, 1)},
		TypeMailbox: {Name: "mailbox", MaxValue: 4096, TTL: 7 * 24 * time.Hour, Replicate: 10 * time.Minute, Secure: true},
		TypeGeneric: {Name: "generic", MaxValue: 4096, TTL: time.Hour, Replicate: time.Hour, Validate: named},
	}
}

// versioned accepts values that begin with a version octet and have at least least
// octets after it.
func versioned(version byte, least int) func(*Record) error {
	return func(r *Record) error {
		switch {
		case len(r.Value) < 1+least:
			return fmt.Errorf("value of %d octets", len(r.Value))
		case r.Value[0] != version:
			return fmt.Errorf("version %d", r.Value[0])
		case len(r.Salt) != 0:
			return errors.New("salt")
		}
		return nil
	}
}

// named accepts records whose salt names the application.
func named(r *Record) error {
	if len(r.Salt) == 0 {
		return errors.New("no salt to name the application")
	}
	return nil
}

// Roles of a node, as it states them.
const (
	RoleRelay uint16 = 1 << iota
	RoleExit
	RoleStore // holds records for others
)

// NodeRecord is what a node says of itself: its roles and where it is reached, at
// its own mesh address or at nodes that listen for it.
type NodeRecord struct {
	Roles     uint16
	Addresses []netip.Addr
}

const maxNodeAddresses = 8

// Append appends the encoding: roles, count, and 12 octets an address.
func (n *NodeRecord) Append(dst []byte) ([]byte, error) {
	if len(n.Addresses) == 0 || len(n.Addresses) > maxNodeAddresses {
		return nil, fmt.Errorf("node record with %d addresses", len(n.Addresses))
	}
	dst = binary.BigEndian.AppendUint16(dst, n.Roles)
	dst = append(dst, byte(len(n.Addresses)))
	for _, a := range n.Addresses {
		if !identity.MeshPrefix.Contains(a) {
			return nil, fmt.Errorf("node record with address %v outside the mesh", a)
		}
		c := toContact(a)
		dst = append(dst, c[:]...)
	}
	return dst, nil
}

// ParseNodeRecord reads what Append wrote.
func ParseNodeRecord(p []byte) (*NodeRecord, error) {
	if len(p) < 3 {
		return nil, errors.New("parsing node record: truncated")
	}
	n := &NodeRecord{Roles: binary.BigEndian.Uint16(p)}
	count := int(p[2])
	p = p[3:]
	if count == 0 || count > maxNodeAddresses || len(p) != count*12 {
		return nil, errors.New("parsing node record: bad addresses")
	}
	for ; len(p) > 0; p = p[12:] {
		n.Addresses = append(n.Addresses, fromContact([12]byte(p)))
	}
	return n, nil
}
