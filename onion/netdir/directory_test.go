package netdir

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"globalnet/internal/identity"
)

func TestNewestWins(t *testing.T) {
	d, id := directory(t, 1, 0), person(t, 2)
	first, second := signed(t, id, simple(5)), signed(t, id, simple(6))
	changed := d.Changed()
	mustAdd(t, d, start, first, 0, true)
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	mustAdd(t, d, start, first, 0, false)
	mustAdd(t, d, start, second, 0, true)
	mustAdd(t, d, start, first, 0, false)
	if r, ok := d.Relay(start, id.NodeID()); !ok || r.Sequence != 6 {
		t.Errorf("relay %+v, %v", r, ok)
	}
	if raw, ok := d.Raw(id.NodeID()); !ok || !bytes.Equal(raw, second) {
		t.Error("Raw is not the newest")
	}
	broken := bytes.Clone(signed(t, id, simple(7)))
	broken[60] ^= 1
	if added, err := d.Add(start, broken, 0); added || !errors.Is(err, ErrForged) {
		t.Errorf("forged: %v, %v", added, err)
	}
	if n := d.Counters()["directory_descriptors_bad"]; n != 1 {
		t.Errorf("%d bad ones counted", n)
	}
}

// Two descriptors with one sequence: all agree which stays, in whatever order they come.
func TestEquivocation(t *testing.T) {
	id := person(t, 2)
	other := simple(5)
	other.OnionKey[5] = 1
	a, b := signed(t, id, simple(5)), signed(t, id, other)
	one, two := directory(t, 1, 0), directory(t, 3, 0)
	for _, raw := range [][]byte{a, b} {
		one.Add(start, raw, 0)
	}
	for _, raw := range [][]byte{b, a} {
		two.Add(start, raw, 0)
	}
	x, _ := one.Raw(id.NodeID())
	y, _ := two.Raw(id.NodeID())
	if x == nil || !bytes.Equal(x, y) {
		t.Error("they disagree")
	}
	if one.Counters()["directory_equivocations"]+two.Counters()["directory_equivocations"] != 1 {
		t.Error("it is not counted")
	}
}

func TestRelaysAreRelays(t *testing.T) {
	d := directory(t, 1, 0)
	for i := range 20 {
		mustAdd(t, d, start, signed(t, person(t, 10+i), simple(1)), 0, true)
	}
	client := simple(1)
	client.Flags = 0
	mustAdd(t, d, start, signed(t, person(t, 2), client), 0, true)
	if err := d.SetOwn(start, signed(t, person(t, 1), simple(1))); err != nil {
		t.Fatal(err)
	}
	relays := d.Relays(start)
	if len(relays) != 20 {
		t.Errorf("%d relays, want 20", len(relays))
	}
	if !slices.IsSortedFunc(relays, func(a, b Relay) int { return bytes.Compare(a.Node[:], b.Node[:]) }) {
		t.Error("not in order")
	}
	if _, ok := d.Relay(start, person(t, 2).NodeID()); !ok {
		t.Error("a node that does not relay is not known")
	}
	if again := d.Relays(start); &again[0] != &relays[0] {
		t.Error("a new list without need")
	}
}

func TestAgesAddUp(t *testing.T) {
	const rest = 20 * time.Minute
	d, id := directory(t, 1, 0), person(t, 2)
	raw := signed(t, id, simple(5))
	mustAdd(t, d, start, raw, MaxAge-ageMargin, false) // too old to begin with
	mustAdd(t, d, start, raw, MaxAge-rest, true)
	if _, age, _ := d.copyOf(start.Add(time.Minute), id.NodeID()); age != MaxAge-rest+time.Minute {
		t.Errorf("handed on at the age of %v", age)
	}
	if n := len(d.Relays(start.Add(rest - 1))); n != 1 {
		t.Error("dropped too early")
	}
	gone := start.Add(rest)
	if n := len(d.Relays(gone)); n != 0 {
		t.Error("not dropped")
	}
	mustAdd(t, d, gone, raw, MaxAge, false)
	mustAdd(t, d, gone, signed(t, id, simple(4)), 0, false)
	mustAdd(t, d, gone, signed(t, id, simple(6)), 0, true)
}

