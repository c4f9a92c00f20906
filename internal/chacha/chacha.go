// Package chacha is ChaCha20 and ChaCha20-Poly1305, RFC 8439, as fast as pure Go
// gets on CPUs of 32 bits. Elsewhere it is golang.org/x/crypto, which has
// assembly there.
//
// Nothing in it depends on secret values by branch or by index. An AEAD and a
// Stream are immutable and may be shared.
package chacha

import (
	"crypto/cipher"
	"errors"
)

const (
	KeySize   = 32
	NonceSize = 12
	TagSize   = 16
)

var errKey = errors.New("chacha: key has a wrong size")

// New returns ChaCha20-Poly1305 (RFC 8439 section 2.8) with this key.
func New(key []byte) (cipher.AEAD, error) {
	if len(key) != KeySize {
		return nil, errKey
	}
	return newAEAD(key)
}

// Stream is ChaCha20 with one key and many nonces.
type Stream struct {
	stream
}

// NewStream returns the stream cipher with this key.
func NewStream(key []byte) (*Stream, error) {
	if len(key) != KeySize {
		return nil, errKey
	}
	s, err := newStream(key)
	if err != nil {
		return nil, err
	}
	return &Stream{s}, nil
}

// XOR writes src, combined with the key stream from block 1 on, to dst: what the
// AEAD does to a message. The two may be the same memory, or must not overlap.
// Where dst has capacity for it, TagSize bytes behind are overwritten.
func (s *Stream) XOR(dst, src, nonce []byte) { s.xor(dst, src, nonce) }
