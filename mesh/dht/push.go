package dht

import "globalnet/mesh/dht/wire"

// push brings a record to a contact: perhaps an Offer first, then its segments.
//
//	offer ──Wanted──► store ──► any other status ends it
//	  └─ any other status ends it; BadToken begins anew, once
type push struct {
	d        *DHT
	contact  *contact
	record   *Record
	encoded  []byte
	key      Key
	digest   wire.Digest
	ttl      tick
	cas      *uint64
	cache    bool
	offer    bool // ask before sending
	priority priority
	done     func(p *push) // may be nil

	answer   wire.Answer // the last; of value only if answers
	answers  bool        // it answered at all
	pending  int
	renewed  bool
	over     bool
	requests int
}

func (d *DHT) newPush(c *contact, r *Record, encoded []byte, ttl tick) *push {
	return &push{d: d, contact: c, record: r, encoded: encoded, key: r.Key(), digest: r.Digest(), ttl: ttl}
}

func (p *push) start() {
	token := p.d.validToken(p.contact)
	switch {
	case (p.cas != nil || p.cache) && token == (wire.Token{}):
		p.ask(wire.Ping{})
	case p.offer || token == (wire.Token{}):
		p.ask(wire.Offer{Token: token, Key: p.key, Seq: p.record.Seq, Digest: p.digest, TTL: uint32(p.ttl / second)})
	default:
		p.store(token)
	}
}

func (p *push) ask(b wire.Body) {
	p.pending++
	p.requests++
	p.d.ask(p.contact, b, p.priority, p)
}

func (p *push) store(token wire.Token) {
	for at := 0; at < len(p.encoded); at += wire.SegmentSize {
		n := wire.SegmentLen(len(p.encoded), at)
		p.ask(wire.Store{
			Token: token, Key: p.key, Digest: p.digest, TTL: uint32(p.ttl / second), Cache: p.cache, CAS: p.cas,
			Total: uint16(len(p.encoded)), Offset: uint16(at), Data: p.encoded[at:][:n],
		})
	}
}

func (p *push) answered(r *request, b wire.Body) {
	p.pending--
	if p.over {
		return
	}
	answer, ok := b.(wire.Answer)
	if !ok { // a Pong brought the token
		p.store(p.d.validToken(p.contact))
		return
	}
	p.answer, p.answers = answer, true
	switch {
	case answer.Status == wire.BadToken && tokenOf(r.body) != p.d.validToken(p.contact):
		if !p.renewed { // else it belongs to the segments that were sent before
			p.renewed = true
			p.restart(r)
		}
	case answer.Status == wire.Wanted && r.body.Kind() == wire.KindOffer:
		p.store(p.d.validToken(p.contact))
	case answer.Status == wire.Partial && p.pending > 0:
	default:
		p.end()
	}
}

// restart begins anew with the token that came with the refusal.
func (p *push) restart(r *request) {
	if r.body.Kind() == wire.KindOffer {
		p.start()
		return
	}
	p.store(p.d.validToken(p.contact))
}

func (p *push) slow(*request) {}

func (p *push) failed(*request) {
	p.pending--
	p.answers = false
	p.end()
}

func (p *push) end() {
	if p.over {
		return
	}
	p.over = true
	if p.done != nil {
		p.done(p)
	}
}

// kept tells whether the contact has the record now.
func (p *push) kept() bool {
	return p.answers && (p.answer.Status == wire.Stored || p.answer.Status == wire.Refreshed)
}