// Whoever says that a descriptor is young cannot keep it for longer than MaxAge
// after it was first heard; whoever says that it is old is corrected by others.
func TestLiesAboutAge(t *testing.T) {
	d, id := directory(t, 1, 0), person(t, 2)
	raw := signed(t, id, simple(5))
	mustAdd(t, d, start, raw, 0, true)
	for at := start; at.Before(start.Add(MaxAge)); at = at.Add(10 * time.Minute) {
		mustAdd(t, d, at, raw, 0, false)
	}
	for at := start.Add(MaxAge); at.Before(start.Add(3 * MaxAge)); at = at.Add(10 * time.Minute) {
		if len(d.Relays(at)) != 0 {
			t.Fatalf("alive after %v", at.Sub(start))
		}
		mustAdd(t, d, at, raw, 0, false)
	}

	d = directory(t, 1, 0)
	mustAdd(t, d, start, raw, MaxAge-ageMargin-time.Minute, true)
	mustAdd(t, d, start.Add(time.Minute), raw, time.Minute, false) // corrects
	if _, age, ok := d.copyOf(start.Add(time.Hour), id.NodeID()); !ok || age != time.Hour {
		t.Errorf("age %v, %v after it was corrected", age, ok)
	}
	d = directory(t, 1, 0)
	mustAdd(t, d, start, raw, MaxAge-ageMargin-time.Minute, true)
	if len(d.Relays(start.Add(time.Hour))) != 0 {
		t.Error("alive")
	}
	mustAdd(t, d, start.Add(time.Hour), raw, time.Hour, true) // comes back
	if len(d.Relays(start.Add(MaxAge))) != 0 {
		t.Error("alive for longer than MaxAge since it was first heard")
	}
}

// A node that does not stop to publish is heard a few times, then once a minute.
func TestUpdatesAreLimited(t *testing.T) {
	d, id := directory(t, 1, 0), person(t, 2)
	taken := 0
	for i := range 100 {
		added, err := d.Add(start, signed(t, id, simple(uint64(i+1))), 0)
		if err != nil {
			t.Fatal(err)
		}
		if added {
			taken++
		}
	}
	if taken != updateBurst {
		t.Errorf("%d taken at once", taken)
	}
	mustAdd(t, d, start.Add(time.Minute), signed(t, id, simple(1000)), 0, true)
	mustAdd(t, d, start.Add(time.Minute), signed(t, id, simple(1001)), 0, false)
}

func TestOwnSequence(t *testing.T) {
	d, self := directory(t, 1, 0), person(t, 1)
	if err := d.SetOwn(start, signed(t, person(t, 2), simple(9))); err == nil {
		t.Error("another's descriptor is ours")
	}
	mustAdd(t, d, start, signed(t, self, simple(8)), 0, false) // an earlier life
	if d.OwnSequence() != 8 {
		t.Errorf("own sequence %d", d.OwnSequence())
	}
	if err := d.SetOwn(start, signed(t, self, simple(8))); !errors.Is(err, ErrOwnSequence) {
		t.Errorf("a used sequence: %v", err)
	}
	own := signed(t, self, simple(9))
	if d.NextSequence() != 9 {
		t.Errorf("next sequence %d", d.NextSequence())
	}
	if err := d.SetOwn(start, own); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, d, start, own, 0, false) // comes back around
	if d.OwnSequence() != 8 {
		t.Error("its own echo is an earlier life")
	}
	changed := d.Changed()
	mustAdd(t, d, start, signed(t, self, simple(20)), 0, false)
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	if raw, _ := d.Raw(self.NodeID()); d.OwnSequence() != 20 || !bytes.Equal(raw, own) {
		t.Error("the earlier life replaced this one")
	}
	forged := signed(t, self, simple(30))
	forged[len(forged)-1] ^= 1
	if _, err := d.Add(start, forged, 0); err == nil || d.OwnSequence() != 20 {
		t.Error("anybody can raise our sequence")
	}
	if d.NextSequence() != 21 {
		t.Errorf("next sequence %d after the earlier life was seen", d.NextSequence())
	}
	// The sequence survives a restart.
	again := directory(t, 1, 0)
	if err := again.Load(start, d.Save(start)); err != nil || again.OwnSequence() != 20 {
		t.Errorf("after a restart: %d, %v", again.OwnSequence(), err)
	}
}

