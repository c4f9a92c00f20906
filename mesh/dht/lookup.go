package dht

import (
	"net/netip"
	"slices"
	"time"

	"globalnet/mesh/dht/wire"
)

const (
	maxCandidates     = 64  // a path keeps
	maxLookupRequests = 160 // of one lookup
	wide              = 16  // how many of the closest are asked when they look suspicious
)

// lookup asks ever closer contacts for those closest to a key. Its paths have no
// node in common, so a liar on one of them leads only that one astray.
type lookup struct {
	d     *DHT
	key   Key
	owner lookupOwner
	lookupOptions

	paths      []*path
	claimed    map[*contact]*candidate // each node is asked by one path
	asked      []*candidate            // in that order
	begun      tick
	requests   int
	stopped    bool
	over       bool
	suspicious bool
}

type lookupOptions struct {
	priority priority
	secure   bool          // several paths
	random   bool          // the first step of each path goes to a random contact
	value    bool          // records are wanted, not only what is known of them
	insist   bool          // more are asked if none of the closest has a record
	width    int           // how many of the closest have to answer
	have     func() uint64 // the newest sequence number that was seen; nil: 0
}

// lookupOwner is told of each answer, and of the end unless it stopped the lookup.
type lookupOwner interface {
	lookupAnswer(c *candidate, f wire.Found)
	lookupDone(l *lookup)
}

type path struct {
	list   []*candidate // the closest first
	active int          // requests under way that are not late
}

type candidateState uint8

const (
	fresh candidateState = iota
	waiting
	lateState
	done
	failed
	taken // by another path
)

// candidate is a contact as one path of a lookup sees it.
type candidate struct {
	lookup  *lookup
	contact *contact
	from    *contact // who named it; nil: we knew it
	path    int
	state   candidateState
	sent    tick
	rtt     tick
	meta    *wire.Meta
	bad     bool // what it said of the record was not true
}

func (d *DHT) newLookup(key Key, owner lookupOwner, o lookupOptions) *lookup {
	if o.width == 0 {
		o.width = replicas
	}
	l := &lookup{d: d, key: key, owner: owner, lookupOptions: o, claimed: make(map[*contact]*candidate), begun: d.now}
	d.lookups[l] = struct{}{}
	d.table.buckets[commonPrefix(&d.self, &key)].refreshed = d.now
	n := 1
	if o.secure && !d.complete() {
		n = paths
	}
	seeds := d.closest(key, max(bucketSize, n*replicas), (*contact).usable)
	for i := range n {
		l.paths = append(l.paths, &path{})
		for j := i; j < len(seeds); j += n {
			l.add(i, seeds[j], nil)
		}
	}
	if o.random {
		l.detour()
	}
	return l
}

// detour lets each path begin at a random contact: whoever surrounds the key, or
// us, does not know where the lookup comes from.
func (l *lookup) detour() {
	known := slices.DeleteFunc(slices.Clone(l.d.contacts.list), func(c *contact) bool { return !c.live() })
	for i := range l.paths {
		if len(known) > 0 {
			l.ask(i, l.add(i, known[l.d.rand.IntN(len(known))], nil))
		}
	}
}

// add enters a contact into a path, unless it is there.
func (l *lookup) add(i int, c *contact, from *contact) *candidate {
	p := l.paths[i]
	at, found := slices.BinarySearchFunc(p.list, c, func(x *candidate, c *contact) int {
		switch {
		case x.contact == c:
			return 0
		case closer(&l.key, &x.contact.key, &c.key):
			return -1
		}
		return 1
	})
	if found {
		return p.list[at]
	}
	x := &candidate{lookup: l, contact: c, from: from, path: i}
	p.list = slices.Insert(p.list, at, x)
	if len(p.list) > maxCandidates {
		p.list = p.list[:maxCandidates]
	}
	return x
}

// step sends what may be sent, and ends the lookup if nothing is left to do.
func (l *lookup) step() {
	if l.over || l.stopped {
		return
	}
	limit := alpha
	if len(l.paths) > 1 {
		limit = 1
	}
	ended := true
	for i, p := range l.paths {
		for p.active < limit && l.requests < maxLookupRequests {
			c := l.next(p)
			if c == nil {
				break
			}
			l.ask(i, c)
		}
		ended = ended && l.ended(p)
	}
	if ended && !l.widen() {
		l.finish()
	}
}

// next returns the closest candidate that was not asked, among the width closest
// that did not fail. The late are passed over: others are asked in their place.
func (l *lookup) next(p *path) *candidate {
	seen := 0
	for _, c := range p.list {
		switch {
		case c.state != fresh:
		case l.claimed[c.contact] != nil:
			c.state = taken
		case c.contact.dead || l.d.complete() && !c.contact.reachable: // since it was entered
			c.state = failed
		}
		switch c.state {
		case fresh:
			return c
		case done, waiting, taken:
			if seen++; seen >= l.width {
				return nil
			}
		}
	}
	return nil
}

