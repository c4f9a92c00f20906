package dht

import (
	"bytes"
	"slices"

	"globalnet/mesh/dht/wire"
)

const (
	entryOverhead = 256 // memory of an entry beside its encoding: struct, map, order
	perPublisher  = 32  // records of one public key
	linkShare     = 4   // a link may bring a quarter of the store, if there are others
	cacheShare    = 8   // copies for places that are not ours have an eighth
	minTTL        = 2 * minute
	responsible   = 2 * replicas
)

// entry is a stored record.
type entry struct {
	key     Key
	public  [32]byte
	typ     uint16
	seq     uint64
	digest  wire.Digest
	encoded []byte
	expiry  uint64 // signed: seconds since 1970, 0 is none
	via     string // the link that brought it; "" is ourselves
	cached  bool

	stored    tick // when this version came
	heard     tick // when somebody last stored, offered or refreshed it
	expires   tick
	sought    tick // when we last looked for a newer one
	spread    bool // the next replication passes on a replacement
	replicate *timer
	index     int // in store.list
}

func (e *entry) size() int { return len(e.encoded) + entryOverhead }

func (e *entry) record() *Record {
	r, err := wire.ParseRecord(e.encoded)
	if err != nil {
		panic("dht: a stored record does not parse: " + err.Error())
	}
	return r
}

// store holds the records, within quotas.
type store struct {
	maxBytes, maxRecords int

	byKey      map[Key]*entry
	list       []*entry
	bytes      int
	cacheBytes int
	perKey     map[[32]byte]int
	perLink    map[string]int // octets
}

func newStore(maxBytes, maxRecords int) store {
	return store{
		maxBytes: maxBytes, maxRecords: maxRecords,
		byKey: make(map[Key]*entry), perKey: make(map[[32]byte]int), perLink: make(map[string]int),
	}
}

func (s *store) insert(e *entry) {
	e.index = len(s.list)
	s.list = append(s.list, e)
	s.byKey[e.key] = e
	s.account(e, 1)
}

func (s *store) remove(e *entry) {
	last := s.list[len(s.list)-1]
	s.list[e.index], last.index = last, e.index
	s.list[len(s.list)-1] = nil
	s.list = s.list[:len(s.list)-1]
	delete(s.byKey, e.key)
	s.account(e, -1)
}

func (s *store) account(e *entry, sign int) {
	s.bytes += sign * e.size()
	if e.cached {
		s.cacheBytes += sign * e.size()
	}
	if s.perKey[e.public] += sign; s.perKey[e.public] == 0 {
		delete(s.perKey, e.public)
	}
	if s.perLink[e.via] += sign * e.size(); s.perLink[e.via] == 0 {
		delete(s.perLink, e.via)
	}
}

// incoming is a record that somebody wants us to keep.
type incoming struct {
	record  *Record
	encoded []byte
	ttl     tick
	via     string
	cas     *uint64
	cache   bool
	own     bool // our own publication, or what a lookup of ours found
}

// put applies the rules of storing, the cheap ones first, and keeps the record if
// they allow. docs/protocols/dht.md lists them.
func (d *DHT) put(in incoming) wire.Status {
	key := in.record.Key()
	digest := in.record.Digest()
	old := d.store.byKey[key]
	if in.cas != nil {
		if stored := old.sequence(); stored != *in.cas {
			return wire.Mismatch
		}
	}
	if old != nil {
		switch {
		case old.digest == digest:
			d.refresh(old, in.ttl, in.cache)
			return wire.Refreshed
		case old.seq > in.record.Seq:
			return wire.Newer
		}
	}
	rank := d.rank(&key, &d.self, responsible+4)
	if rank >= responsible && !in.cache && !in.own {
		return wire.NotResponsible
	}
	if !in.own && !d.verifyRate.take(d.now) {
		return wire.Busy
	}
	if err := d.verify(in.record); err != nil {
		return statusOf(err)
	}
	if old != nil && old.seq == in.record.Seq {
		// The key's holder signed two values with one number.
		d.counts[equivocations]++
		if !newer(in.record.Seq, digest, old.seq, old.digest) {
			return wire.Conflict
		}
	}
	e := &entry{
		key: key, public: in.record.Public, typ: in.record.Type, seq: in.record.Seq, digest: digest,
		encoded: bytes.Clone(in.encoded), expiry: in.record.Expiry, via: in.via,
		cached: in.cache && rank >= replicas || rank >= responsible, stored: d.now, heard: d.now,
	}
	if old != nil && !old.cached {
		e.cached = false
	}
	if !d.makeRoom(e, old) {
		return wire.Full
	}
	if old != nil {
		d.discard(old)
	}
	d.store.insert(e)
	if in.own {
		rank = 0 // what we read ourselves may stay
	}
	d.setExpiry(e, in.ttl, rank)
	d.scheduleReplication(e, old != nil && !in.own)
	return wire.Stored
}

func (e *entry) sequence() uint64 {
	if e == nil {
		return 0
	}
	return e.seq
}

// refresh begins the time to live of a record anew. It is never shortened.
func (d *DHT) refresh(e *entry, ttl tick, cache bool) {
	e.heard = d.now
	if !cache && e.cached && d.rank(&e.key, &d.self, responsible) < responsible {
		d.store.account(e, -1)
		e.cached = false
		d.store.account(e, 1)
	}
	until := e.expires
	d.setExpiry(e, ttl, d.rank(&e.key, &d.self, responsible+4))
	e.expires = max(e.expires, until)
}

// setExpiry bounds the time to live by the record's type, and halves it for each
// node that is closer beyond those who should hold it: copies far from their place
// die early (Kademlia section 2.5).
func (d *DHT) setExpiry(e *entry, ttl tick, rank int) {
	ttl = min(ttl, tick(d.types[e.typ].TTL))
	if rank >= replicas {
		ttl >>= min(rank-replicas+1, 16)
	}
	e.expires = d.now + max(ttl, minTTL)
}

// remaining is how long the record will be kept, in seconds.
func (d *DHT) remaining(e *entry) uint32 { return uint32(max(0, e.expires-d.now) / second) }

func (d *DHT) discard(e *entry) {
	d.disarm(e.replicate)
	d.store.remove(e)
}

// lookupEntry returns what is stored at a key and has not expired.
func (d *DHT) lookupEntry(key Key) *entry {
	e := d.store.byKey[key]
	if e == nil || e.expires <= d.now || d.clockTrusted && e.expiry != 0 && int64(e.expiry) <= d.wall.Unix() {
		return nil
	}
	return e
}

// sweep removes what has expired.
func (d *DHT) sweep() {
	for _, e := range slices.Clone(d.store.list) {
		if d.lookupEntry(e.key) != e {
			d.counts[recordsExpired]++
			d.discard(e)
		}
	}
}
