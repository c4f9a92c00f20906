package path

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/netdir"
)

var three = Need{Hops: 3}

// build chooses a path and reports it as built.
func (w *world) build(t *testing.T) []identity.NodeID {
	t.Helper()
	path, _ := w.must(t, three)
	w.Report(w.now, path, -1)
	return path
}

// failGuard reports that the guard that is used now does not answer.
func (w *world) failGuard(t *testing.T) identity.NodeID {
	t.Helper()
	path, _ := w.must(t, three)
	w.Report(w.now, path, 0)
	return path[0]
}

func TestGuardStays(t *testing.T) {
	w := newWorld(relays(1, 100))
	guard := w.build(t)[0]
	for i := range 1000 {
		if i%100 == 50 { // others come and go
			w.list = slices.Concat(w.list, relays(200+i, 202+i))
		}
		if i%250 == 99 { // the agent starts anew
			w = w.restart(t, time.Hour)
		}
		if got := w.build(t)[0]; got != guard {
			t.Fatalf("build %d: guard is %s, was %s", i, got.Short(), guard.Short())
		}
		w.now = w.now.Add(time.Hour)
	}
	if len(w.set.guards) != sampleSize {
		t.Errorf("%d guards in the sample, want %d", len(w.set.guards), sampleSize)
	}
}

// restart saves the guards and loads them in a new Chooser, off later.
func (w *world) restart(t *testing.T, off time.Duration) *world {
	t.Helper()
	next := newWorld(w.list)
	next.neighbours, next.now = w.neighbours, w.now.Add(off)
	next.cfg.Rand = rand.New(rand.NewChaCha8([32]byte{2}))
	if err := next.Load(next.now, w.Save(w.now)); err != nil {
		t.Fatal(err)
	}
	return next
}

func TestGuardEndsAfterItsTime(t *testing.T) {
	w := newWorld(relays(1, 100))
	guard := w.build(t)[0]
	for d := range 121 {
		w.now = w.now.Add(day)
		path := w.build(t)
		if d < 100 && path[0] != guard {
			t.Fatalf("the guard ended after %d days", d)
		}
	}
	if w.build(t)[0] == guard {
		t.Error("the guard is still used after 121 days")
	}
}

func TestClockDoesNotEndGuards(t *testing.T) {
	for name, jump := range map[string]time.Duration{
		"set forward by a year": 365 * day, "set back by a year": -365 * day, "not set: 1970": start.AddDate(-57, 0, 0).Sub(start),
	} {
		w := newWorld(relays(1, 100))
		guard := w.build(t)[0]
		for range 5 {
			w.now = w.now.Add(jump)
			if got := w.build(t)[0]; got != guard {
				t.Errorf("%s: the guard changed", name)
			}
			w = w.restart(t, jump)
			if got := w.build(t)[0]; got != guard {
				t.Errorf("%s at a restart: the guard changed", name)
			}
			jump = -jump
		}
	}
	// A month switched off does count.
	w := newWorld(relays(1, 100))
	w.build(t)
	w.set.guards[0].age = 0
	if w = w.restart(t, 29*day); w.set.guards[0].age != 29*day {
		t.Errorf("age %v after 29 days off", w.set.guards[0].age)
	}
}

func TestUnreachableGuardComesBack(t *testing.T) {
	w := newWorld(relays(1, 100))
	guard := w.build(t)[0]
	w.failGuard(t)
	second := w.build(t)[0]
	if second == guard {
		t.Fatal("a guard that does not answer is used at once again")
	}
	w.now = w.now.Add(2 * minRetry)
	if got := w.failGuard(t); got != guard {
		t.Fatal("the guard is not tried again")
	}
	w.now = w.now.Add(minRetry)
	if got := w.build(t)[0]; got != second {
		t.Fatalf("the second failure makes no longer pause; or another guard than the second is used")
	}
	// A week of failures, and it is still the guard.
	for range 7 * 24 * 2 {
		w.now = w.now.Add(30 * time.Minute)
		if path, _ := w.must(t, three); path[0] == guard {
			w.Report(w.now, path, 0)
		}
		w.build(t)
	}
	w.now = w.now.Add(2 * maxRetry)
	if got := w.build(t)[0]; got != guard {
		t.Error("after a week of failures the guard is gone")
	}
}

// Who cuts us off from our guards must not make us try the whole network.
func TestGuardsTriedAreFew(t *testing.T) {
	w := newWorld(relays(1, 300))
	tried := make(map[identity.NodeID]bool)
	for range 2000 {
		tried[w.failGuard(t)] = true
		w.now = w.now.Add(20 * time.Second)
	}
	if len(tried) > sampleSize {
		t.Errorf("%d guards were tried, want at most %d", len(tried), sampleSize)
	}
	_, relaxed := w.must(t, three)
	if len(w.set.guards) != sampleSize || !slices.Contains(relaxed, RuleGuardDown) && len(w.set.guards) > sampleSize {
		t.Errorf("%d guards, relaxed %v", len(w.set.guards), relaxed)
	}
}

