package path

import (
	"cmp"
	"slices"
	"time"

	"globalnet/internal/identity"
)

const (
	sampleSize = 20 // guards that may ever be used, by and large
	maxSample  = 60 // when most of them have left the network
	primaries  = 3  // the first, which all is done to keep
	lifetime   = 120 * 24 * time.Hour
	spread     = lifetime / 10       // so that not all guards end together
	unlisted   = 20 * 24 * time.Hour // without a descriptor, and a guard is forgotten

	minRetry = 15 * time.Second
	maxRetry = time.Hour
	quiet    = 10 * time.Minute // without any success: we were cut off, not the guards

	biasCircuits = 20 // before a guard is judged
	biasPercent  = 30 // failures that make it rest
	biasMemory   = 200
	rest         = 24 * time.Hour

	maxPause = 24 * time.Hour // between two calls, if the clock was not set meanwhile
)

// guard is a relay that may be a first hop. Times are running times of the Chooser.
type guard struct {
	node      identity.NodeID
	age       time.Duration // since it was sampled
	missing   time.Duration // since it was last in the directory
	confirmed int           // it was used with success, as the how-manieth; 0: not yet
	spare     bool          // a newcomer, taken because nothing better would do

	failures int           // to reach it, in a row
	retry    time.Duration // not before, unless there is no other

	circuits int           // path bias: built, or failed behind it
	failed   int           // of circuits
	resting  time.Duration // until then
}

// guardSet is the sample, in the order in which it was drawn.
type guardSet struct {
	guards    []*guard
	confirmed int           // the largest guard.confirmed
	success   time.Duration // running time of the last
	changed   bool
}

// GuardStatus is what status shows of a guard.
type GuardStatus struct {
	Node             identity.NodeID
	Listed, Used     bool // in the directory; built a circuit at some time
	Down, Resting    bool
	Circuits, Failed int
}

// Guards returns the guards, those first that are preferred.
func (c *Chooser) Guards(now time.Time) []GuardStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refresh(now)
	var all []GuardStatus
	for _, g := range c.ordered() {
		all = append(all, GuardStatus{Node: g.node, Listed: c.place(g) != free, Used: g.confirmed > 0,
			Down: g.retry > c.run, Resting: g.resting > c.run, Circuits: g.circuits, Failed: g.failed})
	}
	return all
}

// age lets d pass.
func (s *guardSet) age(d time.Duration, v *view) {
	for _, g := range s.guards {
		g.age += d
		g.missing += d
		if v.relay(g.node) != free {
			g.missing = 0
		}
	}
}

func (s *guardSet) find(n identity.NodeID) *guard {
	if i := slices.IndexFunc(s.guards, func(g *guard) bool { return g.node == n }); i >= 0 {
		return s.guards[i]
	}
	return nil
}

// place returns where g is in the view, or free.
func (c *Chooser) place(g *guard) int32 {
	if i := c.view.relay(g.node); i != free && c.view.carry[i] {
		return i
	}
	return free
}

// ordered returns the guards in the order of preference.
func (c *Chooser) ordered() []*guard {
	rank := func(g *guard) int {
		i := c.place(g)
		switch {
		case i == free:
			return 0 // not used at all
		case g.spare && c.isNew(i):
			return 2
		case c.view.neighbour[i]:
			return 1
		}
		return 0
	}
	order := func(g *guard) int {
		if g.confirmed == 0 {
			return c.set.confirmed + 1
		}
		return g.confirmed
	}
	all := slices.Clone(c.set.guards)
	slices.SortStableFunc(all, func(a, b *guard) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(order(a), order(b)))
	})
	return all
}

// guards returns the guards that may be used now, best first, and those that may be
// tried if there is no other, the one that waits shortest first.
func (c *Chooser) guards() (ready, resting []int32) {
	var later []*guard
	for _, g := range c.ordered() {
		switch i := c.place(g); {
		case i == free:
		case g.retry > c.run || g.resting > c.run:
			later = append(later, g)
		default:
			ready = append(ready, i)
		}
	}
	slices.SortStableFunc(later, func(a, b *guard) int {
		return cmp.Compare(max(a.retry, a.resting), max(b.retry, b.resting))
	})
	for _, g := range later {
		resting = append(resting, c.place(g))
	}
	return ready, resting
}

func (c *Chooser) isNew(i int32) bool { return c.view.known(i, c.run) < newcomer }

// guardRules says what is wrong with a guard.
func (c *Chooser) guardRules(i int32, down bool) (rules []Rule) {
	if c.isNew(i) {
		rules = append(rules, RuleGuardNew)
	}
	if c.view.neighbour[i] {
		rules = append(rules, RuleGuardNeighbour)
	}
	if down {
		rules = append(rules, RuleGuardDown)
	}
	return rules
}