func TestMeasurements(t *testing.T) {
	d := directory(t, 1, 0)
	var ids []identity.NodeID
	for i := range 3 {
		ids = append(ids, person(t, 10+i).NodeID())
		mustAdd(t, d, start, signed(t, person(t, 10+i), simple(1)), 0, true)
	}
	d.Relays(start)
	unknown := person(t, 99).NodeID()
	for range 4 {
		d.ReportCircuit(start, ids, -1)
	}
	d.ReportCircuit(start, ids, 1)
	d.ReportCircuit(start, append(ids[:1:1], unknown), 1)
	d.ReportBandwidth(start, ids[0], 1000)
	d.ReportBandwidth(start, ids[0], 2000)
	d.ReportBandwidth(start, unknown, 2000)
	check := func(now time.Time, id identity.NodeID, tries, failures int) {
		t.Helper()
		if r, _ := d.Relay(now, id); r.Tries != tries || r.Failures != failures {
			t.Errorf("%d tries, %d failures, want %d and %d", r.Tries, r.Failures, tries, failures)
		}
	}
	check(start, ids[0], 6, 0)
	check(start, ids[1], 5, 1)
	check(start, ids[2], 4, 0)
	check(start.Add(halfLife), ids[2], 2, 0)
	if r, _ := d.Relay(start, ids[0]); r.Bandwidth != 1250 {
		t.Errorf("bandwidth %d", r.Bandwidth)
	}
	later := start.Add(measureStale)
	for _, r := range d.Relays(later) {
		if r.Tries == 0 || r.Known != measureStale {
			t.Errorf("Relays says %d tries, known for %v", r.Tries, r.Known)
		}
	}
}

