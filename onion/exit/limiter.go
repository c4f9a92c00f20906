package exit

import (
	"sync/atomic"
	"time"
)

// Limiter bounds a rate of bytes with a burst, for any number of connections
// together. Bytes are taken first and paid by waiting afterwards, so a caller
// need not know how many come. Without a limit a Take costs one atomic load.
//
// It is what an Exit limits itself with, and fits any other flow of bytes: the writer
// of a channel calls Wait with the size of each record.
type Limiter struct {
	// Quota, if it is not nil, is told of every byte. That it is used up makes no Take
	// wait: look at Quota.Left before something new is begun. Set it before use.
	Quota *Quota

	base  time.Time
	rate  atomic.Int64  // bytes a second; 0: no limit
	depth atomic.Int64  // how long the burst takes at the rate, ns
	due   atomic.Int64  // when all that was taken is paid, ns since base
	turns atomic.Uint32 // how often Set was called
}

// NewLimiter returns a Limiter without a limit.
func NewLimiter() *Limiter { return &Limiter{base: time.Now()} }

// Set changes the limit: rate bytes a second, 0 for none, of which burst may come at
// once; a burst of 0 is what a second allows. What is owed is forgiven.
func (l *Limiter) Set(rate, burst int64) {
	if rate <= 0 {
		l.rate.Store(0)
	} else {
		if burst <= 0 {
			burst = rate
		}
		l.depth.Store(cost(burst, rate))
		l.rate.Store(rate)
	}
	l.due.Store(0)
	l.turns.Add(1)
}

// Active reports whether there is a limit, or a Quota that counts.
func (l *Limiter) Active() bool { return l.rate.Load() != 0 || l.Quota != nil && l.Quota.Limited() }

// Take takes n bytes and returns how long to wait before taking more.
func (l *Limiter) Take(n int) time.Duration {
	if l.Quota != nil {
		l.Quota.Add(n)
	}
	rate := l.rate.Load()
	if rate == 0 || n <= 0 {
		return 0
	}
	price, depth := cost(int64(n), rate), l.depth.Load()
	for {
		due, now := l.due.Load(), int64(time.Since(l.base))
		next := max(due, now) + price
		if l.due.CompareAndSwap(due, next) {
			return max(0, time.Duration(next-now-depth))
		}
	}
}

// Wait takes n bytes and waits as long as Take says, at most until done is closed or
// the limit is changed.
func (l *Limiter) Wait(n int, done <-chan struct{}) {
	turn := l.turns.Load()
	wait := l.Take(n)
	for wait > 0 && l.turns.Load() == turn {
		step := min(wait, time.Second)
		wait -= step
		t := time.NewTimer(step)
		select {
		case <-t.C:
		case <-done:
			t.Stop()
			return
		}
	}
}

// cost returns how long n units take at a rate, in ns.
func cost(n, rate int64) int64 { return int64(float64(n) / float64(rate) * 1e9) }
