package dht

import (
	"slices"
	"time"

	"globalnet/mesh/dht/wire"
)

const (
	handoverRate = 16 // records a second
	maxHandovers = 1024
	handers      = 3 // how many of the old holders bring a record to a newcomer
	spreadAfter  = 5 * second
	leaveTimeout = 3 * second
)

// handover is a record that a node should have.
type handover struct {
	key Key
	to  *contact
}

// newcomer is called when a node comes, or comes back: what it should hold is
// brought to it by those who held it before and are closest to the key.
func (d *DHT) newcomer(c *contact) {
	if d.cfg.Client {
		return
	}
	for _, e := range d.store.list {
		if !e.cached && d.rank(&e.key, &c.key, replicas) < replicas && d.elder(e, c) {
			d.queueHandover(e.key, c)
		}
	}
}

// elder tells whether we are among the closest of those who were there when the
// record came: the others cannot have it from then.
func (d *DHT) elder(e *entry, newcomer *contact) bool {
	n := 0
	for _, c := range d.contacts.list {
		if c != newcomer && c.usable() && c.alive <= e.stored && closer(&e.key, &c.key, &d.self) {
			if n++; n >= handers {
				return false
			}
		}
	}
	return true
}

func (d *DHT) queueHandover(key Key, to *contact) {
	if len(d.handovers) >= maxHandovers || slices.Contains(d.handovers, handover{key, to}) {
		return
	}
	d.handovers = append(d.handovers, handover{key, to})
	if d.handoverNext.index < 0 {
		d.arm(d.handoverNext, d.now+second/handoverRate)
	}
}

// handOver offers the next record.
func (d *DHT) handOver() {
	h := d.handovers[0]
	d.handovers = slices.Delete(d.handovers, 0, 1)
	if len(d.handovers) > 0 {
		d.arm(d.handoverNext, d.now+second/handoverRate)
	}
	if e := d.lookupEntry(h.key); e != nil && !h.to.dead {
		d.offer(e, h.to, nil)
	}
}

// offer brings a record to a node that should have it. If that node has a newer
// one, it comes to us instead.
func (d *DHT) offer(e *entry, to *contact, done func()) {
	d.counts[handovers]++
	p := d.newPush(to, e.record(), e.encoded, e.expires-d.now)
	p.priority, p.offer = upkeep, true
	p.done = func(p *push) {
		if p.answers && newer(p.answer.Seq, p.answer.Digest, p.record.Seq, p.digest) {
			d.catchUp(p.key)
		}
		if done != nil {
			done()
		}
	}
	p.start()
}

// catchUp looks for a record of which somebody said that it is newer than ours.
// What the lookup finds is verified, kept here, and brought to who has the old one.
func (d *DHT) catchUp(key Key) {
	if e := d.lookupEntry(key); e == nil || d.now-e.sought < 30*second {
		return
	}
	d.store.byKey[key].sought = d.now
	d.get(key, true, upkeep, func(*getOp) {})
}

// scheduleReplication sets when a holder takes care of a record itself. A version
// that replaced an older one is passed on soon, in case its writer did not know all
// the holders.
func (d *DHT) scheduleReplication(e *entry, replaced bool) {
	e.replicate = newTimer(func() { d.replicate(e) })
	if e.cached {
		return
	}
	e.spread = replaced
	if replaced {
		d.arm(e.replicate, d.now+spreadAfter+tick(d.rand.Int64N(int64(spreadAfter))))
		return
	}
	d.arm(e.replicate, d.now+d.around(tick(d.types[e.typ].Replicate)))
}

// replicate passes a record on: to the nodes closest to it that we know, if it is a
// fresh replacement; else by a lookup, if nobody else has taken care of it lately.
func (d *DHT) replicate(e *entry) {
	interval := tick(d.types[e.typ].Replicate)
	d.arm(e.replicate, d.now+d.around(interval))
	if e.spread {
		e.spread = false
		if d.rank(&e.key, &d.self, handers) < handers {
			for _, c := range d.closest(e.key, replicas, func(c *contact) bool { return !c.dead }) {
				d.queueHandover(e.key, c)
			}
		}
		return
	}
	if d.now-e.heard < interval*3/4 || d.rank(&e.key, &d.self, replicas) >= replicas {
		return
	}
	e.heard = d.now
	p := &putOp{d: d, record: e.record(), conditional: true, priority: upkeep, ttl: e.expires - d.now}
	p.done = func(*putOp) {}
	p.begin()
}

// Shutdown hands what we hold to the nodes that will be responsible without us, and
// tells our siblings that we serve nobody any more. A ShutdownDone event follows,
// after three seconds at the latest.
func (d *DHT) Shutdown(now time.Time) {
	d.begin(now)
	d.start()
	d.cfg.Client = true
	for _, c := range d.table.siblings {
		if token := d.validToken(c); token != (wire.Token{}) {
			d.ask(c, wire.Find{Token: token, Key: d.self}, upkeep, nobody{})
		}
	}
	pending, ended := 1, false
	timeout := newTimer(nil)
	one := func() {
		if pending--; pending == 0 && !ended {
			ended = true
			d.disarm(timeout)
			d.emit(ShutdownDone{})
		}
	}
	timeout.do = func() { pending = 1; one() }
	d.arm(timeout, d.now+leaveTimeout)
	for _, e := range d.store.list {
		heirs := d.closest(e.key, replicas, (*contact).usable)
		if e.cached || len(heirs) < replicas || !closer(&e.key, &d.self, &heirs[replicas-1].key) {
			continue
		}
		pending++
		d.offer(e, heirs[replicas-1], one)
	}
	one()
}
