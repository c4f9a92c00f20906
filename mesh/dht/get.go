package dht

import (
	"bytes"
	"time"

	"globalnet/mesh/dht/wire"
)

const (
	maxRepairs = 3  // stale or empty holders that one get mends
	maxFetches = 16 // of one get
)

// getOp finds the newest record of a key. What nodes say of it (wire.Meta) is a
// claim; only a record whose signature holds counts. It ends when no claim is newer
// than what was verified and either a quorum has the same or all have answered.
type getOp struct {
	d      *DHT
	key    Key
	full   bool // no early end: all of the closest are asked
	done   func(*getOp)
	look   *lookup
	fetch  *fetch
	source *candidate // of fetch

	best    *Record
	encoded []byte
	digest  wire.Digest
	ttl     tick
	ours    bool // we hold it and are responsible: a vote
	fetches int
	over    bool
}

// Get looks for the newest record of a key; a GetDone event ends it. The type
// decides how careful it is.
func (d *DHT) Get(now time.Time, typ uint16, key Key) OpID {
	d.begin(now)
	d.start()
	id := d.newOp()
	d.getWith(key, d.types[typ].Secure, true, own, func(g *getOp) {
		done := GetDone{ID: id, Record: g.best, Result: g.result()}
		if g.best != nil {
			done.Holders = g.votes()
			d.counts[getsFound]++
		} else {
			d.counts[getsMissed]++
		}
		d.emit(done)
	})
	return id
}

func (d *DHT) get(key Key, full bool, p priority, done func(*getOp)) {
	d.getWith(key, full, false, p, done)
}

func (d *DHT) getWith(key Key, full, insist bool, p priority, done func(*getOp)) {
	g := &getOp{d: d, key: key, full: full, done: done}
	if e := d.lookupEntry(key); e != nil {
		g.best, g.encoded, g.digest, g.ttl = e.record(), e.encoded, e.digest, e.expires-d.now
		g.ours = !e.cached
	}
	g.look = d.newLookup(key, g, lookupOptions{
		priority: p, secure: full, random: full, value: true, insist: insist, have: g.sequence,
	})
	g.look.step()
}

func (g *getOp) sequence() uint64 {
	if g.best == nil {
		return 0
	}
	return g.best.Seq
}

func (g *getOp) lookupAnswer(c *candidate, f wire.Found) {
	if f.Record != nil && newer(f.Meta.Seq, f.Meta.Digest, g.sequence(), g.digest) {
		c.bad = !g.take(f.Record, f.Meta)
	}
	g.evaluate()
}

func (g *getOp) lookupDone(*lookup) { g.evaluate() }

// take verifies an encoded record and keeps it if it is the newest. It returns
// false if the record is not what was promised.
func (g *getOp) take(encoded []byte, meta *wire.Meta) bool {
	r, err := wire.ParseRecord(encoded)
	if err != nil || r.Key() != g.key || r.Digest() != meta.Digest || r.Seq != meta.Seq {
		g.d.counts[badAnswers]++
		return false
	}
	if g.d.verify(r) != nil {
		g.d.counts[badAnswers]++
		return false
	}
	if g.best == nil || newer(r.Seq, meta.Digest, g.best.Seq, g.digest) {
		g.best, g.encoded, g.digest = clone(r), bytes.Clone(encoded), meta.Digest
		g.ttl, g.ours = tick(meta.TTL)*second, false
	}
	return true
}

// claim returns the candidate with the newest claim that is not refuted.
func (g *getOp) claim() (best *candidate) {
	for _, c := range g.look.asked {
		if c.meta == nil || c.bad {
			continue
		}
		if best == nil || newer(c.meta.Seq, c.meta.Digest, best.meta.Seq, best.meta.Digest) ||
			c.meta.Digest == best.meta.Digest && c.rtt < best.rtt {
			best = c
		}
	}
	return best
}

// votes counts who has the best record, as far as they were asked. Copies of nodes
// that are not responsible do not count: nobody brings them up to date.
func (g *getOp) votes() (n int) {
	for _, c := range g.look.asked {
		if c.votes(g.digest) {
			n++
		}
	}
	if g.ours {
		n++
	}
	return n
}

// votes tells whether a candidate counts for a version: it has it, and is one of the
// k closest that we know of. Who held the record earlier may still have an old one.
func (c *candidate) votes(digest wire.Digest) bool {
	return c.meta != nil && !c.bad && !c.meta.Cached && c.meta.Digest == digest && c.lookup.among(c)
}

// among tells whether fewer than k candidates of its path that may answer are closer.
func (l *lookup) among(c *candidate) bool {
	n := 0
	for _, x := range l.paths[c.path].list {
		if x == c {
			return true
		}
		if x.state != failed && x.state != lateState {
			if n++; n == replicas {
				return false
			}
		}
	}
	return false
}

