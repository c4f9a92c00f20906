package lan

import (
	"context"
	"net"
	"sync"
	"time"
)

// rate is a token bucket each way that all connections of a client share.
type rate struct {
	perSecond int64
	mu        sync.Mutex
	free      [2]time.Time // when what was taken is paid for
}

// burst is how much may pass at once, in time.
const burst = 250 * time.Millisecond

// newRate returns nil where there is no bound.
func newRate(perSecond int64) *rate {
	if perSecond <= 0 {
		return nil
	}
	return &rate{perSecond: perSecond}
}

// take counts n bytes and returns how long to wait before the next ones.
func (r *rate) take(way, n int, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.free[way].Before(now) {
		r.free[way] = now
	}
	r.free[way] = r.free[way].Add(time.Duration(int64(n) * int64(time.Second) / r.perSecond))
	return max(r.free[way].Sub(now)-burst, 0)
}

// metered is a client's connection whose rate is bounded.
type metered struct {
	*net.TCPConn
	ctx  context.Context
	rate *rate
}

// Took implements stream.Metered: what the client sends.
func (m *metered) Took(n int) error { return m.wait(0, n) }

// Write is what the client receives.
func (m *metered) Write(p []byte) (int, error) {
	if err := m.wait(1, len(p)); err != nil {
		return 0, err
	}
	return m.TCPConn.Write(p)
}

func (m *metered) wait(way, n int) error {
	wait := m.rate.take(way, n, time.Now())
	if wait == 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-m.ctx.Done():
		return m.ctx.Err()
	}
}
