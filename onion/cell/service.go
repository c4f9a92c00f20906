package cell

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// The messages of hidden services; docs/protocols/service.md has the protocol.

// CookieSize is the size of a rendezvous cookie.
const CookieSize = 16

// Cookie joins two circuits at a rendezvous point.
type Cookie [CookieSize]byte

// EstablishIntro asks the last hop to pass introductions on. The signature is that of
// Key, over Signed.
type EstablishIntro struct {
	Key       [32]byte // Ed25519, of this introduction point alone
	Rate      uint16   // introductions a second that the service wants at most; 0: as the relay likes
	Burst     uint16   // and how many at once
	Signature [64]byte
}

const (
	serviceVersion     = 1
	establishIntroSize = 1 + 32 + 2 + 2 + 64
)

// Signed appends what the signature covers, besides the circuit.
func (m *EstablishIntro) Signed(dst []byte) []byte {
	dst = append(append(dst, serviceVersion), m.Key[:]...)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(dst, m.Rate), m.Burst)
}

// AppendEstablishIntro appends version (1) ‖ key (32) ‖ rate (2) ‖ burst (2) ‖ signature (64).
func AppendEstablishIntro(dst []byte, m EstablishIntro) []byte {
	return append(m.Signed(dst), m.Signature[:]...)
}

// ParseEstablishIntro reads the body of a MsgEstablishIntro; the signature is not judged.
func ParseEstablishIntro(b []byte) (EstablishIntro, error) {
	if len(b) != establishIntroSize || b[0] != serviceVersion {
		return EstablishIntro{}, fmt.Errorf("%w: establish intro of %d bytes", ErrMessage, len(b))
	}
	return EstablishIntro{
		Key:       [32]byte(b[1:]),
		Rate:      binary.BigEndian.Uint16(b[33:]),
		Burst:     binary.BigEndian.Uint16(b[35:]),
		Signature: [64]byte(b[37:]),
	}, nil
}

// Introduce is the body of MsgIntroduce1 and of MsgIntroduce2, which are the same. The
// introduction point reads Key and nothing else.
type Introduce struct {
	Key     [32]byte // of the introduction point
	Mark    [16]byte // by whom and for which period, to the service's eyes
	Effort  uint32   // of the proof of work; 0: none
	Seed    [4]byte  // the start of the seed that it was made with
	Nonce   uint64   // that solves it
	Request []byte   // of the handshake
}

const introduceFixed = 1 + 32 + 16 + 4 + 4 + 8

// MaxIntroduceRequest is the longest Request of an Introduce.
const MaxIntroduceRequest = MaxMessage - introduceFixed

// AppendIntroduce appends version (1) ‖ key (32) ‖ mark (16) ‖ effort (4) ‖ seed (4) ‖ nonce (8) ‖ request.
func AppendIntroduce(dst []byte, m Introduce) []byte {
	dst = append(append(dst, serviceVersion), m.Key[:]...)
	dst = append(dst, m.Mark[:]...)
	dst = binary.BigEndian.AppendUint32(dst, m.Effort)
	dst = append(dst, m.Seed[:]...)
	dst = binary.BigEndian.AppendUint64(dst, m.Nonce)
	return append(dst, m.Request...)
}

// ParseIntroduce reads the body of a MsgIntroduce1 or MsgIntroduce2. Request points into b.
func ParseIntroduce(b []byte) (Introduce, error) {
	if len(b) <= introduceFixed || len(b) > MaxMessage || b[0] != serviceVersion {
		return Introduce{}, fmt.Errorf("%w: introduction of %d bytes", ErrMessage, len(b))
	}
	return Introduce{
		Key:     [32]byte(b[1:]),
		Mark:    [16]byte(b[33:]),
		Effort:  binary.BigEndian.Uint32(b[49:]),
		Seed:    [4]byte(b[53:]),
		Nonce:   binary.BigEndian.Uint64(b[57:]),
		Request: b[introduceFixed:],
	}, nil
}

// IntroStatus says what became of a MsgIntroduce1, or of a MsgEstablishIntro.
type IntroStatus uint8

const (
	IntroDone    IntroStatus = iota // passed on; established
	IntroUnknown                    // no circuit of a service has this key
	IntroLimited                    // too many introductions or services at the moment
	IntroRefused                    // malformed, or a wrong signature
)

var introTexts = [...]string{"done", "the introduction point does not know the service", "too many introductions", "refused"}

func (s IntroStatus) String() string {
	if int(s) < len(introTexts) {
		return introTexts[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// ParseIntroStatus reads the body of a MsgIntroduceAck or MsgIntroEstablished: one byte.
func ParseIntroStatus(b []byte) (IntroStatus, error) {
	if len(b) != 1 {
		return 0, fmt.Errorf("%w: status of %d bytes", ErrMessage, len(b))
	}
	return IntroStatus(b[0]), nil
}

// ParseCookie reads the body of a MsgEstablishRendezvous. A cookie of zeros is none.
func ParseCookie(b []byte) (Cookie, error) {
	if len(b) != CookieSize || bytes.Equal(b, make([]byte, CookieSize)) {
		return Cookie{}, fmt.Errorf("%w: cookie of %d bytes", ErrMessage, len(b))
	}
	return Cookie(b), nil
}

// Rendezvous is the body of a MsgRendezvous1; of a MsgRendezvous2 it is Reply alone.
type Rendezvous struct {
	Cookie Cookie
	Reply  []byte // of the handshake
}

// AppendRendezvous appends cookie (16) ‖ reply.
func AppendRendezvous(dst []byte, m Rendezvous) []byte {
	return append(append(dst, m.Cookie[:]...), m.Reply...)
}

// ParseRendezvous reads the body of a MsgRendezvous1. Reply points into b.
func ParseRendezvous(b []byte) (Rendezvous, error) {
	if len(b) <= CookieSize || len(b) > MaxMessage {
		return Rendezvous{}, fmt.Errorf("%w: rendezvous of %d bytes", ErrMessage, len(b))
	}
	cookie, err := ParseCookie(b[:CookieSize])
	if err != nil {
		return Rendezvous{}, err
	}
	return Rendezvous{cookie, b[CookieSize:]}, nil
}
