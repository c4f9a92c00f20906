package bench

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"globalnet/lab"
	"globalnet/lab/onionlab"
	"globalnet/lab/peers"
	"globalnet/lab/topology"
)

// agentsOnion is a client, five relays and an exit, on one cable: each link of a
// circuit is one hop of the mesh.
const agentsOnion = `router c r1 r2 r3 r4 r5 x
segment cable c r1 r2 r3 r4 r5 x
uplink x
set * wireguard user
set x exit.policy all
set x exit.allow_private 203.0.113.0/24
set x exit.rule accept 203.0.113.0/24:*
`

// agentsServer is the file server in the lab's internet.
var agentsServer = netip.AddrPortFrom(lab.WebServer, 8080)

// agentsProxy is where an agent's proxy listens.
var agentsProxy = netip.MustParseAddrPort("127.0.0.1:18248")

// onionAgents measures the whole: it tells what users of the real thing get, on a
// machine that plays all nodes.
func onionAgents(ctx context.Context, e Env) ([]Result, error) {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	t, err := newTrial(ctx, e, agentsOnion, peers.GlobalNet{})
	if err != nil {
		return nil, err
	}
	defer t.stop()
	if _, err := t.start(ctx); err != nil {
		return nil, err
	}
	var l net.Listener
	err = t.lab.Node(topology.Internet).Namespace().Do(func() error {
		l, err = new(net.ListenConfig).Listen(ctx, "tcp4", agentsServer.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("file server: %w", err)
	}
	defer onionlab.Serve(l)()
	client := t.lab.Node("c")
	u := &user{do: client.Namespace().Do, proxy: agentsProxy, server: agentsServer.String(), hops: 3,
		client: func() int { return t.meshes[0].Pid("c") },
		relays: func() (list []int) {
			for _, n := range t.lab.Routers() {
				if n != client {
					list = append(list, t.meshes[0].Pid(n.Name))
				}
			}
			return list
		}}
	began := time.Now()
	if err := u.ready(ctx, "streams"); err != nil {
		return nil, err
	}
	m := measured{start: time.Since(began).Seconds()}
	if err := wait(ctx, 3*time.Second); err != nil {
		return nil, err
	}
	p := nearPlan(e.Times(3), false)
	p.down, p.up, p.ten, p.total = 64e6, 64e6, 16e6, 0
	err = u.measure(ctx, e, "agents", p, &m)
	var results []Result
	for _, r := range comparedOnion("", "agents", m) {
		r.Metric = "whole agents, " + r.Metric[:len(r.Metric)-len(separator+"agents")]
		results = append(results, r)
	}
	return slices.DeleteFunc(results, func(r Result) bool { return r.Metric == "whole agents, start to first reply, nothing remembered" }), err
}
