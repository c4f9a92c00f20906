package cell

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// MessageHeader is the size of command (1) ‖ length (2) ‖ stream (2).
const MessageHeader = 5

// MaxMessage is the longest body of a message: a datagram that an Ethernet carries.
const MaxMessage = 1500

// MessageCommand says what a relay message is.
type MessageCommand uint8

const (
	MsgPadding               MessageCommand = iota // ends the messages of a cell
	MsgBegin                                       // open a stream
	MsgConnected                                   // it is open
	MsgData                                        // bytes of a stream
	MsgEOF                                         // no more bytes this way
	MsgEnd                                         // the stream is over, both ways
	MsgWindow                                      // more bytes may be sent on a stream
	MsgCredit                                      // cells arrived, circuit-wide
	MsgDatagram                                    // one datagram of a stream; may be dropped
	MsgResolve                                     // look a name up
	MsgResolved                                    // its answer
	MsgExtend                                      // make the circuit one hop longer
	MsgExtended                                    // done
	MsgExtendFailed                                // not done
	MsgEstablishIntro                              // be an introduction point of a service
	MsgIntroEstablished                            // it is one
	MsgIntroduce1                                  // client to introduction point: pass this on
	MsgIntroduce2                                  // introduction point to service: the same
	MsgIntroduceAck                                // what became of a MsgIntroduce1
	MsgEstablishRendezvous                         // wait for a service with this cookie
	MsgRendezvousEstablished                       // it waits
	MsgRendezvous1                                 // service to rendezvous point: cookie and reply
	MsgRendezvous2                                 // rendezvous point to client: the reply; the circuits are joined
	lastMessage              = MsgRendezvous2
)

// Crosses reports whether a message may continue in the next cell.
func (c MessageCommand) Crosses() bool {
	return c == MsgExtend || c == MsgDatagram || c == MsgIntroduce1 || c == MsgIntroduce2
}

// PerCircuit reports whether a message belongs to the circuit, not to a stream.
func (c MessageCommand) PerCircuit() bool {
	return c == MsgCredit || c >= MsgExtend
}

// Message is a relay message.
type Message struct {
	Command MessageCommand
	Stream  uint16 // 0 for messages of the circuit
	Body    []byte
}

// ErrMessage is returned, wrapped, for messages that break the rules.
var ErrMessage = errors.New("bad relay message")

// AppendMessage appends the form of m. The body must not be longer than MaxMessage.
func AppendMessage(dst []byte, m Message) []byte {
	dst = AppendMessageHeader(dst, m.Command, m.Stream, len(m.Body))
	return append(dst, m.Body...)
}

// AppendMessageHeader appends the header alone; size bytes of body must follow.
func AppendMessageHeader(dst []byte, c MessageCommand, stream uint16, size int) []byte {
	if size > MaxMessage {
		panic("cell: message too long")
	}
	dst = append(dst, byte(c))
	dst = binary.BigEndian.AppendUint16(dst, uint16(size))
	return binary.BigEndian.AppendUint16(dst, stream)
}

// Assembler takes the payloads of one direction of a circuit and cuts them into
// messages. A message may continue in the following cells; a padding byte, or
// fewer than MessageHeader bytes left, ends a cell.
type Assembler struct {
	partial []byte // header and body as far as they came; empty between messages
}

// Feed calls f for each message that payload completes, in order. The body is
// valid until f returns. After an error the Assembler must not be used again.
func (a *Assembler) Feed(payload []byte, f func(Message) error) error {
	if len(a.partial) > 0 {
		_, total, err := parseMessageHeader(a.partial)
		if err != nil {
			return err
		}
		n := min(total-len(a.partial), len(payload))
		a.partial = append(a.partial, payload[:n]...)
		payload = payload[n:]
		if len(a.partial) < total {
			return nil
		}
		m, _, _ := parseMessageHeader(a.partial)
		m.Body = a.partial[MessageHeader:]
		err = f(m)
		a.partial = a.partial[:0]
		if err != nil {
			return err
		}
	}
	for len(payload) >= MessageHeader && payload[0] != byte(MsgPadding) {
		m, total, err := parseMessageHeader(payload)
		if err != nil {
			return err
		}
		if total > len(payload) {
			if !m.Command.Crosses() {
				return fmt.Errorf("%w: command %d crosses a cell", ErrMessage, m.Command)
			}
			a.partial = append(slices.Grow(a.partial, total), payload...)
			return nil
		}
		m.Body = payload[MessageHeader:total]
		if err := f(m); err != nil {
			return err
		}
		payload = payload[total:]
	}
	return nil
}

// parseMessageHeader returns the message without its body, and the size of both.
func parseMessageHeader(b []byte) (m Message, total int, err error) {
	m.Command = MessageCommand(b[0])
	size := int(binary.BigEndian.Uint16(b[1:]))
	m.Stream = binary.BigEndian.Uint16(b[3:])
	switch {
	case m.Command > lastMessage:
		return m, 0, fmt.Errorf("%w: unknown command %d", ErrMessage, m.Command)
	case size > MaxMessage:
		return m, 0, fmt.Errorf("%w: %d bytes", ErrMessage, size)
	case m.Command.PerCircuit() != (m.Stream == 0):
		return m, 0, fmt.Errorf("%w: command %d on stream %d", ErrMessage, m.Command, m.Stream)
	}
	return m, MessageHeader + size, nil
}
