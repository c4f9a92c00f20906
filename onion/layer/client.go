package layer

import (
	"crypto/cipher"
	"crypto/rand"

	"golang.org/x/crypto/chacha20"

	"globalnet/onion/cell"
)

// Forward is the client's forward layers, one a hop.
type Forward struct {
	hops []*chain
	pad  cipher.Stream // random bytes where the last hop must not see zeros
}

// NewForward returns a Forward without hops.
func NewForward() *Forward {
	var key [chacha20.KeySize]byte
	rand.Read(key[:])
	return &Forward{pad: newStream(Fastest(), key[:])}
}

// Add adds the layer of the next hop.
func (f *Forward) Add(s Suite, seed [32]byte) {
	if len(f.hops) == cell.MaxHops {
		panic("layer: too many hops")
	}
	f.hops = append(f.hops, newChain(s, forward, seed))
}

// ClientPayload returns the place of the messages in a cell of size bytes that
// Seal is going to seal.
func ClientPayload(b *Buffer, size int) []byte {
	return b[cell.FillerSize : size-cell.TagSize]
}

// Seal makes a cell of size bytes for the last hop of the messages in
// ClientPayload, whose rest must be zero. It returns the cell, which is in b, and
// the tag by which the last hop knows it.
//
// Every hop replaces its tag by 16 bytes of filler in front. These pass through
// the layers of the hops behind, whose tags cover them; so the client computes
// first what will arrive in front at the last hop:
//
//	before hop i+1:  filler[i] ‖ (before hop i, opened by hop i)
func (f *Forward) Seal(b *Buffer, size int, step bool) (body []byte, tag [cell.TagSize]byte) {
	n := len(f.hops)
	front := b[:0]
	for i, h := range f.hops {
		h.xorAEAD(front)
		if i == n-1 {
			h.fill(h.ks[:cell.TagSize]) // the last hop drops it
			break
		}
		longer := b[:len(front)+cell.TagSize]
		copy(longer[cell.TagSize:], front)
		front = longer
		h.fill(front[:cell.TagSize])
	}
	rest := b[len(front):cell.FillerSize]
	clear(rest)
	f.pad.XORKeyStream(rest, rest)

	body = b[:size]
	for i := n - 1; i >= 0; i-- {
		h := f.hops[i]
		plain := body[:size-cell.TagSize]
		h.aead.Seal(plain[:0], h.number(), plain, nil)
		h.done(step)
		if i == n-1 {
			tag = [cell.TagSize]byte(body[size-cell.TagSize:])
		}
		if i > 0 {
			// The hop puts the first 16 bytes there itself.
			at := (n - i) * cell.TagSize
			body = b[at : at+size]
		}
	}
	return body, tag
}

// Backward is the client's backward layers, one a hop.
type Backward struct {
	hops []*chain
}

// Add adds the layers of the next hop.
func (r *Backward) Add(s Suite, seed [32]byte) {
	r.hops = append(r.hops, newChain(s, backward, seed))
}

// Open takes all layers off body, a cell that the last hop sealed, and checks it.
// The messages are then in b[:BackwardPayload(len(body))].
func (r *Backward) Open(b *Buffer, body []byte, step bool) (tag [cell.TagSize]byte, err error) {
	size, last := len(body), len(r.hops)-1
	for _, h := range r.hops[:last] {
		h.xorLayer(b[:size], body)
		h.done(step)
		body = b[:size]
	}
	tag = [cell.TagSize]byte(body[size-cell.TagSize:])
	if err := r.hops[last].open(b[:], body); err != nil {
		return tag, err
	}
	r.hops[last].done(step)
	return tag, nil
}
