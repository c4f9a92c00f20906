package netdir

import (
	"crypto/hmac"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"globalnet/internal/identity"
)

const (
	// MaxAge is how old a descriptor may get. Nobody has dates that others could
	// trust, so whoever hands it on says how old it is, and ages only add up.
	MaxAge = 3 * time.Hour
	// Republish is after how long a node signs a new descriptor, at the latest.
	Republish = time.Hour
	// ageMargin is before the end of its time when a descriptor is not taken or
	// handed on any more, so that small differences do not make it go around.
	ageMargin = 10 * time.Minute

	defaultMax = 2000
	maxPinned  = 64

	updateBurst = 32 // new descriptors of one node at once: restarts, neighbours that come and go; then
	updateRate  = 1.0 / 60

	measureStale = time.Second // how old what Relays says of measurements may be
)

// ErrOwnSequence means that a descriptor of this node has a sequence that is not
// above OwnSequence: others would not take it.
var ErrOwnSequence = errors.New("sequence of an earlier life")

// Config is what a Directory needs.
type Config struct {
	Self identity.NodeID
	Max  int        // descriptors that are kept; 0: 2000
	Rand *rand.Rand // for the secret of the sample; nil: the system's
}

// Directory holds the newest descriptor of each node, up to Max of them, and what
// was measured. Past Max it keeps a random sample, see sample.go.
type Directory struct {
	cfg Config

	mu      sync.Mutex
	secret  [32]byte // of the sample's order
	entries map[identity.NodeID]*entry
	alive   int                        // entries with a descriptor
	shares  map[identity.NodeID]int    // of them, by introducer
	lasts   map[identity.NodeID]*entry // see last
	pinned  map[identity.NodeID]bool
	buckets [bucketCount]bucket
	recent  journal
	own     uint64 // highest sequence of this node's own descriptors, but for the current one
	expires time.Time
	changed chan struct{}
	counts  [counterCount]uint64

	snapshot []Relay
	taken    time.Time // when snapshot was
	measured bool      // something since
}

// entry is what is known of one node. It outlives the descriptor, so that an old
// one is not taken again and that measurements stay.
type entry struct {
	node       identity.NodeID
	order      uint64      // in the sample: small ones stay
	d          *Descriptor // nil when there is none
	raw        []byte
	revision                   // of the newest descriptor seen
	heard      time.Time       // when that came first
	born       time.Time       // when it was signed, as far as others told
	from       identity.NodeID // who handed it on
	introducer identity.NodeID // who handed the node's first one on; its share pays
	updates    tokens
	since      time.Time     // there has been a descriptor
	known      time.Duration // before since
	measurements
}

// revision orders the descriptors of one node: by sequence, and if a node signs
// two with the same, by hash, so that all agree which one stays.
type revision struct {
	sequence uint64
	sum      [16]byte
}

func (r revision) newer(o revision) bool {
	if r.sequence != o.sequence {
		return r.sequence > o.sequence
	}
	return string(r.sum[:]) < string(o.sum[:])
}

func sumOf(raw []byte) (sum [16]byte) {
	full := sha256.Sum256(raw)
	copy(sum[:], full[:])
	return sum
}

// New returns an empty Directory.
func New(cfg Config) *Directory {
	if cfg.Max <= 0 {
		cfg.Max = defaultMax
	}
	d := &Directory{
		cfg: cfg, entries: make(map[identity.NodeID]*entry), shares: make(map[identity.NodeID]int), lasts: make(map[identity.NodeID]*entry),
		pinned: make(map[identity.NodeID]bool), changed: make(chan struct{}),
	}
	crand.Read(d.secret[:])
	if cfg.Rand != nil {
		for i := 0; i < len(d.secret); i += 8 {
			binary.BigEndian.PutUint64(d.secret[i:], cfg.Rand.Uint64())
		}
	}
	return d
}

// Add takes a descriptor of the given age that came from anywhere but a
// neighbour. It is added if it is newer than what is there and has a place. An
// error means that it is no descriptor, or forged.
func (d *Directory) Add(now time.Time, raw []byte, age time.Duration) (added bool, err error) {
	return d.AddFrom(now, identity.NodeID{}, raw, age)
}