// class says how well a relay is fit to be a guard: the less the better.
func (c *Chooser) class(i int32) int {
	k := 0
	if c.isNew(i) {
		k = 2
	}
	if c.view.neighbour[i] {
		k++
	}
	return k
}

// classes is how many there are; those from newClass on are newcomers.
const classes, newClass = 4, 2

// keepGuards forgets guards whose time is over and fills the sample.
func (c *Chooser) keepGuards() {
	n := len(c.set.guards)
	c.set.guards = slices.DeleteFunc(c.set.guards, func(g *guard) bool { return g.age >= lifetime || g.missing >= unlisted })
	c.set.changed = c.set.changed || len(c.set.guards) != n
	var have [classes]int
	listed := 0
	for _, g := range c.set.guards {
		if i := c.place(g); i != free {
			have[c.class(i)]++
			listed++
		}
	}
	any := func(int32) bool { return true }
	for len(c.set.guards) < sampleSize || listed < primaries && len(c.set.guards) < maxSample {
		if c.sample(0, any) == free {
			break
		}
		have[0]++
		listed++
	}
	// Of worse classes only the best that there is serves, and as few as will do.
	good := 0
	for k := range classes {
		for good += have[k]; good < primaries && len(c.set.guards) < maxSample; good++ {
			if c.sample(k, any) == free {
				break
			}
		}
		if good > 0 {
			return
		}
	}
}

// grow adds one guard of the best class there is that ok accepts.
func (c *Chooser) grow(ok func(i int32) bool) int32 {
	if len(c.set.guards) >= sampleSize {
		return free
	}
	for k := range classes {
		if i := c.sample(k, ok); i != free {
			return i
		}
	}
	return free
}

// sample adds a guard of class k that ok accepts. Newcomers must have been known for
// half as long at least as the one that has been known for longest.
func (c *Chooser) sample(k int, ok func(i int32) bool) int32 {
	v := c.view
	fit := func(i int32) bool {
		return v.carry[i] && c.class(i) == k && ok(i) && c.set.find(v.list[i].Node) == nil
	}
	longest, old := time.Duration(0), false
	for i := range int32(len(v.list)) {
		if v.carry[i] && !c.isNew(i) {
			old = true
		}
		if k >= newClass && fit(i) {
			longest = max(longest, v.known(i, c.run))
		}
	}
	i := c.draw(v.weight, func(i int32) bool { return fit(i) && v.known(i, c.run) >= longest/2 })
	if i != free {
		c.set.guards = append(c.set.guards, &guard{node: v.list[i].Node, spare: old && k >= newClass,
			age: time.Duration(c.cfg.Rand.Int64N(int64(spread)))})
		c.set.changed = true
	}
	return i
}

// Report tells how a circuit through hops went: failed is the hop that could not be
// reached or made it fail, or -1 if it was built.
func (c *Chooser) Report(now time.Time, hops []identity.NodeID, failed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(now)
	if len(hops) == 0 {
		return
	}
	g := c.set.find(hops[0])
	if g == nil {
		return
	}
	if failed == 0 {
		if g.failures == 0 {
			g.count(true) // an outage counts once, however often we knock meanwhile
		}
		pause := min(minRetry<<min(g.failures, 16), maxRetry)
		g.failures++
		g.retry = c.run + pause - pause/5 + time.Duration(c.cfg.Rand.Int64N(int64(2*pause/5)))
	} else {
		g.failures, g.retry = 0, 0
		g.count(failed > 0)
	}
	if failed < 0 {
		c.succeeded(g)
	}
	if g.circuits >= biasCircuits && 100*g.failed > biasPercent*g.circuits {
		g.resting = c.run + rest
		g.circuits, g.failed = 0, 0
		c.set.changed = true
	}
}

func (c *Chooser) succeeded(g *guard) {
	if g.confirmed == 0 {
		c.set.confirmed++
		g.confirmed = c.set.confirmed
		c.set.changed = true
	}
	if c.run-c.set.success > quiet {
		// We were cut off: that others did not answer says nothing of them.
		for _, other := range c.set.guards {
			other.retry = 0
		}
	}
	c.set.success = c.run
}

// count adds a circuit to what is remembered for path bias.
func (g *guard) count(failed bool) {
	g.circuits++
	if failed {
		g.failed++
	}
	if g.circuits >= biasMemory {
		g.circuits, g.failed = g.circuits/2, g.failed/2
	}
}
