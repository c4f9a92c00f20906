package bench

import (
	"context"
	"fmt"
	"time"

	"globalnet/lab/peers"
)

// converge measures n times how long a program takes, started on all routers at
// once, until every router reaches every other.
func converge(ctx context.Context, e Env, p peers.Program, description string, n int) ([]time.Duration, error) {
	var times []time.Duration
	for i := range n {
		d, err := convergeOnce(ctx, e, p, fmt.Sprintf("%sseed %d\n", description, i+1))
		if err != nil {
			return times, fmt.Errorf("%s, %s, run %d: %w", p.Name(), title(description), i+1, err)
		}
		times = append(times, d)
		e.Logf("  %s, %s, all pairs reachable %d/%d: %.2f s (load average %s)", p.Name(), title(description), i+1, n, d.Seconds(), load())
	}
	return times, nil
}

func convergeOnce(ctx context.Context, e Env, p peers.Program, description string) (time.Duration, error) {
	t, err := newTrial(ctx, e, description, p)
	if err != nil {
		return 0, err
	}
	defer t.stop()
	return t.start(ctx)
}

func convergencePart(ctx context.Context, e Env) ([]Result, error) {
	var results []Result
	for _, x := range []struct {
		description, name string
		target            float64
	}{
		{line10, "line of 10, wires", 5},
		{"line 10\n", "line of 10, radios", 5},
		{grid25, "grid of 25, wires", 8},
		{"grid 5x5\n", "grid of 25, radios", 8},
	} {
		times, err := converge(ctx, e, peers.GlobalNet{}, x.description, e.Times(5))
		if len(times) > 0 {
			results = append(results,
				Less(x.name+", start to all pairs reachable, median", Median(times), "s", x.target),
				Info(x.name+", start to all pairs reachable, worst", Quantile(times, 1), "s", "less"))
		}
		if err != nil {
			return results, err
		}
	}
	return results, nil
}
