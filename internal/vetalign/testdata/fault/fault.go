// Package fault has 64-bit numbers at good and at bad addresses. What a tool must
// refuse is marked.
package fault

import "sync/atomic"

type counter struct {
	first  int64
	name   string
	after  int32
	second uint64 // at 20 where a pointer has four bytes
	third  int32
	fourth int64 // at 32
}

type holder struct {
	before int32
	*counter
	inside counter // at 8
	row    [3]struct {
		n int64
		m int32
	}
}

type promoted struct {
	before int32
	counter
}

var (
	global  counter
	held    holder
	numbers []int64
)

func good(c *counter, h *holder, i int) {
	atomic.AddInt64(&c.first, 1)
	atomic.AddInt64(&c.fourth, 1)
	atomic.AddInt64(&global.fourth, 1)
	atomic.AddInt64(&h.counter.first, 1)
	atomic.AddInt64(&h.first, 1)
	atomic.AddInt64(&h.inside.fourth, 1)
	atomic.AddInt64(&h.row[0].n, 1)
	atomic.AddInt64(&h.row[2].n, 1)
	atomic.AddInt64(&numbers[i], 1)
	atomic.AddInt32(&c.third, 1)
}

func (c *counter) bad(h *holder, p promoted, i int) {
	atomic.AddUint64(&c.second, 1)         // fault
	atomic.LoadUint64(&global.second)      // fault
	atomic.StoreUint64(&(h.second), 1)     // fault
	atomic.AddUint64(&held.counter.second, // fault
		1)
	atomic.SwapUint64(&h.inside.second, 1) // fault
	atomic.AddInt64(&h.row[1].n, 1)        // fault
	atomic.OrInt64(&h.row[i].n, 1)         // fault
	atomic.AddInt64(&p.first, 1)           // fault
}
