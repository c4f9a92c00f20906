package dht

import (
	"net/netip"

	"globalnet/mesh/dht/wire"
)

const (
	goodFor     = 15 * minute // after that a contact that did not answer is questionable
	failSpacing = 30 * second // two failures closer than that count as one
	cutOff      = 30 * second // no answer from anybody for so long: it is us who are cut off
	newcomerFor = 3 * minute
	veteranAge  = hour

	rttFirst  = 150 * millisecond // a guess before anything was measured
	slowFloor = 20 * millisecond
	slowCap   = 500 * millisecond
	failFloor = 200 * millisecond
	failCap   = 2 * second
)

// contact is a node that we know of.
//
//	           answers                        2 failures, 30 s apart
//	heard of ───────────► live ──► suspect ───────────────────────────► dead
//	           (by name or   ▲        │ answers                          │ kept in the graveyard,
//	            by a route)  └────────┴──────────────────────────────────┘ asked again ever more rarely
type contact struct {
	addr netip.Addr
	key  Key
	via  string // the link that leads there; "" if not known

	heard    tick // when we first heard of it
	answered tick // its last reply to a request of ours; zero: none
	alive    tick // since when it answered without being lost
	failedAt tick
	fails    uint8 // counted ones since the last answer

	reachable bool // a route leads there
	gone      bool // forgotten, but a lookup may still name it
	inBucket  bool
	inSpare   bool
	sibling   bool
	dead      bool // in the graveyard
	client    bool // it serves nobody, or not any more
	retries   uint8
	retryAt   tick

	inflight uint8
	queued   int // requests that wait for their turn
	index    int // in contacts.list

	rate, storeRate bucket // of its requests, once it has shown a token

	srtt, rttvar tick // RFC 6298 section 2; srtt zero: not measured
	token        wire.Token
	tokenAt      tick
}

// live tells whether the contact answered and was not lost since.
func (c *contact) live() bool { return c.answered != 0 && c.fails == 0 && !c.dead && !c.client }

// usable tells whether asking it makes sense.
func (c *contact) usable() bool {
	return c.fails == 0 && !c.dead && !c.client && (c.answered != 0 || c.reachable)
}

// measured takes in a round trip, RFC 6298 section 2.
func (c *contact) measured(rtt tick) {
	c.srtt, c.rttvar = smooth(c.srtt, c.rttvar, rtt)
}

func smooth(srtt, rttvar, rtt tick) (tick, tick) {
	if srtt == 0 {
		return rtt, rtt / 2
	}
	return (7*srtt + rtt) / 8, (3*rttvar + max(srtt-rtt, rtt-srtt)) / 4
}

// patience is how long to wait for the contact before others are asked too, and
// before it is given up. What is sent again is sent at slow and at three times that.
func (d *DHT) patience(c *contact) (slow, fail tick) {
	srtt, rttvar := c.srtt, c.rttvar
	if srtt == 0 {
		srtt, rttvar = d.srtt, d.rttvar
	}
	if srtt == 0 {
		srtt, rttvar = rttFirst, rttFirst/4
	}
	slow = min(max(srtt+4*rttvar, slowFloor), slowCap)
	return slow, min(max(7*slow, failFloor), failCap)
}

// validToken returns the token that the contact gave us, or none.
func (d *DHT) validToken(c *contact) wire.Token {
	if c.tokenAt == 0 || d.now-c.tokenAt > tokenLifetime {
		return wire.Token{}
	}
	return c.token
}

func (d *DHT) learnToken(c *contact, t wire.Token) { c.token, c.tokenAt = t, d.now }

// contacts holds all that we know of, in an order that does not depend on the
// map's, so that a run can be repeated.
type contacts struct {
	byAddr map[netip.Addr]*contact
	list   []*contact
}

func (s *contacts) get(addr netip.Addr) *contact { return s.byAddr[addr] }

func (s *contacts) add(c *contact) {
	c.gone = false
	c.index = len(s.list)
	s.list = append(s.list, c)
	s.byAddr[c.addr] = c
}

func (s *contacts) remove(c *contact) {
	if c.gone {
		return
	}
	c.gone = true
	last := s.list[len(s.list)-1]
	s.list[c.index] = last
	last.index = c.index
	s.list[len(s.list)-1] = nil
	s.list = s.list[:len(s.list)-1]
	delete(s.byAddr, c.addr)
}

// contact returns the contact with an address, a new one if there is none; nil if
// the address is none of a node's, is our own, or there are too many.
func (d *DHT) contact(addr netip.Addr) *contact {
	if c := d.contacts.get(addr); c != nil {
		return c
	}
	if !d.validNode(addr) {
		return nil
	}
	if len(d.contacts.list) >= d.bounds.contacts && !d.forgetOne() {
		d.counts[contactsRefused]++
		return nil
	}
	c := &contact{addr: addr, key: NodeKey(addr), heard: d.now}
	d.contacts.add(c)
	return c
}

// known returns the contact to use for one that may have been forgotten meanwhile.
func (d *DHT) known(c *contact) *contact {
	if !c.gone {
		return c
	}
	if other := d.contacts.get(c.addr); other != nil {
		return other
	}
	d.contacts.add(c)
	return c
}

// forgetOne makes room: it drops the contact that is known longest and of no use.
func (d *DHT) forgetOne() bool {
	var oldest *contact
	for _, c := range d.contacts.list {
		if c.idle() && (oldest == nil || max(c.heard, c.answered) < max(oldest.heard, oldest.answered)) {
			oldest = c
		}
	}
	if oldest == nil {
		return false
	}
	d.contacts.remove(oldest)
	return true
}

// idle tells whether nothing refers to the contact.
func (c *contact) idle() bool {
	return !c.inBucket && !c.inSpare && !c.sibling && !c.dead && !c.reachable && c.inflight == 0 && c.queued == 0
}
