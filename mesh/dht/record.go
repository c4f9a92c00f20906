package dht

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"globalnet/internal/blind"
	"globalnet/mesh/dht/wire"
)

// Record is a signed value. Key says where it is stored.
type Record = wire.Record

// Signer signs records: an ordinary key (KeySigner) or a *blind.PrivateKey.
type Signer interface {
	Public() ed25519.PublicKey
	Sign(message []byte) []byte
}

// KeySigner signs with an Ed25519 key that is not blinded.
type KeySigner ed25519.PrivateKey

// Public returns the public key.
func (k KeySigner) Public() ed25519.PublicKey {
	return ed25519.PrivateKey(k).Public().(ed25519.PublicKey)
}

// Sign returns the signature of message.
func (k KeySigner) Sign(message []byte) []byte { return ed25519.Sign(ed25519.PrivateKey(k), message) }

// String hides the key.
func (k KeySigner) String() string { return "[secret]" }

// GoString hides the key from %#v.
func (k KeySigner) GoString() string { return "[secret]" }

// SignRecord fills in the public key and the signature.
func SignRecord(r *Record, s Signer) {
	copy(r.Public[:], s.Public())
	copy(r.Signature[:], s.Sign(r.SignedForm()))
}

// maxAhead is how far a sequence number may be ahead of the clock. Most are seconds
// since 1970; a small counter is never ahead.
const maxAhead = 24 * time.Hour

var (
	errSignature = errors.New("wrong signature")
	errType      = errors.New("unknown type")
	errExpired   = errors.New("expired")
	errFuture    = errors.New("sequence number ahead of the clock")
)

// verify judges a record: its times if the clock is trusted, and what Verify does.
// The cheap comes first.
func (d *DHT) verify(r *Record) error {
	if _, ok := d.types[r.Type]; ok && d.clockTrusted {
		now := d.wall.Unix()
		if r.Expiry != 0 && r.Expiry <= uint64(max(now, 0)) {
			return errExpired
		}
		if r.Seq > uint64(max(now, 0))+uint64(maxAhead/time.Second) {
			return errFuture
		}
	}
	if err := checkForm(d.types, r); err != nil {
		return err
	}
	d.counts[verifications]++
	return checkSignature(r)
}

// Verify judges a record of one of the types by what it says itself: its form, what
// the type's validator says, its key and its signature. Expiry needs a clock, and is
// left to who has one.
func Verify(types map[uint16]TypeSpec, r *Record) error {
	if err := checkForm(types, r); err != nil {
		return err
	}
	return checkSignature(r)
}

func checkForm(types map[uint16]TypeSpec, r *Record) error {
	spec, ok := types[r.Type]
	if !ok {
		return errType
	}
	if len(r.Value) > spec.MaxValue {
		return fmt.Errorf("value of %d octets, %s has at most %d", len(r.Value), spec.Name, spec.MaxValue)
	}
	if len(r.Salt) > wire.MaxSalt {
		return fmt.Errorf("salt of %d octets, at most %d are allowed", len(r.Salt), wire.MaxSalt)
	}
	if spec.Validate != nil {
		if err := spec.Validate(r); err != nil {
			return fmt.Errorf("validating %s: %w", spec.Name, err)
		}
	}
	return nil
}

func checkSignature(r *Record) error {
	if err := blind.Check(r.Public[:]); err != nil {
		return err
	}
	if !ed25519.Verify(r.Public[:], r.SignedForm(), r.Signature[:]) {
		return errSignature
	}
	return nil
}

// statusOf translates what verify says.
func statusOf(err error) wire.Status {
	switch {
	case errors.Is(err, errType):
		return wire.UnknownType
	case errors.Is(err, errExpired):
		return wire.Expired
	case errors.Is(err, errFuture):
		return wire.Future
	}
	return wire.BadRecord
}

// newer tells whether a version replaces another: by the higher sequence number,
// and between two values of one number by the smaller digest, so that all nodes
// come to keep the same.
func newer(seq uint64, digest wire.Digest, thanSeq uint64, than wire.Digest) bool {
	if seq != thanSeq {
		return seq > thanSeq
	}
	return bytes.Compare(digest[:], than[:]) < 0
}

// clone copies a record whose slices point into a packet.
func clone(r *Record) *Record {
	c := *r
	c.Salt, c.Value = bytes.Clone(r.Salt), bytes.Clone(r.Value)
	return &c
}
