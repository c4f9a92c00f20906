package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"globalnet/lab/peers"
)

func init() {
	Register(Bench{Name: "compare", Summary: "beside babeld and yggdrasil, in the same networks", Print: compareTable, Parts: []Part{
		{"convergence", "a line and a grid, all started at once", compareConvergence},
		{"down", "an interface goes down under traffic", compareRecovery(interfaceDown)},
		{"silent", "a link dies silently under traffic", compareRecovery(silentDeath)},
		{"idle", "what an idle grid sends and takes", compareIdle},
		{"tcp", "TCP through 1, 2, 3 hops", compareTCP},
	}})
}

// separator stands between the metric and the program in the name of a result.
const separator = ": "

func of(p peers.Program, metric string, value float64, unit, better string) Result {
	return Info(metric+separator+p.Name(), value, unit, better)
}

// installed lists those programs that can run here, and says how to get the others.
func installed(e Env, programs ...peers.Program) []peers.Program {
	var have []peers.Program
	for _, p := range programs {
		if err := p.Check(); err != nil {
			e.Logf("  %v; going on without", err)
			continue
		}
		have = append(have, p)
	}
	return have
}

func everyone(e Env) []peers.Program {
	return installed(e, peers.GlobalNet{}, peers.Babeld{}, peers.Yggdrasil{})
}

func compareConvergence(ctx context.Context, e Env) ([]Result, error) {
	var results []Result
	var errs []error
	for _, description := range []string{line10, grid25} {
		for _, p := range everyone(e) {
			times, err := converge(ctx, e, p, description, e.Times(3))
			if len(times) > 0 {
				results = append(results, of(p, title(description)+", start to all pairs reachable", Median(times), "s", "less"))
			}
			errs = append(errs, err)
		}
	}
	return results, errors.Join(errs...)
}

func compareRecovery(r recovery) func(context.Context, Env) ([]Result, error) {
	return func(ctx context.Context, e Env) ([]Result, error) {
		var results []Result
		var errs []error
		for _, description := range []string{ring6, grid25} {
			for _, p := range everyone(e) {
				times, err := recoveries(ctx, e, p, description, r, e.Times(5))
				if len(times) > 0 {
					metric := title(description) + ", " + r.name
					results = append(results, of(p, metric+", median", Median(times), "s", "less"),
						of(p, metric+", worst", Quantile(times, 1), "s", "less"))
				}
				errs = append(errs, err)
			}
		}
		return results, errors.Join(errs...)
	}
}

func compareIdle(ctx context.Context, e Env) ([]Result, error) {
	var results []Result
	var errs []error
	for _, p := range everyone(e) {
		c, _, err := idle(ctx, e, p, grid25)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if c.babelPackets > 0 {
			results = append(results,
				of(p, "grid of 25, idle, Babel a node", c.babelBytes, "B/s", "less"),
				of(p, "grid of 25, idle, Babel packets a node", c.babelPackets, "1/s", "less"))
		}
		results = append(results,
			of(p, "grid of 25, idle, all a node sends on its wires", c.wireBytes, "B/s", "less"),
			of(p, "grid of 25, idle, CPU of a process", c.cpu, "%", "less"),
			of(p, "grid of 25, idle, RSS of a process, mean", c.rss, "MiB", "less"))
	}
	return results, errors.Join(errs...)
}

func compareTCP(ctx context.Context, e Env) ([]Result, error) {
	var results []Result
	programs := installed(e, peers.GlobalNet{}, peers.Yggdrasil{})
	for _, x := range []struct{ name, options string }{{"TCP", ""}, {"TCP, our memory small", small}} {
		measured, err := tcp(ctx, e, line4+userspace+x.options, programs, e.Times(5))
		if err != nil {
			return results, err
		}
		for hop := 1; hop <= hops; hop++ {
			for i, p := range programs {
				results = append(results, of(p, x.name+", "+distance(hop), measured[i].rate(hop), "Mbit/s", "more"))
			}
		}
		for hop := 1; hop <= hops; hop++ {
			for i, p := range programs {
				results = append(results, of(p, x.name+", "+distance(hop)+", CPU of all processes", measured[i].seconds(hop), "s/GB", "less"))
			}
		}
		for i, p := range programs {
			results = append(results, of(p, x.name+", RSS of the largest process", measured[i].peak, "MiB", "less"))
		}
	}
	return results, nil
}

// compareTable prints one line a metric and one column a program, as Markdown.
func compareTable(r Report, w io.Writer) {
	markdown(r, w, []string{peers.GlobalNet{}.Name(), peers.Babeld{}.Name(), peers.Yggdrasil{}.Name()})
	fmt.Fprint(w, `
All programs ran in the same namespaces over the same wires, with their default
intervals, and were measured from outside in the same way. What differs:
- GlobalNet encrypts each link (WireGuard in user space) and authenticates each
  neighbour; a start includes discovery, TLS, ICE and the WireGuard handshake.
- babeld runs directly on the wires and encrypts and authenticates nothing; it
  announces one IPv6 address a router, as GlobalNet does. Its traffic is forwarded
  by the kernel as it is, so its TCP rate would say nothing.
- yggdrasil encrypts links (TLS) and from end to end. It has no Babel; compare
  what it sends on its wires. Its TUN takes packets of 65535 bytes.
`)
}

// markdown prints the table itself.
func markdown(r Report, w io.Writer, columns []string) {
	type line struct{ metric, unit string }
	var lines []line
	values := map[line]map[string]float64{}
	for _, x := range r.Results {
		at := strings.LastIndex(x.Metric, separator)
		if at < 0 {
			continue
		}
		l := line{x.Metric[:at], x.Unit}
		if values[l] == nil {
			values[l] = map[string]float64{}
			lines = append(lines, l)
		}
		values[l][x.Metric[at+len(separator):]] = x.Value
	}
	fmt.Fprintf(w, "%s\n\n| %-56s | %-6s |", r.Machine, "", "unit")
	ruler := ""
	for _, c := range columns {
		fmt.Fprintf(w, " %9s |", c)
		ruler += strings.Repeat("-", max(len(c), 9)+1) + ":|"
	}
	fmt.Fprintf(w, "\n|%s|%s|%s\n", strings.Repeat("-", 58), strings.Repeat("-", 8), ruler)
	for _, l := range lines {
		fmt.Fprintf(w, "| %-56s | %-6s |", l.metric, l.unit)
		for _, c := range columns {
			cell := "-"
			if v, ok := values[l][c]; ok {
				cell = number(v)
			}
			fmt.Fprintf(w, " %*s |", max(len(c), 9), cell)
		}
		fmt.Fprintln(w)
	}
}

// number prints three digits that count, without an exponent.
func number(v float64) string {
	switch a := max(v, -v); {
	case a >= 100 || v == 0:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}
