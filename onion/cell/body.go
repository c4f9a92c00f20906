package cell

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// Network is the transport of a stream.
type Network uint8

const (
	TCP Network = iota
	UDP
	Table // the last hop's own way into the hash table, for the descriptors of services
)

// Kinds of address on the wire.
const (
	kindSelf = 0 // the last hop itself
	kindName = 1
	kindIPv4 = 4
	kindIPv6 = 6
	kindNode = 7

	kindRecord = 2 // in an answer only
)

// Target is where a stream shall lead: exactly one of Name, Addr and Node is set, and
// of Table none.
type Target struct {
	Network Network
	Name    string
	Addr    netip.Addr
	Node    [32]byte
	Port    uint16
}

// AppendTarget appends network (1) ‖ port (2) ‖ address.
func AppendTarget(dst []byte, t Target) []byte {
	if t.Network == Table {
		return append(dst, byte(Table), 0, 0, kindSelf)
	}
	dst = append(dst, byte(t.Network))
	dst = binary.BigEndian.AppendUint16(dst, t.Port)
	switch {
	case t.Name != "":
		return appendName(dst, t.Name)
	case t.Addr.IsValid():
		return AppendAddr(dst, t.Addr)
	}
	return append(append(dst, kindNode), t.Node[:]...)
}

// ParseTarget reads what AppendTarget wrote; nothing may follow.
func ParseTarget(b []byte) (t Target, err error) {
	if len(b) < 4 {
		return t, fmt.Errorf("%w: truncated target", ErrMessage)
	}
	t.Network, t.Port = Network(b[0]), binary.BigEndian.Uint16(b[1:])
	if t.Network == Table && len(b) == 4 && t.Port == 0 && b[3] == kindSelf {
		return Target{Network: Table}, nil
	}
	if t.Network > UDP {
		return Target{}, fmt.Errorf("%w: network %d", ErrMessage, t.Network)
	}
	switch kind, rest := b[3], b[4:]; {
	case kind == kindName && len(rest) > 0:
		t.Name, err = parseName(rest)
	case kind == kindNode && len(rest) == 32:
		t.Node = [32]byte(rest)
	default:
		t.Addr, rest, err = parseAddr(b[3:])
		if err == nil && len(rest) > 0 {
			err = fmt.Errorf("%w: bytes after the target", ErrMessage)
		}
	}
	if err != nil {
		return Target{}, err
	}
	return t, nil
}

// AppendAddr appends 4 ‖ IPv4 (4) or 6 ‖ IPv6 (16). Zones do not travel.
func AppendAddr(dst []byte, a netip.Addr) []byte {
	a = a.Unmap()
	if a.Is4() {
		return append(append(dst, kindIPv4), a.AsSlice()...)
	}
	return append(append(dst, kindIPv6), a.AsSlice()...)
}

func parseAddr(b []byte) (a netip.Addr, rest []byte, err error) {
	switch {
	case len(b) >= 5 && b[0] == kindIPv4:
		return netip.AddrFrom4([4]byte(b[1:])), b[5:], nil
	case len(b) >= 17 && b[0] == kindIPv6:
		a = netip.AddrFrom16([16]byte(b[1:]))
		if a.Is4In6() {
			break
		}
		return a, b[17:], nil
	}
	return a, nil, fmt.Errorf("%w: bad address", ErrMessage)
}

// appendName appends 1 ‖ length (1) ‖ name.
func appendName(dst []byte, name string) []byte {
	if len(name) > 255 {
		panic("cell: name too long")
	}
	return append(append(dst, kindName, byte(len(name))), name...)
}

// parseName reads length and name. What a name may mean is the exit's business;
// here it is printable ASCII without spaces.
func parseName(b []byte) (string, error) {
	if len(b) < 2 || len(b) != 1+int(b[0]) {
		return "", fmt.Errorf("%w: bad length of a name", ErrMessage)
	}
	for _, c := range b[1:] {
		if c <= ' ' || c > '~' {
			return "", fmt.Errorf("%w: byte %#x in a name", ErrMessage, c)
		}
	}
	return string(b[1:]), nil
}

// ValidName reports whether name can travel in a Target.
func ValidName(name string) bool {
	if len(name) > 255 {
		return false
	}
	_, err := parseName(appendName(nil, name)[1:])
	return err == nil
}

// Begin opens a stream.
type Begin struct {
	Window uint32 // bytes that may come back before the first MsgWindow
	Target Target
}

// AppendBegin appends window (4) ‖ target.
func AppendBegin(dst []byte, m Begin) []byte {
	return AppendTarget(binary.BigEndian.AppendUint32(dst, m.Window), m.Target)
}

// ParseBegin reads the body of a MsgBegin.
func ParseBegin(b []byte) (m Begin, err error) {
	if len(b) < 4 {
		return m, fmt.Errorf("%w: truncated begin", ErrMessage)
	}
	if m.Target, err = ParseTarget(b[4:]); err != nil {
		return Begin{}, err
	}
	m.Window = binary.BigEndian.Uint32(b)
	return m, nil
}

// Connected tells that a stream is open. Addr is invalid where it says nothing.
type Connected struct {
	Addr netip.Addr
}

// AppendConnected appends an address, or nothing.
func AppendConnected(dst []byte, m Connected) []byte {
	if !m.Addr.IsValid() {
		return dst
	}
	return AppendAddr(dst, m.Addr)
}

// ParseConnected reads the body of a MsgConnected.
func ParseConnected(b []byte) (m Connected, err error) {
	if len(b) == 0 {
		return m, nil
	}
	a, rest, err := parseAddr(b)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%w: bytes after the address", ErrMessage)
	}
	if err != nil {
		return m, err
	}
	return Connected{a}, nil
}