// AddFrom is Add for a descriptor that a neighbour handed on.
func (d *Directory) AddFrom(now time.Time, from identity.NodeID, raw []byte, age time.Duration) (added bool, err error) {
	node, sequence, err := header(raw)
	if err != nil {
		d.count(descriptorsBad)
		return false, err
	}
	offer := offer{node: node, revision: revision{sequence, sumOf(raw)}, age: max(age, 0)}
	d.mu.Lock()
	verdict, known := d.judge(now, offer, from), (*Descriptor)(nil)
	if e := d.entries[node]; e != nil {
		known = e.d
	}
	if verdict != wanted {
		d.refuse(verdict)
	}
	d.mu.Unlock()
	if verdict != wanted {
		return false, nil
	}

	parsed, err := parse(raw, known) // takes a while on a router: not under the lock
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.counts[descriptorsBad]++
		return false, err
	}
	if verdict = d.judge(now, offer, from); verdict != wanted {
		d.refuse(verdict)
		return false, nil
	}
	if node == d.cfg.Self {
		d.own = max(d.own, sequence)
		d.counts[ownSeen]++
		d.notify()
		return false, nil
	}
	d.insert(now, offer, parsed, append([]byte(nil), raw...), from)
	return true, nil
}

// SetOwn makes raw the descriptor of this node, to be handed on. Its sequence must
// be above OwnSequence.
func (d *Directory) SetOwn(now time.Time, raw []byte) error {
	parsed, err := Parse(raw)
	if err != nil {
		return fmt.Errorf("own descriptor: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if parsed.Node != d.cfg.Self {
		return errors.New("own descriptor: of another node")
	}
	if e := d.entries[d.cfg.Self]; parsed.Sequence <= d.own || e != nil && parsed.Sequence <= e.sequence {
		return ErrOwnSequence
	}
	d.insert(now, offer{node: parsed.Node, revision: revision{parsed.Sequence, sumOf(raw)}}, parsed,
		append([]byte(nil), raw...), d.cfg.Self)
	return nil
}

// OwnSequence returns the highest sequence that a descriptor of this node had in
// an earlier life, or has elsewhere. The next one must be above it, and if the
// current one is not, it is time for a new one: see Changed.
func (d *Directory) OwnSequence() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.own
}

// NextSequence returns a sequence for the next descriptor of this node.
func (d *Directory) NextSequence() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := d.own
	if e := d.entries[d.cfg.Self]; e != nil {
		next = max(next, e.sequence)
	}
	return next + 1
}

// Changed returns a channel that is closed at the next change of what Relays,
// Raw or OwnSequence say.
func (d *Directory) Changed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

func (d *Directory) notify() {
	close(d.changed)
	d.changed = make(chan struct{})
	d.snapshot = nil
}

// offer is what somebody says it has.
type offer struct {
	node identity.NodeID
	revision
	age time.Duration
}

// verdict is what becomes of an offer.
type verdict uint8

const (
	wanted  verdict = iota
	have            // or newer
	tooOld          // or seen before, and gone since
	tooMany         // of this node
	noPlace         // in the sample
)

// judge says whether an offer is worth asking for. Called with mu held.
func (d *Directory) judge(now time.Time, o offer, from identity.NodeID) verdict {
	d.expire(now)
	e := d.entries[o.node]
	if o.node == d.cfg.Self {
		if o.sequence <= d.own || e != nil && (o.sequence < e.sequence || o.revision == e.revision) {
			return have
		}
		return wanted
	}
	if e != nil {
		switch {
		case o.revision == e.revision && e.d != nil:
			// Somebody may say that it is older than it is, or younger; it is
			// never made younger than the time for which we have it.
			if born := now.Add(-o.age); born.After(e.born) {
				e.born = born
				if e.heard.Before(born) {
					e.born = e.heard
				}
			}
			return have
		case o.revision == e.revision:
			if now.Sub(e.heard) >= MaxAge-ageMargin {
				return tooOld
			}
		case !o.newer(e.revision):
			return have
		case e.updates.peek(now, updateRate, updateBurst) < 1:
			return tooMany
		}
	}
	switch {
	case o.age >= MaxAge-ageMargin:
		return tooOld
	case (e == nil || e.d == nil) && !d.fits(o.node, from):
		return noPlace
	}
	return wanted
}

// refuse counts. Called with mu held.
func (d *Directory) refuse(v verdict) {
	switch v {
	case have:
		d.counts[descriptorsKnown]++
	case tooOld:
		d.counts[descriptorsOld]++
	case tooMany:
		d.counts[descriptorsTooMany]++
	case noPlace:
		d.counts[descriptorsNoPlace]++
	}
}

