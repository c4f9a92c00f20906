package babelsim

import (
	"testing"
	"time"
)

// quiet is longer than any transient of a network whose links do not lose packets.
const quiet = 20 * time.Second

func build(t *testing.T, nodes int, edges []Edge, seed uint64) *Network {
	t.Helper()
	w := New(nodes, seed)
	for _, e := range edges {
		w.Connect(e[0], e[1])
	}
	if _, ok := w.RunUntil(w.Right, 10*time.Millisecond, 10*time.Second); !ok {
		t.Fatal("no convergence at start")
	}
	w.Run(quiet)
	return w
}

// TestRecovery cuts each link of a network in turn: what still can be reached must be
// reached again at once, and what cannot be must go.
func TestRecovery(t *testing.T) {
	for _, c := range []struct {
		name  string
		nodes int
		edges []Edge
	}{
		{"ring 6", 6, Ring(6)},
		{"grid 25", 25, Grid(5, 5)},
		{"line 5", 5, Line(5)},
	} {
		t.Run(c.name, func(t *testing.T) {
			for k := range c.edges {
				w := build(t, c.nodes, c.edges, uint64(k))
				w.LinkDown(w.Links[k])
				took, ok := w.RunUntil(w.Right, time.Millisecond, 5*time.Second)
				if !ok || took > 500*time.Millisecond {
					unreached, stale := w.Wrong()
					t.Errorf("link %d: recovered %v in %v, %d unreached, %d stale", k, ok, took, unreached, stale)
				}
				t.Logf("link %d cut: %v", k, took)
				w.Links[k].Down = false
				w.Probe(w.Links[k])
				took, ok = w.RunUntil(w.Right, time.Millisecond, 5*time.Second)
				t.Logf("link %d back: %v", k, took)
				if !ok {
					t.Errorf("link %d: not used again after it came back", k)
				}
				if w.Loop() != nil {
					t.Error(w.Loop())
				}
			}
		})
	}
}

// TestSilentDeath lets a link die without a carrier that tells: with a Probe it is
// noticed after three unanswered questions, without by the missing Hellos.
func TestSilentDeath(t *testing.T) {
	for _, probed := range []bool{true, false} {
		w := build(t, 6, Ring(6), 7)
		w.Links[0].Down = true
		limit := 12 * time.Second
		if probed {
			w.Probe(w.Links[0])
			limit = 1500 * time.Millisecond
		}
		took, ok := w.RunUntil(w.Right, 10*time.Millisecond, time.Minute)
		t.Logf("probed %v: %v", probed, took)
		if !ok || took > limit {
			t.Errorf("probed %v: recovered %v in %v", probed, ok, took)
		}
	}
}

// TestOneWay lets a link work in one direction only.
func TestOneWay(t *testing.T) {
	w := build(t, 6, Ring(6), 8)
	w.Links[0].LossAB = 1
	w.Probe(w.Links[0])
	w.Run(5 * time.Second)
	if hop := w.Nodes[0].nextHop[1]; hop != 5 {
		t.Errorf("node 0 reaches node 1 by %d, want the long way by 5", hop)
	}
	w.Links[0].LossAB = 0
	if _, ok := w.RunUntil(func() bool { return w.Nodes[0].nextHop[1] == 1 }, 100*time.Millisecond, 30*time.Second); !ok {
		t.Error("the link is not used again")
	}
}

// TestRestart kills a speaker and starts a fresh one with the same address.
func TestRestart(t *testing.T) {
	for seed := range uint64(8) {
		w := build(t, 25, Grid(5, 5), seed)
		w.Restart(12)
		w.Run(5 * time.Millisecond)
		took, ok := w.RunUntil(w.Right, 10*time.Millisecond, 30*time.Second)
		t.Logf("seed %d: %v", seed, took)
		if !ok || took > 2*time.Second {
			t.Errorf("seed %d: recovered %v in %v", seed, ok, took)
		}
		if w.Loop() != nil {
			t.Error(w.Loop())
		}
	}
}
