// Package signal is the codec of signalling sessions: the messages by which two
// nodes, once TLS has proved who they are, agree on a link. The byte layouts are
// in docs/protocols/signalling.md.
//
// A frame is
//
//	length (2) ‖ type (1) ‖ body (length − 1)
//
// with all integers in network order. Parse accepts a frame only if nothing is
// missing and nothing is left over, so Parse and Append are inverse. The package
// keeps no state.
package signal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// Bounds of a frame and of what is in it.
const (
	MaxFrame      = 4096 // type and body
	MaxUfrag      = 32
	MaxPwd        = 64
	MaxPeers      = 32
	MaxPeerAddrs  = 4
	SignatureSize = 64
)

// Type is the type byte of a frame.
type Type uint8

// The types of frames.
const (
	TypeHello Type = iota + 1
	TypeOffer
	TypeCandidate
	TypeEndOfCandidates
	TypeReady
	TypeSwitched
	TypePeersRequest
	TypePeers
	TypeBye
)

// Message is one of the pointer types below.
type Message interface {
	Type() Type
	appendBody(dst []byte) []byte
	parseBody(r *reader)
}

// Flags are what a node says of itself in Hello.
type Flags uint8

// FlagPublic: the node has an address that the whole internet reaches.
const FlagPublic Flags = 1

// Hello is the first message of each side.
type Hello struct {
	Version  uint8
	Flags    Flags
	Tag      [16]byte
	Proof    [32]byte       // knowledge of the network key, bound to the TLS session
	Observed netip.AddrPort // the receiver's address as the sender sees it; may be invalid
}

// Offer is what one side brings to the link.
type Offer struct {
	PublicKey [32]byte // WireGuard, made for this session
	Ufrag     string   // ICE user name fragment
	Pwd       string   // ICE password
	Signature [SignatureSize]byte
}

// SignedPart returns the bytes of the offer that its signature covers.
func (m *Offer) SignedPart() []byte { return m.appendUnsigned(nil) }

// Kind is the kind of a candidate.
type Kind uint8

// Kinds of candidates (RFC 8445 section 4). Relayed ones do not exist here, and
// peer-reflexive ones are never announced.
const (
	Host Kind = iota + 1
	ServerReflexive
)

// Candidate is an address at which the sender may be reached. Class is the
// sender's word for the network behind it.
type Candidate struct {
	Kind  Kind
	Class uint8
	Addr  netip.AddrPort
}

// EndOfCandidates says that no candidate will follow.
type EndOfCandidates struct{}

// Ready says that the sender's ICE agent has selected a pair.
type Ready struct {
	Local, Remote netip.AddrPort // as the sender sees them
	MTU           uint16         // of the WireGuard interface, as far as the sender knows the path
}

// Switched says that the sender's WireGuard listens on the selected pair.
type Switched struct{}

// PeersRequest asks for nodes that the other side knows.
type PeersRequest struct{}

// Peer is a node and where it was reached.
type Peer struct {
	Node  [32]byte
	Addrs []netip.AddrPort
}

// Peers answers PeersRequest.
type Peers struct{ Peers []Peer }

// Reason is why a session ends.
type Reason uint8

// The reasons of Bye.
const (
	Done      Reason = iota // all is well
	Duplicate               // another session or link with this node is preferred
	Busy                    // too much to do; try later
	Refused                 // the node does not want this link
	NoPath                  // ICE found no pair
	Failed                  // something broke on the sender's side
	Protocol                // the receiver broke the protocol
)

// Bye ends the session.
type Bye struct{ Reason Reason }

func (*Hello) Type() Type           { return TypeHello }
func (*Offer) Type() Type           { return TypeOffer }
func (*Candidate) Type() Type       { return TypeCandidate }
func (*EndOfCandidates) Type() Type { return TypeEndOfCandidates }
func (*Ready) Type() Type           { return TypeReady }
func (*Switched) Type() Type        { return TypeSwitched }
func (*PeersRequest) Type() Type    { return TypePeersRequest }
func (*Peers) Type() Type           { return TypePeers }
func (*Bye) Type() Type             { return TypeBye }

// ErrFormat is in every error about the bytes of a frame, and in no other.
var ErrFormat = errors.New("malformed frame")

// Append appends the frame of m. It panics if m breaks a bound of this package,
// which is a bug of the caller.
func Append(dst []byte, m Message) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, byte(m.Type()))
	dst = m.appendBody(dst)
	n := len(dst) - start - 2
	if n > MaxFrame {
		panic("signal: frame too long")
	}
	binary.BigEndian.PutUint16(dst[start:], uint16(n))
	return dst
}

// Parse parses a frame without its length: type and body. The message holds no
// reference to frame.
func Parse(frame []byte) (Message, error) {
	if len(frame) == 0 {
		return nil, fmt.Errorf("%w: empty", ErrFormat)
	}
	m := newMessage(Type(frame[0]))
	if m == nil {
		return nil, fmt.Errorf("%w: unknown type %d", ErrFormat, frame[0])
	}
	r := &reader{rest: frame[1:]}
	m.parseBody(r)
	if r.err == nil && len(r.rest) != 0 {
		r.err = fmt.Errorf("%d bytes too many", len(r.rest))
	}
	if r.err != nil {
		return nil, fmt.Errorf("%w of type %d: %w", ErrFormat, frame[0], r.err)
	}
	return m, nil
}

func newMessage(t Type) Message {
	switch t {
	case TypeHello:
		return new(Hello)
	case TypeOffer:
		return new(Offer)
	case TypeCandidate:
		return new(Candidate)
	case TypeEndOfCandidates:
		return new(EndOfCandidates)
	case TypeReady:
		return new(Ready)
	case TypeSwitched:
		return new(Switched)
	case TypePeersRequest:
		return new(PeersRequest)
	case TypePeers:
		return new(Peers)
	case TypeBye:
		return new(Bye)
	}
	return nil
}

// Read reads one frame from r.
func Read(r io.Reader) (Message, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n == 0 || n > MaxFrame {
		return nil, fmt.Errorf("%w: %d bytes", ErrFormat, n)
	}
	frame := make([]byte, n)
	if _, err := io.ReadFull(r, frame); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return Parse(frame)
}
