// Package peers keeps the nodes that may be reached across the internet: which
// are known, whom to dial now, and what to tell a node that asks for peers.
// docs/protocols/peers.md has the rules.
//
// A Book is a plain data structure, bounded whatever strangers say; it does no
// I/O but for LoadFile and SaveFile. Whoever made it owns it: its methods must
// not be called at the same time.
package peers

import (
	"crypto/rand"
	mathrand "math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"globalnet/internal/identity"
)

const (
	// Target is how many internet peers a node looks for.
	Target = 10
	// Max is how many it takes: configured ones, and those that dial us.
	Max = 20

	maxEntries   = 1024
	maxPerSource = 64 // entries that one node may tell us of

	minBackoff   = time.Second
	maxBackoff   = 30 * time.Minute
	hopeless     = 8                // failures in a row that make us forget a node that never answered
	dialTime     = 45 * time.Second // a dial that did not report by then is taken as lost
	connectedFor = 10 * time.Minute // a connection is believed in for so long without news
	goodInterval = time.Hour        // a connected peer gains one point in so long
	maxGood      = 1 << 20
)

// An Entry is a known node.
type Entry struct {
	Node  identity.NodeID
	Addrs []netip.AddrPort // best first

	Configured  bool
	Good        int       // points for connections made and hours they lasted
	Failures    int       // dials in vain since the last success
	LastSuccess time.Time // wall time, for people; zero if never
}

// A record is an Entry and what the Book alone needs to know of it.
type record struct {
	Entry
	source    identity.NodeID // who told us
	proved    int             // that many of Addrs, from the start, have worked
	added     uint64          // order of arrival
	due       time.Time       // not to be dialled before
	dialing   time.Time       // a dial runs at most until then
	connected time.Time       // connected at least until then; zero if not
	gained    time.Time       // when Good last grew
}

// A Book is the set of known nodes.
type Book struct {
	self    identity.NodeID
	rng     *mathrand.Rand
	secret  [32]byte // behind Sample
	records map[identity.NodeID]*record
	added   uint64
	state   saved
}

// New returns an empty book of the node self.
func New(self identity.NodeID, rng *mathrand.Rand) *Book {
	b := &Book{self: self, rng: rng, records: make(map[identity.NodeID]*record)}
	rand.Read(b.secret[:])
	return b
}

// Len returns how many nodes are known.
func (b *Book) Len() int { return len(b.records) }

// Connected returns how many of the known nodes we are connected to.
func (b *Book) Connected(now time.Time) (n int) {
	for _, r := range b.records {
		if now.Before(r.connected) {
			n++
		}
	}
	return n
}

// Configure makes list the configured peers. They are never forgotten, and
// dialled before all others. One that is configured no longer stays as a known
// node; one without addresses, whose name could not be looked up, keeps what it has.
func (b *Book) Configure(now time.Time, list []Entry) {
	for _, r := range b.records {
		r.Configured = false
	}
	for _, e := range list {
		r := b.records[e.Node]
		addrs := clean(e.Addrs, usable)
		if len(addrs) == 0 && r != nil {
			addrs = r.Addrs
		}
		if e.Node == b.self || e.Node.IsZero() || len(addrs) == 0 {
			continue
		}
		if r == nil {
			if len(b.records) >= maxEntries && !b.evict(now) {
				return
			}
			r = b.insert(e.Node)
		}
		r.Configured = true
		if !slices.Equal(r.Addrs, addrs) {
			r.Addrs, r.proved, r.Failures, r.due = addrs, 0, 0, time.Time{}
		}
	}
	for node, r := range b.records {
		if !r.Configured { // an address that only an operator may give goes with the configuration
			r.keepPublic()
			if len(r.Addrs) == 0 {
				delete(b.records, node)
			}
		}
	}
}

func (r *record) keepPublic() {
	var kept []netip.AddrPort
	proved := 0
	for i, a := range r.Addrs {
		if public(a) {
			kept = append(kept, a)
			if i < r.proved {
				proved++
			}
		}
	}
	r.Addrs, r.proved = kept, proved
}

func (b *Book) insert(node identity.NodeID) *record {
	b.added++
	r := &record{Entry: Entry{Node: node}, added: b.added}
	b.records[node] = r
	return r
}

// Add notes what the node from says of another, and reports whether that was
// any use. Addresses that are not public are not believed; of a node that we know,
// only addresses that are new and for which there is room.
func (b *Book) Add(now time.Time, from identity.NodeID, e Entry) bool {
	addrs := clean(e.Addrs, public)
	if e.Node == b.self || e.Node.IsZero() || len(addrs) == 0 {
		return false
	}
	if r := b.records[e.Node]; r != nil {
		return !r.Configured && r.extend(addrs, from == e.Node)
	}
	if !b.room(now, from) {
		return false
	}
	r := b.insert(e.Node)
	r.Addrs, r.source = addrs, from
	return true
}

