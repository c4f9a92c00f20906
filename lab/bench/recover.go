package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"globalnet/lab/peers"
)

// recovery says how links die.
type recovery struct {
	name   string
	silent bool    // frames vanish; else the carrier goes
	target float64 // seconds
}

var (
	silentDeath   = recovery{"silent death of a link under traffic", true, 3}
	interfaceDown = recovery{"interface down under traffic", false, 0.5}
)

// recoveries kills n links of a network one after the other, each with traffic
// between its two ends, and measures how long that traffic stops. Between two
// deaths the link is healed and the traffic must take it again.
func recoveries(ctx context.Context, e Env, p peers.Program, description string, r recovery, n int) ([]time.Duration, error) {
	t, err := newTrial(ctx, e, description, p)
	if err != nil {
		return nil, err
	}
	defer t.stop()
	if _, err := t.start(ctx); err != nil {
		return nil, fmt.Errorf("%s, %s: %w", p.Name(), title(description), err)
	}
	// The same links in the same order for every program.
	draw := rand.New(rand.NewPCG(1, uint64(len(t.lab.Topology.Wires))))
	order := draw.Perm(len(t.lab.Topology.Wires))
	var times []time.Duration
	for i := range n {
		link := t.lab.Topology.Wires[order[i%len(order)]].Nodes
		phase := time.Duration(draw.Int64N(int64(4 * time.Second)))
		d, err := t.recoveryOnce(ctx, link[0], link[1], r, phase)
		if err != nil {
			return times, fmt.Errorf("%s, %s, %s, run %d (%s-%s): %w", p.Name(), title(description), r.name, i+1, link[0], link[1], err)
		}
		times = append(times, d)
		e.Logf("  %s, %s, %s %d/%d (%s-%s): %.2f s (load average %s)",
			p.Name(), title(description), r.name, i+1, n, link[0], link[1], d.Seconds(), load())
	}
	return times, nil
}

func (t *trial) recoveryOnce(ctx context.Context, a, b string, r recovery, phase time.Duration) (time.Duration, error) {
	s, err := newStream(ctx, t.lab.Node(a), t.meshes[0].Address(b))
	if err != nil {
		return 0, err
	}
	defer s.stop()
	if err := t.untilCrossing(ctx, a, b); err != nil {
		return 0, err
	}
	if err := wait(ctx, phase); err != nil {
		return 0, err
	}
	kill := t.lab.Cut
	if r.silent {
		kill = t.lab.Silent
	}
	began := time.Now()
	if err := kill(a, b); err != nil {
		return 0, err
	}
	dead := time.Now()
	defer t.lab.Heal(a, b)
	for limit := dead.Add(patience); time.Now().Before(limit); {
		if at, ok := s.resumed(dead, time.Now()); ok {
			return at.Sub(began), nil
		}
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("no traffic for %v", patience)
}

// untilCrossing returns once the traffic of a stream from a to b has gone over
// the wire between them for three seconds.
func (t *trial) untilCrossing(ctx context.Context, a, b string) error {
	const reading = 500 * time.Millisecond
	const enough = uint64(reading/streamEvery) * 8 / 10
	last, err := t.lab.Node(a).Interfaces()
	if err != nil {
		return err
	}
	good := 0
	for limit := time.Now().Add(patience); time.Now().Before(limit); {
		if err := wait(ctx, reading); err != nil {
			return err
		}
		now, err := t.lab.Node(a).Interfaces()
		if err != nil {
			return err
		}
		was, is := last["wire-"+b], now["wire-"+b]
		last = now
		if is.TxPackets-was.TxPackets < enough || is.RxPackets-was.RxPackets < enough {
			good = 0
			continue
		}
		if good++; good == 6 {
			return nil
		}
	}
	return errors.New("the traffic does not take the link")
}

func recoveryPart(r recovery) func(context.Context, Env) ([]Result, error) {
	return func(ctx context.Context, e Env) ([]Result, error) {
		var results []Result
		for _, description := range []string{ring6, grid25} {
			times, err := recoveries(ctx, e, peers.GlobalNet{}, description, r, e.Times(9))
			if len(times) > 0 {
				name := title(description) + ", " + r.name + ", traffic flows again"
				results = append(results,
					Less(name+", median", Median(times), "s", r.target),
					Info(name+", worst", Quantile(times, 1), "s", "less"),
					Info(name+", n", float64(len(times)), "runs", "more"))
			}
			if err != nil {
				return results, err
			}
		}
		return results, nil
	}
}
