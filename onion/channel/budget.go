package channel

import (
	"sync"
	"sync/atomic"

	"globalnet/onion/cell"
)

// DefaultBudget is the bound where nobody set one, in cells: 16 MiB.
const DefaultBudget = 16 << 20 / 1440

// Budget bounds the cells that wait in all channels of a node together. Over 80 %
// new circuits are refused; over 95 % the circuit whose oldest cell waits longest dies.
type Budget struct {
	max  int64
	used atomic.Int64

	mu       sync.Mutex
	channels map[*Channel]struct{}
	killed   atomic.Uint64
}

// NewBudget bounds the waiting cells to max.
func NewBudget(max int) *Budget {
	return &Budget{max: int64(max), channels: make(map[*Channel]struct{})}
}

// Used returns how many cells wait now.
func (b *Budget) Used() int { return int(b.used.Load()) }

// Killed returns how many circuits died for want of memory.
func (b *Budget) Killed() uint64 { return b.killed.Load() }

// Crowded reports whether new circuits should be refused.
func (b *Budget) Crowded() bool { return b.used.Load() >= b.max*80/100 }

func (b *Budget) give(n int) { b.used.Add(int64(-n)) }

func (b *Budget) take(n int) {
	if b.used.Add(int64(n)) < b.max*95/100 {
		return
	}
	b.mu.Lock()
	var victim *Leg
	var since int64
	for c := range b.channels {
		if l, t := c.out.oldest(); l != nil && (victim == nil || t < since) {
			victim, since = l, t
		}
	}
	b.mu.Unlock()
	if victim != nil && victim.c.forget(victim) {
		b.killed.Add(1)
		victim.c.out.dropLeg(victim, b)
		victim.c.sendControl(cell.Destroy, victim.id, []byte{byte(cell.ReasonResource)})
		victim.c.out.doom(victim)
	}
}

func (b *Budget) add(c *Channel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.channels[c] = struct{}{}
}

func (b *Budget) remove(c *Channel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.channels, c)
}
