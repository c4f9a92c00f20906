package dht

import (
	"errors"
	"time"

	"globalnet/mesh/dht/wire"
)

// The reasons why a record was not stored.
var (
	ErrNoNodes  = errors.New("no node stores the record")
	ErrNewer    = errors.New("a newer record is stored")
	ErrMismatch = errors.New("another sequence number is stored than the one to compare with")
	ErrRecord   = errors.New("the record is not valid")
)

// PutOptions are the less common wishes of a Put.
type PutOptions struct {
	CAS *uint64       // store only where this sequence number is stored; 0 is none
	TTL time.Duration // zero means that of the type
}

// Put stores a signed record, anybody's, on the nodes closest to its key, once; a
// PutDone event ends it. Publish keeps a record of ours stored.
func (d *DHT) Put(now time.Time, r *Record, o PutOptions) OpID {
	d.begin(now)
	d.start()
	id := d.newOp()
	p := &putOp{d: d, record: clone(r), cas: o.CAS, verifyAfter: true, ttl: tick(o.TTL)}
	p.done = func(*putOp) { d.emitPut(id, p) }
	if err := d.verify(r); err != nil {
		p.err = errors.Join(ErrRecord, err)
		d.emitPut(id, p)
		return id
	}
	p.begin()
	return id
}

func (d *DHT) emitPut(id OpID, p *putOp) {
	d.counts[puts]++
	if p.err == nil {
		d.counts[putsStored]++
	}
	done := PutDone{ID: id, Key: p.record.Key(), Seq: p.record.Seq, Err: p.err, Stored: p.stored, Of: p.of(), Read: p.read}
	if p.look != nil {
		done.Result = p.look.result()
		done.Result.Requests = p.requests
		done.Result.Elapsed = time.Duration(d.now - p.begun)
	}
	d.emit(done)
}

// putOp stores a record on the k closest nodes: a lookup names them, each gets the
// record or an offer of it, who refuses is replaced by the next; then, if wished, a
// second lookup by another way reads back what is there, and mends.
type putOp struct {
	d           *DHT
	record      *Record
	encoded     []byte
	key         Key
	digest      wire.Digest
	ttl         tick
	cas         *uint64
	conditional bool // offer before sending: most have it
	verifyAfter bool
	priority    priority
	done        func(*putOp)

	begun    tick
	look     *lookup
	targets  []*candidate // the closest first
	next     int
	pending  int
	kept     map[*contact]bool
	stored   int // with ourselves
	here     bool
	read     int
	failures int // of the k closest, who did not answer
	newer    int // who said that they have a newer one
	mismatch int
	reading  bool
	requests int
	err      error
}

func (p *putOp) begin() {
	d := p.d
	p.begun = d.now
	p.encoded = wire.AppendRecord(nil, p.record)
	p.key, p.digest = p.record.Key(), p.record.Digest()
	p.kept = make(map[*contact]bool)
	if p.ttl == 0 {
		p.ttl = tick(d.types[p.record.Type].TTL)
	}
	p.look = d.newLookup(p.key, p, lookupOptions{priority: p.priority, secure: d.types[p.record.Type].Secure})
	p.look.step()
}

func (*putOp) lookupAnswer(*candidate, wire.Found) {}

func (p *putOp) lookupDone(l *lookup) {
	p.requests += l.requests
	if p.reading {
		p.readBack(l)
		return
	}
	p.place(l)
}

// place stores the record on the closest of a lookup, and here if we are one.
func (p *putOp) place(l *lookup) {
	p.look, p.targets = l, l.closest()
	p.failures = p.silent(l)
	p.keepHere()
	for _, c := range p.d.otherWay(p.targets) {
		x := p.d.newPush(c.contact, p.record, p.encoded, p.ttl)
		x.priority, x.offer = p.priority, true
		if p.cas == nil {
			x.start() // who counts are the k closest
		}
	}
	p.advance()
}

