package path

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/layer"
	"globalnet/onion/netdir"
	"globalnet/onion/policy"
)

const day = 24 * time.Hour

var (
	start = time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	web   = policy.Summary{IPv4: true, TCP: policy.Ports{{First: 80, Last: 80}, {First: 443, Last: 443}}}
	site  = &cell.Target{Name: "example.org", Port: 443}
)

// id returns the NodeID of the n-th test node; 0 is the node that chooses.
func id(n int) identity.NodeID {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n)))
}

type option func(*netdir.Relay)

func known(d time.Duration) option { return func(r *netdir.Relay) { r.Known = d } }
func exits(r *netdir.Relay)        { r.Exit = web }
func speed(b int64) option         { return func(r *netdir.Relay) { r.Bandwidth = b } }
func failing(failures, tries int) option {
	return func(r *netdir.Relay) { r.Failures, r.Tries = failures, tries }
}
func family(n ...int) option {
	return func(r *netdir.Relay) {
		for _, n := range n {
			r.Families = append(r.Families, netdir.Family{Key: id(1000 + n)})
		}
	}
}
func vouched(by ...int) option {
	return func(r *netdir.Relay) {
		for _, n := range by {
			r.Vouches = append(r.Vouches, netdir.Vouch{Voucher: id(n)})
		}
	}
}

// relay makes the n-th relay, one that has been known for 30 days.
func relay(n int, options ...option) netdir.Relay {
	r := netdir.Relay{Known: 30 * day, Descriptor: &netdir.Descriptor{
		Node: id(n), Flags: netdir.FlagRelay, Suites: []layer.Suite{layer.ChaCha}}}
	for _, o := range options {
		o(&r)
	}
	return r
}

// relays makes relays from first to last.
func relays(first, last int, options ...option) (list []netdir.Relay) {
	for n := first; n <= last; n++ {
		list = append(list, relay(n, options...))
	}
	return list
}

// world is a directory and its Chooser.
type world struct {
	*Chooser
	list       []netdir.Relay
	neighbours []identity.NodeID
	now        time.Time
}

func newWorld(list ...[]netdir.Relay) *world {
	w := &world{list: slices.Concat(list...), now: start}
	w.Chooser = New(Config{Self: id(0), Rand: rand.New(rand.NewChaCha8([32]byte{1})),
		Relays:     func(time.Time) []netdir.Relay { return w.list },
		Neighbours: func() []identity.NodeID { return w.neighbours }})
	return w
}

func nodes(relays []netdir.Relay) (ids []identity.NodeID) {
	for _, r := range relays {
		ids = append(ids, r.Node)
	}
	return ids
}

// must chooses and fails the test if it cannot.
func (w *world) must(t testing.TB, need Need) ([]identity.NodeID, []Rule) {
	t.Helper()
	c, err := w.Choose(w.now, need)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Relays) != need.Hops {
		t.Fatalf("%d hops, wanted %d", len(c.Relays), need.Hops)
	}
	return nodes(c.Relays), c.Relaxed
}

func TestLastHopTakesTheTarget(t *testing.T) {
	v6 := policy.Summary{IPv6: true, TCP: policy.Ports{{First: 1, Last: 65535}}}
	w := newWorld(relays(1, 6), []netdir.Relay{relay(7, exits), relay(8, func(r *netdir.Relay) { r.Exit = v6 })})
	for name, tt := range map[string]struct {
		target *cell.Target
		want   []identity.NodeID
	}{
		"name, web":    {site, []identity.NodeID{id(7), id(8)}},
		"name, mail":   {&cell.Target{Name: "example.org", Port: 25}, []identity.NodeID{id(8)}},
		"IPv4":         {&cell.Target{Addr: netip.MustParseAddr("192.0.2.1"), Port: 80}, []identity.NodeID{id(7)}},
		"IPv6":         {&cell.Target{Addr: netip.MustParseAddr("2001:db8::1"), Port: 80}, []identity.NodeID{id(8)}},
		"IPv4, closed": {&cell.Target{Addr: netip.MustParseAddr("192.0.2.1"), Port: 25}, nil},
		"UDP":          {&cell.Target{Network: cell.UDP, Name: "example.org", Port: 53}, nil},
	} {
		for range 30 {
			c, err := w.Choose(w.now, Need{Hops: 3, Target: tt.target})
			if tt.want == nil {
				if !errors.Is(err, ErrNoExit) {
					t.Errorf("%s: %v, want ErrNoExit", name, err)
				}
				continue
			}
			if err != nil || !slices.Contains(tt.want, c.Relays[2].Node) {
				t.Fatalf("%s: %v, %v", name, c.Relays, err)
			}
		}
	}
}

