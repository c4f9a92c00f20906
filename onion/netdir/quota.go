package netdir

import (
	"sync"
	"time"

	"globalnet/internal/identity"
)

// quota is what one neighbour may cost, whatever connections it makes. Rates are
// in directories: Max descriptors.
type quota struct {
	mu       sync.Mutex
	max      float64
	fresh    tokens // nodes never heard of
	all      tokens // descriptors
	lines    tokens // offers that are looked at
	given    tokens // descriptors that it gets
	sessions tokens
	badUntil time.Time // no sessions before
	bad      time.Duration
}

func newQuota(max int) *quota { return &quota{max: float64(max)} }

// take pays for asking for a descriptor: a directory of new nodes an hour, four of
// all. The burst is what a first meeting takes.
func (q *quota) take(now time.Time, fresh bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if fresh && q.fresh.peek(now, q.max/3600, q.max*1.25) < 1 {
		return false
	}
	if !q.all.take(now, 4*q.max/3600, 2*q.max, 1) {
		return false
	}
	return !fresh || q.fresh.take(now, q.max/3600, q.max*1.25, 1)
}

func (q *quota) line(now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lines.take(now, q.max/60, 4*q.max, 1)
}

func (q *quota) give(now time.Time, n int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.given.take(now, q.max/60, max(4*q.max, maxGive), float64(n))
}

// session pays for a connection.
func (q *quota) session(now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !now.Before(q.badUntil) && q.sessions.take(now, 0.1, 10, 1)
}

// punish keeps a neighbour away that broke the protocol: one minute, then twice
// as long each time, up to an hour.
func (q *quota) punish(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bad = min(max(2*q.bad, time.Minute), time.Hour)
	q.badUntil = now.Add(q.bad)
}

// idle reports whether forgetting the quota would give nothing away.
func (q *quota) idle(now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !now.Before(q.badUntil) && q.fresh.peek(now, q.max/3600, 0) >= 0 &&
		q.all.peek(now, 4*q.max/3600, 0) >= 0 && q.sessions.peek(now, 0.1, 0) >= 0
}

// book notes who was asked for what, so that a descriptor that all neighbours
// have comes from one of them.
type book struct {
	mu   sync.Mutex
	asks map[identity.NodeID]ask
}

type ask struct {
	revision
	peer identity.NodeID
	at   time.Time
}

// patience is how long one neighbour's promise keeps others from being asked.
const patience = 5 * time.Second

func newBook() *book { return &book{asks: make(map[identity.NodeID]ask)} }

// claim reports whether peer may be asked for o, and notes it.
func (b *book) claim(now time.Time, o offer, peer identity.NodeID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a, ok := b.asks[o.node]; ok && a.peer != peer && now.Sub(a.at) < patience && !o.newer(a.revision) {
		return false
	}
	b.asks[o.node] = ask{o.revision, peer, now}
	return true
}

func (b *book) release(node, peer identity.NodeID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asks[node].peer == peer {
		delete(b.asks, node)
	}
}
