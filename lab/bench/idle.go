package bench

import (
	"context"
	"fmt"
	"time"

	"globalnet/lab/peers"
)

// idleCost is what a network costs that carries nothing, means of its routers.
type idleCost struct {
	babelBytes   float64 // a second, with IPv6 and UDP headers
	babelPackets float64 // a second
	wireBytes    float64 // a second: all that the routers send on their wires, with Ethernet headers
	cpu          float64 // per cent of one CPU
	rss, rssMost float64 // MiB
}

const (
	idleSettle = 30 * time.Second // after convergence
	idleFor    = 64 * time.Second // four of babeld's update intervals
)

// idle starts a network, lets it settle, and measures what it costs.
func idle(ctx context.Context, e Env, p peers.Program, description string) (c idleCost, counted float64, err error) {
	t, err := newTrial(ctx, e, description, p)
	if err != nil {
		return c, 0, err
	}
	defer t.stop()
	if _, err := t.start(ctx); err != nil {
		return c, 0, fmt.Errorf("%s, %s: %w", p.Name(), title(description), err)
	}
	e.Logf("  %s, %s: settling %v, counting %v (load average %s)", p.Name(), title(description), idleSettle, idleFor, load())
	if err := wait(ctx, idleSettle); err != nil {
		return c, 0, err
	}
	var captures []*capture
	defer func() {
		for _, x := range captures {
			x.close()
		}
	}()
	for _, n := range t.lab.Routers() {
		x, err := newCapture(n)
		if err != nil {
			return c, 0, err
		}
		captures = append(captures, x)
	}
	before, err := t.totals(ctx)
	if err != nil {
		return c, 0, err
	}
	if err := wait(ctx, idleFor); err != nil {
		return c, 0, err
	}
	after, err := t.totals(ctx)
	if err != nil {
		return c, 0, err
	}
	each := after.at.Sub(before.at).Seconds() * float64(len(captures))
	for _, x := range captures {
		c.babelBytes += float64(x.bytes.Load()) / each
		c.babelPackets += float64(x.packets.Load()) / each
	}
	c.wireBytes = float64(after.wire-before.wire) / each
	c.cpu = 100 * (after.cpu - before.cpu).Seconds() / each
	memories, err := t.memories(0)
	if err != nil {
		return c, 0, err
	}
	for _, m := range memories {
		c.rss += m.rss / float64(len(memories))
		c.rssMost = max(c.rssMost, m.rss)
	}
	return c, float64(after.agents-before.agents) / each, nil
}

// totals are sums over all routers.
type totals struct {
	at     time.Time
	wire   uint64
	agents uint64 // Babel bytes that our agents counted themselves
	cpu    time.Duration
}

func (t *trial) totals(ctx context.Context) (totals, error) {
	s := totals{at: time.Now()}
	for _, n := range t.lab.Routers() {
		counters, err := n.Interfaces()
		if err != nil {
			return s, err
		}
		for name, c := range counters {
			if len(name) > 5 && name[:5] == "wire-" {
				s.wire += c.TxBytes
			}
		}
		if n.Pid() != 0 {
			st, err := n.Status(ctx)
			if err != nil {
				return s, err
			}
			s.agents += st.Counters["babel_bytes_sent"]
		}
	}
	var err error
	s.cpu, err = t.cpu(0)
	return s, err
}

func idlePart(ctx context.Context, e Env) ([]Result, error) {
	c, counted, err := idle(ctx, e, peers.GlobalNet{}, grid25)
	if err != nil {
		return nil, err
	}
	return []Result{
		Less("grid of 25, idle, Babel with IPv6 and UDP headers, a node", c.babelBytes, "B/s", 263),
		Info("grid of 25, idle, the same as the agents count it", counted, "B/s", "less"),
		Info("grid of 25, idle, Babel packets a node", c.babelPackets, "1/s", "less"),
		Info("grid of 25, idle, all that a node sends on its wires", c.wireBytes, "B/s", "less"),
		Info("grid of 25, idle, CPU of an agent", c.cpu, "%", "less"),
		Info("grid of 25, idle, RSS of an agent, mean", c.rss, "MiB", "less"),
	}, nil
}

// memoryPart measures an agent with four neighbours.
func memoryPart(ctx context.Context, e Env) ([]Result, error) {
	var results []Result
	for _, x := range []struct {
		name, options string
		target        float64
	}{
		{"userspace WireGuard", userspace, 40},
		{"userspace WireGuard, small memory", userspace + small, 40},
	} {
		m, err := memoryOnce(ctx, e, star5+x.options)
		if err != nil {
			return results, err
		}
		results = append(results,
			Less("RSS of an agent with 4 neighbours, "+x.name+", idle", m.rss, "MiB", x.target),
			Info("RSS of an agent with 4 neighbours, "+x.name+", peak", m.peak, "MiB", "less"))
	}
	return results, nil
}

func memoryOnce(ctx context.Context, e Env, description string) (memory, error) {
	t, err := newTrial(ctx, e, description, peers.GlobalNet{})
	if err != nil {
		return memory{}, err
	}
	defer t.stop()
	if _, err := t.start(ctx); err != nil {
		return memory{}, err
	}
	if err := wait(ctx, idleSettle); err != nil {
		return memory{}, err
	}
	return memoryOf(t.meshes[0].Pid("hub"))
}
