package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"globalnet/lab/dhtsim"
)

func init() {
	Register(Bench{Name: "dht", Summary: "the hash table: 100 nodes in one process, in virtual time", Parts: []Part{
		{"iterative", "nodes that find each other by lookups", dhtScenario("iterative", dhtsim.Options{}, 20)},
		{"membership", "nodes that know each other by their routes", dhtScenario("membership", dhtsim.Options{Membership: true}, 10)},
		{"liars", "20 % of the nodes collude", dhtLiars},
	}})
	Register(Bench{Name: "dht-replication", Summary: "how many nodes should hold a record: the tables behind the decision", Parts: []Part{
		{"tables", "formulas, a check by simulation, and real nodes that come and go; some minutes", replication},
	}})
}

// dhtScenario plays the scenario, -n times with other seeds, and reports the worst.
func dhtScenario(name string, o dhtsim.Options, requests float64) func(context.Context, Env) ([]Result, error) {
	return func(ctx context.Context, e Env) ([]Result, error) {
		var runs []dhtsim.Result
		for i := range e.Times(1) {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			o.Seed = uint64(i + 1)
			r := dhtsim.Run(o)
			for _, p := range r.Phases {
				e.Logf("  %v", p)
			}
			e.Logf("  %v of this machine", r.Wall.Round(time.Millisecond))
			runs = append(runs, r)
		}
		return dhtResults(name, runs, requests)
	}
}

// steady are the phases in which nobody has just died.
var steady = []string{dhtsim.GetFresh, dhtsim.GetUpdated, dhtsim.GetJoined, dhtsim.GetRepublished}

func dhtResults(name string, runs []dhtsim.Result, requests float64) ([]Result, error) {
	var errs []error
	percent, stale, healed := 100.0, 0, time.Duration(0)
	var p50, p95, killed time.Duration
	var rpcs, idle, memory float64
	for _, r := range runs {
		for _, p := range r.Phases {
			if p.Name == dhtsim.CutGet {
				continue // the newest is on the other side: there is no right answer
			}
			percent = min(percent, 100*float64(p.OK)/float64(max(p.Ops, 1)))
			stale += p.Stale
		}
		for _, s := range steady {
			p := r.Phase(s)
			p50, p95, rpcs = max(p50, p.P50), max(p95, p.P95), max(rpcs, p.Requests)
		}
		killed = max(killed, r.Phase(dhtsim.GetKilled).P50)
		idle, memory = max(idle, r.IdleDatagrams), max(memory, r.BytesPerNode)
		if r.HealedAfter < 0 {
			errs = append(errs, fmt.Errorf("%s: less than 99 %% fresh a minute after healing", name))
			healed = time.Hour
		}
		healed = max(healed, r.HealedAfter)
	}
	metric := func(s string) string { return name + ", " + s }
	return []Result{
		More(metric("stores and gets that succeed, worst phase"), percent, "%", 99.9),
		Less(metric("stale answers, all phases"), float64(stale), "answers", 0),
		Less(metric("get, median, slowest phase"), milliseconds(p50), "ms", 60),
		Less(metric("get, 95 of 100, slowest phase"), milliseconds(p95), "ms", 150),
		Less(metric("get, median, right after 30 % died"), milliseconds(killed), "ms", 300),
		Less(metric("requests of a get"), rpcs, "requests", requests),
		Less(metric("healed partition, until 99 % fresh on the other side"), healed.Seconds(), "s", 60),
		Less(metric("idle traffic of a node"), idle, "datagrams/s", 0.2),
		Less(metric("memory of an empty node"), memory/1e6, "MB", 0.3),
	}, errors.Join(errs...)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func dhtLiars(ctx context.Context, e Env) ([]Result, error) {
	worst, ordinary := 100.0, 100.0
	for i := range e.Times(1) {
		for _, membership := range []bool{false, true} {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			r := dhtsim.Liars(dhtsim.Options{Seed: uint64(i + 7), Membership: membership}, 0.2)
			e.Logf("  %v\n  %v\n  %v", r.Store, r.Get, r.GetOrdinary)
			worst = min(worst, 100*float64(r.Get.OK)/float64(max(r.Get.Ops, 1)))
			ordinary = min(ordinary, 100*float64(r.GetOrdinary.OK)/float64(max(r.GetOrdinary.Ops, 1)))
		}
	}
	return []Result{
		More("liars, lookups of several paths that are right", worst, "%", 98),
		Info("liars, ordinary lookups that are right", ordinary, "%", "more"),
	}, nil
}

func replication(_ context.Context, e Env) ([]Result, error) {
	dhtsim.Replication(e.Progress, 1)
	return []Result{
		Less("30 % of 200 nodes gone at once, all 8 holders among them", dhtsim.AllGone(200, 0.3, 8), "chance", 1e-3),
		Info("the same with 3 holders", dhtsim.AllGone(200, 0.3, 3), "chance", "less"),
		Info("the same with 20 holders", dhtsim.AllGone(200, 0.3, 20), "chance", "less"),
	}, nil
}
