package chacha

import (
	"crypto/subtle"
	"encoding/binary"
)

// poly1305 is the one-time authenticator of RFC 8439 section 2.5, for CPUs that
// multiply 32 bits by 32 into 64.
//
// The sum h has five limbs of 32 bits, the last of a few bits only. The key r has
// four limbs below 2²⁸, the upper three divisible by four (section 2.5 clamps
// them). Modulo 2¹³⁰ - 5, a product that lies 2¹²⁸ or more up comes back down times
// 5/4: so s = r + r/4 takes the place of r there, and it is a whole number. Every
// product is below 2⁶¹ and every column sums at most five: nothing overflows 64 bits.
type poly1305 struct {
	r0, r1, r2, r3     uint32
	s1, s2, s3         uint32
	h0, h1, h2, h3, h4 uint32
	pad                [4]uint32
}

// setKey begins with a key of 32 bytes: r, then what is added at the end.
func (p *poly1305) setKey(key []byte) {
	*p = poly1305{
		r0: binary.LittleEndian.Uint32(key) & 0x0fffffff,
		r1: binary.LittleEndian.Uint32(key[4:]) & 0x0ffffffc,
		r2: binary.LittleEndian.Uint32(key[8:]) & 0x0ffffffc,
		r3: binary.LittleEndian.Uint32(key[12:]) & 0x0ffffffc,
	}
	p.s1, p.s2, p.s3 = p.r1+p.r1>>2, p.r2+p.r2>>2, p.r3+p.r3>>2
	for i := range p.pad {
		p.pad[i] = binary.LittleEndian.Uint32(key[16+4*i:])
	}
}

// blocks adds whole blocks of 16 bytes; high is 1, or 0 for the last, short block
// of a message that carries its own end mark.
func (p *poly1305) blocks(m []byte, high uint32) {
	r0, r1, r2, r3, s1, s2, s3 := p.r0, p.r1, p.r2, p.r3, p.s1, p.s2, p.s3
	h0, h1, h2, h3, h4 := p.h0, p.h1, p.h2, p.h3, p.h4
	for len(m) >= 16 {
		b := (*[16]byte)(m)
		m = m[16:]

		// h += block
		d := uint64(h0) + uint64(binary.LittleEndian.Uint32(b[0:]))
		h0 = uint32(d)
		d = uint64(h1) + uint64(binary.LittleEndian.Uint32(b[4:])) + d>>32
		h1 = uint32(d)
		d = uint64(h2) + uint64(binary.LittleEndian.Uint32(b[8:])) + d>>32
		h2 = uint32(d)
		d = uint64(h3) + uint64(binary.LittleEndian.Uint32(b[12:])) + d>>32
		h3 = uint32(d)
		h4 += high + uint32(d>>32)

		// h *= r
		d0 := mul(h0, r0) + mul(h1, s3) + mul(h2, s2) + mul(h3, s1)
		d1 := mul(h0, r1) + mul(h1, r0) + mul(h2, s3) + mul(h3, s2) + mul(h4, s1)
		d2 := mul(h0, r2) + mul(h1, r1) + mul(h2, r0) + mul(h3, s3) + mul(h4, s2)
		d3 := mul(h0, r3) + mul(h1, r2) + mul(h2, r1) + mul(h3, r0) + mul(h4, s3)
		h4 *= r0

		// Carry; what is above 130 bits comes back times 5.
		d1 += d0 >> 32
		d2 += d1 >> 32
		d3 += d2 >> 32
		h4 += uint32(d3 >> 32)
		c := h4>>2 + h4&^3
		h4 &= 3
		d = uint64(uint32(d0)) + uint64(c)
		h0 = uint32(d)
		d = uint64(uint32(d1)) + d>>32
		h1 = uint32(d)
		d = uint64(uint32(d2)) + d>>32
		h2 = uint32(d)
		d = uint64(uint32(d3)) + d>>32
		h3 = uint32(d)
		h4 += uint32(d >> 32)
	}
	p.h0, p.h1, p.h2, p.h3, p.h4 = h0, h1, h2, h3, h4
}

// mul is one multiplication where both factors are seen to have 32 bits.
func mul(a, b uint32) uint64 { return uint64(a) * uint64(b) }

// padded adds m, filled with zeros to whole blocks, as the AEAD does (section 2.8).
func (p *poly1305) padded(m []byte) {
	whole := len(m) &^ 15
	p.blocks(m[:whole], 1)
	if whole < len(m) {
		var last [16]byte
		copy(last[:], m[whole:])
		p.blocks(last[:], 1)
	}
}

// short adds m as the authenticator alone does: the end is marked by a 1.
func (p *poly1305) short(m []byte) {
	whole := len(m) &^ 15
	p.blocks(m[:whole], 1)
	if whole < len(m) {
		var last [16]byte
		last[copy(last[:], m[whole:])] = 1
		p.blocks(last[:], 0)
	}
}

// sum returns the tag.
func (p *poly1305) sum() (tag [TagSize]byte) {
	// h - (2¹³⁰ - 5) = h + 5 - 2¹³⁰; take it if it is not negative.
	d := uint64(p.h0) + 5
	g0 := uint32(d)
	d = uint64(p.h1) + d>>32
	g1 := uint32(d)
	d = uint64(p.h2) + d>>32
	g2 := uint32(d)
	d = uint64(p.h3) + d>>32
	g3 := uint32(d)
	g4 := p.h4 + uint32(d>>32)
	mask := -(g4 >> 2) // all ones if h + 5 reaches 2¹³⁰
	h0 := p.h0&^mask | g0&mask
	h1 := p.h1&^mask | g1&mask
	h2 := p.h2&^mask | g2&mask
	h3 := p.h3&^mask | g3&mask

	d = uint64(h0) + uint64(p.pad[0])
	binary.LittleEndian.PutUint32(tag[0:], uint32(d))
	d = uint64(h1) + uint64(p.pad[1]) + d>>32
	binary.LittleEndian.PutUint32(tag[4:], uint32(d))
	d = uint64(h2) + uint64(p.pad[2]) + d>>32
	binary.LittleEndian.PutUint32(tag[8:], uint32(d))
	d = uint64(h3) + uint64(p.pad[3]) + d>>32
	binary.LittleEndian.PutUint32(tag[12:], uint32(d))
	return tag
}

func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }
