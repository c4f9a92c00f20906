package layer

import "globalnet/onion/cell"

// Opener takes a relay's forward layer off.
type Opener struct{ c *chain }

// NewOpener returns the forward layer of a relay.
func NewOpener(s Suite, seed [32]byte) *Opener { return &Opener{newChain(s, forward, seed)} }

// Open checks body, the cell as it came in, and makes the cell for the next hop
// in dst[:len(body)]: 16 bytes of filler in front, then what was inside. If this
// is the last hop, Payload tells where the messages are. If step, the key steps
// after this cell.
func (o *Opener) Open(dst *Buffer, body []byte, step bool) error {
	if err := o.c.open(dst[cell.TagSize:], body); err != nil {
		return err
	}
	o.c.fill(dst[:cell.TagSize])
	o.c.done(step)
	return nil
}

// Payload returns the messages in a cell of size bytes that Open has opened.
func Payload(b *Buffer, size int) []byte {
	return b[cell.TagSize+cell.FillerSize : size]
}

// Sealer is the backward layers of a relay: it seals what begins here, and adds
// a layer to what comes from beyond.
type Sealer struct{ c *chain }

// NewSealer returns the backward layers of a relay.
func NewSealer(s Suite, seed [32]byte) *Sealer { return &Sealer{newChain(s, backward, seed)} }

// Seal makes a cell of size bytes, in place, of the messages at the start of b;
// the rest of the cell's payload must be zero. It returns the cell's tag.
func (s *Sealer) Seal(b *Buffer, size int, step bool) (tag [cell.TagSize]byte) {
	return s.SealIn(b[:size], step)
}

// SealIn is Seal for a body that lies anywhere.
func (s *Sealer) SealIn(body []byte, step bool) (tag [cell.TagSize]byte) {
	payload := body[:cell.BackwardPayload(len(body))]
	s.c.aead.Seal(payload[:0], s.c.number(), payload, nil)
	s.c.done(step)
	return [cell.TagSize]byte(body[len(payload):])
}

// Wrap adds this hop's layer to body and writes the cell to dst[:len(body)].
func (s *Sealer) Wrap(dst *Buffer, body []byte, step bool) {
	s.c.xorLayer(dst[:len(body)], body)
	s.c.done(step)
}
