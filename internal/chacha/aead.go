package chacha

import (
	"encoding/binary"
	"errors"
	"unsafe"
)

// maxPlain is the most that 32 bits of block counter reach, less block 0.
const maxPlain = 1<<38 - 64

var errOpen = errors.New("chacha: message does not verify")

// fastAEAD is ChaCha20-Poly1305, RFC 8439 section 2.8.
type fastAEAD struct{ key keyWords }

func newFast(key []byte) *fastAEAD { return &fastAEAD{loadKey(key)} }

// NonceSize implements cipher.AEAD.
func (a *fastAEAD) NonceSize() int { return NonceSize }

// Overhead implements cipher.AEAD.
func (a *fastAEAD) Overhead() int { return TagSize }

// Seal implements cipher.AEAD.
func (a *fastAEAD) Seal(dst, nonce, plaintext, additional []byte) []byte {
	check(nonce, len(plaintext))
	out, at := grow(dst, len(plaintext)+TagSize)
	sealed := out[at : at+len(plaintext)]
	if overlaps(sealed, plaintext) {
		panic("chacha: invalid buffer overlap")
	}
	xorKeyStream(sealed, plaintext, &a.key, nonce, 1)
	tag := a.tag(nonce, sealed, additional)
	copy(out[at+len(plaintext):], tag[:])
	return out
}

// Open implements cipher.AEAD.
func (a *fastAEAD) Open(dst, nonce, ciphertext, additional []byte) ([]byte, error) {
	if len(ciphertext) < TagSize {
		return nil, errOpen
	}
	n := len(ciphertext) - TagSize
	check(nonce, n)
	out, at := grow(dst, n)
	if overlaps(out[at:], ciphertext[:n]) {
		panic("chacha: invalid buffer overlap")
	}
	tag := a.tag(nonce, ciphertext[:n], additional)
	if !equal(tag[:], ciphertext[n:]) {
		clear(out[at:])
		return nil, errOpen
	}
	xorKeyStream(out[at:], ciphertext[:n], &a.key, nonce, 1)
	return out, nil
}

// tag authenticates what is sealed and what goes with it.
func (a *fastAEAD) tag(nonce, sealed, additional []byte) [TagSize]byte {
	var first [32]byte // of block 0: the key of this one tag
	xorKeyStream(first[:], first[:], &a.key, nonce, 0)
	var p poly1305
	p.setKey(first[:])
	p.padded(additional)
	p.padded(sealed)
	var lengths [16]byte
	binary.LittleEndian.PutUint64(lengths[:], uint64(len(additional)))
	binary.LittleEndian.PutUint64(lengths[8:], uint64(len(sealed)))
	p.blocks(lengths[:], 1)
	return p.sum()
}

func check(nonce []byte, size int) {
	if len(nonce) != NonceSize {
		panic("chacha: nonce has a wrong size")
	}
	if uint64(size) > maxPlain {
		panic("chacha: message too long")
	}
}

// grow returns dst with n bytes more, and where these begin.
func grow(dst []byte, n int) (out []byte, at int) {
	at = len(dst)
	if total := at + n; cap(dst) >= total {
		return dst[:total], at
	}
	out = make([]byte, at+n)
	copy(out, dst)
	return out, at
}

// overlaps reports whether a and b share memory other than by beginning at the
// same byte.
func overlaps(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 || &a[0] == &b[0] {
		return false
	}
	startA, startB := uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&b[0]))
	return startA < startB+uintptr(len(b)) && startB < startA+uintptr(len(a))
}
