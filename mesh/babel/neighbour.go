package babel

import (
	"net/netip"

	"globalnet/mesh/babel/wire"
)

const (
	forgetAfter = 60 * second // without a packet from a neighbour that is not up
	greetGap    = 200 * millisecond
	answerGap   = 500 * millisecond
	costSlack   = 4 // a lossy link's cost changes by a quarter or not at all: 16 Hellos are a rough measure
)

// neighbour is a speaker heard on an interface.
//
//	          first packet          Hello both ways            3 misses, IHU too old,
//	(unknown) ────────────► heard ─────────────────► up ──────────────────┐
//	                          ▲                       │ Probe, LinkDown   │
//	                          │       acknowledged    ▼                   │
//	                          ├───────────────────── lost                 │
//	                          └───────────────────────────────────────────┘
type neighbour struct {
	iface *iface
	addr  netip.Addr

	multicast, unicast history
	lastHello          tick
	lastHeard          tick // any packet

	txCost    uint16
	txExpires tick   // when the last IHU is too old
	cost      uint16 // of the link, as the routes have it
	baseCost  uint16 // of the interface, at that time
	up        bool   // cost is finite
	lost      bool   // was given up: only an acknowledgment brings it back

	rtt        tick   // smoothed; 0: not measured
	delay      tick   // within which answers are expected; 0: none has come yet
	peerStamp  uint32 // of its last Hello, RFC 9616
	peerStamp0 uint32 // when that arrived, on our clock
	hasStamp   bool

	sinceIHU int // Hellos of ours
	wantIHU  bool
	toldCost uint16

	greetedAt  tick
	answeredAt tick // when it was last told all
	out        outbox
}

// due is when something is to be done about the neighbour.
func (n *neighbour) due() tick {
	t := earlier(n.multicast.due, n.unicast.due)
	t = earlier(t, n.txExpires)
	return earlier(t, n.out.due())
}

func (f *iface) neighbour(a netip.Addr) *neighbour {
	for _, n := range f.neighbours {
		if n.addr == a {
			return n
		}
	}
	return nil
}

// meet returns the neighbour with that address, known or new; nil if there are too many.
func (s *Speaker) meet(f *iface, a netip.Addr) *neighbour {
	if n := f.neighbour(a); n != nil {
		return n
	}
	if len(f.neighbours) >= maxNeighbours {
		s.count(neighboursRefused)
		return nil
	}
	n := &neighbour{iface: f, addr: a, txCost: infinity, cost: infinity, wantIHU: true}
	f.neighbours = append(f.neighbours, n)
	return n
}

func (s *Speaker) neighbourTimeout(n *neighbour) {
	changed := false
	for _, h := range []*history{&n.multicast, &n.unicast} {
		if h.due != 0 && h.due <= s.now {
			h.miss(s.now)
			changed = true
		}
	}
	if n.txExpires != 0 && n.txExpires <= s.now {
		n.txCost, n.txExpires, changed = infinity, 0, true
	}
	if changed {
		s.refreshCost(n)
		if n.up { // a Hello is late: find out soon whether that was all
			row, others := n.multicast.misses()
			s.probe(n, probeTries+row-1+others)
		}
	}
	s.flightTimeouts(n)
}

// refreshCost follows a change of what the cost of a link depends on.
func (s *Speaker) refreshCost(n *neighbour) {
	if told := n.rxCost(); told != n.toldCost && differs(told, n.toldCost) {
		n.wantIHU = true
	}
	cost := n.linkCost()
	if cost == n.cost {
		return
	}
	if n.lossy() && n.up && cost != infinity && n.baseCost == n.iface.Cost &&
		max(cost, n.cost)-min(cost, n.cost) < n.cost/costSlack {
		return
	}
	n.cost, n.baseCost = cost, n.iface.Cost
	wasUp := n.up
	n.up = cost != infinity
	switch {
	case n.up && !wasUp:
		s.emit(NeighbourUp{n.iface.Name, n.addr})
		s.enqueueAll(n)
		s.greet(n)
	case wasUp && !n.up:
		s.count(neighboursLost)
		s.emit(NeighbourLost{n.iface.Name, n.addr})
		n.out.clear()
	}
	s.refreshMetrics(n)
}

// differs tells whether a cost changed by an eighth or more.
func differs(a, b uint16) bool {
	return (a == infinity) != (b == infinity) || max(a, b)-min(a, b) >= max(1, min(a, b)/8)
}

// lose gives a neighbour up: it was asked and did not answer, or its path is gone.
func (s *Speaker) lose(n *neighbour) {
	if n.lost {
		return
	}
	n.lost = true
	n.out.clear()
	s.refreshCost(n)
}