func TestNeed(t *testing.T) {
	w := newWorld(relays(1, 10), []netdir.Relay{relay(11, exits), relay(0),
		relay(12, func(r *netdir.Relay) { r.Suites = nil }), relay(13, exits, func(r *netdir.Relay) { r.Flags = 0 })})
	for range 50 {
		if path, _ := w.must(t, Need{Hops: 3, Last: id(4)}); path[2] != id(4) {
			t.Fatal("Last is not last")
		}
		stub, _ := w.must(t, Need{Hops: 2, Avoid: []identity.NodeID{id(11)}})
		path, _ := w.must(t, Need{Hops: 3, Fixed: stub, Target: site})
		if !slices.Equal(path[:2], stub) {
			t.Fatal("the stub is not kept")
		}
		path, _ = w.must(t, Need{Hops: 8, Avoid: []identity.NodeID{id(1), id(2)}})
		for _, bad := range []int{0, 1, 2, 12, 13} {
			if slices.Contains(path, id(bad)) {
				t.Fatalf("node %d is in %v", bad, path)
			}
		}
		if path, _ := w.must(t, Need{Hops: 1, Target: site}); path[0] != id(11) && path[0] != id(13) {
			t.Fatal("the only hop does not take the target")
		}
		// Who takes the stream may be the last hop, but no other.
		node := &cell.Target{Node: id(3), Port: 22}
		if path, _ := w.must(t, Need{Hops: 4, Target: node}); slices.Contains(path[:3], id(3)) {
			t.Fatal("the target is a hop")
		}
	}
	for name, need := range map[string]Need{
		"no hops":     {},
		"too long":    {Hops: cell.MaxHops + 1},
		"all there":   {Hops: 1, Fixed: []identity.NodeID{id(1)}},
		"twice":       {Hops: 3, Fixed: []identity.NodeID{id(1), id(1)}},
		"avoided":     {Hops: 3, Last: id(1), Avoid: []identity.NodeID{id(1)}},
		"itself":      {Hops: 3, Last: id(0)},
		"not known":   {Hops: 3, Last: id(99)},
		"not usable":  {Hops: 3, Last: id(12)},
		"not a relay": {Hops: 3, Fixed: []identity.NodeID{id(1), id(98)}},
	} {
		if c, err := w.Choose(w.now, need); err == nil {
			t.Errorf("%s: chose %v", name, nodes(c.Relays))
		}
	}
	var unknown *UnknownError
	if _, err := w.Choose(w.now, Need{Hops: 2, Last: id(99)}); !errors.As(err, &unknown) || unknown.Hop != 1 {
		t.Errorf("%v, want an UnknownError of the second hop", err)
	}
}

