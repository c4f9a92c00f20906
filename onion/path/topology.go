package path

import (
	"slices"

	"globalnet/internal/identity"
	"globalnet/onion/netdir"
)

// graph is the map of links as vouches and our own neighbours tell it.
type graph struct {
	start []int32 // of each node's neighbours in next; one more at the end
	next  []int32
}

func (g *graph) nodes() int { return len(g.start) - 1 }

func (g *graph) links(i int32) []int32 { return g.next[g.start[i]:g.start[i+1]] }

// link makes the graph, and the tree of shortest ways from this node.
func (v *view) link(self identity.NodeID) {
	node := func(n identity.NodeID) int32 {
		i, ok := v.index[n]
		if !ok {
			if len(v.index) >= len(v.list)+maxOthers {
				return free
			}
			i = v.self
			v.index[n] = i
			v.self++
		}
		return i
	}
	// The others come behind the relays; v.self counts them until it is this node's place.
	v.self = int32(len(v.list))
	me := node(self)
	edges := make([][2]int32, 0, len(v.neighbours)+4*len(v.list))
	add := func(a, b int32) bool {
		ok := a != free && b != free && a != b
		if ok {
			edges = append(edges, [2]int32{a, b})
		}
		return ok
	}
	for _, n := range v.neighbours {
		add(me, node(n))
	}
	room := make([]int32, 0, 4*len(v.list))
	for i := range v.list {
		first := len(room)
		for k, w := range v.list[i].Vouches {
			if j := node(w.Voucher); k < netdir.MaxVouches && add(int32(i), j) {
				room = append(room, j)
			}
		}
		v.vouchers[i] = room[first:len(room):len(room)]
	}
	nodes := int(v.self)
	v.self = me
	v.graph = makeGraph(nodes, edges)
	v.tree = make([]int32, nodes)
	v.graph.walk(v.self, make([]int32, 0, nodes), v.tree)
}

func makeGraph(nodes int, edges [][2]int32) graph {
	g := graph{start: make([]int32, nodes+1), next: make([]int32, 2*len(edges))}
	for _, e := range edges {
		g.start[e[0]]++
		g.start[e[1]]++
	}
	sum := int32(0)
	for i, n := range g.start {
		sum += n
		g.start[i] = sum // the end, for now
	}
	for _, e := range slices.Backward(edges) {
		for k := range e {
			g.start[e[k]]--
			g.next[g.start[e[k]]] = e[1-k]
		}
	}
	return g
}

// walk sets parent[i] to the node before i on a shortest way from root, root's to
// itself, and free where there is no way. It returns the nodes in the order of distance.
func (g *graph) walk(root int32, queue, parent []int32) []int32 {
	for i := range parent {
		parent[i] = free
	}
	parent[root] = root
	queue = append(queue[:0], root)
	for k := 0; k < len(queue); k++ {
		for _, j := range g.links(queue[k]) {
			if parent[j] == free {
				parent[j] = queue[k]
				queue = append(queue, j)
			}
		}
	}
	return queue
}

// markFirst marks all nodes of the segment from this node to the first hop.
func (c *Chooser) markFirst(first int32) {
	clear(c.marked)
	c.marked[first], c.marked[c.view.self] = true, true
	for i := first; i != c.view.self && c.view.tree[i] != free; {
		i = c.view.tree[i]
		c.marked[i] = true
	}
}

// taint finds the nodes whose way to root meets the first segment. shared says that
// root is the first hop itself, which is in both segments as it has to be.
func (c *Chooser) taint(root int32, shared bool) {
	copy(c.tainted, c.marked)
	c.tainted[root] = c.marked[root] && !shared
	c.queue = c.view.graph.walk(root, c.queue, c.parent)
	for _, i := range c.queue[1:] {
		c.tainted[i] = c.marked[i] || c.tainted[c.parent[i]]
	}
}