func TestSaveAndLoad(t *testing.T) {
	d, id := directory(t, 1, 0), person(t, 2)
	raw := signed(t, id, simple(1))
	mustAdd(t, d, start, raw, 0, true)
	d.ReportBandwidth(start, id.NodeID(), 5000)
	state := d.Save(start.Add(time.Hour))

	again := New(Config{Self: person(t, 1).NodeID()})
	if err := again.Load(start, state); err != nil {
		t.Fatal(err)
	}
	if len(again.Relays(start)) != 0 {
		t.Error("descriptors came back without being heard")
	}
	mustAdd(t, again, start, raw, 0, true)
	r, _ := again.Relay(start.Add(time.Minute), id.NodeID())
	if r.Known != time.Hour+time.Minute || r.Bandwidth != 5000 {
		t.Errorf("known for %v, bandwidth %d", r.Known, r.Bandwidth)
	}
	if again.order(id.NodeID()) != d.order(id.NodeID()) {
		t.Error("the sample is another one")
	}
	if again.Load(start, state) == nil {
		t.Error("loaded over what is there")
	}
	for i := range state {
		bad := bytes.Clone(state)
		bad[i] ^= 4
		if err := New(Config{}).Load(start, bad); !errors.Is(err, ErrState) {
			t.Fatalf("octet %d changed: %v", i, err)
		}
		if err := New(Config{}).Load(start, state[:i]); !errors.Is(err, ErrState) {
			t.Fatalf("cut to %d: %v", i, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	d := directory(f, 1, 0)
	f.Add(d.Save(start))
	mustAdd(f, d, start, signed(f, person(f, 2), simple(1)), 0, true)
	f.Add(d.Save(start.Add(time.Hour)))
	f.Fuzz(func(t *testing.T, state []byte) {
		d := directory(t, 1, 0)
		if d.Load(start, state) == nil && !bytes.Equal(d.Save(start), state) && len(d.entries) > 0 {
			// Order and lines of no content may differ, what it says not.
			again := directory(t, 1, 0)
			if err := again.Load(start, d.Save(start)); err != nil || again.own != d.own {
				t.Error("what was loaded cannot be saved")
			}
		}
	})
}

// fill inserts n unsigned descriptors of the given neighbour: signing thousands takes long.
func fill(d *Directory, now time.Time, r *rand.Rand, from identity.NodeID, n int) (nodes []identity.NodeID) {
	for range n {
		var node identity.NodeID
		for i := range node {
			node[i] = byte(r.Uint32())
		}
		nodes = append(nodes, node)
		give(d, now, node, from)
	}
	return nodes
}

func give(d *Directory, now time.Time, node, from identity.NodeID) {
	o := offer{node: node, revision: revision{sequence: 1}}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.judge(now, o, from) == wanted {
		d.insert(now, o, &Descriptor{Node: node, Sequence: 1, Flags: FlagRelay}, []byte{1}, from)
	}
}

func TestSampleIsFair(t *testing.T) {
	const most, all = 500, 2500
	r := rand.New(rand.NewPCG(1, 2))
	d := directory(t, 1, most)
	a, b := identity.NodeID{1}, identity.NodeID{2}
	pinned := fill(d, start, r, a, 3)
	d.Pin(pinned)
	first := fill(d, start, r, a, all/2-3)
	second := fill(d, start, r, a, all/2)
	kept := func(nodes []identity.NodeID) (n int) {
		for _, node := range nodes {
			if _, ok := d.Relay(start, node); ok {
				n++
			}
		}
		return n
	}
	if n := len(d.Relays(start)); n != most {
		t.Fatalf("%d are kept of at most %d", n, most)
	}
	if x, y := kept(first), kept(second); x < most*4/10 || y < most*4/10 {
		t.Errorf("%d of those that came first are kept, %d of those that came later", x, y)
	}
	if kept(pinned) != 3 {
		t.Error("a pinned one went")
	}
	if len(d.entries) > 3*most+most {
		t.Errorf("%d entries are remembered", len(d.entries))
	}
	// What there is no place for is not taken again and again.
	before := d.Counters()["directory_descriptors_added"]
	for _, node := range second {
		give(d, start, node, a)
	}
	if after := d.Counters()["directory_descriptors_added"]; after != before {
		t.Errorf("%d taken again", after-before)
	}

	// Another neighbour with four times as many gets half, not more.
	sybils := fill(d, start, r, b, 4*all)
	if n := kept(sybils); n != most/2 {
		t.Errorf("a flood got %d of %d places", n, most)
	}
	if kept(pinned) != 3 {
		t.Error("a pinned one went with the flood")
	}
	// What went is offered by the honest neighbour again and keeps its half.
	for _, node := range append(first, second...) {
		give(d, start, node, a)
	}
	if n := kept(append(first, second...)) + 3; n != most/2 {
		t.Errorf("the honest neighbour has %d of %d", n, most)
	}
}

func BenchmarkRelays(b *testing.B) {
	d := directory(b, 1, 2000)
	fill(d, start, rand.New(rand.NewPCG(1, 2)), identity.NodeID{1}, 2000)
	b.Run("cached", func(b *testing.B) {
		for b.Loop() {
			d.Relays(start)
		}
	})
	b.Run("changed", func(b *testing.B) {
		for b.Loop() {
			d.snapshot = nil
			d.Relays(start)
		}
	})
}
