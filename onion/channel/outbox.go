package channel

import (
	"errors"
	"sync"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/layer"
)

const (
	// slow is how long a cell may wait here before it is marked.
	slow = 20 * time.Millisecond

	// A circuit that had nothing to send gets freshCredit cells ahead of the
	// others, then creditPerTurn whenever its turn comes.
	freshCredit   = 8
	creditPerTurn = 4
)

var errBacklog = errors.New("too many control cells wait")

// queued is a relay cell that waits.
type queued struct {
	b     *layer.Buffer
	body  []byte
	flags cell.Flags
	since int64 // clock
}

// control is a control cell that waits; its body is not sealed yet.
type control struct {
	h cell.Header
	b *layer.Buffer
}

// outbox is what waits to be written: control cells, then the circuits in turn.
// Circuits that just began to send come before those that always do.
type outbox struct {
	mu       sync.Mutex
	controls []control
	fresh    ring
	old      ring
	n        int    // relay cells
	stamp    int64  // when the first cell came since the last flush; 0: not known
	doomed   []*Leg // to be told by the writer
	closed   bool

	// Who finds writing unset sets it and writes; it is unset when nothing waits.
	// Handed says that it is the writer's turn.
	writing, handed bool
	wake            chan struct{} // for the writer
}

func (o *outbox) init() {
	o.wake = make(chan struct{}, 1)
	o.writing = true // until Run
}

func (o *outbox) push(l *Leg, q queued, budget *Budget) error {
	o.mu.Lock()
	if o.closed || l.gone {
		o.mu.Unlock()
		return ErrClosed
	}
	if l.queue.n >= MaxQueue {
		o.mu.Unlock()
		return ErrFull
	}
	if o.stamp == 0 {
		o.stamp = clock()
	}
	q.since = o.stamp
	l.queue.push(q)
	o.n++
	if l.list == nil {
		l.credit = freshCredit
		o.fresh.append(l)
	}
	o.mu.Unlock()
	budget.take(1)
	return nil
}

func (o *outbox) pushControl(c control) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return ErrClosed
	}
	if len(o.controls) >= maxControls {
		return errBacklog
	}
	o.controls = append(o.controls, c)
	return nil
}

// seize reports whether there is something to write and nobody writes: then the
// caller does.
func (o *outbox) seize() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stamp = 0
	if o.writing || o.closed || o.n == 0 && len(o.controls) == 0 {
		return false
	}
	o.writing = true
	return true
}

// handOver makes it the writer's turn. The caller was writing.
func (o *outbox) handOver() {
	o.mu.Lock()
	o.handed = true
	o.mu.Unlock()
	o.rouse()
}

// takeTurn reports whether it is the writer's turn.
func (o *outbox) takeTurn() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	handed := o.handed
	o.handed = false
	return handed
}

// rouse wakes the writer.
func (o *outbox) rouse() {
	select {
	case o.wake <- struct{}{}:
	default: // it has not yet noticed the last time
	}
}

// taken is a cell that the writer writes next.
type taken struct {
	h    cell.Header
	b    *layer.Buffer
	body []byte
}

// take moves up to cell.MaxRecord cells to dst, for who is writing. Where there
// are none, nobody writes from now on.
func (o *outbox) take(dst []taken, budget *Budget) []taken {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(len(o.controls), cell.MaxRecord)
	for _, c := range o.controls[:n] {
		dst = append(dst, taken{c.h, c.b, c.b[:c.h.BodySize()]})
	}
	o.controls = o.controls[:copy(o.controls, o.controls[n:])]
	var now int64
	relayed := 0
	for len(dst) < cell.MaxRecord && o.n > 0 {
		if now == 0 {
			now = clock()
		}
		l := o.turn()
		q := l.queue.pop()
		l.credit--
		o.n--
		relayed++
		if time.Duration(now-q.since) > slow {
			q.flags |= cell.Congested
		}
		dst = append(dst, taken{cell.Header{Circ: l.id, Command: cell.Relay, Flags: q.flags}, q.b, q.body})
	}
	if relayed > 0 {
		budget.give(relayed)
	}
	if len(dst) == 0 {
		o.writing = false
	}
	return dst
}