// proven notes that the neighbour acknowledged something: both directions work.
func (s *Speaker) proven(n *neighbour) {
	n.out.probe = probing{}
	if n.lost {
		n.lost = false
		s.refreshCost(n)
	}
}

// greet asks a neighbour to tell us all it knows, and to acknowledge that.
func (s *Speaker) greet(n *neighbour) {
	if n.greetedAt != 0 && s.now < n.greetedAt+greetGap {
		return
	}
	for _, fl := range n.out.flights {
		if fl.greet {
			return
		}
	}
	n.greetedAt = s.now
	n.out.greet = true
}

// handleHello follows RFC 8966 sections 3.4.1 and 4.6.5.
func (s *Speaker) handleHello(n *neighbour, h wire.Hello) {
	n.lastHello = s.now
	again := false
	if h.HasTimestamp {
		again = n.hasStamp && !n.sameClock(h.Timestamp, s.clock())
		n.hasStamp, n.peerStamp, n.peerStamp0 = true, h.Timestamp, s.clock()
	}
	hist := &n.multicast
	if h.Unicast {
		hist = &n.unicast
	}
	if again {
		*hist = history{}
	}
	if h.Interval == 0 && hist.due == 0 {
		hist.interval = n.iface.hello // nothing was promised, but it must not count for ever
		hist.due = s.now + hist.interval*3/2
	}
	if hist.hear(h.Seqno, tick(h.Interval)*centisecond, s.now) && !h.Unicast {
		// It is new, or it has restarted; then it does not know any more what it
		// announced, and so neither its old routes nor the rule that an unfeasible
		// update may be ignored can be relied on.
		s.handleRetraction(n, netip.Prefix{})
		n.wantIHU = true
		s.helloSoon(n.iface)
		s.greet(n)
	}
	s.refreshCost(n)
}

// sameClock tells whether a neighbour's clock went on as ours did since its last Hello.
func (n *neighbour) sameClock(stamp, now uint32) bool {
	const most = 5 * 1000 * 1000
	drift := int32((stamp - n.peerStamp) - (now - n.peerStamp0))
	return -most < drift && drift < most
}

// handleIHU follows RFC 8966 section 3.4.2. One that echoes a timestamp from before
// we were there is meant for our earlier life: the neighbour does not know yet that
// we begin anew, and may route through us what we should then route through it.
func (s *Speaker) handleIHU(n *neighbour, u wire.IHU) {
	// Timestamps are cut to microseconds, so the first Hello may seem a little too old.
	if n.iface.RTT && u.HasTimestamp && tick(s.clock()-u.Origin)*1000 > s.now-n.iface.since+millisecond {
		return
	}
	hold := tick(u.Interval) * centisecond
	if hold == 0 {
		hold = hellosPerIHU * n.iface.hello
	}
	n.txCost = u.RxCost
	n.txExpires = s.now + max(hold, second)*7/2
	if u.RxCost == infinity {
		n.txExpires = 0
	}
	s.refreshCost(n)
}

// ihuDue tells whether an IHU goes with the next Hello: with each third, and with
// every one while a side misses some.
func (n *neighbour) ihuDue() bool {
	return n.wantIHU || n.sinceIHU >= hellosPerIHU || n.lossy()
}

// lossy tells whether one of the two directions loses Hellos.
func (n *neighbour) lossy() bool {
	row, others := n.multicast.misses()
	return row+others > 0 || n.txCost > n.iface.Cost
}

func (s *Speaker) ihu(n *neighbour) wire.IHU {
	n.wantIHU, n.sinceIHU = false, 0
	n.toldCost = n.rxCost()
	u := wire.IHU{Address: n.addr, RxCost: n.toldCost, Interval: toCentis(hellosPerIHU * n.iface.hello)}
	if n.iface.RTT && n.hasStamp {
		u.HasTimestamp, u.Origin, u.Receive = true, n.peerStamp, n.peerStamp0
	}
	return u
}

// dropNeighbour forgets a neighbour and its routes.
func (s *Speaker) dropNeighbour(n *neighbour) {
	s.lose(n)
	for _, d := range s.order {
		s.removeRoute(d, n)
	}
	f := n.iface
	for k := range f.neighbours {
		if f.neighbours[k] == n {
			f.neighbours = append(f.neighbours[:k:k], f.neighbours[k+1:]...)
			break
		}
	}
}

// forgetNeighbours drops those that are silent for long.
func (s *Speaker) forgetNeighbours() {
	for _, f := range s.ifaces {
		for k := len(f.neighbours) - 1; k >= 0; k-- {
			if n := f.neighbours[k]; !n.up && s.now >= n.lastHeard+forgetAfter {
				s.dropNeighbour(n)
			}
		}
	}
}
