// Package wire is the codec of the distributed hash table: its datagrams and the
// encoding of records. The layouts are drawn in docs/protocols/dht.md; every
// message has exactly one encoding, so Parse refuses what Append would not write.
//
// The package keeps no state and verifies no signatures.
package wire

import "fmt"

const (
	// Version is the first octet of each datagram: what is not of this version is
	// for somebody else.
	Version = 0xD1

	// MaxPacket is the largest datagram: it fits in the IPv6 minimum MTU beside the
	// headers of IPv6, UDP and a WireGuard link below.
	MaxPacket = 1200

	// SegmentSize is how much of an encoded record one Store or Segment carries; all
	// but the last segment are full.
	SegmentSize = 1072

	// MaxContacts is how many contacts a Found may hold.
	MaxContacts = 16

	headerLen  = 12
	pingLen    = 24 // with padding: the reply is no longer than the request
	findLen    = 96 // with padding: three times that is a Found with all its contacts
	contactLen = 12
)

// Kind is the type of a message; replies have the highest bit set.
type Kind uint8

// The kinds of messages.
const (
	KindPing    Kind = 0x01
	KindFind    Kind = 0x02
	KindFetch   Kind = 0x03
	KindOffer   Kind = 0x04
	KindStore   Kind = 0x05
	KindPong    Kind = 0x81
	KindFound   Kind = 0x82
	KindSegment Kind = 0x83
	KindAnswer  Kind = 0x84
)

var kindNames = map[Kind]string{
	KindPing: "ping", KindFind: "find", KindFetch: "fetch", KindOffer: "offer", KindStore: "store",
	KindPong: "pong", KindFound: "found", KindSegment: "segment", KindAnswer: "answer",
}

func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("kind 0x%02x", uint8(k))
}

// Reply tells whether the message answers another.
func (k Kind) Reply() bool { return k&0x80 != 0 }

type (
	// Key is a place in the key space.
	Key = [32]byte
	// Contact is a mesh address without its 32-bit prefix.
	Contact = [contactLen]byte
	// Token proves that the sender receives at its address; zero is none.
	Token = [8]byte
	// Digest is the start of the SHA-256 of a record's signed form.
	Digest = [16]byte
)

// Message is a datagram.
type Message struct {
	Client bool   // the sender answers no requests
	ID     uint64 // drawn by whoever asks, repeated in the reply
	Body   Body
}

// Body is one of Ping, Pong, Find, Found, Fetch, Segment, Offer, Store, Answer.
type Body interface {
	Kind() Kind
	append(dst []byte) []byte
}

// Ping asks whether a node is there.
type Ping struct{}

// Pong answers a Ping.
type Pong struct{ Token Token }

// Find asks for the contacts closest to a key, and for what is stored there.
type Find struct {
	Token Token
	Key   Key
	Have  uint64 // wanted is only a record with a higher sequence number, if Value
	Value bool   // the record itself is wanted, if it fits; else only its Meta
}

// Meta describes a stored record.
type Meta struct {
	Seq    uint64
	Digest Digest
	TTL    uint32 // seconds that the holder will keep it
	Total  uint16 // size of its encoding
	Cached bool   // a copy that the holder is not responsible for: it may be behind
}

// Found answers a Find. Record is empty or a whole encoded record.
type Found struct {
	Token    Token
	Meta     *Meta // nil: nothing is stored there
	Contacts []Contact
	Record   []byte
}

// Fetch asks for a segment of a record.
type Fetch struct {
	Token  Token
	Key    Key
	Digest Digest
	Offset uint16
}

// Segment answers a Fetch. Total 0: the record is not there.
type Segment struct {
	Total, Offset uint16
	Data          []byte
}

// Offer asks whether a record is wanted; it refreshes a record that is there.
type Offer struct {
	Token  Token
	Key    Key
	Seq    uint64
	Digest Digest
	TTL    uint32
}

// Store brings a segment of a record.
type Store struct {
	Token         Token
	Key           Key
	Digest        Digest
	TTL           uint32
	Cache         bool    // a copy for a place that is not responsible
	CAS           *uint64 // only if the stored sequence number is this one; 0 is none stored
	Total, Offset uint16
	Data          []byte
}

// Status is the verdict of an Answer.
type Status uint8

// The verdicts. The numbers in brackets are BEP 44's where it has them.
const (
	Stored         Status = 0
	Refreshed      Status = 1  // it was there, its time to live begins anew
	Partial        Status = 2  // the other segments are awaited
	Wanted         Status = 3  // offered: send it
	Newer          Status = 4  // there is a newer one [302]
	Conflict       Status = 5  // another value of the same sequence number is kept
	Mismatch       Status = 6  // compare-and-swap failed [301]
	BadToken       Status = 7  // use the token of this Answer [203]
	BadRecord      Status = 8  // malformed, wrong signature, refused by its type [206]
	NotResponsible Status = 9  // too many nodes are closer
	Full           Status = 10 // over a quota
	Busy           Status = 11 // too many requests: later
	Expired        Status = 12
	Future         Status = 13 // the sequence number is ahead of all clocks
	UnknownType    Status = 14
	lastStatus            = UnknownType
)

var statusNames = [...]string{
	"stored", "refreshed", "partial", "wanted", "newer", "conflict", "mismatch", "bad token",
	"bad record", "not responsible", "full", "busy", "expired", "future", "unknown type",
}

func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Answer answers an Offer or a Store. Seq and Digest are those of the record that
// is stored there now, zero if there is none.
type Answer struct {
	Token  Token
	Status Status
	Seq    uint64
	Digest Digest
}

func (Ping) Kind() Kind    { return KindPing }
func (Pong) Kind() Kind    { return KindPong }
func (Find) Kind() Kind    { return KindFind }
func (Found) Kind() Kind   { return KindFound }
func (Fetch) Kind() Kind   { return KindFetch }
func (Segment) Kind() Kind { return KindSegment }
func (Offer) Kind() Kind   { return KindOffer }
func (Store) Kind() Kind   { return KindStore }
func (Answer) Kind() Kind  { return KindAnswer }

// Error says what is wrong with a datagram or a record.
type Error struct {
	What, Field string
}

func (e *Error) Error() string { return "parsing " + e.What + ": bad " + e.Field }
