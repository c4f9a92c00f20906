package babelsim

// Component numbers the connected parts of the network, by links that are not down.
func (w *Network) Component() []int {
	part := make([]int, len(w.Nodes))
	for i := range part {
		part[i] = -1
	}
	around := make([][]int, len(w.Nodes))
	for _, l := range w.Links {
		if !l.Down {
			around[l.A] = append(around[l.A], l.B)
			around[l.B] = append(around[l.B], l.A)
		}
	}
	next := 0
	for i := range part {
		if part[i] >= 0 {
			continue
		}
		part[i] = next
		for todo := []int{i}; len(todo) > 0; {
			at := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			for _, b := range around[at] {
				if part[b] < 0 {
					part[b] = next
					todo = append(todo, b)
				}
			}
		}
		next++
	}
	return part
}

// usable tells whether there is a link between two nodes that is not down.
func (w *Network) usable() map[[2]int]bool {
	m := make(map[[2]int]bool)
	for _, l := range w.Links {
		if !l.Down {
			m[[2]int{l.A, l.B}], m[[2]int{l.B, l.A}] = true, true
		}
	}
	return m
}

// Wrong counts the ordered pairs of nodes of which the first should reach the
// second by following next hops and does not, or has a route where there is no way.
func (w *Network) Wrong() (unreached, stale int) {
	part, links := w.Component(), w.usable()
	const (
		unknown = iota
		good
		bad
	)
	state := make([]byte, len(w.Nodes))
	var path []int
	for dst := range w.Nodes {
		clear(state)
		state[dst] = good
		for i := range w.Nodes {
			path = path[:0]
			at := i
			for state[at] == unknown {
				path = append(path, at)
				state[at] = bad // until the end of the way is known; a loop stays bad
				hop := int(w.Nodes[at].nextHop[dst])
				if hop < 0 || !links[[2]int{at, hop}] {
					break
				}
				at = hop
			}
			if state[at] == good {
				for _, k := range path {
					state[k] = good
				}
			}
			switch {
			case part[i] == part[dst] && state[i] != good:
				unreached++
			case part[i] != part[dst] && w.Nodes[i].nextHop[dst] >= 0:
				stale++
			}
		}
	}
	return unreached, stale
}

// Complete tells whether every node reaches every other of its part of the network.
func (w *Network) Complete() bool {
	unreached, _ := w.Wrong()
	return unreached == 0
}

// Full is a cheap test to be made before Complete: every node has a route to every other.
func (w *Network) Full() bool { return w.routes == len(w.Nodes)*(len(w.Nodes)-1) }

// Right tells whether routes are exactly those that should be.
func (w *Network) Right() bool {
	unreached, stale := w.Wrong()
	return unreached == 0 && stale == 0
}
