// Package clock keeps mesh time: what a node's own clock and its neighbours say, made
// into one. The periods of hidden services go by it, so a router that booted in 1970
// finds those of today. docs/protocols/directory.md, section 6, has what neighbours tell
// each other, and the rules.
//
// Clock is a state machine without I/O: readings of this machine's clocks are passed in.
// Keeper owns one and reads the clocks. The system clock is never set.
package clock

import (
	"sort"
	"time"

	"globalnet/internal/identity"
)

// Level says how good a node's mesh time is; the lower, the better. Up to maxHops it is
// the number of nodes to one whose own clock is set.
type Level uint8

// Levels.
const (
	Set     Level = 0           // this node's clock is synchronised, by NTP or GPS
	maxHops Level = 15          // of trust that is handed on
	Held    Level = maxHops + 1 // it came from such a node once; since then it runs on
	Free    Level = maxHops + 2 // nobody ever knew better; all agree on one
)

const (
	// slack is how far two clocks may differ without anything being done about it.
	slack = 5 * time.Second
	// near is how far clocks that agree are apart.
	near = time.Minute
	// fresh is how long a statement counts; a neighbour repeats it more often.
	fresh = 45 * time.Minute
	// maxHeard bounds the neighbours that are listened to.
	maxHeard = 256

	// Steps forward on the word of neighbours that know no better than we do: so many at
	// once, then one each stepRate. Each makes services publish anew, unless it is short:
	// that counts less.
	stepBurst = 8
	stepRate  = time.Hour
	wholeStep = 24 * time.Hour
	leastStep = 1.0 / 24
)

// Plausible tells whether a clock that claims to be right can be: a router without a
// clock battery starts years in the past.
func Plausible(t time.Time) bool { return t.Year() >= 2026 && possible(t) }

// possible is what anybody may say.
func possible(t time.Time) bool { return t.Unix() >= 0 && t.Year() < 2100 }

// Reading is what this machine's clocks show.
type Reading struct {
	Running time.Duration // of a clock that nobody sets and that goes on in sleep
	Wall    time.Time
	Set     bool // the kernel says that Wall is synchronised
}

// Said is what a node says of mesh time.
type Said struct {
	Level Level
	Time  time.Time
}

// Valid reports whether a node may say so.
func (s Said) Valid() bool {
	return s.Level <= Free && possible(s.Time) && (s.Level == Free || Plausible(s.Time))
}

// Differs reports whether b, said later by d, is something else than s: neighbours want
// to hear of it.
func (s Said) Differs(b Said, d time.Duration) bool {
	return s.Level != b.Level || b.Time.Sub(s.Time.Add(d)).Abs() > slack
}

// Clock is mesh time as one node keeps it. The zero Clock shows 1970 until Update.
type Clock struct {
	level  Level
	zero   time.Time // mesh time when Running was 0
	earned bool      // level was better than Held once
	heard  map[identity.NodeID]heard

	steps float64 // taken, that count against stepBurst
	at    time.Duration
}

// heard is what a neighbour said, and when.
type heard struct {
	Said
	at time.Duration
}

// New returns a Clock that shows what the system's does.
func New(r Reading) *Clock {
	c := &Clock{level: Free, zero: r.Wall.Round(0).Add(-r.Running), heard: make(map[identity.NodeID]heard), at: r.Running}
	if !possible(r.Wall) {
		c.zero = time.Unix(0, 0).Add(-r.Running)
	}
	c.Update(r)
	return c
}

// Now returns mesh time.
func (c *Clock) Now(r Reading) time.Time {
	if c.level == Set {
		return r.Wall.Round(0)
	}
	return c.zero.Add(r.Running)
}

// Say returns what to tell neighbours.
func (c *Clock) Say(r Reading) Said { return Said{c.level, c.Now(r)} }

