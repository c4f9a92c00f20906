package bench

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"globalnet/lab"
	"globalnet/lab/peers"
	"globalnet/lab/topology"
)

// trial is a lab of its own with one program on all its routers, or several
// beside each other.
type trial struct {
	env    Env
	lab    *lab.Lab
	meshes []peers.Mesh // one a program
}

// newTrial builds the lab of a description and prepares the programs; none runs yet.
func newTrial(ctx context.Context, e Env, description string, programs ...peers.Program) (*trial, error) {
	top, err := topology.Parse(description)
	if err != nil {
		return nil, fmt.Errorf("topology %q: %w", description, err)
	}
	t := &trial{env: e, lab: lab.New(top, lab.Options{Agent: e.Agent, Manual: true})}
	if err := t.lab.Start(ctx); err != nil {
		return nil, err
	}
	for _, p := range programs {
		m, err := p.Prepare(ctx, t.lab)
		if err != nil {
			t.stop()
			return nil, fmt.Errorf("preparing %s: %w", p.Name(), err)
		}
		t.meshes = append(t.meshes, m)
	}
	return t, nil
}

func (t *trial) stop() {
	for _, m := range t.meshes {
		m.Stop()
	}
	t.lab.Stop()
}

// patience bounds how long anything may take to converge.
const patience = 2 * time.Minute

// start starts all programs and returns how long it took, from before the first
// process until every router had reached every other by ping.
func (t *trial) start(ctx context.Context) (time.Duration, error) {
	began := time.Now()
	for _, m := range t.meshes {
		if err := m.Start(); err != nil {
			return 0, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, m := range t.meshes {
		if err := t.allPairs(ctx, m.Address); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// allPairs returns once every router has had an answer from every other.
func (t *trial) allPairs(ctx context.Context, address func(string) netip.Addr) error {
	routers := t.lab.Routers()
	var missing atomic.Int64
	var all sync.WaitGroup
	for _, from := range routers {
		p, err := lab.NewPinger(from.Namespace())
		if err != nil {
			return err
		}
		defer p.Close()
		for _, to := range routers {
			if to == from {
				continue
			}
			all.Go(func() {
				if _, err := p.Until(ctx, address(to.Name), 200*time.Millisecond); err != nil {
					missing.Add(1)
				}
			})
		}
	}
	all.Wait()
	if n := missing.Load(); n > 0 {
		return fmt.Errorf("%d of %d pairs do not reach each other: %w", n, len(routers)*(len(routers)-1), context.Cause(ctx))
	}
	return nil
}

// wait lets time pass.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// The networks that are measured. Wires, because babeld and yggdrasil then run
// over the very same interfaces.
const (
	line4  = "line 4 wire\n"
	line10 = "line 10 wire\n"
	ring6  = "ring 6 wire\n"
	grid25 = "grid 5x5 wire\n"
	star5  = "router hub r1 r2 r3 r4\nwire hub r1\nwire hub r2\nwire hub r3\nwire hub r4\n"

	userspace = "set * wireguard user\n"
	small     = "set * memory small\n"
)

// title names a network in a table.
func title(description string) string {
	switch description {
	case line10:
		return "line of 10"
	case ring6:
		return "ring of 6"
	case grid25:
		return "grid of 25"
	}
	return strings.TrimSpace(description)
}
