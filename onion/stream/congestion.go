package stream

import (
	"errors"
	"time"

	"globalnet/onion/cell"
)

const (
	firstWindow = 32   // cells
	leastWindow = 16   // so that a receiver always gets creditEvery cells to answer
	MostWindow  = 3072 // cells; what relays queue for a circuit (channel.MaxQueue) is more
	creditEvery = 8    // cells; only multiples are acknowledged

	// mostUnanswered bounds what is sent to an end that acknowledges nothing: answers
	// go out whatever the window is.
	mostUnanswered = MostWindow + 512

	// How long a circuit's cells may wait in the queues of its path: twice the
	// shortest round trip, within bounds. Less leaves the path idle when the cells
	// come in clumps; more makes an interactive circuit wait in the kernel's
	// buffers, where no cell can be put before another.
	leastDelay = 700 * time.Microsecond
	mostDelay  = 10 * time.Millisecond
	// enoughSamples are how many round trips it takes to tell that cells wait. Where
	// processors are busy each is late by chance; the shortest of two is then far from
	// the shortest of hundreds, and a small window would stay small for ever.
	enoughSamples = 24

	// A path may change; its shortest round trip is that of the last one to two of these.
	baseAge = 10 * time.Second
)

var errCredit = errors.New("credit for cells that were not received")

// congestion decides how many cells may be under way to the other end. It holds
// the waiting time in the queues of the path near a target: more than that
// makes others wait, less leaves the path idle. It is a state machine without
// clock or lock.
type congestion struct {
	window float64 // cells
	slow   bool    // still in slow start

	sent, acked uint32 // cells, modulo 2³²
	marks       []mark // of every creditEvery-th cell, from acked on
	head        int

	base     [2]time.Duration // shortest round trip: of this period, of the one before
	baseFrom time.Time
	drain    int           // rounds with half the window, to see the path without our own queue
	rtt      time.Duration // the last one

	// Of the round under way, which ends when the cell roundEnd is acknowledged.
	roundEnd uint32
	shortest time.Duration
	samples  int
	arrived  uint32 // cells acknowledged
	marked   uint32 // of them, cells that some relay marked
	limited  bool   // the window was used up
	peak     int    // the most cells that were not acknowledged
	lastPeak int    // the same of the round before
	calm     int    // rounds in which the window grew and no queue did
}

// mark is what must be remembered of a cell until it is acknowledged.
type mark struct {
	at  time.Time
	tag [cell.TagSize]byte
}

func newCongestion() congestion { return congestion{window: firstWindow, slow: true} }

// unanswered returns how many cells are not acknowledged.
func (c *congestion) unanswered() int { return int(c.sent - c.acked) }

// room returns how many more cells may be sent.
func (c *congestion) room() int {
	w := int(c.window)
	if c.drain > 0 {
		w = max(w/2, leastWindow)
	}
	return w - c.unanswered()
}

// marksNext reports whether onSent needs to be told the time of the next cell.
func (c *congestion) marksNext() bool { return (c.sent+1)%creditEvery == 0 }

// clump returns how many cells there must be room for until a waiting stream is
// let send: a few cells cost every hop as much to wake up for as many do. On the
// slowest link they take a quarter of the time that cells may wait.
func (c *congestion) clump() int {
	if c.rtt == 0 {
		return 1
	}
	return min(max(int(c.window*float64(c.target())/float64(4*c.rtt)), 1), burst, int(c.window)/4)
}

// onSent notes a cell that was sent.
func (c *congestion) onSent(now time.Time, tag [cell.TagSize]byte) {
	c.sent++
	if c.sent%creditEvery == 0 {
		c.marks = append(c.marks, mark{now, tag})
	}
	c.peak = max(c.peak, c.unanswered())
	if c.room() <= 0 {
		c.limited = true
	}
}

