package agent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"globalnet/agent/control"
	"globalnet/internal/identity"
	"globalnet/mesh"
)

// What is kept of neighbours: an hour of samples of 13 bytes each, 4.7 KB a neighbour.
const (
	sampleEvery   = 10 * time.Second
	sampleCount   = 360
	maxHistories  = 64
	noRate        = ^uint32(0)
	maxRTTMicros  = int64(noRate) - 1
	forgetHistory = time.Hour
)

// history samples the links to neighbours.
type history struct {
	mu   sync.Mutex
	of   map[identity.NodeID]*samples
	last time.Time
}

// samples are the rings of one neighbour, in columns.
type samples struct {
	rx, tx, rtt [sampleCount]uint32 // bytes a second, microseconds; noRate: unknown
	loss        [sampleCount]int8   // percent; -1: unknown
	taken       int                 // so far
	seen        time.Time

	rxBytes, txBytes uint64 // at that time
}

func newHistory() *history { return &history{of: make(map[identity.NodeID]*samples)} }

// run takes samples until ctx ends.
func (h *history) run(ctx context.Context, neighbours func(context.Context) ([]mesh.Neighbour, error)) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if list, err := neighbours(ctx); err == nil {
				h.take(now, list)
			}
		}
	}
}

// take takes a sample of each. A neighbour that is away has samples without values, so
// that all columns go by the same clock.
func (h *history) take(now time.Time, list []mesh.Neighbour) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = now
	links := make(map[identity.NodeID]mesh.Neighbour, len(list))
	for _, n := range list {
		if n.State == "up" {
			links[n.Node] = n
		}
	}
	for id, s := range h.of {
		if _, there := links[id]; !there {
			if now.Sub(s.seen) >= forgetHistory {
				delete(h.of, id)
				continue
			}
			s.add(noRate, noRate, noRate, -1)
		}
	}
	for id, n := range links {
		s := h.of[id]
		if s == nil {
			if len(h.of) >= maxHistories {
				continue
			}
			s = &samples{}
			h.of[id] = s
		}
		rx, tx := noRate, noRate
		if passed := now.Sub(s.seen); !s.seen.IsZero() && passed < 2*sampleEvery && passed > 0 {
			rx, tx = rate(s.rxBytes, n.RxBytes, passed), rate(s.txBytes, n.TxBytes, passed)
		}
		rtt := noRate
		if n.RTT > 0 {
			rtt = uint32(min(n.RTT.Microseconds(), maxRTTMicros))
		}
		s.add(rx, tx, rtt, int8(n.Loss))
		s.seen, s.rxBytes, s.txBytes = now, n.RxBytes, n.TxBytes
	}
}

// rate is unknown where a counter began anew.
func rate(was, is uint64, passed time.Duration) uint32 {
	if is < was {
		return noRate
	}
	return uint32(min(float64(is-was)/passed.Seconds(), float64(noRate-1)))
}

func (s *samples) add(rx, tx, rtt uint32, loss int8) {
	i := s.taken % sampleCount
	s.rx[i], s.tx[i], s.rtt[i], s.loss[i] = rx, tx, rtt, loss
	s.taken++
}

// get returns what was measured of a neighbour; false: nothing.
func (h *history) get(now time.Time, id identity.NodeID) (control.History, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.of[id]
	if s == nil {
		return control.History{}, false
	}
	n := min(s.taken, sampleCount)
	out := control.History{Neighbour: id.String(), Every: sampleEvery, Age: now.Sub(h.last),
		Rx: make([]int64, n), Tx: make([]int64, n), Loss: make([]int, n), RTT: make([]int64, n)}
	for k := range n {
		i := (s.taken - n + k) % sampleCount
		out.Rx[k], out.Tx[k], out.RTT[k], out.Loss[k] = known(s.rx[i]), known(s.tx[i]), known(s.rtt[i]), int(s.loss[i])
	}
	return out, true
}

func known(v uint32) int64 {
	if v == noRate {
		return -1
	}
	return int64(v)
}

// History returns what was measured of a neighbour in the last hour.
func (a *Agent) History(neighbour string) (control.History, error) {
	id, err := identity.ParseNodeID(neighbour)
	if err != nil {
		return control.History{}, &control.Error{Code: control.BadRequest, Message: "neighbour: " + err.Error(), Hint: "`globalnet neighbours` lists them"}
	}
	h, ok := a.history.get(time.Now(), id)
	if !ok {
		return h, &control.Error{Code: control.BadRequest, Message: fmt.Sprintf("nothing was measured of %s", id),
			Hint: "a sample is taken every 10 s, of links that are up"}
	}
	return h, nil
}