// extend adds addresses to those of a known node. What has worked stays. What
// has not yet gives way if the dials fail, or to what the node says itself.
func (r *record) extend(addrs []netip.AddrPort, itself bool) (changed bool) {
	for _, a := range addrs {
		switch {
		case slices.Contains(r.Addrs, a):
			continue
		case len(r.Addrs) < MaxAddresses:
			r.Addrs = append(r.Addrs, a)
		case r.proved < MaxAddresses && (itself || r.Failures > 0):
			copy(r.Addrs[r.proved:], r.Addrs[r.proved+1:]) // the oldest of the unproved
			r.Addrs[MaxAddresses-1] = a
		default:
			continue
		}
		changed = true
	}
	return changed
}

// Succeeded notes that we are connected to node; it may be called again and
// again while that lasts.
func (b *Book) Succeeded(now time.Time, node identity.NodeID) {
	r := b.records[node]
	if r == nil {
		return
	}
	if fresh := r.connected.IsZero(); fresh || now.Sub(r.gained) >= goodInterval {
		if r.Good < maxGood && (r.gained.IsZero() || now.Sub(r.gained) >= goodInterval/6) {
			r.Good++
			r.gained = now
		}
	}
	r.Failures, r.LastSuccess = 0, now
	r.connected = now.Add(connectedFor)
	r.dialing, r.due = time.Time{}, r.connected
}

// Proved notes that node was reached at addr: it is tried first from now on.
func (b *Book) Proved(node identity.NodeID, addr netip.AddrPort) {
	r := b.records[node]
	if r == nil {
		return
	}
	i := slices.Index(r.Addrs, addr)
	if i < 0 {
		return
	}
	copy(r.Addrs[1:i+1], r.Addrs[:i])
	r.Addrs[0] = addr
	if i >= r.proved {
		r.proved++
	}
}

// Failed notes a dial in vain.
func (b *Book) Failed(now time.Time, node identity.NodeID) {
	r := b.records[node]
	if r == nil {
		return
	}
	r.Failures++
	r.dialing, r.connected = time.Time{}, time.Time{}
	if r.Failures >= hopeless && r.Good == 0 && !r.Configured {
		delete(b.records, node)
		return
	}
	r.due = now.Add(b.backoff(r.Failures))
}

// Lost notes that a connection ended, or a dial without having failed. It is tried
// again within a second: a link may have another path.
func (b *Book) Lost(now time.Time, node identity.NodeID) {
	if r := b.records[node]; r != nil && (!r.connected.IsZero() || !r.dialing.IsZero()) {
		r.connected, r.dialing = time.Time{}, time.Time{}
		r.due = now.Add(time.Duration(b.rng.Int64N(int64(time.Second))))
	}
}

// backoff is the pause after so many failures in a row: doubling, with a
// quarter of jitter to either side.
func (b *Book) backoff(failures int) time.Duration {
	d := maxBackoff
	if shift := failures - 1; shift < 16 {
		d = min(d, minBackoff<<shift)
	}
	return min(maxBackoff, d*3/4+time.Duration(b.rng.Int64N(int64(d/2))))
}

// Next returns the node to dial now, if any: configured ones while we are
// connected to fewer than Max, others below Target. It is not returned again
// before Failed or Lost, or until its dial must have ended.
func (b *Book) Next(now time.Time) (Entry, bool) {
	busy := 0
	for _, r := range b.records {
		if now.Before(r.connected) || now.Before(r.dialing) {
			busy++
		}
	}
	if busy >= Max {
		return Entry{}, false
	}
	var best *record
	for _, r := range b.records {
		if now.Before(r.connected) || now.Before(r.dialing) || now.Before(r.due) || busy >= Target && !r.Configured {
			continue
		}
		if best == nil || preferred(r, best) {
			best = r
		}
	}
	if best == nil {
		return Entry{}, false
	}
	best.connected = time.Time{} // no news for long
	best.dialing = now.Add(dialTime)
	return best.copy(), true
}

// preferred reports whether a is to be dialled before b.
func preferred(a, b *record) bool {
	switch {
	case a.Configured != b.Configured:
		return a.Configured
	case a.Failures != b.Failures && (a.Good == 0) == (b.Good == 0):
		return a.Failures < b.Failures
	case a.Good != b.Good:
		return a.Good > b.Good
	}
	return a.added < b.added
}

func (r *record) copy() Entry {
	e := r.Entry
	e.Addrs = slices.Clone(e.Addrs)
	return e
}

// Entries returns all entries, those to keep longest first.
func (b *Book) Entries(now time.Time) []Entry {
	list := make([]Entry, 0, len(b.records))
	for _, r := range b.ranked(now) {
		list = append(list, r.copy())
	}
	return list
}
