//go:build !386 && !arm && !mips && !mipsle

package chacha

import (
	"crypto/cipher"

	"golang.org/x/crypto/chacha20poly1305"
)

func newAEAD(key []byte) (cipher.AEAD, error) { return chacha20poly1305.New(key) }

// stream takes the key stream out of the AEAD: on amd64 that has assembly, and
// plain ChaCha20 has none.
type stream struct{ aead cipher.AEAD }

func newStream(key []byte) (stream, error) {
	a, err := chacha20poly1305.New(key)
	return stream{a}, err
}

func (s stream) xor(dst, src, nonce []byte) {
	if n := len(src) + TagSize; cap(dst) >= n {
		s.aead.Seal(dst[:0], nonce, src, nil)
		return
	}
	copy(dst[:len(src)], s.aead.Seal(make([]byte, 0, len(src)+TagSize), nonce, src, nil))
}
