package bench

import (
	"context"
	"errors"
	"fmt"

	"globalnet/lab/babelsim"
)

func init() {
	Register(Bench{Name: "babelsim", Summary: "Babel on up to 1000 simulated nodes, in virtual time", Parts: []Part{simPart}})
}

var simPart = Part{"simulation", "1000 nodes in virtual time, with a table that extrapolates to 10 000", simulate}

func simulate(_ context.Context, e Env) ([]Result, error) {
	measured := babelsim.Scaling(babelsim.Sizes, 1)
	if err := babelsim.Print(e.Progress, measured); err != nil {
		return nil, err
	}
	var results []Result
	var errs []error
	for _, m := range measured {
		name := fmt.Sprintf("simulation of %d nodes", m.Nodes)
		converged := 1.0
		if !m.Converged {
			converged = 0
			errs = append(errs, fmt.Errorf("%s: not converged", name))
		}
		if m.Loop != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, m.Loop))
		}
		if m.Nodes == 1000 {
			results = append(results, More(name+", converges", converged, "of 1", 1))
		}
		results = append(results, simResults(name, m)...)
	}
	far := babelsim.Extrapolate(measured, 10_000)
	return append(results, simResults("extrapolated to 10000 nodes", far)...), errors.Join(errs...)
}

func simResults(name string, m babelsim.Result) []Result {
	return []Result{
		Info(name+", convergence", m.Convergence.Seconds(), "s", "less"),
		Info(name+", Babel a node, idle", m.BytesPerNode, "B/s", "less"),
		Info(name+", routes a node", m.Routes, "routes", "less"),
		Info(name+", tables a node", m.Routes*m.BytesPerRoute/1000, "kB", "less"),
	}
}