// onCredit takes the other end's word for what has arrived.
func (c *congestion) onCredit(now time.Time, m cell.Credit) error {
	n := m.Cells - c.acked
	marks := c.marks[c.head:]
	i := int(n / creditEvery)
	if m.Cells%creditEvery != 0 || i == 0 || i > len(marks) {
		return errCredit
	}
	k := marks[i-1]
	if k.tag != m.Tag {
		return errCredit
	}
	c.acked = m.Cells
	c.head += i
	if c.head == len(c.marks) {
		c.marks, c.head = c.marks[:0], 0
	} else if c.head > 64 && c.head > len(c.marks)/2 {
		c.marks, c.head = c.marks[:copy(c.marks, c.marks[c.head:])], 0
	}
	c.measure(now, max(now.Sub(k.at)-m.Held, 0))
	c.arrived += n
	c.marked += min(uint32(m.Congested), n)
	// Credits come in clumps: the first ends the round, and with the others the window
	// is not used up yet.
	if c.slow && int(c.window) < 2*max(c.peak, c.lastPeak) {
		c.window = min(c.window+float64(n), MostWindow)
		if c.marked > 0 {
			c.slow = false
		}
	}
	if int32(c.acked-c.roundEnd) >= 0 {
		c.round()
	}
	return nil
}

func (c *congestion) measure(now time.Time, rtt time.Duration) {
	c.rtt = rtt
	if c.baseFrom.IsZero() {
		c.baseFrom = now
	} else if now.Sub(c.baseFrom) > baseAge {
		c.base[1], c.base[0] = c.base[0], 0
		c.baseFrom = now
		c.drain = 2
	}
	if c.base[0] == 0 || rtt < c.base[0] {
		c.base[0] = rtt
	}
	c.samples++
	if c.shortest == 0 || rtt < c.shortest {
		c.shortest = rtt
	}
}

func (c *congestion) shortestEver() time.Duration {
	if c.base[1] != 0 && c.base[1] < c.base[0] {
		return c.base[1]
	}
	return c.base[0]
}

// target is how long cells may wait.
func (c *congestion) target() time.Duration {
	return min(max(2*c.shortestEver(), leastDelay), mostDelay)
}

// round ends a round trip. The shortest one in it tells how long the queues are
// that never drain; while there are few it can tell that there is none.
func (c *congestion) round() {
	waiting, target := c.shortest-c.shortestEver(), c.target()
	if waiting > target && c.samples < enoughSamples && c.marked == 0 && c.drain == 0 && !c.slow {
		c.roundEnd = c.sent
		return
	}
	if waiting >= target/2 || c.marked > 0 {
		c.calm = 0
	}
	switch {
	case c.drain > 0:
		c.drain--
	case waiting > 2*target:
		c.slow = false
		c.window *= 0.8
	case c.marked > 0:
		// A burst may be marked though the queue drains: so in proportion.
		c.slow = false
		c.window *= 1 - 0.4*float64(c.marked)/float64(c.arrived)
	case waiting > target:
		c.slow = false
		c.window *= 1 - 0.5*float64(waiting-target)/float64(c.shortest)
	case c.slow || !c.limited:
	case waiting < target/2:
		// After a while of no queue at all the window is far from what the path has.
		c.calm++
		if c.calm > 3 {
			c.window += c.window / 8
		}
		c.window += max(2, c.window/8)
	default:
		c.window += 2
	}
	c.window = min(max(c.window, leastWindow), MostWindow)
	c.lastPeak, c.peak = c.peak, c.unanswered()
	c.roundEnd, c.shortest, c.samples, c.arrived, c.marked, c.limited = c.sent, 0, 0, 0, 0, c.room() <= 0
}

// receipts is the receiver's half: it says what has arrived.
type receipts struct {
	got, told uint32
	congested uint16

	upTo uint32 // the last multiple of creditEvery
	tag  [cell.TagSize]byte
	at   time.Time
}

// onCell notes a cell that has arrived. Now is asked only where it is needed.
func (r *receipts) onCell(tag [cell.TagSize]byte, congested bool, now func() time.Time) {
	r.got++
	if congested && r.congested < 1<<16-1 {
		r.congested++
	}
	if r.got%creditEvery == 0 {
		r.upTo, r.tag, r.at = r.got, tag, now()
	}
}

// pending reports whether at least that many cells want a credit.
func (r *receipts) pending(cells uint32) bool {
	return r.upTo != r.told && r.upTo-r.told >= cells
}

// take returns the credit to send now.
func (r *receipts) take(now time.Time) cell.Credit {
	m := cell.Credit{Cells: r.upTo, Tag: r.tag, Held: now.Sub(r.at), Congested: r.congested}
	r.told, r.congested = r.upTo, 0
	return m
}
