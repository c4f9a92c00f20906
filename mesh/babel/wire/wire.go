// Package wire is the codec of Babel packets: RFC 8966 section 4, the timestamps
// of RFC 9616 and the v4-via-v6 address encoding of RFC 9229.
//
// Parse resolves what the format spreads over several TLVs: an Update comes out
// with its full prefix, its router-id and its next hop, whether they were spelled
// out, compressed or inherited. Router-Id and Next Hop TLVs are therefore never
// seen by the caller; the encoder writes them when they are needed. The package
// keeps no state between packets.
package wire

import (
	"fmt"
	"net/netip"
)

// Port is the UDP port of Babel, RFC 8966 section 4.
const Port = 6696

// Group is the multicast group of Babel, RFC 8966 section 4.
var Group = netip.MustParseAddr("ff02::1:6")

// Infinity is the metric or cost of what cannot be reached.
const Infinity = 0xFFFF

const (
	magic     = 42
	version   = 2
	headerLen = 4
	maxBody   = 0xFFFF
)

// The TLV types of RFC 8966 section 4.6.
const (
	typePad1         = 0
	typePadN         = 1
	typeAckRequest   = 2
	typeAck          = 3
	typeHello        = 4
	typeIHU          = 5
	typeRouterID     = 6
	typeNextHop      = 7
	typeUpdate       = 8
	typeRouteRequest = 9
	typeSeqnoRequest = 10
)

// The sub-TLV types we know: RFC 8966 section 4.7 and RFC 9616 section 5.
const (
	subPad1      = 0
	subPadN      = 1
	subTimestamp = 3
	subMandatory = 0x80 // RFC 8966 section 4.4: whoever does not know it ignores the whole TLV
)

// The address encodings of RFC 8966 section 4.1.4 and RFC 9229 section 3.
const (
	aeWildcard = 0
	aeIPv4     = 1
	aeIPv6     = 2
	aeLocal    = 3 // fe80::/64, the last 8 octets are sent
	aeViaV6    = 4 // an IPv4 prefix whose next hop is an IPv6 address
)

const (
	helloUnicast   = 0x8000
	updatePrefix   = 0x80 // this prefix is what later Updates leave out octets of
	updateRouterID = 0x40 // the router-id is the end of the prefix's address
)

// RouterID names the speaker that originates a route.
type RouterID = [8]byte

// TLV is one of AckRequest, Ack, Hello, IHU, Update, RouteRequest, SeqnoRequest.
// Intervals are in centiseconds, as in the packet.
type TLV interface{ isTLV() }

// AckRequest asks the receiver for an Ack with the same Opaque, within Interval.
type AckRequest struct {
	Opaque, Interval uint16
}

// Ack answers an AckRequest.
type Ack struct {
	Opaque uint16
}

// Hello says that the sender is there; the next one follows within Interval, or
// nothing is promised if it is zero.
type Hello struct {
	Unicast         bool
	Seqno, Interval uint16
	HasTimestamp    bool
	Timestamp       uint32 // microseconds on the sender's clock, RFC 9616
}

// IHU ("I heard you") tells a neighbour the cost of receiving from it.
type IHU struct {
	Address          netip.Addr // the neighbour meant; the zero Addr: whoever gets it
	RxCost, Interval uint16
	HasTimestamp     bool
	Origin           uint32 // the timestamp of the neighbour's last Hello, RFC 9616
	Receive          uint32 // when it arrived, on the sender's clock
}

// Update announces a route or, with metric Infinity, retracts it.
type Update struct {
	Prefix   netip.Prefix // the zero Prefix with metric Infinity: all of the sender's routes
	Interval uint16
	Seqno    uint16
	Metric   uint16
	RouterID RouterID   // zero in a retraction
	NextHop  netip.Addr // the zero Addr: the packet's source. Zero in a retraction
}

// RouteRequest asks for an Update of a prefix.
type RouteRequest struct {
	Prefix netip.Prefix // the zero Prefix: of all
}

// SeqnoRequest asks for an Update of a prefix with at least the given sequence number.
type SeqnoRequest struct {
	Prefix   netip.Prefix
	Seqno    uint16
	HopCount uint8
	RouterID RouterID
}

func (AckRequest) isTLV()   {}
func (Ack) isTLV()          {}
func (Hello) isTLV()        {}
func (IHU) isTLV()          {}
func (Update) isTLV()       {}
func (RouteRequest) isTLV() {}
func (SeqnoRequest) isTLV() {}

// Packet is a parsed packet: its TLVs in order, and how many were left out.
type Packet struct {
	TLVs      []TLV
	Malformed int // ignored as RFC 8966 section 4.3 says
	Unknown   int // of a type we do not know
	Mandatory int // with a mandatory sub-TLV we do not know
}

// Error says what is wrong with a packet as a whole, and where.
type Error struct {
	Offset int
	Field  string
}

func (e *Error) Error() string {
	return fmt.Sprintf("parsing babel packet: bad %s at %d", e.Field, e.Offset)
}

// validID tells whether id may name a router, RFC 8966 section 4.1.3.
func validID(id RouterID) bool {
	return id != RouterID{} && id != RouterID{255, 255, 255, 255, 255, 255, 255, 255}
}

// addressID is the router-id that flag 0x40 takes from a prefix's address,
// RFC 8966 section 4.6.9.
func addressID(a netip.Addr) (id RouterID) {
	if a.Is4() {
		b := a.As4()
		copy(id[4:], b[:])
		return id
	}
	b := a.As16()
	copy(id[:], b[8:])
	return id
}