// evaluate decides what is next after each answer.
func (g *getOp) evaluate() {
	if g.over {
		return
	}
	c := g.claim()
	if c != nil && (g.best == nil || newer(c.meta.Seq, c.meta.Digest, g.best.Seq, g.digest)) {
		g.pursue(c)
		return
	}
	if g.fetch != nil {
		g.fetch.over, g.fetch = true, nil // what it claimed is not wanted any more
	}
	if g.look.over || !g.full && g.best != nil && g.votes() >= quorum {
		g.finish()
		return
	}
	if g.look.stopped {
		g.look.resume()
	}
}

// pursue fetches a claimed record that is newer than what we have. When a quorum
// claims the same, nobody else is asked for the time being.
func (g *getOp) pursue(c *candidate) {
	if !g.full && g.agreeing(c) >= quorum {
		g.look.stop()
	}
	if g.fetch != nil && !newer(c.meta.Seq, c.meta.Digest, g.source.meta.Seq, g.source.meta.Digest) {
		return
	}
	if g.fetch != nil {
		g.fetch.over = true
	}
	if g.fetches == maxFetches { // liars enough: what is verified has to do
		g.fetch = nil
		if g.look.over {
			g.finish()
		} else {
			c.bad = true
			g.look.resume()
		}
		return
	}
	g.fetches++
	g.source = c
	g.fetch = g.d.newFetch(c.contact, g.key, *c.meta, g.look.priority, func(encoded []byte) { g.fetched(c, encoded) })
	g.look.requests += g.fetch.start()
}

func (g *getOp) agreeing(with *candidate) (n int) {
	for _, c := range g.look.asked {
		if c.votes(with.meta.Digest) {
			n++
		}
	}
	return n
}

func (g *getOp) fetched(c *candidate, encoded []byte) {
	g.fetch = nil
	if encoded == nil || !g.take(encoded, c.meta) {
		c.bad = true
	}
	g.evaluate()
}

func (g *getOp) finish() {
	g.over = true
	g.look.end()
	d := g.d
	if g.best != nil {
		if d.floor.below(g.key, g.best.Seq) {
			g.best = nil // older than what we have returned once: better none than to go back
		} else {
			d.floor.raise(g.key, g.best.Seq)
			g.repair()
			g.cache()
			d.put(incoming{record: g.best, encoded: g.encoded, ttl: g.ttl, own: true, cache: true})
		}
	}
	g.done(g)
}

// repair brings the newest record to those of the closest who have an older one,
// or none. Their copy lives no longer than the one that was found.
func (g *getOp) repair() {
	closest := g.look.closest()
	mended := 0
	for i, c := range closest[:min(replicas, len(closest))] {
		switch {
		case c.bad || c.meta != nil && c.meta.Digest == g.digest:
			continue
		case c.meta != nil:
			g.d.counts[staleAnswers]++
		case i >= replicas/2 && g.votes() >= quorum:
			continue // rather far, and there are enough
		}
		if mended++; mended > maxRepairs {
			return
		}
		g.d.counts[repairs]++
		p := g.d.newPush(c.contact, g.best, g.encoded, g.ttl)
		p.priority, p.offer = upkeep, true
		p.start()
	}
}

// cache leaves a copy with the closest of those who are too far to hold the record
// and were asked for it: the next reader from there finds it earlier. It lives half
// as long for each node that is closer.
func (g *getOp) cache() {
	closest := g.look.closest()
	for i := replicas; i < len(closest); i++ {
		if c := closest[i]; c.meta == nil {
			p := g.d.newPush(c.contact, g.best, g.encoded, g.ttl>>min(i-replicas+1, 16))
			p.priority, p.cache = upkeep, true
			p.start()
			return
		}
	}
}

func (g *getOp) result() LookupResult {
	r := g.look.result()
	r.Elapsed = time.Duration(g.d.now - g.look.begun)
	return r
}

// floors remembers the highest sequence number that gets have returned, so that a
// reader never goes back. It is bounded; the oldest are forgotten.
type floors struct {
	seq   map[Key]uint64
	order []Key
	next  int
	most  int
}

func newFloors(most int) floors { return floors{seq: make(map[Key]uint64), most: most} }

func (f *floors) below(k Key, seq uint64) bool { return seq < f.seq[k] }

func (f *floors) raise(k Key, seq uint64) {
	if _, known := f.seq[k]; !known {
		if len(f.order) < f.most {
			f.order = append(f.order, k)
		} else {
			delete(f.seq, f.order[f.next])
			f.order[f.next] = k
			f.next = (f.next + 1) % f.most
		}
	}
	f.seq[k] = max(f.seq[k], seq)
}
