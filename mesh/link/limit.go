package link

import (
	"net/netip"
	"sync"
	"time"
)

// sourceKey is what counts as one source: an address, or the /64 that a host on
// the internet has at least.
func sourceKey(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if a.Is6() && !a.IsLinkLocalUnicast() && !a.IsPrivate() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// buckets are token buckets, one for each source: burst at once, then one an interval.
type buckets struct {
	burst    int
	interval time.Duration
	most     int

	mu   sync.Mutex
	full map[netip.Addr]time.Time // when the bucket will be full again
}

func newBuckets(burst int, interval time.Duration, most int) *buckets {
	return &buckets{burst: burst, interval: interval, most: most, full: make(map[netip.Addr]time.Time)}
}

func (b *buckets) take(source netip.Addr, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	full, ok := b.full[source]
	if !ok && len(b.full) >= b.most {
		for a, t := range b.full {
			if !t.After(now) {
				delete(b.full, a)
			}
		}
		if len(b.full) >= b.most {
			return false
		}
	}
	if full.Before(now) {
		full = now
	}
	full = full.Add(b.interval)
	if full.Sub(now) > time.Duration(b.burst)*b.interval {
		return false
	}
	b.full[source] = full
	return true
}
