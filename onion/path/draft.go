package path

import (
	"slices"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
)

// draft is a path under construction.
type draft struct {
	hops    []int32
	target  *cell.Target
	goal    int32 // the target, if it is a relay: it must not see where the stream comes from
	guarded bool  // the first hop is to be a guard
}

// scratch is memory that each choice uses anew.
type scratch struct {
	banned   []bool
	families []int // how many hops are of each
	marked   []bool
	tainted  []bool
	parent   []int32
	queue    []int32

	flow       []uint64
	candidates []int32
}

// fit makes room for what belongs to v.
func (c *Chooser) fit(v *view) {
	n := v.graph.nodes()
	c.scratch = scratch{banned: make([]bool, len(v.list)), families: make([]int, v.nFamilies), marked: make([]bool, n),
		tainted: make([]bool, n), parent: make([]int32, n), queue: make([]int32, 0, n), flow: make([]uint64, n+1)}
}

// begin notes what the draft must not have besides its own hops.
func (c *Chooser) begin(d *draft, avoid []identity.NodeID) {
	clear(c.banned)
	clear(c.families)
	d.goal = free
	if d.target != nil {
		d.goal = c.view.relay(d.target.Node)
	}
	for _, n := range avoid {
		if i := c.view.relay(n); i != free {
			c.banned[i] = true
		}
	}
	for _, i := range d.hops {
		c.use(i)
	}
}

// use keeps i and its families out of the other hops.
func (c *Chooser) use(i int32) { c.count(i, 1) }

// drop takes use back.
func (c *Chooser) drop(i int32) { c.count(i, -1) }

func (c *Chooser) count(i int32, n int) {
	if i == free {
		return
	}
	c.banned[i] = n > 0
	for _, f := range c.view.families[i] {
		c.families[f] += n
	}
}

// fits reports whether i goes together with the hops in use.
func (c *Chooser) fits(i int32) bool {
	return !c.banned[i] && !slices.ContainsFunc(c.view.families[i], func(f int32) bool { return c.families[f] > 0 })
}

// carries reports whether i may be a hop before the last.
func (c *Chooser) carries(d *draft, i int32) bool {
	return c.view.carry[i] && (i != d.goal || len(d.hops) == 1) && c.fits(i)
}

// ends reports whether i may be the last hop.
func (c *Chooser) ends(d *draft, i int32) bool {
	v := c.view
	switch {
	case d.target == nil || d.target.Node != [32]byte{}:
		return v.carry[i] && c.fits(i)
	default:
		return v.exit[i] && c.fits(i) && v.list[i].Exit.Allows(*d.target)
	}
}

func (c *Chooser) anyLast(d *draft) bool {
	for i := range c.view.list {
		if c.ends(d, int32(i)) {
			return true
		}
	}
	return false
}

// together returns how long a path could be: how many relays that go together are
// found by taking whichever comes first. Exact but for families.
func (c *Chooser) together(d *draft) int {
	n := 0
	var used []int32
	for _, i := range d.hops {
		if i != free {
			n++
		}
	}
	for i := range c.view.list {
		if n+len(used) >= len(d.hops) {
			break
		}
		if i := int32(i); c.carries(d, i) || c.ends(d, i) {
			c.use(i)
			used = append(used, i)
		}
	}
	for _, i := range used {
		c.drop(i)
	}
	return n + len(used)
}

const (
	exitTries  = 8 // last hops tried with one guard
	firstTries = 4 // first hops tried where there is no guard
)

