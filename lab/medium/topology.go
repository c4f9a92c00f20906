package medium

import "math"

// edge is one direction between two nodes on one channel.
type edge struct {
	from, to string
	channel  int
}

type position struct{ x, y float64 }

// topology says who hears whom, from explicit edges, positions, cuts and partitions.
type topology struct {
	generation uint64 // grows with every change; caches compare it
	edges      map[edge]Quality
	adjusted   map[[2]string]Quality // quality set by hand for a pair in reach by position
	positions  map[string]position
	reach      float64 // in the unit of positions; 0: positions mean nothing
	near       Quality // between nodes in reach of each other
	cuts       map[[2]string]bool
	groups     map[string]int // partition; absent means group 0
}

func newTopology() topology {
	return topology{
		generation: 1,
		edges:      map[edge]Quality{},
		adjusted:   map[[2]string]Quality{},
		positions:  map[string]position{},
		cuts:       map[[2]string]bool{},
		groups:     map[string]int{},
	}
}

// quality reports whether and how well to hears from.
func (t *topology) quality(from, to string, channel int) (Quality, bool) {
	if t.cuts[[2]string{from, to}] || t.groups[from] != t.groups[to] {
		return Quality{}, false
	}
	if q, ok := t.edges[edge{from, to, channel}]; ok {
		return q, true
	}
	a, aPlaced := t.positions[from]
	b, bPlaced := t.positions[to]
	if t.reach <= 0 || !aPlaced || !bPlaced || math.Hypot(a.x-b.x, a.y-b.y) > t.reach {
		return Quality{}, false
	}
	if q, ok := t.adjusted[[2]string{from, to}]; ok {
		return q, true
	}
	return t.near, true
}

// SetEdge lets to hear from on a channel, wherever they are.
func (t *topology) SetEdge(from, to string, channel int, q Quality) {
	t.edges[edge{from, to, channel}] = q
	t.generation++
}

// Adjust changes the quality from one node to another on all channels on which
// an edge is set, and of the reach by position. It reports whether one ever hears the other.
func (t *topology) Adjust(from, to string, change func(*Quality)) bool {
	found := false
	for e, q := range t.edges {
		if e.from == from && e.to == to {
			change(&q)
			t.edges[e] = q
			found = true
		}
	}
	_, aPlaced := t.positions[from]
	_, bPlaced := t.positions[to]
	if aPlaced && bPlaced && t.reach > 0 {
		q, ok := t.adjusted[[2]string{from, to}]
		if !ok {
			q = t.near
		}
		change(&q)
		t.adjusted[[2]string{from, to}] = q
		found = true
	}
	t.generation++
	return found
}

// Place puts a node at a position, or moves it there.
func (t *topology) Place(node string, x, y float64) {
	t.positions[node] = position{x, y}
	t.generation++
}

// SetReach lets all placed nodes hear each other up to a distance, with quality q.
func (t *topology) SetReach(distance float64, q Quality) {
	t.reach, t.near = distance, q
	t.generation++
}

// Cut keeps to from hearing from, until Heal.
func (t *topology) Cut(from, to string) {
	t.cuts[[2]string{from, to}] = true
	t.generation++
}

// Heal undoes Cut.
func (t *topology) Heal(from, to string) {
	delete(t.cuts, [2]string{from, to})
	t.generation++
}

// Partition divides the nodes: those of different groups do not hear each
// other. Nodes that are in no group form one together. No groups undo it.
func (t *topology) Partition(groups [][]string) {
	clear(t.groups)
	for i, g := range groups {
		for _, node := range g {
			t.groups[node] = i + 1
		}
	}
	t.generation++
}

// Partitioned reports whether two nodes are in different groups.
func (t *topology) Partitioned(a, b string) bool { return t.groups[a] != t.groups[b] }

// HealAll undoes all cuts and partitions. What Adjust changed stays.
func (t *topology) HealAll() {
	clear(t.cuts)
	clear(t.groups)
	t.generation++
}
