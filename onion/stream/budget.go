package stream

import (
	"sync"
	"sync/atomic"
)

// DefaultBudget is the bound where nobody set one, in bytes.
const DefaultBudget = 16 << 20

// Budget bounds the bytes that wait to be read on all streams of a node. When
// there are more, the circuit that holds most dies.
type Budget struct {
	max  int64
	used atomic.Int64

	mu     sync.Mutex
	ends   map[*End]struct{}
	killed atomic.Uint64
}

// NewBudget bounds the waiting bytes to max.
func NewBudget(max int) *Budget {
	return &Budget{max: int64(max), ends: make(map[*End]struct{})}
}

// Used returns how many bytes wait now.
func (b *Budget) Used() int { return int(b.used.Load()) }

// Killed returns how many circuits died for want of memory.
func (b *Budget) Killed() uint64 { return b.killed.Load() }

// generous reports whether windows may grow.
func (b *Budget) generous() bool { return b == nil || b.used.Load() < b.max/2 }

// holding is what one End has of a Budget.
type holding struct {
	mu    sync.Mutex
	bytes int64
	dying bool // no longer counted
}

// hold notes n bytes more, or less, that wait on streams of e.
func (e *End) hold(n int) {
	b := e.cfg.Budget
	if b == nil || n == 0 {
		return
	}
	e.held.mu.Lock()
	if e.held.dying {
		e.held.mu.Unlock()
		return
	}
	e.held.bytes += int64(n)
	used := b.used.Add(int64(n))
	e.held.mu.Unlock()
	if n > 0 && used > b.max {
		b.kill()
	}
}

// kill has the circuit that holds most destroyed.
func (b *Budget) kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used.Load() <= b.max { // somebody else was quicker
		return
	}
	var victim *End
	var most int64
	for e := range b.ends {
		e.held.mu.Lock()
		if victim == nil || e.held.bytes > most {
			victim, most = e, e.held.bytes
		}
		e.held.mu.Unlock()
	}
	if victim == nil {
		return
	}
	delete(b.ends, victim)
	victim.leave()
	b.killed.Add(1)
	// On a goroutine of its own, which ends at once: Close comes back here.
	go victim.cfg.Kill()
}

// leave gives back what e has of the budget, though it may take a moment until
// the memory is free.
func (e *End) leave() {
	e.held.mu.Lock()
	defer e.held.mu.Unlock()
	if !e.held.dying {
		e.held.dying = true
		e.cfg.Budget.used.Add(-e.held.bytes)
	}
}
