package mesh

import (
	"context"
	"maps"
	"math/bits"
	"net/netip"
	"sort"
	"time"
)

// Status returns a copy of the node's state.
func (n *Node) Status(ctx context.Context) (Status, error) {
	var s Status
	err := n.do(ctx, func(now time.Time) { s = n.snapshot(now) })
	return s, err
}

// Neighbours returns a copy of that part of the state.
func (n *Node) Neighbours(ctx context.Context) (list []Neighbour, err error) {
	err = n.do(ctx, func(now time.Time) { list = n.neighbourList(now) })
	return list, err
}

// lossOf is the share of Hellos that did not come, from the first one in the history on.
func lossOf(reach uint16) int {
	if reach == 0 {
		return -1
	}
	expected := 16 - bits.TrailingZeros16(reach)
	return 100 * (expected - bits.OnesCount16(reach)) / expected
}

func (n *Node) snapshot(now time.Time) Status {
	s := Status{
		Node:     n.id,
		Address:  n.id.Address(),
		Network:  n.cfg.Network,
		Uptime:   now.Sub(n.started),
		Known:    n.cfg.Book.Len(),
		Counters: maps.Clone(n.counters),
	}
	for _, more := range []map[string]uint64{n.speaker.Counters(), n.engine.Counters()} {
		for name, value := range more {
			s.Counters[name] += value
		}
	}
	for name, seg := range n.segments {
		st := InterfaceStatus{Name: name, Up: seg.beacon != nil, Radio: seg.iface.Radio}
		for _, p := range seg.iface.Addresses {
			st.Addresses = append(st.Addresses, p.String())
		}
		if seg.err != nil {
			st.Error = seg.err.Error()
		}
		if seg.beacon != nil {
			for name, value := range seg.beacon.Counters() {
				s.Counters[name] += value
			}
		}
		s.Interfaces = append(s.Interfaces, st)
	}
	byGateway := make(map[string]*neighbour)
	for _, nb := range n.neighbours {
		byGateway[nb.ifname] = nb
	}
	s.Neighbours = n.neighbourList(now)
	for _, r := range n.speaker.Routes() {
		st := RouteStatus{
			Destination: r.Prefix, Gateway: r.NextHop, Ifname: r.Ifname,
			Metric: r.Metric, Seqno: r.Seqno, Selected: r.Selected, Feasible: r.Feasible, Age: r.Age,
		}
		if nb := byGateway[r.Ifname]; nb != nil {
			st.Neighbour = nb.node.String()
		}
		s.Routes = append(s.Routes, st)
	}
	sort.Slice(s.Interfaces, func(i, j int) bool { return s.Interfaces[i].Name < s.Interfaces[j].Name })
	sort.Slice(s.Routes, func(i, j int) bool {
		a, b := &s.Routes[i], &s.Routes[j]
		if c := a.Destination.Addr().Compare(b.Destination.Addr()); c != 0 {
			return c < 0
		}
		return a.Metric < b.Metric
	})
	return s
}

func (n *Node) neighbourList(now time.Time) []Neighbour {
	type heard struct {
		cost uint16
		rtt  time.Duration
		loss int
	}
	costs := make(map[string]heard)
	for _, b := range n.speaker.Neighbours() {
		costs[b.Ifname] = heard{b.Cost, b.RTT, lossOf(b.Reach)}
	}
	var list []Neighbour
	for _, nb := range n.neighbours {
		e := Neighbour{
			Node: nb.node, Address: nb.node.Address(), Ifname: nb.ifname,
			State: nb.state.String(), Class: nb.class.String(), Via: nb.est.Ifname,
			Cost: 0xffff, Loss: -1, Since: now.Sub(nb.since), LastHandshake: -1,
			RxBytes: nb.stats.last.RxBytes, TxBytes: nb.stats.last.TxBytes, Restarts: nb.restarts,
		}
		if c, ok := costs[nb.ifname]; ok {
			e.Cost, e.RTT, e.Loss = c.cost, c.rtt, c.loss
		}
		if endpoint := cmpValid(nb.stats.last.Endpoint, nb.est.Remote); endpoint.IsValid() {
			e.Endpoint = endpoint.String()
		}
		if nb.stats.known && !nb.stats.last.LastHandshake.IsZero() {
			e.LastHandshake = now.Sub(nb.stats.handshakeAt)
		}
		list = append(list, e)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Ifname < list[j].Ifname })
	return list
}

func cmpValid(a, b netip.AddrPort) netip.AddrPort {
	if a.IsValid() {
		return a
	}
	return b
}
