package bench

import (
	"context"
	"fmt"
	"time"

	"globalnet/lab"
	"globalnet/lab/topology"
)

func init() {
	Register(Bench{Name: "mesh", Summary: "all that the mesh promises", Parts: []Part{
		{"first-ping", "two lone routers come into reach", firstPingPart},
		{"convergence", "a line and a grid, all started at once", convergencePart},
		{"silent", "a link dies silently under traffic", recoveryPart(silentDeath)},
		{"down", "an interface goes down under traffic", recoveryPart(interfaceDown)},
		{"tcp", "TCP through 1, 2, 3 hops, beside yggdrasil", tcpPart("TCP", "", 2)},
		{"tcp-small", "the same with small memory, and what the agents take", tcpPart("TCP, small memory", small, 1)},
		{"idle", "what an idle grid sends and takes", idlePart},
		{"memory", "an agent with four neighbours", memoryPart},
		simPart,
	}})
}

func firstPingPart(ctx context.Context, e Env) ([]Result, error) {
	times, err := firstPing(ctx, e, e.Times(20))
	if len(times) == 0 {
		return nil, err
	}
	return []Result{
		Less("two lone routers, in reach to first ping, median", Median(times), "s", 1.5),
		Info("two lone routers, in reach to first ping, 90 %", Quantile(times, 0.9), "s", "less"),
		Info("two lone routers, in reach to first ping, n", float64(len(times)), "runs", "more"),
	}, err
}

// firstPing lets two routers run out of reach of each other until both are up,
// brings them into reach, and measures until the first echo reply.
func firstPing(ctx context.Context, e Env, n int) ([]time.Duration, error) {
	var times []time.Duration
	for i := range n {
		d, err := firstPingOnce(ctx, e, uint64(i+1))
		if err != nil {
			return times, fmt.Errorf("run %d: %w", i+1, err)
		}
		times = append(times, d)
		e.Logf("  in reach to first ping %2d/%d: %.3f s (load average %s)", i+1, n, d.Seconds(), load())
	}
	return times, nil
}

func firstPingOnce(ctx context.Context, e Env, seed uint64) (time.Duration, error) {
	t, err := topology.Parse(fmt.Sprintf("router a b\nradio a b\nseed %d", seed))
	if err != nil {
		return 0, err
	}
	l := lab.New(t, lab.Options{Agent: e.Agent, Manual: true})
	defer l.Stop()
	if err := l.Start(ctx); err != nil {
		return 0, err
	}
	if err := l.Cut("a", "b"); err != nil {
		return 0, err
	}
	if err := l.StartAgents(); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := l.WaitAgents(ctx); err != nil {
		return 0, err
	}
	// Lone routers speak every second: meet at any moment of that second.
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(2*time.Second + time.Duration(seed*137%1000)*time.Millisecond):
	}
	p, err := lab.NewPinger(l.Node("a").Namespace())
	if err != nil {
		return 0, err
	}
	defer p.Close()
	to, err := l.Node("b").Address()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := l.Heal("a", "b"); err != nil {
		return 0, err
	}
	if _, err := p.Until(ctx, to, 10*time.Millisecond); err != nil {
		return 0, err
	}
	return time.Since(began), nil
}
