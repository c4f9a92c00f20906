package beacon

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
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

// An interface gets another address: the beacon is opened anew, and the
// neighbours hear of it at once; a question finds those that speak rarely.
func TestAddressChange(t *testing.T) {
	s := newSegment(t)
	st := s.station("")
	a, b := s.station("").run(1, "net"), st.run(2, "net")
	a.seen.wait(t, b.cfg.Tag)
	a.SetPace(Connected)
	b.stop()
	old := st.ll
	w0, err := st.h.LinkByName("w0")
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []netip.Addr{old, netip.MustParseAddr("fe80::1234")} {
		x := &netlink.Addr{IPNet: &net.IPNet{IP: addr.WithZone("").AsSlice(), Mask: net.CIDRMask(64, 128)}, Flags: unix.IFA_F_NODAD}
		if addr == old {
			err = st.h.AddrDel(w0, x)
		} else {
			err = st.h.AddrAdd(w0, x)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	st.findLinkLocal()
	again := &running{seen: &seen{ring: make(chan struct{}, 1)}}
	cfg := b.cfg
	cfg.Seen = again.seen.add
	again.Beacon = st.open(cfg)
	again.start(t)
	eventually(t, "the new address", func() bool {
		_, ok := a.seen.find(func(x Sighting) bool { return x.Tag == cfg.Tag && x.Addr == st.ll })
		return ok
	})
	again.seen.wait(t, a.cfg.Tag)
}

// Without an address there is nothing to announce; the caller tries again later.
func TestOpenWithoutAddress(t *testing.T) {
	st := newSegment(t).station("")
	w0, err := st.h.LinkByName("w0")
	if err != nil {
		t.Fatal(err)
	}
	if err := st.h.LinkSetDown(w0); err != nil {
		t.Fatal(err)
	}
	cfg := st.config(1, "net", &seen{})
	open := func(cfg Config) error {
		return st.ns.Do(func() error { _, err := Open(cfg); return err })
	}
	if err := open(cfg); !errors.Is(err, ErrNoAddress) {
		t.Errorf("without addresses: %v", err)
	}
	cfg.Index = 9999
	if err := open(cfg); err == nil {
		t.Error("opened an interface that is not there")
	}
	cfg.Index, cfg.Ifname = st.index, "eth9"
	if err := open(cfg); err == nil {
		t.Error("opened an interface under another's name")
	}
}

// An interface that goes away must not end the beacon, nor keep it from ending.
func TestInterfaceGoesAway(t *testing.T) {
	st := newSegment(t).station("10.9.0.1/24")
	a := st.run(1, "net")
	eventually(t, "an announcement", func() bool { return a.Counters()["own"] > 0 })
	w0, err := st.h.LinkByName("w0")
	if err != nil {
		t.Fatal(err)
	}
	if err := st.h.LinkDel(w0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a failure to send", func() bool { return a.Counters()["send_errors"] > 0 })
	a.stop()
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
