package topology

import (
	"fmt"
	"strconv"
	"strings"

	"globalnet/lab/medium"
)

// String writes the description that Parse reads as the same topology, one
// statement a node, edge, wire.
func (t *Topology) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d\n", t.Seed)
	for _, n := range t.Nodes {
		if n.Kind == Client {
			fmt.Fprintf(&b, "client %s on %s\n", n.Name, n.Router)
		} else {
			fmt.Fprintf(&b, "%s %s\n", n.Kind, n.Name)
		}
	}
	for _, n := range t.Nodes {
		if n.Placed {
			fmt.Fprintf(&b, "place %s %s %s\n", n.Name, decimal(n.X), decimal(n.Y))
		}
	}
	if t.Reach > 0 {
		fmt.Fprintf(&b, "range %s channel=%d%s\n", decimal(t.Reach), t.ReachChannel, formatQuality(t.ReachQuality))
	}
	for _, e := range t.Edges {
		fmt.Fprintf(&b, "radio %s %s one-way channel=%d%s\n", e.From, e.To, e.Channel, formatQuality(e.Quality))
	}
	for _, w := range t.Wires {
		if w.Name == "" {
			fmt.Fprintf(&b, "wire %s\n", strings.Join(w.Nodes, " "))
		} else {
			fmt.Fprintf(&b, "segment %s %s\n", w.Name, strings.Join(w.Nodes, " "))
		}
	}
	for _, u := range t.Uplinks {
		fmt.Fprintf(&b, "uplink %s", strings.Join(u.Nodes, " "))
		if u.NAT != NATNone {
			fmt.Fprintf(&b, " nat=%s", u.NAT)
		}
		b.WriteByte('\n')
	}
	for _, p := range t.Peers {
		fmt.Fprintf(&b, "peer %s %s\n", p.From, p.To)
	}
	for _, o := range t.Options {
		fmt.Fprintf(&b, "set %s %s %s\n", o.Node, o.Name, o.Value)
	}
	return b.String()
}

func formatQuality(q medium.Quality) string {
	var b strings.Builder
	if q.Loss != 0 {
		fmt.Fprintf(&b, " loss=%s", decimal(q.Loss))
	}
	if q.Delay != 0 {
		fmt.Fprintf(&b, " delay=%v", q.Delay)
	}
	if q.Jitter != 0 {
		fmt.Fprintf(&b, " jitter=%v", q.Jitter)
	}
	if q.Rate != 0 {
		fmt.Fprintf(&b, " rate=%d", q.Rate)
	}
	return b.String()
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
