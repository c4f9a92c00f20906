package dhtsim

import (
	"testing"
	"time"
)

// On links that lose every twentieth datagram, the scenario holds as well.
func TestLossyScenario(t *testing.T) {
	r := Run(Options{Nodes: 60, Loss: 0.05, Delay: 20 * time.Millisecond, Seed: 4})
	for _, p := range r.Phases {
		t.Log(p)
		if p.Name != CutGet && (p.OK != p.Ops || p.Stale != 0) {
			t.Errorf("%s: %d of %d, %d stale", p.Name, p.OK, p.Ops, p.Stale)
		}
	}
	if r.HealedAfter < 0 {
		t.Error("not healed within a minute")
	}
}

// Everything that the benchmark prints reaches its target.
func TestBenchmark(t *testing.T) {
	for _, m := range Benchmark(2, t.Logf) {
		t.Logf("%s: %.3g %s, target %g", m.Name, m.Value, m.Unit, m.Target)
		if !m.Met() {
			t.Errorf("%s: %.3g %s, target %g", m.Name, m.Value, m.Unit, m.Target)
		}
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