// Hear takes what an authenticated neighbour says, which has to be Valid.
func (c *Clock) Hear(r Reading, node identity.NodeID, s Said) {
	if _, known := c.heard[node]; !known && len(c.heard) >= maxHeard {
		return
	}
	c.heard[node] = heard{s, r.Running}
	c.Update(r)
}

// Forget drops what a node said that is no neighbour any more. What came of it stays.
func (c *Clock) Forget(r Reading, node identity.NodeID) {
	delete(c.heard, node)
	c.Update(r)
}

// vote is one clock among those that are asked.
type vote struct {
	time  time.Time // now
	level Level
}

// Update judges anew what there is:
//
//	our own clock is set            that is mesh time
//	neighbours have it of such      the median of them
//	they, or we, had it once        the median, ours among them if it is not hearsay
//	nobody ever had                 the latest: clocks lose years, they gain none
func (c *Clock) Update(r Reading) {
	if r.Set && Plausible(r.Wall) {
		c.earned, c.level, c.zero = true, Set, r.Wall.Round(0).Add(-r.Running)
		return
	}
	if c.level == Set { // the kernel's trust has ended
		c.level = Held
	}
	var trusted, held, free []vote
	for node, h := range c.heard {
		if r.Running-h.at > fresh {
			delete(c.heard, node)
			continue
		}
		v := vote{h.Time.Add(r.Running - h.at), h.Level}
		switch {
		case h.Level < maxHops:
			trusted = append(trusted, v)
		case h.Level <= Held:
			held = append(held, v)
		default:
			free = append(free, v)
		}
	}
	switch {
	case len(trusted) > 0:
		at, level := c.median(r, trusted)
		c.earned, c.level = true, level+1
		c.show(r, at)
	case len(held) > 0:
		if c.earned {
			held = append(held, vote{c.Now(r), Held})
		}
		at, _ := c.median(r, held)
		c.level = Held
		c.show(r, at)
	case c.level <= Held:
		c.level = Held
	default:
		c.agree(r, free)
	}
}

// median returns the time in the middle, and the best level of those that agree with it.
// Of two in the middle that is the one nearer to what we have if that is worth something,
// otherwise the one nearer to a source.
func (c *Clock) median(r Reading, votes []vote) (time.Time, Level) {
	sort.Slice(votes, func(i, j int) bool { return votes[i].time.Before(votes[j].time) })
	chosen := votes[(len(votes)-1)/2]
	if other := votes[len(votes)/2]; c.level <= Held {
		now := c.Now(r)
		if other.time.Sub(now).Abs() < chosen.time.Sub(now).Abs() {
			chosen = other
		}
	} else if other.level < chosen.level {
		chosen = other
	}
	best := chosen.level
	for _, v := range votes {
		if v.time.Sub(chosen.time).Abs() <= near {
			best = min(best, v.level)
		}
	}
	return chosen.time, best
}

// show takes a time over, unless it is what we have but for the way it took.
func (c *Clock) show(r Reading, at time.Time) {
	if at.Sub(c.zero.Add(r.Running)).Abs() > slack {
		c.zero = at.Add(-r.Running)
	}
}

// agree follows the latest clock of all: those that know nothing come to one time so,
// whatever the mesh looks like, and it never goes back. The owner may set the clock
// as often as he likes, neighbours not.
func (c *Clock) agree(r Reading, others []vote) {
	if possible(r.Wall) && r.Wall.Round(0).Sub(c.Now(r)) > slack {
		c.zero = r.Wall.Round(0).Add(-r.Running)
	}
	c.steps = max(0, c.steps-float64(r.Running-c.at)/float64(stepRate))
	c.at = r.Running
	latest := c.Now(r)
	for _, v := range others {
		if v.time.After(latest) && possible(v.time) {
			latest = v.time
		}
	}
	step := latest.Sub(c.Now(r))
	cost := min(max(float64(step)/float64(wholeStep), leastStep), 1)
	if step > slack && c.steps+cost <= stepBurst {
		c.steps += cost
		c.show(r, latest)
	}
}
