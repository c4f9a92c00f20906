package dhtsim

import (
	"runtime"
	"testing"
	"time"
)

// The scenario of the benchmark holds what it promises, in both modes.
func TestScenario(t *testing.T) {
	for name, o := range map[string]Options{
		"iterative":  {},
		"membership": {Membership: true},
		"lossy":      {Nodes: 60, Loss: 0.05, Delay: 20 * time.Millisecond, Seed: 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := Run(o)
			check(t, r)
			if o.Loss == 0 {
				checkSpeed(t, r)
			}
		})
	}
}

func check(t *testing.T, r Result) {
	for _, p := range r.Phases {
		t.Log(p)
		if p.Name != CutGet && (p.OK != p.Ops || p.Stale != 0) {
			t.Errorf("%s: %d of %d, %d stale", p.Name, p.OK, p.Ops, p.Stale)
		}
	}
	t.Logf("healed after %v, idle %.3f datagrams/s, %.0f octets a node", r.HealedAfter, r.IdleDatagrams, r.BytesPerNode)
	if r.HealedAfter < 0 {
		t.Error("not healed within a minute")
	}
	if r.IdleDatagrams > 0.2 {
		t.Errorf("%.3f datagrams/s when idle", r.IdleDatagrams)
	}
}

func checkSpeed(t *testing.T, r Result) {
	requests := 20.0
	if r.Options.Membership {
		requests = 10
	}
	for _, name := range []string{GetFresh, GetUpdated, GetJoined, GetRepublished} {
		p := r.Phase(name)
		if p.P50 > 60*time.Millisecond || p.P95 > 150*time.Millisecond || p.Requests > requests {
			t.Errorf("too slow: %v", p)
		}
	}
	if p := r.Phase(GetKilled); p.P50 > 300*time.Millisecond {
		t.Errorf("too slow: %v", p)
	}
}

// The heap of an empty node; a run of its own, because tests beside it allocate too.
func TestMemory(t *testing.T) {
	n := network(Options{}.filled())
	before := heap()
	nodes := n.Build(100, dhtConfig(false))
	each := float64(heap()-before) / float64(len(nodes))
	runtime.KeepAlive(n)
	t.Logf("%.0f octets", each)
	if each > 300e3 {
		t.Errorf("%.0f octets a node", each)
	}
}

func TestLiars(t *testing.T) {
	for name, o := range map[string]Options{
		"iterative":  {Seed: 7},
		"membership": {Seed: 8, Membership: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := Liars(o, 0.2)
			t.Log(r.Store)
			t.Log(r.Get)
			t.Log(r.GetOrdinary)
			if r.Get.OK < r.Get.Ops*98/100 {
				t.Errorf("%d of %d right", r.Get.OK, r.Get.Ops)
			}
		})
	}
}

// A run is the same for the same seed.
func TestDeterminism(t *testing.T) {
	o := Options{Nodes: 25, Records: 20, Loss: 0.05, Seed: 3}
	a, b := Run(o), Run(o)
	for i := range a.Phases {
		if a.Phases[i] != b.Phases[i] {
			t.Errorf("%v\n%v", a.Phases[i], b.Phases[i])
		}
	}
	if a.IdleDatagrams != b.IdleDatagrams || a.HealedAfter != b.HealedAfter {
		t.Errorf("idle %v and %v, healed after %v and %v", a.IdleDatagrams, b.IdleDatagrams, a.HealedAfter, b.HealedAfter)
	}
}
