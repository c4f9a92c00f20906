package chacha

import (
	"encoding/binary"
	"math/bits"
)

const blockSize = 64

// The first row of the state, RFC 8439 section 2.3: "expand 32-byte k".
const (
	c0 = 0x61707865
	c1 = 0x3320646e
	c2 = 0x79622d32
	c3 = 0x6b206574
)

// keyWords is a key as ChaCha20 reads it.
type keyWords [8]uint32

func loadKey(key []byte) (k keyWords) {
	for i := range k {
		k[i] = binary.LittleEndian.Uint32(key[4*i:])
	}
	return k
}

// fastStream is ChaCha20 with one key.
type fastStream struct{ key keyWords }

func (s *fastStream) xor(dst, src, nonce []byte) { xorKeyStream(dst, src, &s.key, nonce, 1) }

// xorKeyStream combines src with the key stream from block counter on into dst.
func xorKeyStream(dst, src []byte, key *keyWords, nonce []byte, counter uint32) {
	n0, n1, n2 := binary.LittleEndian.Uint32(nonce), binary.LittleEndian.Uint32(nonce[4:]), binary.LittleEndian.Uint32(nonce[8:])
	for len(src) >= blockSize {
		xorBlock((*[blockSize]byte)(dst), (*[blockSize]byte)(src), key, counter, n0, n1, n2)
		dst, src = dst[blockSize:], src[blockSize:]
		counter++
	}
	if len(src) > 0 {
		var last [blockSize]byte
		copy(last[:], src)
		xorBlock(&last, &last, key, counter, n0, n1, n2)
		copy(dst, last[:len(src)])
	}
}

// xorBlock is the block function of RFC 8439 section 2.3 with the rounds written
// out: a call for each quarter round costs more than the round on MIPS, where Go
// passes arguments on the stack. The sixteen words stay in registers where there
// are enough.
func xorBlock(dst, src *[blockSize]byte, key *keyWords, counter, n0, n1, n2 uint32) {
	var (
		x0, x1, x2, x3     uint32 = c0, c1, c2, c3
		x4, x5, x6, x7            = key[0], key[1], key[2], key[3]
		x8, x9, x10, x11          = key[4], key[5], key[6], key[7]
		x12, x13, x14, x15        = counter, n0, n1, n2
	)
	for range 10 {
		// Columns.
		x0 += x4
		x12 = bits.RotateLeft32(x12^x0, 16)
		x8 += x12
		x4 = bits.RotateLeft32(x4^x8, 12)
		x0 += x4
		x12 = bits.RotateLeft32(x12^x0, 8)
		x8 += x12
		x4 = bits.RotateLeft32(x4^x8, 7)

		x1 += x5
		x13 = bits.RotateLeft32(x13^x1, 16)
		x9 += x13
		x5 = bits.RotateLeft32(x5^x9, 12)
		x1 += x5
		x13 = bits.RotateLeft32(x13^x1, 8)
		x9 += x13
		x5 = bits.RotateLeft32(x5^x9, 7)

		x2 += x6
		x14 = bits.RotateLeft32(x14^x2, 16)
		x10 += x14
		x6 = bits.RotateLeft32(x6^x10, 12)
		x2 += x6
		x14 = bits.RotateLeft32(x14^x2, 8)
		x10 += x14
		x6 = bits.RotateLeft32(x6^x10, 7)

		x3 += x7
		x15 = bits.RotateLeft32(x15^x3, 16)
		x11 += x15
		x7 = bits.RotateLeft32(x7^x11, 12)
		x3 += x7
		x15 = bits.RotateLeft32(x15^x3, 8)
		x11 += x15
		x7 = bits.RotateLeft32(x7^x11, 7)

		// Diagonals.
		x0 += x5
		x15 = bits.RotateLeft32(x15^x0, 16)
		x10 += x15
		x5 = bits.RotateLeft32(x5^x10, 12)
		x0 += x5
		x15 = bits.RotateLeft32(x15^x0, 8)
		x10 += x15
		x5 = bits.RotateLeft32(x5^x10, 7)

		x1 += x6
		x12 = bits.RotateLeft32(x12^x1, 16)
		x11 += x12
		x6 = bits.RotateLeft32(x6^x11, 12)
		x1 += x6
		x12 = bits.RotateLeft32(x12^x1, 8)
		x11 += x12
		x6 = bits.RotateLeft32(x6^x11, 7)

		x2 += x7
		x13 = bits.RotateLeft32(x13^x2, 16)
		x8 += x13
		x7 = bits.RotateLeft32(x7^x8, 12)
		x2 += x7
		x13 = bits.RotateLeft32(x13^x2, 8)
		x8 += x13
		x7 = bits.RotateLeft32(x7^x8, 7)

		x3 += x4
		x14 = bits.RotateLeft32(x14^x3, 16)
		x9 += x14
		x4 = bits.RotateLeft32(x4^x9, 12)
		x3 += x4
		x14 = bits.RotateLeft32(x14^x3, 8)
		x9 += x14
		x4 = bits.RotateLeft32(x4^x9, 7)
	}
	xorWord(dst, src, 0, x0+c0)
	xorWord(dst, src, 4, x1+c1)
	xorWord(dst, src, 8, x2+c2)
	xorWord(dst, src, 12, x3+c3)
	xorWord(dst, src, 16, x4+key[0])
	xorWord(dst, src, 20, x5+key[1])
	xorWord(dst, src, 24, x6+key[2])
	xorWord(dst, src, 28, x7+key[3])
	xorWord(dst, src, 32, x8+key[4])
	xorWord(dst, src, 36, x9+key[5])
	xorWord(dst, src, 40, x10+key[6])
	xorWord(dst, src, 44, x11+key[7])
	xorWord(dst, src, 48, x12+counter)
	xorWord(dst, src, 52, x13+n0)
	xorWord(dst, src, 56, x14+n1)
	xorWord(dst, src, 60, x15+n2)
}

// xorWord combines four bytes with a word. Single bytes, because a CPU that traps
// on unaligned words makes the compiler load bytes anyway.
func xorWord(dst, src *[blockSize]byte, at int, w uint32) {
	dst[at] = src[at] ^ byte(w)
	dst[at+1] = src[at+1] ^ byte(w>>8)
	dst[at+2] = src[at+2] ^ byte(w>>16)
	dst[at+3] = src[at+3] ^ byte(w>>24)
}
