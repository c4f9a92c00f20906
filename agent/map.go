package agent

import (
	"cmp"
	"context"
	"net/netip"
	"sort"
	"time"

	"globalnet/agent/control"
	"globalnet/internal/identity"
	"globalnet/mesh"
	"globalnet/onion/netdir"
)

// Bounds of the map.
const (
	maxMapNodes = 500
	maxMapLinks = 4 * maxMapNodes
)

// Map returns the neighbourhood: what the mesh has routes to, and what relays say of
// their neighbours.
func (a *Agent) Map(ctx context.Context) (control.Map, error) {
	s, err := a.node.Status(ctx)
	if err != nil {
		return control.Map{}, err
	}
	var relays []netdir.Relay
	if a.onion != nil {
		relays = a.onion.node.Directory().Relays(time.Now())
	}
	a.mu.Lock()
	names := make(map[string]string, len(a.config.Names))
	for _, n := range a.config.Names {
		names[n.Node.String()] = n.Name
	}
	own := cmp.Or(a.config.Web.Name, names[s.Node.String()])
	relaying := a.config.Onion.Enabled && a.config.Onion.Relay
	exit := a.config.Onion.Enabled && a.config.Exit.Policy != "none"
	a.mu.Unlock()
	m := newMapping(s, relays, names)
	self := m.node(s.Node.String())
	self.Self, self.Relay, self.Exit, self.Metric, self.Name = true, relaying, exit, 0, own
	return m.finish(), nil
}

// mapping is a map that is drawn.
type mapping struct {
	names map[string]string
	nodes map[string]*control.MapNode
	links map[[2]string]control.MapLink
}

func newMapping(s mesh.Status, relays []netdir.Relay, names map[string]string) *mapping {
	m := &mapping{names: names, nodes: make(map[string]*control.MapNode), links: make(map[[2]string]control.MapLink)}
	ids := make(map[netip.Addr]identity.NodeID, len(relays))
	for _, r := range relays {
		ids[r.Node.Address()] = r.Node
	}
	self := s.Node.String()
	for _, n := range s.Neighbours {
		if n.State != "up" {
			continue
		}
		id := n.Node.String()
		ids[n.Address] = n.Node
		m.node(id).Neighbour = true
		m.link(self, id, control.MapLink{Kind: n.Class, Cost: n.Cost, RTT: n.RTT})
	}
	for _, r := range s.Routes {
		if !r.Selected || !identity.MeshPrefix.Contains(r.Destination.Addr()) || r.Destination.Addr() == s.Address {
			continue
		}
		id := r.Destination.Addr().String()
		if known, ok := ids[r.Destination.Addr()]; ok {
			id = known.String()
		}
		n := m.node(id)
		n.Metric, n.Via = r.Metric, r.Neighbour
		if r.Neighbour != id && r.Neighbour != "" {
			m.node(r.Neighbour).Gateway = true
		}
	}
	offers := offersOf(s.Routes)
	for _, r := range relays {
		id := r.Node.String()
		if n := m.nodes[id]; n != nil {
			n.Relay, n.Exit = true, r.Exit.IsExit()
		}
		for _, v := range r.Vouches {
			other := v.Voucher.String()
			if m.nodes[id] != nil && m.nodes[other] != nil && id != self && other != self {
				m.link(id, other, control.MapLink{Kind: "vouch", Cost: offers.between(r.Node.Address(), v.Voucher.Address())})
			}
		}
	}
	return m
}

// offers are the metrics that each neighbour offers, our link to it included.
type offers map[string]map[netip.Addr]uint16

func offersOf(routes []mesh.RouteStatus) offers {
	o := make(offers)
	for _, r := range routes {
		if r.Metric == 0xffff {
			continue
		}
		if o[r.Neighbour] == nil {
			o[r.Neighbour] = make(map[netip.Addr]uint16)
		}
		o[r.Neighbour][r.Destination.Addr()] = r.Metric
	}
	return o
}

// between is what a link of two others costs at least, for all that we know: a neighbour to
// which one of them is nearer than the other would go there over a link that costs less
// than the difference. 0: no neighbour offers both, or they are equally near.
func (o offers) between(a, b netip.Addr) (least uint16) {
	for _, metrics := range o {
		if x, y := metrics[a], metrics[b]; x != 0 && y != 0 {
			least = max(least, max(x, y)-min(x, y))
		}
	}
	return least
}

func (m *mapping) node(id string) *control.MapNode {
	if m.nodes[id] == nil {
		m.nodes[id] = &control.MapNode{ID: id, Name: m.names[id], Metric: 0xffff}
	}
	return m.nodes[id]
}

// link keeps what was said first: of our own links we know most.
func (m *mapping) link(a, b string, l control.MapLink) {
	l.A, l.B = min(a, b), max(a, b)
	if _, ok := m.links[[2]string{l.A, l.B}]; !ok {
		m.links[[2]string{l.A, l.B}] = l
	}
}

// finish keeps the nearest nodes and the links between them.
func (m *mapping) finish() control.Map {
	out := control.Map{Nodes: make([]control.MapNode, 0, len(m.nodes))}
	for _, n := range m.nodes {
		out.Nodes = append(out.Nodes, *n)
	}
	sort.Slice(out.Nodes, func(i, j int) bool {
		a, b := &out.Nodes[i], &out.Nodes[j]
		if a.Self != b.Self {
			return a.Self
		}
		if a.Metric != b.Metric {
			return a.Metric < b.Metric
		}
		return a.ID < b.ID
	})
	if out.More = max(len(out.Nodes)-maxMapNodes, 0); out.More > 0 {
		for _, n := range out.Nodes[maxMapNodes:] {
			delete(m.nodes, n.ID)
		}
		out.Nodes = out.Nodes[:maxMapNodes:maxMapNodes]
	}
	for _, l := range m.links {
		if m.nodes[l.A] != nil && m.nodes[l.B] != nil {
			out.Links = append(out.Links, l)
		}
	}
	sort.Slice(out.Links, func(i, j int) bool {
		a, b := &out.Links[i], &out.Links[j]
		if own := a.Kind != "vouch"; own != (b.Kind != "vouch") {
			return own
		}
		if a.A != b.A {
			return a.A < b.A
		}
		return a.B < b.B
	})
	out.Links = out.Links[:min(len(out.Links), maxMapLinks)]
	return out
}