// silent counts who is closer than the farthest target and did not answer.
func (p *putOp) silent(l *lookup) (n int) {
	for _, c := range l.asked {
		if c.state != failed && c.state != lateState {
			continue
		}
		if len(p.targets) < replicas || closer(&p.key, &c.contact.key, &p.targets[replicas-1].contact.key) {
			n++
		}
	}
	return n
}

func (p *putOp) keepHere() {
	d := p.d
	if d.cfg.Client || len(p.targets) >= replicas && !closer(&p.key, &d.self, &p.targets[replicas-1].contact.key) {
		return
	}
	switch d.put(incoming{record: p.record, encoded: p.encoded, ttl: p.ttl, cas: p.cas, own: true}) {
	case wire.Stored, wire.Refreshed:
		p.here = true
		p.stored++
	case wire.Newer, wire.Conflict:
		p.newer++
	case wire.Mismatch:
		p.mismatch++
	}
}

// advance sends the record to as many targets as are missing, and ends when there
// is nobody left. Who has a newer one is not replaced by a node farther away, which
// would only spread the old one.
func (p *putOp) advance() {
	for p.stored+p.pending+p.newer+p.mismatch < replicas && p.next < min(len(p.targets), responsible) {
		c := p.targets[p.next]
		p.next++
		p.send(c)
	}
	if p.pending == 0 {
		p.placed()
	}
}

func (p *putOp) send(c *candidate) {
	x := p.d.newPush(c.contact, p.record, p.encoded, p.ttl)
	x.cas, x.priority = p.cas, p.priority
	x.offer = p.cas == nil && (p.conditional || c.meta != nil && c.meta.Digest == p.digest)
	x.done = p.pushed
	p.pending++
	x.start()
}

func (p *putOp) pushed(x *push) {
	p.pending--
	p.requests += x.requests
	switch {
	case x.kept():
		if !p.kept[x.contact] {
			p.kept[x.contact] = true
			p.stored++
		}
	case !x.answers:
		p.failures++
	case x.answer.Status == wire.Newer || x.answer.Status == wire.Conflict:
		p.newer++
	case x.answer.Status == wire.Mismatch:
		p.mismatch++
	}
	p.advance()
}

// placed is called when everybody has answered.
func (p *putOp) placed() {
	if p.reading || !p.verifyAfter || p.stored == 0 {
		p.finish()
		return
	}
	p.reading = true
	p.d.newLookup(p.key, p, lookupOptions{
		priority: p.priority, random: true, secure: p.d.types[p.record.Type].Secure,
	}).step()
}

// readBack counts on how many of the closest the record is seen by a lookup that
// came another way, and stores it on those that the first one did not know.
func (p *putOp) readBack(l *lookup) {
	closest := l.closest()
	closest = closest[:min(replicas, len(closest))]
	if p.here {
		p.read++
		if len(closest) == replicas && closer(&p.key, &p.d.self, &closest[replicas-1].contact.key) {
			closest = closest[:replicas-1]
		}
	}
	for _, c := range closest {
		switch {
		case c.meta != nil && c.meta.Digest == p.digest:
			p.read++
			if !p.kept[c.contact] {
				p.kept[c.contact] = true
				p.stored++
			}
		case !p.kept[c.contact] && p.cas == nil && (c.meta == nil || !newer(c.meta.Seq, c.meta.Digest, p.record.Seq, p.digest)):
			p.send(c)
		}
	}
	if p.pending == 0 {
		p.finish()
	}
}

// of is how many nodes should hold the record.
func (p *putOp) of() int { return min(replicas, max(p.d.estimate(), p.stored)) }

func (p *putOp) finish() {
	switch {
	case p.mismatch > 0 && p.mismatch >= p.stored:
		p.err = ErrMismatch
	case p.newer > 0 && p.newer >= p.stored:
		p.err = ErrNewer
	case p.stored == 0:
		p.err = ErrNoNodes
	}
	p.done(p)
}
