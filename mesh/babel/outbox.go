package babel

import (
	"slices"

	"globalnet/mesh/babel/wire"
)

const (
	maxFlights   = 32 // packets on their way to a neighbour at once
	slowFlights  = 8  // of them, with what is not urgent
	maxResends   = 5
	ackInterval  = 5 // centiseconds that the neighbour has to acknowledge
	ackTimeout   = 200 * millisecond
	ackTimeLow   = 50 * millisecond
	ackTimeHigh  = second
	slowestAck   = 2 * second // who takes longer is as good as gone
	maxOwed      = 32
	maxQuestions = 4096
	probeTries   = 3
	maxProbes    = 12
)

// outbox is what one neighbour is to be sent, and what it has not acknowledged.
type outbox struct {
	owed      []uint16   // acknowledgments of ours
	questions []wire.TLV // requests
	fast      queue      // changes that cannot wait
	slow      queue      // those that can, and the whole table for a new neighbour
	slowAt    tick
	greet     bool // an IHU and a request for everything
	flights   []*flight
	flying    map[*destination]int // in how many flights it is
	probe     probing
}

// flight is an unacknowledged packet: what it was about, not its bytes. When it is
// sent again it says how things are then.
type flight struct {
	tries     []try
	due       tick
	greet     bool
	questions []wire.TLV
	dests     []*destination
	overtook  []*destination // those of dests that an earlier flight was still about
}

// probing is a question whether the neighbour is there.
type probing struct {
	tries []try // none: no question
	limit int
	due   tick
}

// try is one sending of what is to be acknowledged. Each has a nonce of its own, so that
// it is known which one was answered, and after how long.
type try struct {
	nonce uint16
	sent  tick
}

// try returns a new one.
func (s *Speaker) try() try {
	s.nonce++
	return try{s.nonce, s.now}
}

func answered(tries []try, nonce uint16) (try, bool) {
	k := slices.IndexFunc(tries, func(t try) bool { return t.nonce == nonce })
	if k < 0 {
		return try{}, false
	}
	return tries[k], true
}

func (o *outbox) clear() {
	*o = outbox{owed: o.owed}
}

func (o *outbox) due() tick {
	t := earlier(tick(0), o.probe.due)
	for _, fl := range o.flights {
		t = earlier(t, fl.due)
	}
	if o.slow.first() != nil && len(o.flights) < slowFlights {
		t = earlier(t, o.slowAt)
	}
	return t
}

// owe notes an acknowledgment to be sent. Who asks for too many gets fewer.
func (o *outbox) owe(nonce uint16) {
	if len(o.owed) < maxOwed {
		o.owed = append(o.owed, nonce)
	}
}

func (o *outbox) ask(t wire.TLV) {
	if len(o.questions) < maxQuestions && !slices.Contains(o.questions, t) {
		o.questions = append(o.questions, t)
	}
}

// flush sends what is due to a neighbour: acknowledgments, and flights as far as
// the window allows.
func (s *Speaker) flush(n *neighbour) {
	o := &n.out
	if len(o.owed) == 0 && !o.greet && len(o.questions) == 0 && o.fast.first() == nil &&
		(o.slow.first() == nil || o.slowAt > s.now) {
		return
	}
	w := writer{s: s, n: n, b: n.iface.builder()}
	for _, nonce := range o.owed {
		w.put(wire.Ack{Opaque: nonce})
	}
	o.owed = o.owed[:0]
	if o.greet && w.reserve(maxFlights) {
		o.greet = false
		w.greet()
	}
	for o.fast.first() != nil && w.reserve(maxFlights) {
		w.update(o.fast.first())
		o.fast.drop()
	}
	for len(o.questions) > 0 && w.reserve(maxFlights) {
		w.question(o.questions[0])
		o.questions = o.questions[1:]
	}
	if o.slowAt <= s.now {
		for o.slow.first() != nil && w.reserve(slowFlights) {
			w.update(o.slow.first())
			o.slow.drop()
		}
		if o.slow.first() == nil {
			o.slowAt = 0
		}
	}
	w.send()
}

// writer fills packets to a neighbour and opens a flight for each that needs one.
type writer struct {
	s  *Speaker
	n  *neighbour
	b  *wire.Builder
	fl *flight
}

// reserve tells whether another TLV may be written: into a new flight, or the last
// one that the window allows.
func (w *writer) reserve(limit int) bool {
	const largest = 40 // a Router-Id TLV and an Update
	return len(w.n.out.flights) < limit || (w.fl != nil && w.b.Len()+largest <= w.n.iface.MTU-headers)
}

func (w *writer) put(t wire.TLV) {
	if ok, err := w.b.Add(t); ok || err != nil {
		return
	}
	w.send()
	w.b.Add(t)
}

// reliable writes a TLV into a packet that must be acknowledged, and returns its flight.
func (w *writer) reliable(t wire.TLV) *flight {
	if w.fl != nil {
		if ok, _ := w.b.Add(t); ok {
			return w.fl
		}
		w.send()
	}
	fl := &flight{}
	w.put(w.s.launch(w.n, fl))
	w.b.Add(t) // has room: at worst the packet holds 32 acknowledgments besides
	w.fl = fl
	w.n.out.flights = append(w.n.out.flights, fl)
	return fl
}