// insert makes a parsed descriptor the node's. Called with mu held, after judge.
func (d *Directory) insert(now time.Time, o offer, parsed *Descriptor, raw []byte, from identity.NodeID) {
	if e := d.entries[o.node]; e == nil || e.d == nil {
		d.makeRoom(now, from) // may forget e
	}
	e := d.entries[o.node]
	if e == nil {
		e = &entry{node: o.node, order: d.order(o.node)}
		d.entries[o.node] = e
	}
	if e.d == nil {
		e.introducer, e.since = from, now
		d.shares[from]++
		d.alive++
		if last := d.lasts[from]; last != nil && e.order > last.order {
			delete(d.lasts, from)
		}
		d.bucketOf(o.node).insert(e)
	} else if o.sequence == e.sequence {
		d.counts[equivocations]++
	}
	if o.revision != e.revision {
		e.revision, e.heard = o.revision, now
		e.updates.take(now, updateRate, updateBurst, 1)
	}
	e.d, e.raw, e.from = parsed, raw, from
	e.born = now.Add(-o.age)
	if e.born.After(e.heard) {
		e.born = e.heard
	}
	if at := e.born.Add(MaxAge); d.expires.IsZero() || at.Before(d.expires) {
		d.expires = at
	}
	d.bucketOf(o.node).dirty = true
	d.recent.add(o.node)
	d.counts[descriptorsAdded]++
	d.notify()
}

// drop takes the descriptor of e away; what was seen and measured stays, for a
// while. Called with mu held.
func (d *Directory) drop(now time.Time, e *entry) {
	e.known = e.knownFor(now)
	e.d, e.raw = nil, nil
	d.alive--
	delete(d.lasts, e.introducer)
	if d.shares[e.introducer]--; d.shares[e.introducer] == 0 {
		delete(d.shares, e.introducer)
	}
	d.bucketOf(e.node).remove(e)
	d.forget()
	d.notify()
}

// expire drops what is too old. Called with mu held.
func (d *Directory) expire(now time.Time) {
	if d.expires.IsZero() || now.Before(d.expires) {
		return
	}
	var next time.Time
	for _, e := range d.entries {
		if e.d == nil {
			continue
		}
		at := e.born.Add(MaxAge)
		if !now.Before(at) {
			d.counts[descriptorsExpired]++
			d.drop(now, e)
		} else if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	d.expires = next
}

func (e *entry) knownFor(now time.Time) time.Duration {
	if e.d == nil {
		return e.known
	}
	return e.known + max(now.Sub(e.since), 0)
}

func (d *Directory) order(node identity.NodeID) uint64 {
	h := hmac.New(sha256.New, d.secret[:])
	h.Write(node[:])
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// Relays returns the relays, without this node, by NodeID. The slice belongs to
// all who asked: it is not to be changed. It costs next to nothing unless relays
// came or went; what it says of measurements may be a second old.
func (d *Directory) Relays(now time.Time) []Relay {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire(now)
	if d.snapshot != nil && (!d.measured || now.Sub(d.taken) < measureStale) && now.Sub(d.taken) < time.Minute {
		return d.snapshot
	}
	d.snapshot = make([]Relay, 0, d.alive)
	for i := range d.buckets {
		for _, e := range d.buckets[i].entries {
			if e.d.Flags&FlagRelay != 0 && e.node != d.cfg.Self {
				d.snapshot = append(d.snapshot, e.relay(now))
			}
		}
	}
	d.taken, d.measured = now, false
	return d.snapshot
}

// Relay returns what is known of one node, relay or not, if there is a descriptor.
func (d *Directory) Relay(now time.Time, id identity.NodeID) (Relay, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire(now)
	e := d.entries[id]
	if e == nil || e.d == nil {
		return Relay{}, false
	}
	return e.relay(now), true
}

func (e *entry) relay(now time.Time) Relay {
	tries, failures := e.circuits(now)
	return Relay{Descriptor: e.d, Known: e.knownFor(now), Bandwidth: e.bandwidth, Tries: tries, Failures: failures}
}

// Raw returns the signed form of a node's descriptor; it is not to be changed.
func (d *Directory) Raw(id identity.NodeID) ([]byte, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entries[id]
	if e == nil || e.d == nil {
		return nil, false
	}
	return e.raw, true
}
