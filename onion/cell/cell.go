// Package cell is the codec of the onion: the headers of cells on a channel,
// and the relay messages that travel inside a circuit.
//
// The layouts are in docs/protocols/onion.md. The package has no state but the
// Assembler's, which belongs to one direction of one circuit.
package cell

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Sizes in bytes. A record of one large cell is 1344 bytes, one TCP segment in a
// WireGuard packet of 1420; of one small cell 256.
const (
	RecordPrefix = 2  // cells in the record
	RecordTag    = 16 // of the sealed headers
	MaxRecord    = 48 // cells
	HeaderSize   = 6

	LargeBody = 1320
	SmallBody = 232

	TagSize = 16
	// MaxHops bounds a path. The room for that many layers is kept free in every
	// forward cell, so that a relay cannot tell its place from what is left.
	MaxHops    = 8
	FillerSize = (MaxHops - 1) * TagSize

	// ControlSize is the most a sealed control cell can hold.
	ControlSize = LargeBody - TagSize
)

// ForwardPayload returns how many bytes of messages a forward cell holds.
func ForwardPayload(body int) int { return body - TagSize - FillerSize }

// BackwardPayload returns how many bytes of messages a backward cell holds.
func BackwardPayload(body int) int { return body - TagSize }

// Command says what a cell is.
type Command uint8

const (
	Padding     Command = iota // control: keeps the channel alive, to be dropped
	Relay                      // the body is layered by the circuit, not by the channel
	Create                     // control: handshake type (1) ‖ request
	Created                    // control: handshake type (1) ‖ reply
	Destroy                    // control: reason (1)
	lastCommand = Destroy
)

// Control reports whether the channel seals the body.
func (c Command) Control() bool { return c != Relay }

// Flags of a cell, seen by both ends of a channel and by nobody else.
type Flags uint8

const (
	Small      Flags = 1 << iota // the body is SmallBody bytes
	Congested                    // some queue on the way was too long
	Ratchet                      // after this cell every hop steps its key of this direction
	knownFlags = Small | Congested | Ratchet
)

// Header is the header of a cell. It travels sealed.
type Header struct {
	Circ    uint32 // 0 for what concerns the channel itself
	Command Command
	Flags   Flags
}

// BodySize returns the number of bytes that follow for this cell.
func (h Header) BodySize() int {
	if h.Flags&Small != 0 {
		return SmallBody
	}
	return LargeBody
}

// AppendHeader appends h: circuit (4) ‖ command (1) ‖ flags (1).
func AppendHeader(dst []byte, h Header) []byte {
	dst = binary.BigEndian.AppendUint32(dst, h.Circ)
	return append(dst, byte(h.Command), byte(h.Flags))
}

// ParseHeader reads the header at the start of b.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, errors.New("truncated cell header")
	}
	h := Header{binary.BigEndian.Uint32(b), Command(b[4]), Flags(b[5])}
	switch {
	case h.Command > lastCommand:
		return Header{}, fmt.Errorf("cell of unknown command %d", h.Command)
	case h.Flags&^knownFlags != 0:
		return Header{}, fmt.Errorf("cell with unknown flags %#x", h.Flags)
	case (h.Circ == 0) != (h.Command == Padding):
		return Header{}, fmt.Errorf("cell of command %d on circuit %d", h.Command, h.Circ)
	case h.Command.Control() && h.Flags&^Small != 0:
		return Header{}, fmt.Errorf("control cell with flags %#x", h.Flags)
	}
	return h, nil
}

// Reason says why a circuit was destroyed or could not be made.
type Reason uint8

const (
	ReasonNone        Reason = iota // it was no longer needed
	ReasonProtocol                  // the rules were broken
	ReasonIntegrity                 // a cell had been changed, lost, repeated or put elsewhere
	ReasonInternal                  // this relay's own fault
	ReasonResource                  // no memory, no room, too many
	ReasonHandshake                 // the handshake was refused: wrong onion key, replay, suite
	ReasonUnreachable               // the next relay cannot be reached
	ReasonIdentity                  // there is another node than the one asked for
	ReasonClosed                    // the channel was lost
	ReasonTimeout                   // nothing came in time
	ReasonShutdown                  // the relay is stopping
)

var reasonTexts = [...]string{"no longer needed", "protocol broken", "integrity broken", "internal error", "out of resources",
	"handshake refused", "next relay unreachable", "next relay is another node", "channel lost", "timeout", "relay stopping"}

func (r Reason) String() string {
	if int(r) < len(reasonTexts) {
		return reasonTexts[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}