// Credit acknowledges cells of the other direction.
type Credit struct {
	Cells     uint32        // all that arrived since this hop became the last, modulo 2³²
	Tag       [16]byte      // of the last of them: who did not receive it cannot know it
	Held      time.Duration // how long the receiver held the answer back, in µs on the wire
	Congested uint16        // how many cells since the last Credit came marked
}

const creditSize = 4 + 16 + 4 + 2

// AppendCredit appends cells (4) ‖ tag (16) ‖ held (4) ‖ congested (2).
func AppendCredit(dst []byte, m Credit) []byte {
	dst = binary.BigEndian.AppendUint32(dst, m.Cells)
	dst = append(dst, m.Tag[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(min(max(m.Held.Microseconds(), 0), 1<<32-1)))
	return binary.BigEndian.AppendUint16(dst, m.Congested)
}

// ParseCredit reads the body of a MsgCredit.
func ParseCredit(b []byte) (Credit, error) {
	if len(b) != creditSize {
		return Credit{}, fmt.Errorf("%w: credit of %d bytes", ErrMessage, len(b))
	}
	return Credit{
		Cells:     binary.BigEndian.Uint32(b),
		Tag:       [16]byte(b[4:]),
		Held:      time.Duration(binary.BigEndian.Uint32(b[20:])) * time.Microsecond,
		Congested: binary.BigEndian.Uint16(b[24:]),
	}, nil
}

// ParseWindow reads the body of a MsgWindow: how many more bytes may be sent.
func ParseWindow(b []byte) (uint32, error) {
	if len(b) != 4 {
		return 0, fmt.Errorf("%w: window of %d bytes", ErrMessage, len(b))
	}
	return binary.BigEndian.Uint32(b), nil
}

// AppendWindow appends the body of a MsgWindow.
func AppendWindow(dst []byte, n uint32) []byte { return binary.BigEndian.AppendUint32(dst, n) }

// Extend asks the last hop to make the circuit longer. Handshake and Request
// become the Create to the next relay.
type Extend struct {
	Node      [32]byte
	Handshake uint8
	Request   []byte
}

// AppendExtend appends node (32) ‖ handshake type (1) ‖ request.
func AppendExtend(dst []byte, m Extend) []byte {
	dst = append(dst, m.Node[:]...)
	return append(append(dst, m.Handshake), m.Request...)
}

// ParseExtend reads the body of a MsgExtend. Request points into b.
func ParseExtend(b []byte) (Extend, error) {
	if len(b) < 33 || len(b)-32 > ControlSize {
		return Extend{}, fmt.Errorf("%w: extend of %d bytes", ErrMessage, len(b))
	}
	return Extend{[32]byte(b), b[32], b[33:]}, nil
}

// HandshakeHybrid is the handshake of onion/ntor.
const HandshakeHybrid = 1

// CreateParams is what a client asks of a relay, inside the handshake.
type CreateParams struct {
	Suite uint8
	Proof [16]byte // that the client knows the exit's secret; zero: none
}

const paramsVersion = 1

// AppendCreateParams appends version (1) ‖ suite (1) ‖ proof (16). The proof is there
// even if it is none: the hop before sees how long a request is.
func AppendCreateParams(dst []byte, p CreateParams) []byte {
	return append(append(dst, paramsVersion, p.Suite), p.Proof[:]...)
}

// ParseCreateParams reads what AppendCreateParams wrote. Later versions may add bytes.
func ParseCreateParams(b []byte) (CreateParams, error) {
	if len(b) < 2 || b[0] == 0 {
		return CreateParams{}, fmt.Errorf("%w: parameters of %d bytes", ErrMessage, len(b))
	}
	p := CreateParams{Suite: b[1]}
	if b = b[2:]; len(b) >= len(p.Proof) {
		p.Proof = [16]byte(b)
	}
	return p, nil
}

// ParseReason reads the one byte of MsgExtendFailed and of a Destroy cell.
func ParseReason(b []byte) (Reason, error) {
	if len(b) != 1 {
		return 0, fmt.Errorf("%w: reason of %d bytes", ErrMessage, len(b))
	}
	return Reason(b[0]), nil
}

// EndReason says why a stream is over.
type EndReason uint8

const (
	EndDone        EndReason = iota // both ways closed
	EndMisc                         // none of the others
	EndPolicy                       // the exit does not go there
	EndResolve                      // the name is not known
	EndRefused                      // connection refused
	EndUnreachable                  // no route
	EndTimeout                      // no answer in time
	EndReset                        // the connection broke
	EndResource                     // too many streams
	EndProtocol                     // the rules of the stream were broken
	EndCircuit                      // the circuit broke; never on the wire
	EndNeedsKey                     // the service is restricted, we have no key; never on the wire
	EndWrongKey                     // the same, and ours is not taken; never on the wire
)

var endTexts = [...]string{"closed", "failed", "not allowed by the exit policy", "name not known", "connection refused",
	"unreachable", "timeout", "connection reset", "too many streams", "protocol broken", "circuit lost",
	"the service is restricted, and this node has no key for it", "the service is restricted, and does not take this node's key"}

func (r EndReason) String() string {
	if int(r) < len(endTexts) {
		return endTexts[r]
	}
	return fmt.Sprintf("reason %d", uint8(r))
}

// ParseEnd reads the body of a MsgEnd.
func ParseEnd(b []byte) (EndReason, error) {
	if len(b) != 1 {
		return 0, fmt.Errorf("%w: end of %d bytes", ErrMessage, len(b))
	}
	if r := EndReason(b[0]); r != EndNeedsKey && r != EndWrongKey {
		return r, nil
	}
	return EndMisc, nil // who sends these lies
}
