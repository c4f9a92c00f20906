package dht

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"net/netip"

	"globalnet/mesh/dht/wire"
)

const (
	tokenPeriod   = 5 * minute              // how often the secret changes
	tokenLifetime = tokenPeriod - 10*second // how long we use one that we got; theirs lasts a period at least
)

// tokens makes and checks the proof that a node receives at its address. A token
// is bound to the address alone: bound to a key as well, every key would cost a
// round trip of its own and nothing more would be proved.
type tokens struct {
	secret [32]byte
}

// make returns the token of the current period.
func (t *tokens) make(now tick, addr netip.Addr) wire.Token {
	return t.at(uint64(now/tokenPeriod), addr)
}

// check accepts the tokens of this period and of the one before.
func (t *tokens) check(now tick, addr netip.Addr, token wire.Token) bool {
	period := uint64(now / tokenPeriod)
	current, last := t.at(period, addr), t.at(period-1, addr)
	return subtle.ConstantTimeCompare(current[:], token[:])|subtle.ConstantTimeCompare(last[:], token[:]) == 1
}

func (t *tokens) at(period uint64, addr netip.Addr) wire.Token {
	a := addr.As16()
	b := make([]byte, 0, 64)
	b = append(b, t.secret[:]...)
	b = binary.BigEndian.AppendUint64(b, period)
	sum := sha256.Sum256(append(b, a[:]...))
	return wire.Token(sum[:])
}