func TestSmallNetworks(t *testing.T) {
	for n := range 6 {
		for hops := 1; hops <= 5; hops++ {
			w := newWorld(relays(1, n, exits, known(time.Minute)))
			for i := range n {
				w.neighbours = append(w.neighbours, id(i+1))
			}
			c, err := w.Choose(w.now, Need{Hops: hops, Target: site})
			var few *TooFewError
			switch {
			case n == 0:
				if !errors.Is(err, ErrNoExit) {
					t.Errorf("no relays: %v", err)
				}
			case hops > n:
				if !errors.As(err, &few) || few.Want != hops || few.Have != n {
					t.Errorf("%d hops of %d relays: %v", hops, n, err)
				}
			case err != nil:
				t.Errorf("%d hops of %d relays: %v", hops, n, err)
			case hops > 1 && (!slices.Contains(c.Relaxed, RuleGuardNew) || !slices.Contains(c.Relaxed, RuleGuardNeighbour)):
				t.Errorf("the guard is a new neighbour, and the choice says %v", c.Relaxed)
			}
		}
	}
}

// The only exit must not be taken for the guard, whatever was chosen before.
func TestScarceExitIsKeptForTheEnd(t *testing.T) {
	w := newWorld(relays(1, 3), []netdir.Relay{relay(4, exits)})
	for range 200 {
		w.must(t, Need{Hops: 3, Target: site})
		if stub, _ := w.must(t, Need{Hops: 2}); stub[1] == id(4) {
			t.Fatal("the only exit is in the middle of a stub")
		}
	}
}

func TestNoGuardDrawsTheFirstHop(t *testing.T) {
	w := newWorld(relays(1, 30))
	seen := make(map[identity.NodeID]bool)
	for range 300 {
		path, _ := w.must(t, Need{Hops: 3, NoGuard: true})
		seen[path[0]] = true
	}
	if len(seen) < 20 {
		t.Errorf("%d first hops in 300 paths", len(seen))
	}
	if len(w.set.guards) != sampleSize {
		t.Errorf("%d guards", len(w.set.guards))
	}
}

// No path has a relay or a family twice, whatever the directory looks like.
func TestNothingTwice(t *testing.T) {
	paths := 0
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 25).Draw(t, "relays")
		var list []netdir.Relay
		for i := 1; i <= n; i++ {
			list = append(list, relay(i, known(time.Duration(rapid.IntRange(0, 20).Draw(t, "days"))*day),
				family(rapid.SliceOfNDistinct(rapid.IntRange(0, 8), 0, 2, rapid.ID[int]).Draw(t, "families")...),
				vouched(rapid.SliceOfN(rapid.IntRange(0, n+5), 0, 4).Draw(t, "vouchers")...),
				speed(rapid.Int64Range(-1, 1<<40).Draw(t, "speed")), failing(rapid.IntRange(0, 9).Draw(t, "failures"), 5)))
			if rapid.Bool().Draw(t, "exit") {
				exits(&list[i-1])
			}
		}
		w := newWorld(list)
		for i := range rapid.IntRange(0, 4).Draw(t, "neighbours") {
			w.neighbours = append(w.neighbours, id(i+1))
		}
		for range 250 {
			need := Need{Hops: 1 + w.cfg.Rand.IntN(5), NoGuard: w.cfg.Rand.IntN(4) == 0}
			if w.cfg.Rand.IntN(2) == 0 {
				need.Target = site
			}
			c, err := w.Choose(w.now, need)
			var few *TooFewError
			if errors.As(err, &few) && few.Have < few.Want || errors.Is(err, ErrNoExit) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			paths++
			if err := distinct(c.Relays, need.Hops); err != nil {
				t.Fatal(err)
			}
			w.Report(w.now, nodes(c.Relays), w.cfg.Rand.IntN(need.Hops+1)-1)
			w.now = w.now.Add(time.Minute)
		}
		if len(w.set.guards) > maxSample {
			t.Fatalf("%d guards", len(w.set.guards))
		}
	})
	if !t.Failed() && !testing.Short() && paths < 10000 {
		t.Errorf("only %d paths were looked at", paths)
	}
}