func (w *writer) greet() {
	fl := w.reliable(w.s.ihu(w.n))
	fl.greet = true
	w.b.Add(wire.RouteRequest{})
}

func (w *writer) question(t wire.TLV) {
	fl := w.reliable(t)
	fl.questions = append(fl.questions, t)
}

func (w *writer) update(d *destination) {
	if u, ok := w.s.announcement(d, w.n.iface); ok {
		fl := w.reliable(u)
		o := &w.n.out
		if o.flying[d] > 0 {
			fl.overtook = append(fl.overtook, d)
		}
		if o.flying == nil {
			o.flying = make(map[*destination]int)
		}
		o.flying[d]++
		fl.dests = append(fl.dests, d)
		w.s.count(updatesSent)
	}
}

// land removes a flight, acknowledged or given up. The older of two flights about the
// same destination may have arrived last: what was said last is said again.
func (o *outbox) land(s *Speaker, fl *flight) {
	o.flights = slices.DeleteFunc(o.flights, func(other *flight) bool { return other == fl })
	for _, d := range fl.dests {
		if o.flying[d]--; o.flying[d] == 0 {
			delete(o.flying, d)
		}
	}
	if len(o.flying) == 0 {
		o.flying = nil
	}
	for _, d := range fl.overtook {
		o.slow.add(d)
		o.slowAt = earlier(o.slowAt, s.now+triggerMax)
	}
}

func (w *writer) send() {
	if p := w.b.Packet(); p != nil {
		w.s.send(w.n.iface, w.n.addr, p)
	}
	w.fl = nil
}

// launch notes that a flight is sent now and when to do so again, and returns the
// question that goes with it.
func (s *Speaker) launch(n *neighbour, fl *flight) wire.AckRequest {
	wait := tick(ackTimeout)
	if n.delay != 0 {
		wait = max(ackTimeLow, 2*n.delay+20*millisecond)
	}
	fl.due = s.now + max(wait, min(wait<<len(fl.tries), ackTimeHigh))
	fl.tries = append(fl.tries, s.try())
	return wire.AckRequest{Opaque: s.nonce, Interval: ackInterval}
}

// delayed takes one sample of how long an answer takes. What is reckoned with grows at
// once, so that a neighbour that is slow, or has become slow, is not taken for one that is
// gone; it shrinks a quarter at a time.
func (n *neighbour) delayed(sample tick) {
	sample = min(sample, slowestAck)
	n.delay = max(1, sample, n.delay+(sample-n.delay)/4)
}

// flightTimeouts sends again what was not acknowledged in time.
func (s *Speaker) flightTimeouts(n *neighbour) {
	o := &n.out
	if len(o.probe.tries) > 0 && o.probe.due <= s.now {
		s.sendProbe(n)
	}
	for _, fl := range slices.Clone(o.flights) {
		switch {
		case fl.due > s.now:
		case len(fl.tries) > maxResends:
			s.count(unanswered)
			o.land(s, fl)
		default:
			s.resend(n, fl)
		}
	}
}

// resend says again what a flight was about. If that needs more room now, the rest
// is queued.
func (s *Speaker) resend(n *neighbour, fl *flight) {
	b := n.iface.builder()
	b.Add(s.launch(n, fl))
	if fl.greet {
		b.Add(s.ihu(n))
		b.Add(wire.RouteRequest{})
	}
	for _, t := range fl.questions {
		b.Add(t)
	}
	for k, d := range fl.dests {
		u, ok := s.announcement(d, n.iface)
		if !ok {
			continue
		}
		if ok, _ := b.Add(u); !ok {
			for _, d := range fl.dests[k:] {
				n.out.fast.add(d)
			}
			break
		}
		s.count(updatesSent)
	}
	s.count(resends)
	s.send(n.iface, n.addr, b.Packet())
}

// handleAck follows RFC 8966 section 3.3.
func (s *Speaker) handleAck(n *neighbour, nonce uint16) {
	o := &n.out
	t, known := answered(o.probe.tries, nonce)
	for _, fl := range o.flights {
		if known {
			break
		}
		if t, known = answered(fl.tries, nonce); known {
			o.land(s, fl)
		}
	}
	if known {
		n.delayed(s.now - t.sent)
		s.proven(n)
	}
}

// probe asks the neighbour whether it is there; after limit questions without an
// answer it is lost.
func (s *Speaker) probe(n *neighbour, limit int) {
	if len(n.out.probe.tries) > 0 {
		return
	}
	n.out.probe = probing{limit: min(limit, maxProbes)}
	s.sendProbe(n)
}

func (s *Speaker) sendProbe(n *neighbour) {
	p := &n.out.probe
	if len(p.tries) >= p.limit {
		n.out.probe = probing{}
		s.lose(n)
		return
	}
	p.tries = append(p.tries, s.try())
	p.due = s.now + max(ackTimeout, n.delay)
	b := n.iface.builder()
	b.Add(wire.AckRequest{Opaque: s.nonce, Interval: ackInterval})
	s.send(n.iface, n.addr, b.Packet())
}
