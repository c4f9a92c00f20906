package dht

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"sort"
	"time"

	"globalnet/mesh/dht/wire"
)

const (
	firstRetry = 15 * second // after a round that did not reach all
	signRounds = 3           // how often a newer record makes us sign anew
	signAhead  = 24 * time.Hour
)

// Publication is a value of ours that we keep stored until Withdraw. The sequence
// number is one more than that of the newest valid record there is, or the time if
// that is later and our clock is trusted. Where the type allows it, an empty value
// says that what was published is withdrawn.
type Publication struct {
	Type   uint16
	Salt   []byte
	Value  []byte
	Signer Signer

	// Seq is a sequence number that was used already, by an earlier run for example:
	// the record gets a higher one, whether anybody who holds it is reached or not.
	Seq uint64

	// Seal encrypts the value under this public key, from which the signer's was
	// blinded; nil leaves it as it is. The first octet of Value stays in clear.
	Seal ed25519.PublicKey
}

// publication is one that is kept stored.
type publication struct {
	d      *DHT
	p      Publication
	key    Key
	record *Record // as signed last
	signed tick
	first  OpID // of the PutDone that is owed; zero after the first round
	round  int
	busy   bool
	stored int // in the last round, of so many
	of     int
	retry  tick // the next shortened interval; zero: all is well
	timer  *timer
}

// Publish stores a value and keeps it stored; it replaces an earlier publication of
// the same key. A PutDone event ends the first round.
func (d *DHT) Publish(now time.Time, p Publication) OpID {
	d.begin(now)
	d.start()
	p.Salt, p.Value = slices.Clone(p.Salt), slices.Clone(p.Value)
	key := wire.RecordKey(p.Type, [32]byte(p.Signer.Public()), p.Salt)
	id := d.newOp()
	x := &publication{d: d, p: p, key: key, first: id}
	x.timer = newTimer(x.republish)
	if old := d.publications[key]; old != nil {
		d.disarm(old.timer)
	}
	d.publications[key] = x
	x.renew()
	return id
}

// Withdraw ends a publication. What is stored expires by itself.
func (d *DHT) Withdraw(now time.Time, key Key) {
	d.begin(now)
	if x := d.publications[key]; x != nil {
		d.disarm(x.timer)
		delete(d.publications, key)
	}
}

// current tells whether the publication was not replaced or withdrawn.
func (x *publication) current() bool { return x.d.publications[x.key] == x }

// renew signs a new record and stores it: first the newest one there is has to be
// known, and only a valid record counts, so nobody but the key's holder can drive
// the numbers up.
func (x *publication) renew() {
	x.busy = true
	x.d.get(x.key, true, own, func(g *getOp) {
		if !x.current() {
			return
		}
		x.sign(g.sequence())
		p := &putOp{d: x.d, record: x.record, verifyAfter: true, done: x.settle}
		p.begun = g.look.begun
		if err := x.d.verify(x.record); err != nil {
			p.err = err
			p.encoded, p.key = nil, x.key
			x.report(p)
			x.d.Withdraw(x.d.wall, x.key)
			return
		}
		p.begin()
		p.requests += g.look.requests
	})
}

func (x *publication) sign(seen uint64) {
	seen = max(seen, x.p.Seq)
	if x.record != nil {
		seen = max(seen, x.record.Seq)
	}
	r := &Record{Type: x.p.Type, Salt: x.p.Salt, Seq: seen + 1, Value: x.p.Value}
	if x.d.clockTrusted {
		now := x.d.wall
		r.Seq = max(r.Seq, uint64(max(now.Unix(), 0)))
		life := max(signAhead, 2*x.d.types[x.p.Type].TTL)
		r.Expiry = uint64(max(now.Add(life).Unix(), 1))
	}
	copy(r.Public[:], x.p.Signer.Public())
	if x.p.Seal != nil && len(r.Value) > 0 {
		r.Value = Seal(r.Value[0], x.p.Seal, x.key, r.Value[1:])
	}
	SignRecord(r, x.p.Signer)
	x.record, x.signed = r, x.d.now
}