// turn returns the circuit whose turn it is; it has a cell and credit.
func (o *outbox) turn() *Leg {
	for {
		l, from := o.fresh.first(), &o.fresh
		if l == nil {
			l, from = o.old.first(), &o.old
		}
		switch {
		case l.queue.n > 0 && l.credit > 0:
			return l
		case l.queue.n == 0 && from == &o.old:
			from.shift()
			l.list = nil
		default:
			// A fresh circuit that ran dry stays in turn, lest it be fresh again at once.
			from.shift()
			l.credit = creditPerTurn
			o.old.append(l)
		}
	}
}

// dropLeg forgets what waits for a circuit, for good.
func (o *outbox) dropLeg(l *Leg, budget *Budget) {
	o.mu.Lock()
	l.gone = true
	n := l.queue.drop()
	o.n -= n
	if l.list != nil {
		l.list.remove(l)
		l.list = nil
	}
	o.mu.Unlock()
	budget.give(n)
}

// drain forgets everything, for good.
func (o *outbox) drain(budget *Budget) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	for _, c := range o.controls {
		Release(c.b)
	}
	o.controls = nil
	for _, r := range []*ring{&o.fresh, &o.old} {
		for l := r.first(); l != nil; l = r.first() {
			r.shift()
			l.list = nil
			n := l.queue.drop()
			o.n -= n
			budget.give(n)
		}
	}
}

// doom has the writer tell a circuit, already forgotten, that it is destroyed: who
// finds that out may hold the circuit's lock.
func (o *outbox) doom(l *Leg) {
	o.mu.Lock()
	o.doomed = append(o.doomed, l)
	o.mu.Unlock()
	o.rouse()
}

// takeDoomed returns the circuits to be told.
func (o *outbox) takeDoomed() []*Leg {
	o.mu.Lock()
	defer o.mu.Unlock()
	doomed := o.doomed
	o.doomed = nil
	return doomed
}

// oldest returns the circuit whose first cell waits longest, and since when.
func (o *outbox) oldest() (oldest *Leg, since int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range []*ring{&o.fresh, &o.old} {
		for l := r.first(); l != nil; l = l.next {
			if l.queue.n == 0 {
				continue
			}
			if t := l.queue.peek().since; oldest == nil || t < since {
				oldest, since = l, t
			}
		}
	}
	return oldest, since
}

// ring is a list of circuits in turn.
type ring struct{ head, tail *Leg }

func (r *ring) first() *Leg { return r.head }

func (r *ring) append(l *Leg) {
	l.next, l.list = nil, r
	if r.tail == nil {
		r.head = l
	} else {
		r.tail.next = l
	}
	r.tail = l
}

func (r *ring) shift() {
	l := r.head
	r.head = l.next
	if r.head == nil {
		r.tail = nil
	}
	l.next = nil
}

// remove takes l out of the middle; rare, so it may search.
func (r *ring) remove(l *Leg) {
	if r.head == l {
		r.shift()
		return
	}
	for p := r.head; p != nil; p = p.next {
		if p.next == l {
			p.next = l.next
			if r.tail == l {
				r.tail = p
			}
			l.next = nil
			return
		}
	}
}

// fifo is a queue in chunks of a pool: an empty one holds no memory.
type fifo struct {
	head, tail *chunk
	first, end int // in head, in tail
	n          int
}

type chunk struct {
	items [16]queued
	next  *chunk
}

var chunks = sync.Pool{New: func() any { return new(chunk) }}

func (f *fifo) push(q queued) {
	if f.tail == nil || f.end == len(f.tail.items) {
		c := chunks.Get().(*chunk)
		if f.tail == nil {
			f.head, f.first = c, 0
		} else {
			f.tail.next = c
		}
		f.tail, f.end = c, 0
	}
	f.tail.items[f.end] = q
	f.end++
	f.n++
}

func (f *fifo) peek() *queued { return &f.head.items[f.first] }

func (f *fifo) pop() queued {
	c := f.head
	q := c.items[f.first]
	c.items[f.first] = queued{}
	f.first++
	if f.n--; f.n == 0 {
		f.head, f.tail = nil, nil
	} else if f.first < len(c.items) {
		return q
	} else {
		f.head, f.first = c.next, 0
	}
	c.next = nil
	chunks.Put(c)
	return q
}

// drop empties the queue and returns how many items there were.
func (f *fifo) drop() (n int) {
	for n = f.n; f.n > 0; {
		Release(f.pop().b)
	}
	return n
}

var started = time.Now()

// clock returns nanoseconds of a clock that nobody sets.
func clock() int64 { return int64(time.Since(started)) }
