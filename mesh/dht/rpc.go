package dht

import (
	"cmp"
	"net/netip"
	"slices"

	"globalnet/mesh/dht/wire"
)

const (
	maxOutstanding = 64 // requests under way
	maxPerContact  = 4  // of them to one node: the segments of one record
)

type priority uint8

const (
	own    priority = iota // somebody waits for it
	upkeep                 // refresh, republish, hand-over
)

// caller is told how its request went: answered or failed once at the end, slow
// at most once before.
type caller interface {
	answered(r *request, b wire.Body)
	slow(r *request)
	failed(r *request)
}

// request is an RPC. It is sent up to three times with one number, which is bound
// to the address it goes to; what it asks for does no harm when done twice.
type request struct {
	id       uint64
	contact  *contact
	body     wire.Body
	packet   []byte
	caller   caller
	priority priority

	sent  tick
	tries int
	late  bool
	timer *timer
}

// ask begins a request, or queues it.
func (d *DHT) ask(c *contact, b wire.Body, p priority, who caller) *request {
	c = d.known(c)
	r := &request{contact: c, body: b, caller: who, priority: p}
	r.timer = newTimer(func() { d.overdue(r) })
	if d.active < maxOutstanding && int(c.inflight) < maxPerContact {
		d.launch(r)
		return r
	}
	if len(d.queues[p]) == d.bounds.queued {
		d.counts[requestsDropped]++
		oldest := d.queues[p][0]
		d.queues[p] = slices.Delete(d.queues[p], 0, 1)
		oldest.contact.queued--
		d.abandon(oldest)
	}
	c.queued++
	d.queues[p] = append(d.queues[p], r)
	return r
}

// abandon fails a request soon: its caller may be in the middle of something.
func (d *DHT) abandon(r *request) {
	r.timer.do = func() { r.caller.failed(r) }
	d.arm(r.timer, d.now)
}

func (d *DHT) launch(r *request) {
	for r.id == 0 || d.requests[r.id] != nil {
		r.id = d.rand.Uint64()
	}
	d.requests[r.id] = r
	r.contact.inflight++
	d.active++
	d.counts[requestsSent]++
	r.packet = wire.Append(make([]byte, 0, 128), wire.Message{Client: d.cfg.Client, ID: r.id, Body: r.body})
	r.sent = d.now
	if d.silentSince == 0 {
		d.silentSince = d.now
	}
	d.again(r)
}

// again sends the request once more and sets the next deadline.
func (d *DHT) again(r *request) {
	r.tries++
	d.transmit(r.contact.addr, r.packet)
	slow, fail := d.patience(r.contact)
	switch r.tries {
	case 1:
		d.arm(r.timer, r.sent+slow)
	case 2:
		d.arm(r.timer, min(r.sent+3*slow, r.sent+fail))
	default:
		d.arm(r.timer, r.sent+fail)
	}
}

// overdue is called at each deadline of a request.
func (d *DHT) overdue(r *request) {
	if r.tries < 3 {
		d.counts[requestsResent]++
		d.again(r)
		if r.tries == 2 {
			r.late = true
			r.caller.slow(r)
		}
		return
	}
	d.fail(r)
}

func (d *DHT) fail(r *request) {
	d.finish(r)
	d.counts[requestsFailed]++
	d.unanswered(r.contact)
	r.caller.failed(r)
	d.pump()
}

// finish frees the places of a request.
func (d *DHT) finish(r *request) {
	d.disarm(r.timer)
	delete(d.requests, r.id)
	r.contact.inflight--
	d.active--
}

// pump launches what waits, the urgent first.
func (d *DHT) pump() {
	for p := range d.queues {
		kept := d.queues[p][:0]
		for _, r := range d.queues[p] {
			if d.active < maxOutstanding && int(r.contact.inflight) < maxPerContact {
				r.contact.queued--
				d.launch(r)
			} else {
				kept = append(kept, r)
			}
		}
		clear(d.queues[p][len(kept):])
		d.queues[p] = kept
	}
}

// failAll ends all requests to a contact: it cannot be reached any more.
func (d *DHT) failAll(c *contact) {
	for p := range d.queues {
		d.queues[p] = slices.DeleteFunc(d.queues[p], func(r *request) bool {
			if r.contact == c {
				c.queued--
				d.abandon(r)
			}
			return r.contact == c
		})
	}
	if c.inflight == 0 {
		return
	}
	var lost []*request
	for _, r := range d.requests {
		if r.contact == c {
			lost = append(lost, r)
		}
	}
	slices.SortFunc(lost, func(a, b *request) int { return cmp.Compare(a.id, b.id) }) // so that a run can be repeated
	for _, r := range lost {
		d.finish(r)
		d.abandon(r)
	}
}

// reply takes an answer to the request with its number, if it comes from where the
// request went and is of the kind that was asked for.
func (d *DHT) reply(from netip.Addr, m wire.Message) {
	r := d.requests[m.ID]
	if r == nil || r.contact.addr != from || !fits(r.body, m.Body) {
		d.counts[repliesUnasked]++
		return
	}
	d.finish(r)
	c := r.contact
	if r.tries == 1 {
		c.measured(d.now - r.sent)
		d.srtt, d.rttvar = smooth(d.srtt, d.rttvar, d.now-r.sent)
	}
	switch b := m.Body.(type) {
	case wire.Pong:
		d.learnToken(c, b.Token)
	case wire.Found:
		d.learnToken(c, b.Token)
	case wire.Answer:
		d.learnToken(c, b.Token)
	}
	if d.cutOff() {
		d.healed()
	}
	d.silentSince = 0
	c.client = false
	d.present(c)
	r.caller.answered(r, m.Body)
	d.pump()
}

func fits(request, reply wire.Body) bool {
	switch request.(type) {
	case wire.Ping:
		return reply.Kind() == wire.KindPong
	case wire.Find:
		return reply.Kind() == wire.KindFound
	case wire.Fetch:
		return reply.Kind() == wire.KindSegment || reply.Kind() == wire.KindAnswer
	case wire.Offer, wire.Store:
		return reply.Kind() == wire.KindAnswer
	}
	return false
}

// nobody is the caller of a request whose answer matters only to the table.
type nobody struct{}

func (nobody) answered(*request, wire.Body) {}
func (nobody) slow(*request)                {}
func (nobody) failed(*request)              {}

func (d *DHT) ping(c *contact) { d.ask(c, wire.Ping{}, upkeep, nobody{}) }