// When everything failed we were cut off ourselves: with the first success the
// first guard is due again.
func TestFirstGuardAfterAnOutage(t *testing.T) {
	w := newWorld(relays(1, 100))
	guard := w.build(t)[0]
	for range 40 {
		w.now = w.now.Add(time.Minute)
		w.failGuard(t)
	}
	w.build(t)
	if got := w.build(t)[0]; got != guard {
		t.Error("after the outage another guard is used")
	}
}

func TestGuardsThatFailCircuitsRest(t *testing.T) {
	for _, tt := range []struct {
		name            string
		good, bad, outs int // circuits built, failed behind the guard, failed at it
		rests           bool
	}{
		{name: "few circuits", good: 5, bad: 14},
		{name: "30 percent", good: 70, bad: 30},
		{name: "half", good: 20, bad: 20, rests: true},
		{name: "all", bad: 20, rests: true},
		{name: "down for long", good: 20, outs: 100},
	} {
		w := newWorld(relays(1, 100))
		path := w.build(t)
		g := w.set.find(path[0])
		g.circuits = 0
		for range tt.outs {
			w.Report(w.now, path, 0)
		}
		for range tt.good {
			w.Report(w.now, path, -1)
		}
		for range tt.bad {
			w.Report(w.now, path, 1+w.cfg.Rand.IntN(2))
		}
		if got := w.build(t)[0] != path[0]; got != tt.rests {
			t.Errorf("%s: rests is %v", tt.name, got)
		}
		w.now = w.now.Add(rest / 2)
		w.build(t)
		w.now = w.now.Add(rest/2 + time.Minute)
		if w.build(t)[0] != path[0] {
			t.Errorf("%s: the guard does not come back", tt.name)
		}
	}
}

func TestWhoMayBeGuard(t *testing.T) {
	fresh, older := known(day), known(3*day)
	for name, tt := range map[string]struct {
		list       [][]netdir.Relay
		neighbours []int
		want       []int // of these is the guard
		relaxed    []Rule
	}{
		"no newcomers":           {[][]netdir.Relay{relays(1, 30, fresh), relays(31, 33)}, nil, []int{31, 32, 33}, nil},
		"no neighbours":          {[][]netdir.Relay{relays(1, 10)}, []int{1, 2, 3, 4, 5, 6, 7, 8}, []int{9, 10}, nil},
		"a neighbour before new": {[][]netdir.Relay{relays(1, 30, fresh), relays(31, 31)}, []int{31}, []int{31}, []Rule{RuleGuardNeighbour}},
		"young: longest known":   {[][]netdir.Relay{relays(1, 30, fresh), relays(31, 32, older)}, nil, []int{31, 32}, []Rule{RuleGuardNew}},
		"young: no neighbour":    {[][]netdir.Relay{relays(1, 3, fresh), relays(31, 32, older)}, []int{31, 32}, []int{1, 2, 3}, []Rule{RuleGuardNew}},
		"young neighbours only":  {[][]netdir.Relay{relays(1, 3, fresh)}, []int{1, 2, 3}, []int{1, 2, 3}, []Rule{RuleTransit, RuleGuardNew, RuleGuardNeighbour}},
		"no relay by flag": {[][]netdir.Relay{relays(1, 5, func(r *netdir.Relay) { r.Flags = netdir.FlagService }, exits),
			relays(6, 8, fresh)}, nil, []int{6, 7, 8}, []Rule{RuleGuardNew}},
	} {
		w := newWorld(tt.list...)
		for _, n := range tt.neighbours {
			w.neighbours = append(w.neighbours, id(n))
		}
		for range 20 {
			path, relaxed := w.must(t, three)
			if !slices.ContainsFunc(tt.want, func(n int) bool { return id(n) == path[0] }) || !slices.Equal(relaxed, tt.relaxed) {
				t.Fatalf("%s: guard %s, relaxed %v", name, path[0].Short(), relaxed)
			}
		}
	}
}

// A guard that became a neighbour steps back, and returns when the link is gone.
func TestGuardBecomesNeighbour(t *testing.T) {
	w := newWorld(relays(1, 30))
	guard := w.build(t)[0]
	w.neighbours = []identity.NodeID{guard}
	if w.build(t)[0] == guard {
		t.Error("the neighbour is still guard")
	}
	w.neighbours = nil
	if w.build(t)[0] != guard {
		t.Error("the guard did not return")
	}
}

