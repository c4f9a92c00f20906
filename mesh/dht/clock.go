package dht

import (
	"container/heap"
	"time"
)

// tick is a point in time: nanoseconds since an hour before the first call, so that
// budgets are full at the start. Zero is never.
type tick int64

const (
	millisecond = tick(time.Millisecond)
	second      = tick(time.Second)
	minute      = 60 * second
	hour        = 60 * minute
)

// begin takes over the time of a call. A clock that goes backwards stands still for us.
func (d *DHT) begin(now time.Time) {
	if d.epoch.IsZero() {
		d.epoch = now
	}
	d.now = max(d.now, tick(now.Sub(d.epoch))+hour)
	d.wall = now
}

func (d *DHT) time(t tick) time.Time { return d.epoch.Add(time.Duration(t - hour)) }

// around draws a time within a fifth of t: nodes must not act in step.
func (d *DHT) around(t tick) tick { return t*4/5 + tick(d.rand.Int64N(int64(t*2/5)+1)) }

// timer calls do when it is due. It is idle while index is negative.
type timer struct {
	at    tick
	index int
	do    func()
}

func newTimer(do func()) *timer { return &timer{index: -1, do: do} }

// timers is a heap, the earliest first.
type timers []*timer

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].at < h[j].at }
func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timers) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timers) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.index = -1
	return t
}

// arm sets a timer, whether it is idle or not.
func (d *DHT) arm(t *timer, at tick) {
	t.at = at
	if t.index < 0 {
		heap.Push(&d.timers, t)
	} else {
		heap.Fix(&d.timers, t.index)
	}
}

func (d *DHT) disarm(t *timer) {
	if t.index >= 0 {
		heap.Remove(&d.timers, t.index)
	}
}

// NextTimeout returns when HandleTimeout is due; zero: never.
func (d *DHT) NextTimeout() time.Time {
	if len(d.timers) == 0 {
		return time.Time{}
	}
	return d.time(d.timers[0].at)
}

// HandleTimeout does all that is due.
func (d *DHT) HandleTimeout(now time.Time) {
	d.begin(now)
	// What becomes due on the way has its turn too, but the turns are bounded: a
	// timer that arms itself for the same moment waits for the next call.
	for range 2 * (len(d.timers) + 1) {
		if len(d.timers) == 0 || d.timers[0].at > d.now {
			return
		}
		heap.Pop(&d.timers).(*timer).do()
	}
}

// bucket lets burst events pass at once and rate a second in the long run.
type bucket struct {
	rate, burst int
	filled      tick // when it was, or will be, full
}

func (b *bucket) take(now tick) bool {
	step := second / tick(b.rate)
	at := max(b.filled, now-step*tick(b.burst))
	if at+step > now {
		return false
	}
	b.filled = at + step
	return true
}
