package path

import (
	"slices"
	"testing"

	"globalnet/internal/identity"
	"globalnet/onion/netdir"
)

// town makes a mesh of the links; relay n has the options of opts[n].
func town(neighbours []int, links [][2]int, opts map[int][]option) *world {
	vouchers := make(map[int][]int)
	last := 0
	for _, l := range links {
		vouchers[l[0]] = append(vouchers[l[0]], l[1])
		last = max(last, l[0], l[1])
	}
	w := newWorld()
	for n := 1; n <= last; n++ {
		w.list = append(w.list, relay(n, append(opts[n], vouched(vouchers[n]...))...))
	}
	for _, n := range neighbours {
		w.neighbours = append(w.neighbours, id(n))
	}
	return w
}

//	0 ── 1 ── 2 ── 3 ── 4 (guard)
//	        ╱   ╲
//	(5)────       ────9 ── 8
//	 │                │    │
//	 6 (exit)         7 ───┘
//	                 (exit)
//
// Node 2 is on the way to the guard, and the only link between 5, 6 and 7, 8, 9.
var (
	cutLinks = [][2]int{{2, 1}, {3, 2}, {4, 3}, {5, 2}, {6, 5}, {9, 2}, {7, 9}, {8, 7}, {8, 9}}
	guard4   = []identity.NodeID{id(4)}
)

func TestSegmentsShareNoNode(t *testing.T) {
	w := town([]int{1}, cutLinks, map[int][]option{6: {exits}, 7: {exits}})
	for range 200 {
		path, relaxed := w.must(t, Need{Hops: 3, Fixed: guard4, Target: site})
		ok := path[2] == id(7) && (path[1] == id(8) || path[1] == id(9)) || path[2] == id(6) && path[1] == id(5)
		if !ok || len(relaxed) > 0 {
			t.Fatalf("path %v shares a node with the way to the guard; relaxed %v", path, relaxed)
		}
	}
}

func TestTransitIsRelaxedLast(t *testing.T) {
	// Exit 4 hangs behind the guard 3: every segment to it passes there.
	links := [][2]int{{2, 1}, {3, 2}, {4, 3}, {5, 2}, {6, 2}}
	w := town([]int{1}, links, map[int][]option{4: {exits}})
	path, relaxed := w.must(t, Need{Hops: 3, Fixed: []identity.NodeID{id(3)}, Target: site})
	if path[2] != id(4) || !slices.Contains(relaxed, RuleTransit) {
		t.Errorf("path %v, relaxed %v", path, relaxed)
	}
	// A path that is given whole is not judged.
	_, relaxed = w.must(t, Need{Hops: 3, Fixed: []identity.NodeID{id(3), id(2)}, Last: id(4)})
	if len(relaxed) != 0 {
		t.Errorf("a given path relaxed %v", relaxed)
	}
}

// Of two guards the first has no path that shares nothing, the second does.
//
//	0 ── 1 ── 2 (guard)      0 ── 5 (guard)       1 ── 3 (middle) and 1 ── 4 (exit)
func TestAnotherGuardBeforeSharing(t *testing.T) {
	links := [][2]int{{2, 1}, {3, 1}, {4, 1}, {6, 5}}
	w := town([]int{1, 5}, links, map[int][]option{4: {exits}})
	for range 100 {
		path, relaxed := w.must(t, Need{Hops: 3, Target: site})
		if path[0] != id(6) || slices.Contains(relaxed, RuleTransit) {
			t.Fatalf("path %v relaxed %v", path, relaxed)
		}
	}
}

func TestStubOfTwoAndPathOfTwo(t *testing.T) {
	// The first hop is in both segments, which is no fault; node 1 is.
	links := [][2]int{{1, 2}, {2, 3}, {3, 4}, {1, 5}}
	w := town([]int{1}, links, map[int][]option{4: {exits}, 5: {exits}})
	for range 50 {
		path, relaxed := w.must(t, Need{Hops: 2, Fixed: []identity.NodeID{id(2)}, Target: site})
		if path[1] != id(4) || len(relaxed) > 0 {
			t.Fatalf("path %v, relaxed %v", path, relaxed)
		}
	}
}

// Property: whatever is chosen without relaxing shares no node, by a plain search.
func TestSegmentsOfRandomMeshes(t *testing.T) {
	strict := 0
	for n := 12; n < 60; n++ {
		w := meshOf(n)
		for range 20 {
			path, relaxed := w.must(t, Need{Hops: 4, Target: site})
			if slices.Contains(relaxed, RuleTransit) {
				continue
			}
			strict++
			v := w.view
			first := segment(v, v.self, v.index[path[0]])
			for _, i := range segment(v, v.index[path[3]], v.index[path[2]]) {
				if slices.Contains(first, i) {
					t.Fatalf("node %d is in both segments", i)
				}
			}
		}
	}
	if strict < 600 {
		t.Errorf("of 960 paths only %d keep the rule", strict)
	}
}

// segment returns the nodes of a shortest way, both ends among them.
func segment(v *view, a, b int32) []int32 {
	parent := make([]int32, v.graph.nodes())
	v.graph.walk(a, nil, parent)
	way := []int32{b}
	for b != a && parent[b] != free {
		b = parent[b]
		way = append(way, b)
	}
	return append(way, a)
}

func TestVouchesOfStrangersAreBounded(t *testing.T) {
	var list []netdir.Relay
	for n := 1; n <= 1500; n++ {
		list = append(list, relay(n, vouched(10*n+5001, 10*n+5002, 10*n+5003, 10*n+5004)))
	}
	w := newWorld(list)
	w.must(t, three)
	if n := w.view.graph.nodes(); n > len(list)+maxOthers+1 {
		t.Errorf("%d nodes", n)
	}
}

// However many exits lie on the way to the guard, the one that does not is found.
func TestExitsOnTheFirstSegment(t *testing.T) {
	links := [][2]int{{21, 1}, {22, 21}}
	opts := map[int][]option{22: {exits, speed(1)}}
	for n := 2; n <= 20; n++ { // a line from 1 to the guard 20
		links = append(links, [2]int{n, n - 1})
		opts[n] = []option{exits, speed(1 << 30)}
	}
	opts[20] = nil
	w := town([]int{1}, links, opts)
	for range 20 {
		path, relaxed := w.must(t, Need{Hops: 3, Fixed: []identity.NodeID{id(20)}, Target: site})
		if path[1] != id(21) || path[2] != id(22) || len(relaxed) > 0 {
			t.Fatalf("path %v, relaxed %v", path, relaxed)
		}
	}
}
