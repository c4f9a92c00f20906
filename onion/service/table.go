package service

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net"
)

// Table is the hash table as a stranger asks it, who is at the other end of conn: a
// circuit lies between. One connection carries one question.
type Table interface {
	// Get returns the value that was stored under a blinded key, or ErrNotFound.
	Get(ctx context.Context, conn net.Conn, place ed25519.PublicKey) ([]byte, error)
	// Put stores a value, and returns on how many nodes; ErrNewer, if there is one with a
	// higher revision.
	Put(ctx context.Context, conn net.Conn, place Signer, revision uint64, value []byte) (stored int, err error)
}

// Signer is the key of a place.
type Signer interface {
	Public() ed25519.PublicKey
	Sign(message []byte) []byte
}

// Errors of a Table.
var (
	ErrNotFound = errors.New("no descriptor of the service is known")
	ErrNewer    = errors.New("a newer descriptor is stored")
)