// The only old relay is the only exit: a newcomer stands in as guard, but only there.
func TestSpareGuard(t *testing.T) {
	w := newWorld([]netdir.Relay{relay(1, exits)}, relays(2, 9, known(day)))
	for range 20 {
		path, relaxed := w.must(t, Need{Hops: 3, Target: site})
		if path[2] != id(1) || !slices.Contains(relaxed, RuleGuardNew) {
			t.Fatalf("%v %v", path, relaxed)
		}
		w.Report(w.now, path, -1)
		if path, _ := w.must(t, Need{Hops: 3, Last: id(5)}); path[0] != id(1) {
			t.Fatal("a newcomer is guard although an older relay is there")
		}
	}
	if len(w.set.guards) > 3 {
		t.Errorf("%d guards, want few", len(w.set.guards))
	}
}

func TestGuardsOfAnotherNetwork(t *testing.T) {
	w := newWorld(relays(1, 30))
	guard := w.build(t)[0]
	w.list = relays(31, 60) // the router was carried elsewhere
	if n := w.build(t)[0]; n == guard {
		t.Fatal("a guard without descriptor")
	}
	w.list = relays(1, 30)
	if w.build(t)[0] != guard {
		t.Error("back home the guard is another")
	}
	w.list = relays(31, 60)
	for range 21 {
		w.now = w.now.Add(day)
		w.build(t)
	}
	if w.set.find(guard) != nil || len(w.set.guards) > sampleSize+primaries {
		t.Errorf("guards that left are kept: %d", len(w.set.guards))
	}
}

func TestStateIsKept(t *testing.T) {
	w := newWorld(relays(1, 40))
	if w.Changed() {
		t.Error("changed before anything was chosen")
	}
	first := w.build(t)
	for range 2 * biasCircuits {
		w.Report(w.now, first, 1) // rests
	}
	w.build(t)
	if !w.Changed() {
		t.Error("new guards are no change")
	}
	text := w.Save(w.now)
	if w.Changed() {
		t.Error("changed after Save")
	}
	next := w.restart(t, time.Minute)
	a, b := w.Guards(w.now), next.Guards(next.now)
	if !slices.Equal(a, b) || len(a) != sampleSize {
		t.Errorf("guards before the restart\n%v\nafter\n%v", a, b)
	}
	next.now = next.now.Add(rest)
	if next.build(t)[0] != first[0] {
		t.Error("the guard does not come back from its rest after a restart")
	}
	if other := newWorld(w.list); other.Load(w.now, text) != nil || !bytes.Equal(other.Save(w.now), text) {
		t.Error("Save after Load differs")
	}
}

func TestTornState(t *testing.T) {
	w := newWorld(relays(1, 40))
	w.build(t)
	text := w.Save(w.now)
	before := w.Guards(w.now)
	for n := range text {
		if err := w.Load(w.now, text[:n]); err == nil {
			t.Fatalf("the first %d bytes of %d were accepted", n, len(text))
		}
	}
	for n := range text {
		bad := bytes.Clone(text)
		bad[n] ^= 4
		if err := w.Load(w.now, bad); err == nil {
			t.Fatalf("accepted with byte %d changed", n)
		}
	}
	node := id(1).String()
	for name, body := range map[string]string{
		"no time":       stateHeader + " x\n",
		"fields":        stateHeader + " 5\n" + node + " 1 2\n",
		"twice":         stateHeader + " 5\n" + node + " 1 1 1 0 0 0 0\n" + node + " 1 1 1 0 0 0 0\n",
		"node":          stateHeader + " 5\n" + node[1:] + "x 1 1 1 0 0 0 0\n",
		"negative":      stateHeader + " 5\n" + node + " -1 1 1 0 0 0 0\n",
		"huge":          stateHeader + " 5\n" + node + " 1 1 99999999999 0 0 0 0\n",
		"more failures": stateHeader + " 5\n" + node + " 1 1 1 0 3 4 0\n",
		"too many":      stateHeader + " 5\n" + strings.Repeat("x\n", maxSample+1),
		"too long":      stateHeader + " 5\n" + strings.Repeat("x", maxState),
	} {
		if err := w.Load(w.now, appendSum([]byte(body))); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if !slices.Equal(w.Guards(w.now), before) {
		t.Error("a bad file changed the guards")
	}
}

func FuzzLoad(f *testing.F) {
	w := newWorld(relays(1, 5))
	w.Guards(w.now)
	good := w.Save(w.now)
	f.Add(good[:bytes.LastIndex(good, []byte("sum "))])
	f.Add([]byte(stateHeader + " 1800000000\n" + id(1).String() + " 9 9 1 0 3 1 60\n"))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, body []byte) {
		w := newWorld(relays(1, 5))
		if w.Load(w.now, appendSum(bytes.Clone(body))) != nil {
			return
		}
		saved := w.Save(w.now)
		if err := w.Load(w.now, saved); err != nil {
			t.Fatalf("what Save wrote cannot be loaded: %v", err)
		}
		w.must(t, three)
	})
}
