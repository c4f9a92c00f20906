// Package path chooses the relays of circuits: a lasting guard, middles and exits
// by measured weight, and the hops of paths that are written by hand.
//
// A Chooser owns the guards and what it has worked out of the directory. It does no
// I/O; its methods may be called from any goroutine. docs/protocols/paths.md has the
// rules, their numbers and their reasons. Guards are in the shape of guard-spec.
package path

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/netdir"
)

// Config is what a Chooser needs.
type Config struct {
	Self identity.NodeID
	// Rand draws guards and hops. Who can foresee it can foresee paths, so it must be
	// a ChaCha8 that was seeded from crypto/rand, and nobody else's.
	Rand *rand.Rand
	// Relays returns what the directory holds. While nothing changed it returns the
	// very same slice, while only measurements did the same Descriptors in the same
	// order: that saves working it out anew.
	Relays func(now time.Time) []netdir.Relay
	// Neighbours returns the nodes that this node has links with.
	Neighbours func() []identity.NodeID
}

// Need says what a path is for.
type Need struct {
	Hops   int               // of the whole path, 1 to cell.MaxHops
	Target *cell.Target      // the last hop must take it; nil: any relay
	Last   identity.NodeID   // exactly this last hop, whatever its policy says; zero: chosen
	Second identity.NodeID   // exactly this second hop, if it is not the last; zero: chosen
	Fixed  []identity.NodeID // the first hops, which are there already
	Avoid  []identity.NodeID // never chosen
	// NoGuard draws the first hop like a middle: for paths that are too short-lived or
	// too many for one guard, and that give nothing away.
	NoGuard bool
}

// Rule names a rule that could not be kept.
type Rule string

// The rules, in the order in which they are given up.
const (
	RuleTransit        Rule = "first and last segment share a transit node"
	RuleGuardNew       Rule = "guard is new"
	RuleGuardNeighbour Rule = "guard is a neighbour"
	RuleGuardDown      Rule = "guard did not answer lately"
)

// Choice is a path, and the rules that it breaks because there was no other.
type Choice struct {
	Relays  []netdir.Relay // all hops, those of Need.Fixed too
	Relaxed []Rule
}

// TooFewError means that there is no path of the wished length. Shorter ones are for
// the caller to ask for: they protect less.
type TooFewError struct {
	Want, Have int // hops; Have go together
}

func (e *TooFewError) Error() string {
	return fmt.Sprintf("a path of %d hops needs more relays, known are enough for %d", e.Want, e.Have)
}

// UnknownError means that a hop that was asked for is not in the directory.
type UnknownError struct {
	Hop  int // from 0
	Node identity.NodeID
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("%s: no usable descriptor of %s is known (yet); write another, or rand", hopPart(e.Hop), e.Node)
}

// ErrNoExit means that no relay which may be the last hop takes the target.
var ErrNoExit = errors.New("no known relay takes such a target")

// Chooser chooses paths for one node.
type Chooser struct {
	cfg Config

	mu   sync.Mutex
	last time.Time     // of the latest call
	run  time.Duration // for how long the Chooser has been in use, since New
	view *view
	set  guardSet
	scratch
}

// New returns a Chooser without guards; Load brings back those of an earlier run.
func New(cfg Config) *Chooser { return &Chooser{cfg: cfg, view: new(view)} }

// Choose returns a path for need. Where there is none the error is a *TooFewError, an
// *UnknownError or ErrNoExit.
func (c *Chooser) Choose(now time.Time, need Need) (Choice, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	preset := slices.Clone(need.Fixed)
	if need.Hops < 1 || need.Hops > cell.MaxHops {
		return Choice{}, fmt.Errorf("a path has 1 to %d hops, not %d", cell.MaxHops, need.Hops)
	}
	free := need.Hops - len(need.Fixed)
	if free < 1 {
		return Choice{}, fmt.Errorf("%d hops are there already, %d are wished", len(need.Fixed), need.Hops)
	}
	preset = append(preset, make([]identity.NodeID, free)...)
	if !need.Second.IsZero() && need.Hops > 2 && len(need.Fixed) < 2 {
		preset[1] = need.Second
	}
	if !need.Last.IsZero() {
		preset[need.Hops-1] = need.Last
	}
	return c.complete(now, preset, need.Target, need.Avoid, need.NoGuard)
}

// complete replaces the zero NodeIDs in preset by relays that suit.
func (c *Chooser) complete(now time.Time, preset []identity.NodeID, target *cell.Target, avoid []identity.NodeID, noGuard bool) (Choice, error) {
	c.refresh(now)
	v := c.view
	d := draft{hops: make([]int32, len(preset)), target: target}
	for i, n := range preset {
		d.hops[i] = free
		if n.IsZero() {
			continue
		}
		if n == c.cfg.Self {
			return Choice{}, partError(hopPart(i), "%s is this node itself", n)
		}
		if slices.Contains(preset[:i], n) {
			return Choice{}, partError(hopPart(i), "%s is in the path already", n)
		}
		if slices.Contains(avoid, n) {
			return Choice{}, partError(hopPart(i), "%s is wished and to be avoided", n)
		}
		if d.hops[i] = v.relay(n); d.hops[i] == free {
			return Choice{}, &UnknownError{i, n}
		}
	}
	c.begin(&d, avoid)
	if target != nil && d.hops[len(d.hops)-1] == free && !c.anyLast(&d) {
		return Choice{}, ErrNoExit
	}
	if have := c.together(&d); have < len(d.hops) {
		return Choice{}, &TooFewError{len(d.hops), have}
	}
	// A single hop that must take a target is the exit above all.
	d.guarded = d.hops[0] == free && !noGuard && (len(d.hops) > 1 || target == nil)
	hops, relaxed := c.search(&d)
	if hops == nil {
		return Choice{}, &TooFewError{len(d.hops), len(d.hops) - 1}
	}
	choice := Choice{Relaxed: relaxed}
	for _, i := range hops {
		choice.Relays = append(choice.Relays, v.list[i])
	}
	return choice, nil
}

// advance counts the time since the last call. The clock of a router may jump by
// years when it is set; what is not plausible does not count.
func (c *Chooser) advance(now time.Time) {
	if !c.last.IsZero() {
		if d := now.Sub(c.last); d > 0 && d <= maxPause {
			c.run += d
			c.set.age(d, c.view)
		}
	}
	c.last = now
}

// refresh brings the view and the guards up to date.
func (c *Chooser) refresh(now time.Time) {
	c.advance(now)
	list, neighbours := c.cfg.Relays(now), slices.Clone(c.cfg.Neighbours())
	sort.Slice(neighbours, func(i, j int) bool { return compareNodes(neighbours[i], neighbours[j]) < 0 })
	if !c.view.follow(list, neighbours, c.run) {
		c.view = newView(c.cfg.Self, list, neighbours, c.run)
		c.fit(c.view)
	}
	c.keepGuards()
}
