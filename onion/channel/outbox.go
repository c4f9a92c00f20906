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
	since time.Time
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
	doomed   []*Leg // to be told by the writer
	idle     bool
	wake     chan struct{}
	closed   bool
}

func (o *outbox) init() { o.wake = make(chan struct{}, 1) }

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
	l.queue.push(q)
	o.n++
	if l.list == nil {
		l.credit = freshCredit
		o.fresh.append(l)
	}
	if o.n >= cell.MaxRecord {
		o.rouse()
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
	o.rouse()
	return nil
}

func (o *outbox) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n > 0 {
		o.rouse()
	}
}

// rouse wakes the writer if it waits. Called with mu held.
func (o *outbox) rouse() {
	if o.idle {
		o.idle = false
		select {
		case o.wake <- struct{}{}:
		default: // it has not yet noticed the last time
		}
	}
}

// taken is a cell that the writer writes next.
type taken struct {
	h    cell.Header
	b    *layer.Buffer
	body []byte
}

// take moves up to cell.MaxRecord cells to dst. Where there are none it says that
// the writer is going to wait.
func (o *outbox) take(dst []taken, budget *Budget) []taken {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(len(o.controls), cell.MaxRecord)
	for _, c := range o.controls[:n] {
		dst = append(dst, taken{c.h, c.b, c.b[:c.h.BodySize()]})
	}
	o.controls = o.controls[:copy(o.controls, o.controls[n:])]
	var now time.Time
	relayed := 0
	for len(dst) < cell.MaxRecord && o.n > 0 {
		if now.IsZero() {
			now = time.Now()
		}
		l := o.turn()
		q := l.queue.pop()
		l.credit--
		o.n--
		relayed++
		if now.Sub(q.since) > slow {
			q.flags |= cell.Congested
		}
		dst = append(dst, taken{cell.Header{Circ: l.id, Command: cell.Relay, Flags: q.flags}, q.b, q.body})
	}
	if relayed > 0 {
		budget.give(relayed)
	}
	if len(dst) == 0 && len(o.doomed) == 0 {
		o.idle = true
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
	defer o.mu.Unlock()
	o.doomed = append(o.doomed, l)
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
func (o *outbox) oldest() (oldest *Leg, since time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range []*ring{&o.fresh, &o.old} {
		for l := r.first(); l != nil; l = l.next {
			if l.queue.n == 0 {
				continue
			}
			if t := l.queue.peek().since; oldest == nil || t.Before(since) {
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

// fifo is a queue that grows and shrinks with what is in it.
type fifo struct {
	items []queued
	head  int
	n     int
}

const fifoKept = 16 // items for which an empty queue keeps memory

func (f *fifo) push(q queued) {
	if f.n == len(f.items) {
		bigger := make([]queued, max(4, 2*len(f.items)))
		for i := range f.n {
			bigger[i] = f.items[(f.head+i)%len(f.items)]
		}
		f.items, f.head = bigger, 0
	}
	f.items[(f.head+f.n)%len(f.items)] = q
	f.n++
}

func (f *fifo) peek() *queued { return &f.items[f.head] }

func (f *fifo) pop() queued {
	q := f.items[f.head]
	f.items[f.head] = queued{}
	f.head = (f.head + 1) % len(f.items)
	if f.n--; f.n == 0 && len(f.items) > fifoKept {
		f.items, f.head = nil, 0
	}
	return q
}

// drop empties the queue and returns how many items there were.
func (f *fifo) drop() (n int) {
	for n = f.n; f.n > 0; {
		Release(f.pop().b)
	}
	f.items = nil
	return n
}
