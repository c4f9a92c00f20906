package babel

import "math/bits"

// history remembers which of the last 16 Hellos of a neighbour arrived,
// RFC 8966 appendix A.1.
type history struct {
	bits     uint16 // the newest in the highest bit
	known    int    // how many of them mean something
	next     uint16 // the sequence number expected
	interval tick
	due      tick // when a Hello that has not come counts as missed; 0: none expected
}

// hear takes in a Hello. It returns true if the neighbour is new, or has begun anew.
func (h *history) hear(seqno uint16, interval, now tick) (fresh bool) {
	ahead := int(int16(seqno - h.next))
	switch {
	case h.known == 0 || ahead < -16 || ahead > 16:
		fresh = true
		h.bits, h.known = 0, 0
	case ahead < 0: // it slowed down, or this is a duplicate: take the misses back
		h.bits <<= -ahead
		h.known = max(0, h.known+ahead)
	default:
		h.bits >>= ahead
		h.known = min(16, h.known+ahead)
	}
	h.bits = h.bits>>1 | 0x8000
	h.known = min(16, h.known+1)
	h.next = seqno + 1
	if interval > 0 {
		h.interval = interval
		h.due = now + interval*3/2
	}
	return fresh
}

// miss notes that a Hello did not come.
func (h *history) miss(now tick) {
	h.bits >>= 1
	h.known = min(16, h.known+1)
	h.next++
	h.due = now + h.interval
	if h.bits == 0 {
		h.due = 0
	}
}

// misses counts the Hellos missed: the newest in a row, and the others.
func (h *history) misses() (row, others int) {
	row = min(h.known, bits.LeadingZeros16(h.bits))
	return row, h.known - bits.OnesCount16(h.bits) - row
}

// alive tells whether Hellos still come: on a clean link three misses in a row
// are the end; on a link that often loses some, it takes as many more.
func (h *history) alive() bool {
	row, others := h.misses()
	return h.bits != 0 && row < 3+others
}

// rxCost is the base cost divided by the share of Hellos that arrive,
// RFC 8966 appendix A.2.2. The first Hello makes the neighbour usable.
func (h *history) rxCost(base uint16) uint16 {
	if !h.alive() {
		return infinity
	}
	return saturate(int(base) * h.known / bits.OnesCount16(h.bits))
}

// saturate keeps a finite cost or metric below infinity.
func saturate(cost int) uint16 { return uint16(min(cost, infinity-1)) }

// rxCost is what an IHU tells: the better of the two kinds of Hellos,
// RFC 8966 section 3.4.3.
func (n *neighbour) rxCost() uint16 {
	return min(n.multicast.rxCost(n.iface.Cost), n.unicast.rxCost(n.iface.Cost))
}

// linkCost is the cost of the link, RFC 8966 appendix A.2.2 scaled to our base
// cost, and the cost of its delay, RFC 9616.
func (n *neighbour) linkCost() uint16 {
	rx, base := n.rxCost(), n.iface.Cost
	if n.lost || rx == infinity || n.txCost == infinity {
		return infinity
	}
	cost := int(max(n.txCost, base)) * int(rx) / int(base)
	return saturate(max(1, cost+n.rttCost()))
}

const (
	rttMin     = 10 * millisecond
	rttMax     = 120 * millisecond
	rttMaxCost = 96
)

// rttCost grows from nothing at rttMin to rttMaxCost at rttMax, RFC 9616 section 4.
func (n *neighbour) rttCost() int {
	if !n.iface.RTT || n.rtt <= rttMin {
		return 0
	}
	return int(rttMaxCost * (min(n.rtt, rttMax) - rttMin) / (rttMax - rttMin))
}

// clock is our clock for RFC 9616: microseconds with an arbitrary origin.
func (s *Speaker) clock() uint32 { return s.stamp + uint32(s.now/1000) }

// measure takes one sample of the round-trip time, RFC 9616 section 3.3: we sent at
// origin, the neighbour received then at receive and sent the present packet at sent.
func (s *Speaker) measure(n *neighbour, origin, receive, sent uint32) {
	const sane = 60 * 1000 * 1000 // a minute; older stamps are from another life
	gone, held := s.clock()-origin, sent-receive
	if gone > sane || held > sane {
		return
	}
	sample := max(0, tick(gone)-tick(held)) * 1000
	n.delayed(sample)
	if n.rtt == 0 {
		n.rtt = max(sample, 1)
		return
	}
	n.rtt = max(n.rtt+(sample-n.rtt)*42/256, 1) // as RFC 9616 section 4 suggests
}
