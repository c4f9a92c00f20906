package clock

import (
	"testing"
	"time"

	"globalnet/internal/identity"
)

var (
	today = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	boot  = time.Unix(60, 0).UTC() // a router without a battery, a minute after its start
)

// machine is a computer with clocks.
type machine struct {
	id   identity.NodeID
	up   time.Duration
	wall time.Time
	set  bool
	*Clock
}

var machines byte

func newMachine(wall time.Time, set bool) *machine {
	machines++
	m := &machine{id: identity.NodeID{machines}, up: time.Duration(machines) * time.Hour, wall: wall, set: set}
	m.Clock = New(m.read())
	return m
}

func (m *machine) read() Reading { return Reading{m.up, m.wall, m.set} }

// pass lets time go by for all.
func pass(d time.Duration, all ...*machine) {
	for _, m := range all {
		m.up, m.wall = m.up+d, m.wall.Add(d)
		m.Update(m.read())
	}
}

// talk has neighbours tell each other what they think, as often as it takes a network to
// settle.
func talk(rounds int, links ...[2]*machine) {
	for range rounds {
		for _, l := range links {
			a, b := l[0], l[1]
			a.Hear(a.read(), b.id, b.Say(b.read()))
			b.Hear(b.read(), a.id, a.Say(a.read()))
		}
	}
}

func (m *machine) wants(t *testing.T, what string, level Level, at time.Time) {
	t.Helper()
	if s := m.Say(m.read()); s.Level != level || s.Time.Sub(at).Abs() > 3*slack {
		t.Errorf("%s: level %d, %v; want %d, %v", what, s.Level, s.Time, level, at)
	}
}

// A router of 1970 learns what day it is over hops, and keeps it when the source is gone.
func TestTheTimeSpreads(t *testing.T) {
	source, a, b := newMachine(today, true), newMachine(boot, false), newMachine(boot.Add(time.Hour), false)
	links := [][2]*machine{{source, a}, {a, b}}
	talk(3, links...)
	source.wants(t, "the source", Set, today)
	a.wants(t, "beside it", 1, today)
	b.wants(t, "two hops away", 2, today)
	// Statements end, what they said runs on.
	pass(fresh+time.Minute, source, a, b)
	a.wants(t, "alone", Held, source.wall)
	// Two who hold it do not keep each other's trust up for ever.
	a.Forget(a.read(), source.id)
	for range 2 * maxHops {
		talk(1, links[1])
	}
	a.wants(t, "without the source", Held, source.wall)
	b.wants(t, "without the source", Held, source.wall)
	// Who comes then takes it from them.
	late := newMachine(boot, false)
	talk(2, [2]*machine{b, late})
	late.wants(t, "a late one", Held, source.wall)
	// The kernel of a node learns the time, and loses it.
	a.wall, a.set = source.wall, true
	pass(time.Second, a, source)
	a.wants(t, "its own", Set, source.wall)
	a.set = false
	pass(time.Second, a, source)
	a.wants(t, "its own no more", Held, source.wall)
}

// Trust that goes in a circle ends.
func TestTrustInACircleEnds(t *testing.T) {
	source, a, b, c := newMachine(today, true), newMachine(boot, false), newMachine(boot, false), newMachine(boot, false)
	ring := [][2]*machine{{a, b}, {b, c}, {c, a}}
	talk(3, append(ring, [2]*machine{source, a})...)
	c.wants(t, "in the ring", 2, today)
	a.Forget(a.read(), source.id)
	talk(3*int(maxHops), ring...)
	for _, m := range []*machine{a, b, c} {
		m.wants(t, "the source is gone", Held, today)
	}
	// Then a right clock counts at once, whatever many others believe.
	wrong := newMachine(today.Add(1000*time.Hour), true)
	talk(1, [2]*machine{wrong, b})
	b.wants(t, "a new source", 1, wrong.wall)
}

// A village without a clock agrees on the latest, and never goes back.
func TestAVillageAgrees(t *testing.T) {
	var all []*machine
	var line [][2]*machine
	for i := range 6 {
		all = append(all, newMachine(boot.Add(time.Duration(i*i)*time.Hour), false))
		if i > 0 {
			line = append(line, [2]*machine{all[i-1], all[i]})
		}
	}
	talk(len(all), line...)
	latest := all[5].wall
	for _, m := range all {
		m.wants(t, "the village", Free, latest)
	}
	pass(48*time.Hour, all...)
	again := newMachine(boot, false) // was started anew
	talk(len(all), append(line, [2]*machine{all[0], again})...)
	for _, m := range append(all, again) {
		m.wants(t, "two days later", Free, all[5].wall)
	}
	// Somebody has the right time: all go there, those that were ahead go back.
	talk(2*len(all), append(line, [2]*machine{all[2], newMachine(today, true)})...)
	all[0].wants(t, "there is a source", 3, today)
	// An owner sets the clock.
	alone := newMachine(boot, false)
	alone.wall = today
	pass(time.Second, alone)
	alone.wants(t, "set by hand", Free, today)
	alone.wall = boot
	pass(time.Second, alone)
	alone.wants(t, "set back", Free, today)
}

