package bench

import (
	"strings"
	"testing"
	"time"

	"globalnet/lab/dhtsim"
)

// The report shows the worst of all runs and phases, and says so when a goal is missed.
func TestDHTResultsShowTheWorst(t *testing.T) {
	phase := func(name string, ok, stale int, p50 time.Duration) dhtsim.Phase {
		return dhtsim.Phase{Name: name, Ops: 100, OK: ok, Stale: stale, P50: p50, P95: 2 * p50, Requests: float64(p50 / time.Millisecond)}
	}
	good := dhtsim.Result{Phases: []dhtsim.Phase{
		phase(dhtsim.Store, 100, 0, time.Second), phase(dhtsim.GetFresh, 100, 0, 10*time.Millisecond),
		phase(dhtsim.GetKilled, 100, 0, 200*time.Millisecond),
		phase(dhtsim.CutGet, 0, 100, time.Hour), // must not count
	}, HealedAfter: 5 * time.Second, IdleDatagrams: 0.1, BytesPerNode: 1e5}
	results, err := dhtResults("x", []dhtsim.Result{good}, 20)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Met == nil || !*r.Met || !strings.HasPrefix(r.Metric, "x, ") {
			t.Errorf("%+v", r)
		}
	}
	bad := good
	bad.Phases = []dhtsim.Phase{phase(dhtsim.GetJoined, 97, 2, 90*time.Millisecond), phase(dhtsim.GetKilled, 100, 0, 301*time.Millisecond)}
	bad.HealedAfter, bad.IdleDatagrams, bad.BytesPerNode = -1, 0.3, 4e5
	results, err = dhtResults("x", []dhtsim.Result{bad, good}, 20)
	if err == nil {
		t.Error("a network that did not heal is no error")
	}
	for i, want := range []float64{97, 2, 90, 180, 301, 90, 3600, 0.3, 0.4} {
		if r := results[i]; r.Value != want || *r.Met {
			t.Errorf("%s: %v, met %v; want %v", r.Metric, r.Value, *r.Met, want)
		}
	}
}

func TestDHTBenchesAreThere(t *testing.T) {
	for _, name := range []string{"dht", "dht-replication"} {
		if b, ok := Find(name); !ok || len(b.Parts) == 0 {
			t.Errorf("no benchmark %s", name)
		}
	}
}

func TestCompareDHTTable(t *testing.T) {
	r := dhtsim.Result{Phases: []dhtsim.Phase{{Name: dhtsim.GetKilled, Ops: 50, OK: 49, Stale: 1, P50: 2 * time.Second, Requests: 30}}, BytesPerNode: 2e5}
	var out strings.Builder
	compareDHTTable(Report{Machine: "m", Results: append(comparedDHT(oursIterative, dhtsim.Result{}), comparedDHT(anacrolix, r)...)}, &out)
	for _, want := range []string{"died, right", " 98.0 |", "died, stale", " 2000 |", " 30.0 |", " 0.200 |", "anacrolix/dht |", " - |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}
