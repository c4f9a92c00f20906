package beacon

import (
	"hash/maphash"
	"net/netip"
	"time"
)

const (
	sourceBuckets = 64
	sourceBurst   = 8
	sourceRate    = 2 // messages a second from one source; ours sends one
)

// A sourceLimiter gives every source its share, so that a flood from some leaves
// room for the others. Sources share sourceBuckets buckets by a hash that
// nobody can foresee; together they pass sourceBuckets × sourceRate a second.
type sourceLimiter struct {
	seed    maphash.Seed
	buckets [sourceBuckets]bucket
}

func newSourceLimiter() *sourceLimiter { return &sourceLimiter{seed: maphash.MakeSeed()} }

func (l *sourceLimiter) allow(now time.Time, from netip.Addr) bool {
	a := from.As16()
	b := &l.buckets[maphash.Bytes(l.seed, a[:])%sourceBuckets]
	return b.take(now, sourceRate, sourceBurst)
}

// A bucket is a token bucket; the zero value is full.
type bucket struct {
	used float64 // tokens taken and not yet returned
	last time.Time
}

func (b *bucket) take(now time.Time, rate, burst float64) bool {
	if d := now.Sub(b.last); d > 0 {
		b.used = max(0, b.used-d.Seconds()*rate)
		b.last = now
	}
	if b.used+1 > burst {
		return false
	}
	b.used++
	return true
}
