// Package layer is the encryption of relay cells, hop by hop: what a client
// wraps and unwraps, and what a relay takes off or puts on.
//
// Forward, every hop checks and opens an AEAD, so a cell that was changed,
// repeated, left out or put elsewhere dies at the next honest hop. Backward, the
// last hop seals once and every other hop adds a layer of a stream cipher; only
// the client checks. The keys step on, one way, every RatchetCells cells and
// where a cell says so. The layout and the reasons are in docs/protocols/onion.md.
//
// The package does no I/O. Every value belongs to one direction of one circuit
// and to whoever holds that circuit's lock. After an error it is of no more use.
package layer

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"

	"golang.org/x/crypto/chacha20"
	"golang.org/x/sys/cpu"

	"globalnet/internal/chacha"
	"globalnet/onion/cell"
)

// RatchetCells is after how many cells a key steps by itself.
const RatchetCells = 4096

// BufferSize is what a Buffer holds: a body, and behind it the room that layers
// need to grow without moving anything.
const BufferSize = cell.LargeBody + cell.FillerSize

// Buffer carries one cell through the layers.
type Buffer [BufferSize]byte

// ErrIntegrity means that the cell is not the one that was due.
var ErrIntegrity = errors.New("cell does not verify")

// Suite is the pair of an AEAD and a stream cipher that a hop uses.
type Suite uint8

const (
	ChaCha Suite = 1 // ChaCha20-Poly1305, ChaCha20
	AES    Suite = 2 // AES-256-GCM, AES-256-CTR
)

// Known reports whether s is a suite of this package.
func (s Suite) Known() bool { return s == ChaCha || s == AES }

// Fastest returns the suite that this CPU is good at. AES without instructions
// for it is slow, and leaks through the cache.
func Fastest() Suite {
	switch {
	case cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ,
		cpu.ARM64.HasAES && cpu.ARM64.HasPMULL,
		cpu.S390X.HasAES && cpu.S390X.HasAESCTR && cpu.S390X.HasGHASH:
		return AES
	}
	return ChaCha
}

// newStream returns a key stream from its beginning, nonce 0.
func newStream(s Suite, key []byte) cipher.Stream {
	if s == AES {
		block, err := aes.NewCipher(key)
		if err != nil {
			panic(err) // only for keys of a wrong size
		}
		return cipher.NewCTR(block, make([]byte, aes.BlockSize))
	}
	stream, err := chacha20.NewUnauthenticatedCipher(key, make([]byte, chacha20.NonceSize))
	if err != nil {
		panic(err)
	}
	return stream
}

// direction separates the keys of the two ways.
type direction string

const (
	forward  direction = "globalnet layer forward"
	backward direction = "globalnet layer backward"
	ratchet            = "globalnet layer ratchet"
)

// chain is the keys of one hop and one direction, with their count.
type chain struct {
	suite Suite
	dir   direction
	seed  [32]byte
	cells uint64 // since the last step

	aead   cipher.AEAD
	filler cipher.Stream  // forward: what a hop puts in place of its tag
	layer  cipher.Stream  // backward, AES: one key stream over all cells
	xor    *chacha.Stream // forward: the AEAD's key stream; backward: the layer; ChaCha
	block  cipher.Block   // forward, AES: the AEAD's key stream
	nonce  [chacha.NonceSize]byte
	in     [aes.BlockSize]byte
	ks     [cell.FillerSize + chacha.TagSize]byte // here, because ciphers let locals escape
	broken bool
}

func newChain(s Suite, dir direction, seed [32]byte) *chain {
	if !s.Known() {
		panic("layer: unknown suite")
	}
	c := &chain{suite: s, dir: dir, seed: seed}
	c.rekey()
	return c
}

// rekey makes the keys of the present seed: 32 bytes for the AEAD, 32 for the
// other cipher.
func (c *chain) rekey() {
	keys := expand(c.seed, string(c.dir), 64)
	var err, err2 error
	switch c.suite {
	case ChaCha:
		c.aead, err = chacha.New(keys[:32])
		if c.dir == forward {
			c.xor, err2 = chacha.NewStream(keys[:32])
		} else {
			c.xor, err2 = chacha.NewStream(keys[32:])
		}
	case AES:
		if c.block, err = aes.NewCipher(keys[:32]); err == nil {
			c.aead, err = cipher.NewGCM(c.block)
		}
		if c.dir == backward {
			c.layer = newStream(AES, keys[32:])
		}
	}
	if c.dir == forward {
		c.filler = newStream(c.suite, keys[32:])
	}
	if err != nil || err2 != nil {
		panic(errors.Join(err, err2)) // only for keys of a wrong size
	}
	c.cells = 0
}

// number sets the nonce of this cell: 4 zero bytes, the count since the last step.
func (c *chain) number() []byte {
	binary.BigEndian.PutUint64(c.nonce[4:], c.cells)
	return c.nonce[:]
}

// done ends a cell.
func (c *chain) done(step bool) {
	c.cells++
	if step || c.cells >= RatchetCells {
		copy(c.seed[:], expand(c.seed, ratchet, 32))
		c.rekey()
	}
}

func expand(seed [32]byte, label string, size int) []byte {
	out, err := hkdf.Expand(sha256.New, seed[:], label, size)
	if err != nil {
		panic(err) // only for sizes beyond 8160
	}
	return out
}

// fill writes the next bytes of the filler to dst.
func (c *chain) fill(dst []byte) {
	clear(dst)
	c.filler.XORKeyStream(dst, dst)
}

// xorAEAD combines dst, at most FillerSize bytes, with the key stream that the
// AEAD uses for this cell's beginning.
func (c *chain) xorAEAD(dst []byte) {
	if len(dst) == 0 {
		return
	}
	nonce := c.number()
	if c.suite == ChaCha {
		clear(c.ks[:len(dst)])
		c.xor.XOR(c.ks[:len(dst)], c.ks[:len(dst)], nonce)
	} else {
		copy(c.in[:], nonce)
		for i := 0; i < len(dst); i += aes.BlockSize {
			binary.BigEndian.PutUint32(c.in[chacha.NonceSize:], uint32(2+i/aes.BlockSize)) // GCM counts data from 2
			c.block.Encrypt(c.ks[i:], c.in[:])
		}
	}
	subtle.XORBytes(dst, dst, c.ks[:])
}

// xorLayer combines src with this hop's backward key stream into dst.
func (c *chain) xorLayer(dst, src []byte) {
	if c.suite == ChaCha {
		c.xor.XOR(dst, src, c.number())
		return
	}
	c.layer.XORKeyStream(dst, src)
}

// open checks and opens src into dst.
func (c *chain) open(dst, src []byte) error {
	if c.broken {
		return ErrIntegrity
	}
	if _, err := c.aead.Open(dst[:0], c.number(), src, nil); err != nil {
		c.broken = true
		return ErrIntegrity
	}
	return nil
}
