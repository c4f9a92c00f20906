package bench

import (
	"context"
	"fmt"
	"time"

	"globalnet/lab/peers"
)

// hops are the distances over which TCP is measured, on a line of one router more.
const hops = 3

func distance(hop int) string {
	if hop == 1 {
		return "1 hop"
	}
	return fmt.Sprintf("%d hops", hop)
}

// tcpResult is what one program did.
type tcpResult struct {
	rates [hops + 1][]float64 // Mbit/s, by hops
	cpu   [hops + 1][]float64 // CPU seconds of the program's processes for a gigabyte, by hops
	peak  float64             // MiB, of the process that took most
}

func (r tcpResult) rate(hop int) float64    { return quantile(r.rates[hop], 0.5) }
func (r tcpResult) seconds(hop int) float64 { return quantile(r.cpu[hop], 0.5) }

// tcp measures programs that run beside each other on one line, taking turns.
func tcp(ctx context.Context, e Env, description string, programs []peers.Program, rounds int) ([]tcpResult, error) {
	t, err := newTrial(ctx, e, description, programs...)
	if err != nil {
		return nil, err
	}
	defer t.stop()
	if _, err := t.start(ctx); err != nil {
		return nil, err
	}
	if err := wait(ctx, 3*time.Second); err != nil {
		return nil, err
	}
	results := make([]tcpResult, len(programs))
	for round := range rounds {
		for hop := 1; hop <= hops; hop++ {
			for i, p := range programs {
				rate, cpu, err := t.tcpOnce(ctx, i, hop)
				if err != nil {
					return results, fmt.Errorf("%s, %s: %w", p.Name(), distance(hop), err)
				}
				r := &results[i]
				r.rates[hop] = append(r.rates[hop], rate)
				r.cpu[hop] = append(r.cpu[hop], cpu)
				memories, err := t.memories(i)
				if err != nil {
					return results, err
				}
				for _, m := range memories {
					r.peak = max(r.peak, m.peak)
				}
				e.Logf("  %s, %s %d/%d: %.0f Mbit/s, %.1f CPU s a GB (load average %s)", p.Name(), distance(hop), round+1, rounds, rate, cpu, load())
			}
		}
	}
	return results, nil
}

// tcpOnce returns Mbit/s and CPU seconds a gigabyte.
func (t *trial) tcpOnce(ctx context.Context, program, hop int) (rate, cpu float64, err error) {
	to := t.lab.Routers()[hop]
	before, err := t.cpu(program)
	if err != nil {
		return 0, 0, err
	}
	bytes, err := transfer(ctx, t.lab.Routers()[0], to, t.meshes[program].Address(to.Name))
	if err != nil {
		return 0, 0, err
	}
	after, err := t.cpu(program)
	if err != nil {
		return 0, 0, err
	}
	gigabytes := bytes * (transferWarm + transferFor).Seconds() / 1e9 // the time to warm up, taken as equal
	return bytes * 8 / 1e6, (after - before).Seconds() / gigabytes, nil
}

// tcpPart measures our rates, as multiples of yggdrasil's where that is installed.
func tcpPart(name, options string, times float64) func(context.Context, Env) ([]Result, error) {
	return func(ctx context.Context, e Env) ([]Result, error) {
		programs := []peers.Program{peers.GlobalNet{}}
		if err := (peers.Yggdrasil{}).Check(); err != nil {
			e.Logf("  %v; going on without", err)
		} else {
			programs = append(programs, peers.Yggdrasil{})
		}
		r, err := tcp(ctx, e, line4+userspace+options, programs, e.Times(5))
		if err != nil {
			return nil, err
		}
		var results []Result
		for hop := 1; hop <= hops; hop++ {
			at := name + ", " + distance(hop) + ", "
			results = append(results,
				Info(at+"median", r[0].rate(hop), "Mbit/s", "more"),
				Info(at+"CPU of all agents", r[0].seconds(hop), "s/GB", "less"))
			if len(r) > 1 {
				results = append(results,
					Info(at+"yggdrasil, median", r[1].rate(hop), "Mbit/s", "more"),
					Info(at+"yggdrasil, CPU of all processes", r[1].seconds(hop), "s/GB", "less"),
					More(at+"multiple of yggdrasil's rate", r[0].rate(hop)/r[1].rate(hop), "×", times))
			}
		}
		rss := Info(name+", RSS of the largest agent under load", r[0].peak, "MiB", "less")
		if options == small {
			rss = Less(rss.Metric, rss.Value, rss.Unit, 40)
		}
		results = append(results, rss)
		if len(r) > 1 {
			results = append(results, Info(name+", RSS of the largest yggdrasil under load", r[1].peak, "MiB", "less"))
		}
		return results, nil
	}
}