// ended tells whether the width closest have answered, or there is nobody to ask
// and nobody to wait for.
func (l *lookup) ended(p *path) bool {
	answered, pending := 0, 0
	for _, c := range p.list {
		switch c.state {
		case fresh:
			if l.requests < maxLookupRequests {
				return false
			}
		case waiting:
			return false
		case done, taken:
			answered++
		}
		if c.state == lateState {
			pending++
		}
		if answered >= l.width {
			return true
		}
	}
	return pending == 0
}

func (l *lookup) ask(i int, c *candidate) {
	if c.state != fresh || l.claimed[c.contact] != nil {
		return
	}
	l.claimed[c.contact] = c
	l.asked = append(l.asked, c)
	l.requests++
	l.d.counts[lookupRequests]++
	l.paths[i].active++
	c.state, c.sent = waiting, l.d.now
	find := wire.Find{Token: l.d.validToken(c.contact), Key: l.key, Value: l.value}
	if l.have != nil {
		find.Have = l.have()
	}
	l.d.ask(c.contact, find, l.priority, c)
}

func (c *candidate) leave() {
	if c.state == waiting {
		c.lookup.paths[c.path].active--
	}
}

func (c *candidate) answered(_ *request, b wire.Body) {
	l := c.lookup
	c.leave()
	c.state, c.rtt = done, l.d.now-c.sent
	f := b.(wire.Found)
	c.meta = f.Meta
	if l.over {
		return
	}
	for _, named := range f.Contacts {
		l.named(c, fromContact(named))
	}
	l.owner.lookupAnswer(c, f)
	l.step()
}

// named enters a contact that somebody named.
func (l *lookup) named(by *candidate, addr netip.Addr) {
	d := l.d
	c := d.contacts.get(addr)
	if d.complete() && (c == nil || !c.reachable) {
		if addr != d.addr {
			d.counts[strangersIgnored]++
		}
		return
	}
	if c == nil {
		if c = d.contact(addr); c == nil {
			return
		}
	}
	switch {
	case c.dead:
		c.retryAt = min(c.retryAt, max(d.now, c.failedAt+failSpacing)) // somebody thinks it lives
	case c.fails == 0 || d.now-c.failedAt >= failSpacing:
		l.add(by.path, c, by.contact)
	}
}

func (c *candidate) slow(*request) {
	c.leave()
	c.state = lateState
	c.lookup.step()
}

func (c *candidate) failed(*request) {
	c.leave()
	c.state = failed
	c.lookup.step()
}

// stop sends nothing more; resume goes on.
func (l *lookup) stop()   { l.stopped = true }
func (l *lookup) resume() { l.stopped = false; l.step() }

func (l *lookup) finish() {
	if l.over {
		return
	}
	l.end()
	l.owner.lookupDone(l)
}

func (l *lookup) end() {
	if !l.over {
		l.over = true
		l.d.counts[lookupsDone]++
		delete(l.d.lookups, l)
	}
}

// closest returns who answered, the closest first.
func (l *lookup) closest() []*candidate {
	var list []*candidate
	for _, c := range l.asked {
		if c.state == done {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *candidate) int {
		if closer(&l.key, &a.contact.key, &b.contact.key) {
			return -1
		}
		return 1
	})
	return list
}

func (l *lookup) result() LookupResult {
	r := LookupResult{
		Key: l.key, Requests: l.requests, Elapsed: time.Duration(l.d.now - l.begun), Suspicious: l.suspicious,
	}
	for _, c := range l.closest() {
		r.Closest = append(r.Closest, c.contact.addr)
	}
	for _, c := range l.asked {
		r.Path = append(r.Path, c.hop())
	}
	return r
}

func (c *candidate) hop() Hop {
	h := Hop{
		Node: c.contact.addr, Path: c.path, Prefix: commonPrefix(&c.lookup.key, &c.contact.key), RTT: time.Duration(c.rtt),
		Outcome: [...]string{"not asked", "waiting", "slow", "answered", "failed", "taken"}[c.state],
	}
	if c.from != nil {
		h.From = c.from.addr
	}
	if c.meta != nil {
		h.Outcome, h.Seq = "has it", c.meta.Seq
	}
	return h
}

// Lookup finds the nodes closest to a key; a LookupDone event ends it.
func (d *DHT) Lookup(now time.Time, key Key) OpID {
	d.begin(now)
	d.start()
	op := &lookupOp{d: d, id: d.newOp()}
	d.newLookup(key, op, lookupOptions{secure: true}).step()
	return op.id
}

type lookupOp struct {
	d  *DHT
	id OpID
}

func (*lookupOp) lookupAnswer(*candidate, wire.Found) {}
func (o *lookupOp) lookupDone(l *lookup)              { o.d.emit(LookupDone{o.id, l.result()}) }