// search completes d: first with all rules, then without that of shared transit, and
// with ever worse guards.
func (c *Chooser) search(d *draft) (hops []int32, relaxed []Rule) {
	try := func(first int32, strict bool) bool {
		hops = c.attempt(d, first, strict)
		if hops == nil {
			return false
		}
		if !strict && len(d.hops) > 1 && slices.Contains(d.hops, free) {
			relaxed = append(relaxed, RuleTransit)
		}
		return true
	}
	if !d.guarded {
		for _, strict := range []bool{true, false} {
			for range firstTries {
				first := d.hops[0]
				if first == free && len(d.hops) > 1 {
					first = c.drawMiddle(func(i int32) bool { return c.carries(d, i) })
				}
				if (first != free || len(d.hops) == 1) && try(first, strict) {
					return hops, relaxed
				}
			}
		}
		return nil, nil
	}
	ready, resting := c.guards()
	down := func(g int32) bool { return slices.Contains(resting, g) }
	attempt := func(list []int32, strict bool) bool {
		for _, g := range list {
			if c.carries(d, g) && try(g, strict) {
				relaxed = append(relaxed, c.guardRules(g, down(g))...)
				return true
			}
		}
		return false
	}
	switch {
	case attempt(ready[:min(len(ready), primaries)], true), attempt(ready, false):
	default:
		// None of the guards goes with the rest of the path, or none answers.
		var more []int32
		if g := c.grow(func(i int32) bool { return c.carries(d, i) }); g != free {
			more = []int32{g}
		}
		more = append(more, resting...)
		if !attempt(more, true) {
			attempt(more, false)
		}
	}
	return hops, relaxed
}

// attempt completes d with the given first hop; free means that the path has one hop,
// the last. It leaves d and the marks of use as they were.
func (c *Chooser) attempt(d *draft, first int32, strict bool) []int32 {
	hops := slices.Clone(d.hops)
	if first != hops[0] {
		hops[0] = first
		c.use(first)
		defer c.drop(first)
	}
	last, before := len(hops)-1, len(hops)-2
	strict = strict && len(hops) > 1 && slices.Contains(d.hops, free)
	clean := func(int32) bool { return true } // as a last hop
	if strict {
		c.markFirst(hops[0])
		clean = func(i int32) bool { return !c.marked[i] }
		if hops[before] != free {
			c.taint(hops[before], before == 0)
			clean = func(i int32) bool { return !c.tainted[i] }
			if c.tainted[hops[before]] {
				return nil
			}
		}
	}
	if hops[last] != free {
		if strict && !clean(hops[last]) {
			return nil
		}
		if c.between(d, hops, strict) {
			return hops
		}
		return nil
	}
	var tried []int32
	weight := c.view.weight
	if d.target == nil {
		weight = c.view.middle
	}
	for range exitTries {
		ok := func(i int32) bool { return clean(i) && c.ends(d, i) && !slices.Contains(tried, i) }
		exit := c.draw(weight, ok)
		if exit == free && d.target == nil {
			exit = c.draw(c.view.weight, ok)
		}
		if exit == free {
			return nil
		}
		hops[last] = exit
		c.use(exit)
		done := c.between(d, hops, strict)
		c.drop(exit)
		if done {
			return hops
		}
		tried = append(tried, exit)
	}
	return nil
}

// between chooses the free hops between the first and the last. If it cannot, hops
// are as they were.
func (c *Chooser) between(d *draft, hops []int32, strict bool) bool {
	last := len(hops) - 1
	chosen := make([]int, 0, len(hops))
	defer func() {
		for _, k := range chosen {
			c.drop(hops[k])
		}
	}()
	// The hop before the last comes first, for it has one more condition.
	for k := last - 1; k > 0; k-- {
		if hops[k] != free {
			continue
		}
		ok := func(i int32) bool { return c.carries(d, i) }
		if strict && k == last-1 {
			c.taint(hops[last], false)
			ok = func(i int32) bool { return !c.tainted[i] && c.carries(d, i) }
		}
		i := c.drawMiddle(ok)
		if i == free {
			for _, k := range chosen {
				c.drop(hops[k])
				hops[k] = free
			}
			chosen = chosen[:0]
			return false
		}
		hops[k] = i
		c.use(i)
		chosen = append(chosen, k)
	}
	return true
}

// drawMiddle draws a middle: an exit only where exits are plenty or nothing else is left.
func (c *Chooser) drawMiddle(ok func(int32) bool) int32 {
	if i := c.draw(c.view.middle, ok); i != free {
		return i
	}
	return c.draw(c.view.weight, ok)
}
