package dht

import (
	"net/netip"
	"time"

	"globalnet/mesh/dht/wire"
)

// Event is something that the owner of a DHT must do or may want to know.
type Event interface{ isEvent() }

// SendPacket wants a datagram sent, from port Port.
type SendPacket struct {
	To     netip.AddrPort
	Packet []byte
}

// LookupDone ends a Lookup.
type LookupDone struct {
	ID     OpID
	Result LookupResult
}

// GetDone ends a Get. Record is nil if none was found.
type GetDone struct {
	ID      OpID
	Record  *Record
	Holders int // that answered with this version, as far as they were asked
	Result  LookupResult
}

// PutDone ends a Put or the first round of a Publish.
type PutDone struct {
	ID     OpID
	Key    Key
	Seq    uint64
	Err    error // nil: stored on at least one node
	Stored int   // nodes that keep it, ourselves included
	Of     int   // nodes that should: min(k, nodes there are)
	Read   int   // of them, how many showed it to a second lookup
	Result LookupResult
}

// Superseded says that a publication of ours ended: somebody with the same key,
// another router of the owner for example, published a newer record.
type Superseded struct {
	Key Key
	Seq uint64 // of the newer
}

// ShutdownDone says that what we held has been handed on.
type ShutdownDone struct{}

func (SendPacket) isEvent()   {}
func (LookupDone) isEvent()   {}
func (GetDone) isEvent()      {}
func (PutDone) isEvent()      {}
func (Superseded) isEvent()   {}
func (ShutdownDone) isEvent() {}

// LookupResult tells how a lookup went.
type LookupResult struct {
	Key        Key
	Closest    []netip.Addr // that answered, the closest first
	Requests   int          // RPCs, fetches and stores included
	Elapsed    time.Duration
	Path       []Hop // every node asked, in that order
	Suspicious bool  // the closest are denser than the size of the network explains
}

// Hop is a node that a lookup asked.
type Hop struct {
	Node    netip.Addr
	From    netip.Addr // who named it; the zero Addr: we knew it
	Path    int        // which of the disjoint paths
	Prefix  int        // bits shared with the key
	RTT     time.Duration
	Outcome string // "answered", "slow", "failed", "has it"
	Seq     uint64
}

// Status is a copy of what a DHT knows about itself.
type Status struct {
	Key        Key
	Contacts   int // in the table
	Siblings   int
	Known      int // with those known by routes
	Graveyard  int
	Estimate   int // nodes in the network
	Records    int
	Bytes      int
	Published  int
	Lookups    int // under way
	CutOff     bool
	Membership bool
	RTT        time.Duration
	MedianAge  time.Duration // for how long half of the contacts have been there
	Republish  time.Duration // the interval that follows from it
}

// Status returns the state of now.
func (d *DHT) Status() Status {
	s := Status{
		Key: d.self, Siblings: len(d.table.siblings), Known: len(d.contacts.list), Graveyard: len(d.graves),
		Estimate: d.estimate(), Records: len(d.store.list), Bytes: d.store.bytes,
		Published: len(d.publications), Lookups: len(d.lookups), CutOff: d.cutOff(), Membership: d.complete(),
		RTT: time.Duration(d.srtt), MedianAge: time.Duration(d.medianAge()), Republish: time.Duration(d.republishEvery()),
	}
	for i := range d.table.buckets {
		s.Contacts += len(d.table.buckets[i].live)
	}
	return s
}

// Held describes a stored record.
type Held struct {
	Key     Key
	Type    uint16
	Seq     uint64
	Digest  wire.Digest
	Size    int
	Cached  bool
	Expires time.Time
}

// Held lists what is stored here.
func (d *DHT) Held() []Held {
	list := make([]Held, 0, len(d.store.list))
	for _, e := range d.store.list {
		list = append(list, Held{e.key, e.typ, e.seq, e.digest, len(e.encoded), e.cached, d.time(e.expires)})
	}
	return list
}