// One liar among three neighbours moves nothing; where it is the only one, what it says
// is possible, and an own clock that is set counts more.
func TestALiar(t *testing.T) {
	lie := Said{Set, today.Add(20 * 365 * 24 * time.Hour)}
	hear := func(m *machine, s ...Said) {
		for i, x := range s {
			if !x.Valid() {
				t.Fatalf("%+v cannot be said", x)
			}
			m.Hear(m.read(), identity.NodeID{200, byte(i)}, x)
		}
	}
	honest := func(level Level, ahead time.Duration) Said { return Said{level, today.Add(ahead)} }
	early := Said{Set, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}
	for _, tt := range []struct {
		name  string
		wall  time.Time
		set   bool
		said  []Said
		level Level
		at    time.Time
	}{
		{"late liar among three", boot, false, []Said{lie, honest(4, 0), honest(3, 0)}, 4, today},
		{"early liar among three", boot, false, []Said{early, honest(4, 0), honest(3, 0)}, 4, today},
		{"two liars among five", boot, false, []Said{lie, early, honest(2, 0), honest(9, 2*time.Second), honest(9, 4*time.Second)}, 3, today},
		{"no source, liar among three", boot, false, []Said{{Held, lie.Time}, honest(Held, 0), honest(Held, 0)}, Held, today},
		{"a liar and a set clock", today, true, []Said{lie}, Set, today},
		{"liars and a set clock", today, true, []Said{lie, lie, lie}, Set, today},
		{"trust beyond all hops", boot, false, []Said{honest(15, 0)}, Held, today},
		{"trust is better than none", boot, false, []Said{honest(2, 0), {Free, lie.Time}, {Held, lie.Time}}, 3, today},
	} {
		m := newMachine(tt.wall, tt.set)
		hear(m, tt.said...)
		m.wants(t, tt.name, tt.level, tt.at)
	}
	// Who had the time stays with the neighbour that says the same.
	m := newMachine(boot, false)
	hear(m, honest(5, 0))
	hear(m, honest(5, 0), lie)
	m.wants(t, "one liar of two", 6, today)
	// Three that hold it, one of them lies: the middle is one of the honest.
	m = newMachine(boot, false)
	hear(m, honest(Held, 0))
	hear(m, honest(Held, 0), Said{Held, lie.Time})
	m.wants(t, "one liar, and what we have", Held, today)
}

// Neighbours that know nothing can have the time jump forward only so often.
func TestStepsAreFew(t *testing.T) {
	m := newMachine(boot, false)
	liar := identity.NodeID{99}
	jumps := func(n int, every, step time.Duration) (days float64) {
		before := m.Now(m.read()).Sub(m.wall)
		for range n {
			m.Hear(m.read(), liar, Said{Free, m.Now(m.read()).Add(step)})
			pass(every, m)
		}
		return (m.Now(m.read()).Sub(m.wall) - before).Hours() / 24
	}
	if n := jumps(20, time.Second, 24*time.Hour); n < stepBurst || n > stepBurst+1 {
		t.Errorf("%.1f days at once", n)
	}
	if n := jumps(60*5, time.Minute, 24*time.Hour); n < 4 || n > 6 {
		t.Errorf("%.1f days in five hours", n)
	}
	if n := jumps(60*5, time.Minute, 10*time.Minute); n > 6 {
		t.Errorf("%.1f days in five hours, little by little", n)
	}
	m.Hear(m.read(), liar, Said{Free, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)})
	if m.Now(m.read()).Year() > 1971 {
		t.Errorf("it is %v", m.Now(m.read()))
	}
}

func TestPlausible(t *testing.T) {
	for year, want := range map[int]bool{1901: false, 1970: false, 2025: false, 2026: true, 2050: true, 2100: false} {
		if got := Plausible(time.Date(year, 6, 1, 0, 0, 0, 0, time.UTC)); got != want {
			t.Errorf("%d: %v", year, got)
		}
	}
}

func TestWhatCannotBeSaid(t *testing.T) {
	for _, s := range []Said{
		{Set, boot}, {14, time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC)}, {Held, boot}, {Set, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)},
		{Free, time.Unix(-1, 0)}, {Free, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}, {Free + 1, today},
	} {
		if s.Valid() {
			t.Errorf("%+v", s)
		}
	}
	for _, s := range []Said{{Free, boot}, {Held, today}, {Set, today}, {15, today}} {
		if !s.Valid() {
			t.Errorf("%+v cannot be said", s)
		}
	}
	m := newMachine(time.Date(1901, 1, 1, 0, 0, 0, 0, time.UTC), true)
	m.wants(t, "a clock before 1970", Free, time.Unix(0, 0))
	m = newMachine(boot, true) // a kernel that is content with 1970
	m.wants(t, "a kernel that errs", Free, boot)
}

// However many speak, there is a bound.
func TestHeardIsBounded(t *testing.T) {
	m := newMachine(boot, false)
	for i := range 2 * maxHeard {
		m.Hear(m.read(), identity.NodeID{1, byte(i), byte(i >> 8)}, Said{Free, boot})
	}
	if len(m.heard) != maxHeard {
		t.Errorf("%d are remembered", len(m.heard))
	}
	pass(fresh+time.Second, m)
	if len(m.heard) != 0 {
		t.Errorf("%d are remembered for ever", len(m.heard))
	}
}

func TestKeeper(t *testing.T) {
	m := newMachine(boot, false)
	changes := 0
	k := NewKeeper(m.read, func() { changes++ })
	k.Tick()
	m.up, m.wall = m.up+time.Hour, m.wall.Add(time.Hour)
	k.Tick()
	if changes != 0 || k.Now().Sub(m.wall).Abs() > time.Second {
		t.Errorf("%d changes, %v", changes, k.Now())
	}
	node := identity.NodeID{1}
	k.Hear(node, Said{Set, today})
	k.Hear(node, Said{Set, today})
	if changes != 1 || k.Say() != (Said{1, today}) {
		t.Errorf("%d changes, %+v", changes, k.Say())
	}
	k.Forget(node)
	if changes != 2 || k.Say() != (Said{Held, today}) {
		t.Errorf("%d changes, %+v", changes, k.Say())
	}
	real := NewKeeper(nil, nil)
	if d := time.Since(real.Now()).Abs(); d > time.Minute {
		t.Errorf("the system's clock is %v off", d)
	}
}