// settle takes the result of a round and sets the time of the next: soon if some of
// those who should hold the record were not reached.
func (x *publication) settle(p *putOp) {
	x.busy = false
	x.stored, x.of = p.stored, p.of()
	if !x.current() {
		return
	}
	if p.newer > 0 && x.round < signRounds && (x.first != 0 || p.stored == 0) {
		x.contest()
		return
	}
	x.report(p)
	if p.failures > 0 || p.stored < p.of() {
		x.retry = min(max(2*x.retry, firstRetry), x.d.republishEvery())
		x.d.arm(x.timer, x.d.now+x.d.around(x.retry))
		return
	}
	x.retry, x.round = 0, 0
	x.d.arm(x.timer, x.d.now+x.d.around(x.d.republishEvery()))
}

func (x *publication) report(p *putOp) {
	if x.first != 0 {
		x.d.emitPut(x.first, p)
		x.first = 0
	}
}

// contest is called when somebody has a newer record of our key. While we are about
// to publish a new value, ours is meant to be the newest: it is signed anew, above
// the other. Later it means that the owner published elsewhere, and we give way.
func (x *publication) contest() {
	x.round++
	if x.first != 0 {
		x.renew()
		return
	}
	x.busy = true
	x.d.get(x.key, true, upkeep, func(g *getOp) {
		x.busy = false
		if !x.current() {
			return
		}
		if g.best != nil && newer(g.best.Seq, g.digest, x.record.Seq, x.record.Digest()) {
			x.d.counts[superseded]++
			delete(x.d.publications, x.key)
			x.d.emit(Superseded{x.key, g.best.Seq})
			return
		}
		x.d.arm(x.timer, x.d.now+x.d.around(firstRetry)) // it was not true
	})
}

// republish refreshes the record where it is and stores it where it is missing.
func (x *publication) republish() {
	if x.busy {
		x.d.arm(x.timer, x.d.now+x.d.around(firstRetry))
		return
	}
	x.d.counts[republished]++
	life := tick(max(signAhead, 2*x.d.types[x.p.Type].TTL))
	if x.record == nil || x.d.clockTrusted && (x.record.Expiry == 0 || x.d.now-x.signed > life/2) {
		x.renew() // the signed expiry comes near, or is missing
		return
	}
	x.busy = true
	p := &putOp{d: x.d, record: x.record, conditional: true, priority: upkeep, done: x.settle}
	p.begin()
}

// republishSoon is called when nodes come back that were lost.
func (d *DHT) republishSoon() {
	keys := make([]Key, 0, len(d.publications))
	for k := range d.publications {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool { return bytes.Compare(keys[i][:], keys[j][:]) < 0 })
	for i, k := range keys {
		x := d.publications[k]
		at := d.now + tick(i)*second/16 + tick(d.rand.Int64N(int64(3*second)))
		if x.timer.index < 0 || x.timer.at > at {
			if !x.busy {
				d.arm(x.timer, at)
			}
		}
	}
}

// Published describes a publication of ours.
type Published struct {
	Key    Key
	Seq    uint64 // zero: not signed yet
	Stored int    // nodes that kept it in the last round
	Of     int    // nodes that should
}

// Publications lists what we keep stored, in the order of the keys.
func (d *DHT) Publications() []Published {
	list := make([]Published, 0, len(d.publications))
	for k, x := range d.publications {
		p := Published{Key: k, Stored: x.stored, Of: x.of}
		if x.record != nil {
			p.Seq = x.record.Seq
		}
		list = append(list, p)
	}
	sort.Slice(list, func(i, j int) bool { return bytes.Compare(list[i].Key[:], list[j].Key[:]) < 0 })
	return list
}
