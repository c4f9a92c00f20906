package bench

import (
	"context"
	"fmt"
	"net"
	"time"

	"globalnet/agent/control"
	"globalnet/lab/onionlab"
	"globalnet/lab/peers"
)

// agentsServices is a client, six relays and a host of services on one cable.
const agentsServices = `router c r1 r2 r3 r4 r5 r6 h
segment cable c r1 r2 r3 r4 r5 r6 h
set * wireguard user
`

// serviceAgents measures the whole: `globalnet service add` of the host, and visits
// through the client's SOCKS, on a machine that plays all nodes.
func serviceAgents(ctx context.Context, e Env) ([]Result, error) {
	ctx, cancel := context.WithTimeout(ctx, serviceTime)
	defer cancel()
	t, err := newTrial(ctx, e, agentsServices, peers.GlobalNet{})
	if err != nil {
		return nil, err
	}
	defer t.stop()
	if _, err := t.start(ctx); err != nil {
		return nil, err
	}
	host, client := t.lab.Node("h"), t.lab.Node("c")
	var l net.Listener
	err = host.Namespace().Do(func() error {
		l, err = new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:8080")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("file server: %w", err)
	}
	defer onionlab.Serve(l)()
	ours, visitor := control.NewClient(host.Socket()), control.NewClient(client.Socket())
	visits, offers := 0, 0
	s := &servicing{name: "agents", u: &user{do: client.Namespace().Do, proxy: agentsProxy},
		offer: func(ctx context.Context) (string, error) {
			if offers++; offers > 1 {
				if err := ours.RemoveService(ctx, fmt.Sprintf("files%d", offers-1)); err != nil {
					return "", err
				}
			}
			added, err := ours.AddService(ctx, control.ServiceRequest{Name: fmt.Sprintf("files%d", offers),
				Ports: []control.ServicePort{{Port: 80, Target: l.Addr().String()}}})
			return added.Address + ":80", err
		},
		fresh: func(ctx context.Context, cached bool) (string, error) {
			if !cached {
				visits++
				return fmt.Sprintf("visit%d", visits), nil
			}
			return fmt.Sprintf("visit%d", visits), part(ctx, visitor)
		},
	}
	if err := wait(ctx, 3*time.Second); err != nil {
		return nil, err
	}
	p := servicePlanOf(e.Times(3), false)
	p.down = 64e6
	m, err := s.measure(ctx, e, p)
	if m.first == nil {
		return nil, err
	}
	results := []Result{Less("whole agents, from `service add` to the first visit, median", Median(m.first), "s", 3)}
	for _, r := range comparedServices("agents", m) {
		if r.Metric = "whole agents, " + r.Metric[:len(r.Metric)-len(separator+"agents")]; r.Unit != "s" {
			results = append(results, r)
		}
	}
	return results, err
}

// part closes the circuits of a client that lead to services.
func part(ctx context.Context, c *control.Client) error {
	list, err := c.Circuits(ctx)
	if err != nil {
		return err
	}
	for _, circuit := range list {
		if circuit.Purpose != "service" {
			continue
		}
		if err := c.CloseCircuit(ctx, circuit.ID); err != nil {
			return err
		}
	}
	return nil
}
