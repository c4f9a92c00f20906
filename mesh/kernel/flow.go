package kernel

import (
	"sync/atomic"
	"time"
)

// flow bounds the packets that are inside wireguard-go, in each direction. Its own
// queues hold 1024 batches of buffers of 64 KiB; a full queue there is memory that
// a router does not have, and delay that a user feels. Beyond the bound packets
// wait where the kernel bounds them: in the TUN's queue and the socket's buffer.
//
// wireguard-go drops packets without telling (no session, a forged or replayed
// packet), so the counts only go up then. A count that has not moved for a moment
// is therefore taken to be wrong and begins again at zero.
type flow struct{ out, in gate }

func newFlow(limit int) *flow {
	return &flow{out: newGate(limit), in: newGate(limit)}
}

func (f *flow) waitSend()       { f.out.wait() }
func (f *flow) sending(n int)   { f.out.count.Add(int64(n)) }
func (f *flow) sent(n int)      { f.out.leave(n) }
func (f *flow) waitReceive()    { f.in.wait() }
func (f *flow) received(n int)  { f.in.count.Add(int64(n)) }
func (f *flow) delivered(n int) { f.in.leave(n) }

// gatePatience is how long a count may stand still.
const gatePatience = 10 * time.Millisecond

// gate is one direction. One goroutine waits, others leave.
type gate struct {
	limit   int64
	count   atomic.Int64
	waiting atomic.Bool
	wake    chan struct{}
	timer   *time.Timer
}

func newGate(limit int) gate {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return gate{limit: int64(limit), wake: make(chan struct{}, 1), timer: t}
}

// wait returns as soon as the count is below the limit.
func (g *gate) wait() {
	for {
		before := g.count.Load()
		if before < g.limit {
			return
		}
		g.waiting.Store(true)
		if g.count.Load() < g.limit {
			g.waiting.Store(false)
			return
		}
		g.timer.Reset(gatePatience)
		select {
		case <-g.wake:
			g.timer.Stop()
		case <-g.timer.C:
			g.count.CompareAndSwap(before, 0)
		}
		g.waiting.Store(false)
	}
}

func (g *gate) leave(n int) {
	if g.count.Add(-int64(n)) < 0 {
		// Packets that did not come through the gate, such as keepalives.
		g.count.Store(0)
	}
	if g.waiting.Load() {
		select {
		case g.wake <- struct{}{}:
		default:
		}
	}
}
