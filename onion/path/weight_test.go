package path

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"globalnet/internal/identity"
	"globalnet/onion/netdir"
)

// share returns how many of n drawn last hops ok accepts, as a part of 1.
func (w *world) share(t *testing.T, n int, ok func(identity.NodeID) bool) float64 {
	t.Helper()
	hits := 0
	for range n {
		path, _ := w.must(t, Need{Hops: 3, Target: site})
		if ok(path[2]) {
			hits++
		}
	}
	return float64(hits) / float64(n)
}

func from(first, last int) func(identity.NodeID) bool {
	list := nodes(relays(first, last))
	return func(n identity.NodeID) bool { return slices.Contains(list, n) }
}

func TestWeights(t *testing.T) {
	mib := int64(1 << 20)
	for name, tt := range map[string]struct {
		a, b option
		want float64 // weight of a relay with a, as a part of that of one with b
	}{
		"as fast":              {speed(mib), speed(mib), 1},
		"twice as fast":        {speed(2 * mib), speed(mib), 2},
		"above the cap":        {speed(900 * mib), speed(8 * mib), 1},
		"half of it fails":     {failing(99, 199), failing(0, 0), 0.5},
		"all of it fails":      {failing(9, 9), failing(0, 9), 0.1},
		"fails more than ever": {failing(99, 9), failing(0, 9), 0.1},
		"never measured":       {speed(0), speed(mib), 1}, // the median is that of b
	} {
		w := newWorld(relays(1, 5, tt.a), relays(6, 11, tt.b))
		w.must(t, three)
		if got := float64(w.view.weight[0]) / float64(w.view.weight[10]); math.Abs(got-tt.want) > 0.02*tt.want {
			t.Errorf("%s: weight is %.3f times, want %.3f", name, got, tt.want)
		}
	}
}

func TestDrawsFollowWeights(t *testing.T) {
	w := newWorld(relays(1, 30), relays(31, 40, exits, speed(3<<20)), relays(41, 50, exits, speed(1<<20)))
	if got := w.share(t, 1000, from(31, 40)); got < 0.70 || got > 0.80 {
		t.Errorf("relays thrice as fast are %.2f of the exits, want 0.75", got)
	}
}

// Exits serve as middles with what they have above a third of the weight.
func TestExitsAsMiddles(t *testing.T) {
	for others, want := range map[int]float64{50: 0, 40: 0, 20: 0.25, 5: 0.73} {
		w := newWorld(relays(1, 20, exits), relays(101, 100+others))
		hits := 0
		for range 1000 {
			if path, _ := w.must(t, Need{Hops: 2}); from(1, 20)(path[1]) {
				hits++
			}
		}
		if got := float64(hits) / 1000; math.Abs(got-want) > 0.05 {
			t.Errorf("beside %d others, 20 exits are %.2f of the middles, want %.2f", others, got, want)
		}
	}
}

// Whoever brings in 500 relays behind one real node gets no more than one part.
func TestSybilsBehindOneVoucher(t *testing.T) {
	honest := func() (list []netdir.Relay) {
		for n := 1; n <= 40; n++ {
			list = append(list, relay(n, exits, vouched((n+1)%20+1, (n+7)%20+1)))
		}
		return list
	}
	sybils := func(f func(n int) []int, o ...option) (list []netdir.Relay) {
		for n := 1001; n <= 1500; n++ {
			list = append(list, relay(n, append(o, exits, speed(1<<40), vouched(f(n)...))...))
		}
		return list
	}
	for name, list := range map[string][]netdir.Relay{
		"one voucher": sybils(func(int) []int { return []int{7} }),
		"none":        sybils(func(int) []int { return nil }),
		"new, vouch for each other": slices.Concat(sybils(func(n int) []int { return []int{1001 + n%500, 1001 + n*7%500} }, known(day)),
			[]netdir.Relay{relay(1600, exits, known(day), vouched(7))}),
	} {
		w := newWorld(honest(), list)
		// 1/5, and the 40 honest relays do not all fall out of the draw.
		if got := w.share(t, 1000, from(1001, 1600)); got > 0.24 || got == 0 {
			t.Errorf("%s: Sybils are %.2f of the exits, want at most 0.2", name, got)
		}
	}
	// A chain hangs from one real voucher too.
	chain := sybils(func(n int) []int {
		if n%8 == 1 {
			return []int{7}
		}
		return []int{n - 1}
	}, known(day))
	if got := newWorld(honest(), chain).share(t, 1000, from(1001, 1500)); got > 0.24 {
		t.Errorf("a chain of Sybils is %.2f of the exits", got)
	}
}

// In a young network everybody's vouch counts, and the parts are as many as vouchers.
func TestFewVouchers(t *testing.T) {
	for vouchers, want := range map[int]float64{1: 1, 2: 0.5, 3: 0.333, 4: 0.25, 5: 0.2, 8: 0.2} {
		var list []netdir.Relay
		for n := 1; n < vouchers; n++ {
			list = append(list, relays(10*n, 10*n+4, exits, known(day), vouched(2000+n))...)
		}
		list = append(list, relays(101, 200, exits, known(day), vouched(2000))...)
		list = append(list, relays(301, 340, known(day), vouched(2000))...)
		got := newWorld(list).share(t, 1000, from(101, 200))
		if got > want+0.05 || got < want-0.05 {
			t.Errorf("%d vouchers: the largest has %.2f of the exits, want %.2f", vouchers, got, want)
		}
	}
}

// Who has several vouchers counts where there is least.
func TestLeastLoadedVoucherCounts(t *testing.T) {
	w := newWorld(relays(1, 10, vouched(50)), relays(11, 13, vouched(50, 51)), []netdir.Relay{relay(50), relay(51)})
	w.must(t, three)
	v := w.view
	for i := 10; i < 13; i++ {
		if v.cluster[i] != v.index[id(51)] {
			t.Errorf("relay %d flows through %d, want %d", i+1, v.cluster[i], v.index[id(51)])
		}
	}
	if v.cluster[13] != int32(v.graph.nodes()) {
		t.Error("who has no vouch is counted with a voucher")
	}
}

func TestLimitFlow(t *testing.T) {
	for _, tt := range []struct {
		flow []uint64
		want uint64 // none is above
	}{
		{[]uint64{7}, 7},
		{[]uint64{0, 9, 0, 4}, 4},
		{[]uint64{100, 10, 10, 10, 10}, 10},
		{[]uint64{1000, 10, 10, 10, 10, 10, 10, 10, 10}, 20},
		{[]uint64{1000, 1000, 10, 10, 10, 10, 10, 10}, 20},
		{[]uint64{1, 1, 1, 1, 1 << 60}, 1},
	} {
		if got := limitFlow(tt.flow); got != tt.want {
			t.Errorf("limitFlow(%v) = %d, want %d", tt.flow, got, tt.want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		flow := rapid.SliceOfN(rapid.Uint64Range(0, 1<<34), 1, 40).Draw(t, "flow")
		limit := limitFlow(flow)
		n, total, most := uint64(0), uint64(0), uint64(0)
		for _, f := range flow {
			if f > 0 {
				n++
			}
			total += min(f, limit)
			most = max(most, min(f, limit))
		}
		parts := min(n, vouchers)
		if n > 0 && most*parts > total+parts*parts { // integers round down
			t.Fatalf("after cutting to %d one has %d of %d, more than a part of %d", limit, most, total, parts)
		}
	})
}
