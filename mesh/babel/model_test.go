package babel_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"globalnet/lab/babelsim"
	"globalnet/mesh/babel"
)

// disturb changes something at random: links die, silently or not, come back, work
// in one direction only, become dear; nodes restart, or move.
func disturb(w *babelsim.Network, r *rand.Rand) string {
	l := w.Links[r.IntN(len(w.Links))]
	live := w.Attached(l)
	switch r.IntN(9) {
	case 0:
		l.Down = true
		return fmt.Sprintf("%s dies silently", l.Name)
	case 1:
		l.Down = true
		if live {
			w.Probe(l)
		}
		return fmt.Sprintf("%s dies under traffic", l.Name)
	case 2:
		if live {
			w.LinkDown(l)
		}
		return fmt.Sprintf("%s loses its carrier", l.Name)
	case 3, 4, 5:
		if live {
			l.Down = false
			w.Probe(l)
		}
		return fmt.Sprintf("%s comes back", l.Name)
	case 6:
		if live {
			w.Nodes[l.A].Speaker.SetCost(w.Time(), l.Name, uint16(32+r.IntN(1000)))
		}
		return fmt.Sprintf("%s changes its cost", l.Name)
	case 7:
		w.Restart(l.A)
		return fmt.Sprintf("node %d restarts", l.A)
	default:
		if !live {
			return "nothing"
		}
		w.Disconnect(l)
		n := w.Connect(l.A, (l.A+1+r.IntN(len(w.Nodes)-1))%len(w.Nodes))
		n.LossAB, n.LossBA, n.Jitter, n.Duplicate = l.LossAB, l.LossBA, l.Jitter, l.Duplicate
		return fmt.Sprintf("%s moves to %d-%d", l.Name, n.A, n.B)
	}
}

// TestModel runs random networks through random changes. There must never be a loop,
// not even for the time of one packet, but for a moment after a restart: with its
// memory a node loses its feasibility distances. And once nothing changes any more,
// everything that can be reached must be reached and nothing else.
func TestModel(t *testing.T) {
	for _, c := range []struct {
		nodes     int
		loss      float64
		jitter    time.Duration
		duplicate float64
		seeds     uint64
	}{
		{nodes: 50, seeds: 3},
		{nodes: 50, jitter: 20 * time.Millisecond, duplicate: 0.1, seeds: 3},
		{nodes: 50, loss: 0.1, jitter: 20 * time.Millisecond, seeds: 2},
		{nodes: 50, loss: 0.3, jitter: 20 * time.Millisecond, duplicate: 0.05, seeds: 2},
		{nodes: 100, loss: 0.2, jitter: 50 * time.Millisecond, seeds: 1},
		{nodes: 200, loss: 0.05, jitter: 10 * time.Millisecond, seeds: 1},
	} {
		for seed := range c.seeds {
			name := fmt.Sprintf("%d nodes, loss %v, jitter %v, seed %d", c.nodes, c.loss, c.jitter, seed)
			t.Run(name, func(t *testing.T) {
				if testing.Short() && (seed > 0 || c.nodes > 50) {
					t.Skip("short")
				}
				r := rand.New(rand.NewPCG(seed, uint64(c.nodes)))
				w := babelsim.New(c.nodes, seed)
				w.Template = babel.Interface{RTT: seed%2 == 1}
				for _, e := range babelsim.Geometric(c.nodes, 4, r) {
					l := w.Connect(e[0], e[1])
					l.LossAB, l.LossBA, l.Jitter, l.Duplicate = c.loss, c.loss, c.jitter, c.duplicate
				}
				var log []string
				for w.Now() < 60*time.Second {
					w.Run(time.Duration(r.Int64N(int64(1500 * time.Millisecond))))
					log = append(log, fmt.Sprintf("%v: %s", w.Now(), disturb(w, r)))
				}
				took, ok := w.RunUntil(w.Right, 100*time.Millisecond, 90*time.Second)
				t.Logf("right after %v", took)
				if err := w.CheckLoops(); err != nil {
					t.Error("a loop stays:", err)
				}
				if w.Loop() != nil {
					t.Error(w.Loop())
				}
				if !ok {
					unreached, stale := w.Wrong()
					t.Errorf("%d pairs unreached, %d stale; %v", unreached, stale, log[max(0, len(log)-10):])
				}
			})
		}
	}
}

// TestStable lets a network be: after it has converged no route may change, whatever
// the timers do, and no seqno may be raised.
func TestStable(t *testing.T) {
	w := babelsim.New(30, 3)
	for _, e := range babelsim.Geometric(30, 4, rand.New(rand.NewPCG(1, 2))) {
		w.Connect(e[0], e[1])
	}
	w.Run(2 * time.Minute)
	if !w.Right() {
		t.Fatal("not converged")
	}
	before := total(w, "babel_route_changes", "babel_seqno_raised", "babel_resends", "babel_seqno_requests_sent")
	w.Run(20 * time.Minute)
	after := total(w, "babel_route_changes", "babel_seqno_raised", "babel_resends", "babel_seqno_requests_sent")
	if before != after || !w.Right() {
		t.Errorf("%d things happened in 20 quiet minutes; routes right: %v", after-before, w.Right())
	}
}

func total(w *babelsim.Network, names ...string) (sum uint64) {
	for _, v := range w.Nodes {
		c := v.Speaker.Counters()
		for _, name := range names {
			sum += c[name]
		}
	}
	return sum
}
