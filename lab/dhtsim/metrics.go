package dhtsim

import (
	"runtime"
	"time"
)

// Metric is one number of the benchmark, with what it should reach.
type Metric struct {
	Name   string
	Value  float64
	Unit   string
	Target float64
	Less   bool // smaller is better
}

// Met tells whether the target is reached.
func (m Metric) Met() bool {
	if m.Less {
		return m.Value <= m.Target
	}
	return m.Value >= m.Target
}

// gets are the phases in which every answer has to be right.
var gets = []string{GetFresh, GetUpdated, GetKilled, GetJoined, GetRepublished}

// Benchmark plays the scenario in both modes, then the one with liars, and returns
// what `lab bench dht` prints. Progress is told of each phase.
func Benchmark(seed uint64, progress func(format string, args ...any)) []Metric {
	var list []Metric
	bytes := EmptyNode(100, seed)
	for _, mode := range []struct {
		name       string
		membership bool
		requests   float64
	}{{"iterative", false, 20}, {"membership known", true, 10}} {
		r := Run(Options{Membership: mode.membership, Seed: seed})
		for _, p := range r.Phases {
			progress("%s: %v", mode.name, p)
		}
		list = append(list, r.metrics(mode.name, mode.requests)...)
	}
	for _, membership := range []bool{false, true} {
		r := Liars(Options{Membership: membership, Seed: seed}, 0.2)
		progress("20 %% liars, membership %v: %v", membership, r.Get)
		name := "20 % colluding liars, lookups right, iterative"
		if membership {
			name = "20 % colluding liars, lookups right, membership known"
		}
		list = append(list, Metric{Name: name, Value: percent(r.Get), Unit: "%", Target: 98})
	}
	return append(list, Metric{Name: "memory of an empty node", Value: bytes / 1e6, Unit: "MB", Target: 0.3, Less: true})
}

func (r Result) metrics(mode string, requests float64) []Metric {
	ok, stale := 100.0, 0.0
	for _, name := range append([]string{Store, Update, Republish}, gets...) {
		p := r.Phase(name)
		ok = min(ok, percent(p))
		stale += float64(p.Stale)
	}
	worst := Phase{}
	for _, name := range gets {
		p := r.Phase(name)
		if name != GetKilled {
			worst.P50, worst.P95 = max(worst.P50, p.P50), max(worst.P95, p.P95)
		}
		worst.Requests = max(worst.Requests, p.Requests)
	}
	healed := r.HealedAfter.Seconds()
	if r.HealedAfter < 0 {
		healed = time.Hour.Seconds()
	}
	less := func(name string, value float64, unit string, target float64) Metric {
		return Metric{Name: name + ", " + mode, Value: value, Unit: unit, Target: target, Less: true}
	}
	return []Metric{
		{Name: "store and get succeed, worst phase, " + mode, Value: ok, Unit: "%", Target: 99.9},
		less("stale answers", stale, "answers", 0),
		less("get p50, worst phase", ms(worst.P50), "ms", 60),
		less("get p95, worst phase", ms(worst.P95), "ms", 150),
		less("get p50 right after 30 % died", ms(r.Phase(GetKilled).P50), "ms", 300),
		less("RPCs a get, worst phase", worst.Requests, "RPCs", requests),
		less("99 % fresh on the other side after healing", healed, "s", 60),
		less("idle traffic a node", r.IdleDatagrams, "datagrams/s", 0.2),
	}
}

func percent(p Phase) float64    { return 100 * float64(p.OK) / float64(p.Ops) }
func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// EmptyNode is the heap in octets of a node that stores nothing, among count like it.
// Nothing else may allocate meanwhile.
func EmptyNode(count int, seed uint64) float64 {
	n := network(Options{Seed: seed}.filled())
	before := heap()
	n.Build(count, dhtConfig(false))
	after := heap()
	runtime.KeepAlive(n)
	return float64(after-before) / float64(count)
}
