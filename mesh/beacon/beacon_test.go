package beacon

import (
	"runtime"
	"testing"
)

// Five nodes on a bridge; each sees the four others, none itself.
//
//	n1 ─┬─ br ─┬─ n4
//	n2 ─┤      └─ n5
//	n3 ─┘
func TestNeighboursSeeEachOther(t *testing.T) {
	s := newSegment(t)
	var stations []*station
	var nodes []*running
	for i := range 5 {
		ip4 := ""
		if i%2 == 0 {
			ip4 = "10.9.0." + string(rune('1'+i)) + "/24"
		}
		st := s.station(ip4)
		stations = append(stations, st)
		nodes = append(nodes, st.run(uint16(18245+i), "net"))
	}
	for i, n := range nodes {
		for j, other := range nodes {
			if i == j {
				continue
			}
			got := n.seen.wait(t, other.cfg.Tag)
			want := Sighting{
				Ifname: "w0", Addr: stations[j].ll, Port: uint16(18245 + j),
				Tag: other.cfg.Tag, SameNetwork: true,
			}
			if got != want {
				t.Errorf("node %d sees %+v, want %+v", i, got, want)
			}
		}
		if x, ok := n.seen.find(func(x Sighting) bool { return x.Tag == n.cfg.Tag }); ok {
			t.Errorf("node %d sees itself: %+v", i, x)
		}
	}
	for i, n := range nodes {
		t.Logf("node %d: %v", i, n.Counters())
	}
}

func TestForeignNetworkIsMarked(t *testing.T) {
	s := newSegment(t)
	a, b := s.station("").run(1, "net"), s.station("").run(2, "other")
	if x := a.seen.wait(t, b.cfg.Tag); x.SameNetwork {
		t.Errorf("a node of another network counts as ours: %+v", x)
	}
	if x := b.seen.wait(t, a.cfg.Tag); x.SameNetwork {
		t.Errorf("a node of another network counts as ours: %+v", x)
	}
}

func TestRunLeavesNothing(t *testing.T) {
	s := newSegment(t)
	st := s.station("10.9.0.1/24")
	before := runtime.NumGoroutine()
	for range 3 {
		r := st.run(1, "net")
		eventually(t, "an announcement", func() bool { return r.Counters()["own"] > 0 })
		r.stop()
	}
	b := st.open(st.config(1, "net", &seen{ring: make(chan struct{}, 1)}))
	b.Close()
	eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
}
