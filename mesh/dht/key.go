package dht

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"net/netip"

	"globalnet/internal/identity"
	"globalnet/mesh/dht/wire"
)

// Port is the UDP port of the hash table, of both ends.
const Port = 18246

const (
	nodeContext   = "globalnet dht node"
	puzzleContext = "globalnet dht puzzle"
)

// Key is a place of a node or a record.
type Key = wire.Key

// NodeKey is the place of the node with a mesh address. The address is a hash of
// the node's identity, so nobody chooses a place, and who knows an address, from
// a route for example, knows the place.
func NodeKey(addr netip.Addr) Key { return hashAddr(nodeContext, addr) }

// Puzzle is the number of leading zero bits of the address's puzzle hash: how
// much work went into finding an identity with that address (S/Kademlia's static
// puzzle).
func Puzzle(addr netip.Addr) int {
	h := hashAddr(puzzleContext, addr)
	return commonPrefix(&h, &Key{})
}

func hashAddr(context string, addr netip.Addr) Key {
	a := addr.As16()
	b := make([]byte, 0, 64)
	b = append(b, byte(len(context)))
	b = append(b, context...)
	return sha256.Sum256(append(b, a[:]...))
}

// toContact is the form of an address in messages.
func toContact(addr netip.Addr) wire.Contact {
	a := addr.As16()
	return wire.Contact(a[4:])
}

func fromContact(c wire.Contact) netip.Addr {
	a := identity.MeshPrefix.Addr().As16()
	copy(a[4:], c[:])
	return netip.AddrFrom16(a)
}

// closer tells whether a is closer to key than b.
func closer(key, a, b *Key) bool {
	for i := 0; i < len(key); i += 8 {
		k := binary.BigEndian.Uint64(key[i:])
		x, y := k^binary.BigEndian.Uint64(a[i:]), k^binary.BigEndian.Uint64(b[i:])
		if x != y {
			return x < y
		}
	}
	return false
}

// commonPrefix is the number of leading bits that a and b share.
func commonPrefix(a, b *Key) int {
	for i := 0; i < len(a); i += 8 {
		if x := binary.BigEndian.Uint64(a[i:]) ^ binary.BigEndian.Uint64(b[i:]); x != 0 {
			return i*8 + bits.LeadingZeros64(x)
		}
	}
	return len(a) * 8
}

// fraction is the distance of a and b as a part of the key space.
func fraction(a, b *Key) float64 {
	return float64(binary.BigEndian.Uint64(a[:])^binary.BigEndian.Uint64(b[:])) / (1 << 64)
}
