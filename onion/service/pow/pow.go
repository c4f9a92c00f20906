// Package pow is the proof of work that a hidden service asks of introductions while
// it is under load, and the queue in which they wait.
//
// An attempt is a block of ChaCha, walks through a kilobyte of memory whose order depends on
// what it finds there, and is hashed again. It needs neither multiplication nor
// 64-bit words nor code made at run time, so a router of 580 MHz is behind a server
// by little more than the clocks are. docs/protocols/service.md has the function and
// what it costs. Nothing here does I/O or reads a clock.
package pow

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"golang.org/x/crypto/blake2s"
)

const challengeLabel = "globalnet service work"

// Efforts are the mean number of attempts that a solution takes.
const (
	// DefaultEffort takes a router of 580 MHz 0.4 s in the mean, and more than two in
	// one of a hundred cases.
	DefaultEffort = 1 << 13
	// MaxEffort is the most that a client should be made to do unasked.
	MaxEffort = 1 << 20
)

// SeedSize is the size of what a service draws anew every few hours.
const SeedSize = 32

// Seed is part of every challenge, so nobody works ahead for long.
type Seed [SeedSize]byte

// ID names a seed in introductions.
func (s Seed) ID() [4]byte { return [4]byte(s[:]) }

// Challenge is the task of one introduction.
type Challenge struct {
	key    [32]byte
	effort uint32
}

// NewChallenge returns the task of the introduction to a service whose handshake has
// the ephemeral key x, at an effort.
func NewChallenge(service [32]byte, seed Seed, x [32]byte, effort uint32) Challenge {
	b := append([]byte{byte(len(challengeLabel))}, challengeLabel...)
	b = append(append(append(b, service[:]...), seed[:]...), x[:]...)
	return Challenge{sha256.Sum256(binary.BigEndian.AppendUint32(b, effort)), effort}
}

// Verify reports whether nonce solves the challenge. It costs one attempt.
func (c Challenge) Verify(nonce uint64) bool {
	var w walk
	return c.good(&w, nonce)
}

// good: the attempt's word times effort does not exceed 32 bits.
func (c Challenge) good(w *walk, nonce uint64) bool {
	hi, _ := bits.Mul32(w.attempt(&c.key, nonce), c.effort)
	return hi == 0
}

// Solver looks for a solution.
type Solver struct {
	c    Challenge
	next uint64
	w    walk
}

// NewSolver begins at a nonce, which may be any.
func NewSolver(c Challenge, nonce uint64) *Solver { return &Solver{c: c, next: nonce} }

// Try makes n attempts and returns a solution if one was found.
func (s *Solver) Try(n int) (nonce uint64, ok bool) {
	for range n {
		nonce, s.next = s.next, s.next+1
		if s.c.good(&s.w, nonce) {
			return nonce, true
		}
	}
	return 0, false
}

const (
	blocks = 16 // of 64 bytes
)

// walk is the memory of an attempt.
type walk struct {
	s [16]uint32
	v [blocks][16]uint32
	b [64]byte
}

// attempt returns the word that decides.
func (w *walk) attempt(key *[32]byte, nonce uint64) uint32 {
	s := &w.s
	s[0], s[1], s[2], s[3] = 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 // RFC 8439 section 2.3
	for i := range 8 {
		s[4+i] = binary.LittleEndian.Uint32(key[4*i:])
	}
	s[12], s[13], s[14], s[15] = 0, 0, uint32(nonce>>32), uint32(nonce)
	for range 4 {
		mix(s)
	}
	for i := range w.v {
		w.v[i] = *s
		mix(s)
	}
	for range w.v {
		xor(s, &w.v[s[0]%blocks])
		mix(s)
	}
	for i, x := range s {
		binary.LittleEndian.PutUint32(w.b[4*i:], x)
	}
	sum := blake2s.Sum256(w.b[:])
	return binary.BigEndian.Uint32(sum[:])
}

// xor combines s with v, without a loop for the same reason as mix.
func xor(s, v *[16]uint32) {
	s[0] ^= v[0]
	s[1] ^= v[1]
	s[2] ^= v[2]
	s[3] ^= v[3]
	s[4] ^= v[4]
	s[5] ^= v[5]
	s[6] ^= v[6]
	s[7] ^= v[7]
	s[8] ^= v[8]
	s[9] ^= v[9]
	s[10] ^= v[10]
	s[11] ^= v[11]
	s[12] ^= v[12]
	s[13] ^= v[13]
	s[14] ^= v[14]
	s[15] ^= v[15]
}

// mix is ChaCha's double round with its feed-forward (RFC 8439 section 2.3), written
// out because a call a quarter round would be half of the work on MIPS.
func mix(s *[16]uint32) {
	x0, x1, x2, x3, x4, x5, x6, x7 := s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]
	x8, x9, x10, x11, x12, x13, x14, x15 := s[8], s[9], s[10], s[11], s[12], s[13], s[14], s[15]
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

	s[0] += x0
	s[1] += x1
	s[2] += x2
	s[3] += x3
	s[4] += x4
	s[5] += x5
	s[6] += x6
	s[7] += x7
	s[8] += x8
	s[9] += x9
	s[10] += x10
	s[11] += x11
	s[12] += x12
	s[13] += x13
	s[14] += x14
	s[15] += x15
}