func distinct(path []netdir.Relay, hops int) error {
	if len(path) != hops {
		return fmt.Errorf("%d hops, not %d", len(path), hops)
	}
	nodes, families := make(map[identity.NodeID]bool), make(map[[32]byte]bool)
	for _, r := range path {
		if nodes[r.Node] || r.Node == id(0) {
			return fmt.Errorf("%s is twice in the path, or is this node", r.Node.Short())
		}
		nodes[r.Node] = true
		for _, f := range r.Families {
			if families[f.Key] {
				return errors.New("a family is twice in the path")
			}
		}
		for _, f := range r.Families {
			families[f.Key] = true
		}
	}
	return nil
}

func TestPathsDiffer(t *testing.T) {
	w := newWorld(relays(1, 40, exits))
	seen := make(map[[2]identity.NodeID]bool)
	for range 500 {
		path, _ := w.must(t, Need{Hops: 3, Target: site})
		seen[[2]identity.NodeID(path[1:])] = true
	}
	if len(seen) < 300 {
		t.Errorf("500 paths have %d different ends", len(seen))
	}
}

func TestManyCallersAtOnce(t *testing.T) {
	w := newWorld(relays(1, 20), relays(21, 30, exits))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				c, err := w.Choose(w.now, Need{Hops: 3, Target: site})
				if err != nil {
					t.Error(err)
					return
				}
				w.Report(w.now, nodes(c.Relays), -1)
				w.Save(w.now)
				w.Guards(w.now)
			}
		})
	}
	group.Wait()
	if used := slices.IndexFunc(w.Guards(w.now), func(g GuardStatus) bool { return !g.Used }); used != 1 {
		t.Errorf("%d guards were used, want 1", used)
	}
}

func TestDirectoryMayChange(t *testing.T) {
	w := newWorld(relays(1, 10))
	w.must(t, Need{Hops: 3})
	old := w.view
	w.must(t, Need{Hops: 3})
	if w.view != old {
		t.Error("the same directory was worked out twice")
	}
	w.list = slices.Clone(w.list)
	w.list[3].Failures, w.list[3].Tries = 9, 9
	before := w.view.weight[3]
	w.must(t, Need{Hops: 3})
	if w.view != old || w.view.weight[3] >= before {
		t.Error("a new measurement is not followed, or cost a new view")
	}
	w.list = relays(11, 16)
	path, _ := w.must(t, Need{Hops: 3})
	for _, n := range path {
		if slices.Contains(nodes(relays(1, 10)), n) {
			t.Error("a relay that left is in the path")
		}
	}
	old = w.view
	w.neighbours = []identity.NodeID{id(12)}
	w.must(t, Need{Hops: 3})
	if w.view == old {
		t.Error("a new neighbour was not noticed")
	}
}

func BenchmarkChoose(b *testing.B) {
	for _, n := range []int{20, 200, 2000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := meshOf(n)
			w.must(b, Need{Hops: 3, Target: site})
			b.ReportAllocs()
			for b.Loop() {
				w.must(b, Need{Hops: 3, Target: site})
			}
		})
	}
}

func BenchmarkView(b *testing.B) {
	w := meshOf(2000)
	b.ReportAllocs()
	for b.Loop() {
		newView(id(0), w.list, nil, 0)
	}
}

func BenchmarkFollow(b *testing.B) {
	w := meshOf(2000)
	v := newView(id(0), w.list, nil, 0)
	lists := [][]netdir.Relay{slices.Clone(w.list), slices.Clone(w.list)}
	for n := 0; b.Loop(); n++ {
		if !v.follow(lists[n%2], nil, 0) {
			b.Fatal("not followed")
		}
	}
}

// meshOf makes a mesh of n relays, each linked to four at random.
func meshOf(n int) *world {
	rng := rand.New(rand.NewPCG(1, 2))
	w := newWorld(relays(1, n))
	for i := range w.list {
		vouched(rng.IntN(n+1), rng.IntN(n+1), rng.IntN(n+1), rng.IntN(n+1))(&w.list[i])
		if i%4 == 0 {
			exits(&w.list[i])
		}
		w.list[i].Bandwidth = rng.Int64N(4 << 20)
	}
	w.neighbours = []identity.NodeID{id(1), id(2), id(3)}
	return w
}
