package babel

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"globalnet/mesh/babel/wire"
)

// A neighbour is usable with the first Hello and IHU, and is told all at once,
// reliably: RFC 8966 sections 3.4.1, 3.4.2 and 3.7.1.
func TestNewNeighbour(t *testing.T) {
	b := newBench(t, Config{})
	b.receive("a", alice, wire.Hello{Seqno: 9, Interval: 400})
	events := b.take()
	if up := happened[NeighbourUp](events); len(up) != 0 {
		t.Error("up although it has not said that it hears us")
	}
	b.receive("a", alice, wire.IHU{Address: us, RxCost: 96, Interval: 1200})
	b.pass(50 * time.Millisecond)
	events = append(events, b.take()...)
	if up := happened[NeighbourUp](events); len(up) != 1 || up[0] != (NeighbourUp{"a", alice}) {
		t.Errorf("up: %v", up)
	}
	ihus := sent[wire.IHU](t, events, "a")
	if len(ihus) == 0 || ihus[0].Address != alice || ihus[0].RxCost != 96 {
		t.Errorf("IHUs %+v", ihus)
	}
	updates := sent[wire.Update](t, events, "a")
	if len(updates) != 1 || updates[0].Prefix != prefix(0) || updates[0].Metric != 0 {
		t.Errorf("updates %+v", updates)
	}
	if n := b.s.Neighbours(); len(n) != 1 || n[0].Cost != 96 || n[0].Reach != 0x8000 || n[0].LastHello != start {
		t.Errorf("neighbours %+v", n)
	}
}

func TestForeignIHU(t *testing.T) {
	b := newBench(t, Config{})
	b.receive("a", alice, wire.Hello{Seqno: 9, Interval: 400}, wire.IHU{Address: bob, RxCost: 96, Interval: 1200})
	if b.s.Neighbours()[0].TxCost != infinity {
		t.Error("an IHU for another was taken")
	}
}

// RFC 8966 appendix A.1 and A.2.2.
func TestHistory(t *testing.T) {
	for _, c := range []struct {
		name   string
		seqnos []uint16 // 0: one is missed
		bits   uint16
		cost   uint16
		alive  bool
	}{
		{"first", []uint16{5}, 0x8000, 100, true},
		{"in order", []uint16{5, 6, 7}, 0xe000, 100, true},
		{"gap", []uint16{5, 8}, 0x9000, 200, true},
		{"wraps", nil, 0xc000, 100, true},
		{"duplicate", []uint16{5, 6, 6}, 0xc000, 100, true},
		{"missed by the timer, then late", []uint16{5, 0, 6}, 0xc000, 100, true},
		{"two missed", []uint16{5, 6, 0, 0}, 0x3000, 200, true},
		{"three missed", []uint16{5, 6, 7, 0, 0, 0}, 0x1c00, infinity, false},
		{"a lossy link has more patience", []uint16{5, 7, 9, 0, 0, 0}, 0x1500, 266, true},
		{"restart", []uint16{5, 6, 7, 1000}, 0x8000, 100, true},
	} {
		var h history
		for _, seqno := range c.seqnos {
			if seqno == 0 {
				h.miss(0)
			} else {
				h.hear(seqno, second, 0)
			}
		}
		if c.name == "wraps" { // a literal 0 means a miss above
			h = history{}
			h.hear(65535, second, 0)
			h.hear(0, second, 0)
		}
		if h.bits != c.bits || h.alive() != c.alive || h.rxCost(100) != c.cost {
			t.Errorf("%s: bits %#x cost %d alive %v, want %#x %d %v",
				c.name, h.bits, h.rxCost(100), h.alive(), c.bits, c.cost, c.alive)
		}
	}
}

// RFC 8966 section 3.5.1, in terms of what we have announced.
func TestFeasible(t *testing.T) {
	d := &destination{sources: []source{{id: RouterID{1}, seqno: 100, metric: 200}}}
	for _, c := range []struct {
		id     RouterID
		seqno  uint16
		metric uint16
		want   bool
	}{
		{RouterID{1}, 100, 199, true},
		{RouterID{1}, 100, 200, false},
		{RouterID{1}, 101, 5000, true},
		{RouterID{1}, 99, 1, false},
		{RouterID{1}, 32869, 1, false}, // older, modulo 2^16
		{RouterID{2}, 1, 60000, true},
		{RouterID{1}, 99, infinity, true},
	} {
		if got := d.feasible(c.id, c.seqno, c.metric); got != c.want {
			t.Errorf("%v: %v", c, got)
		}
	}
}

// The feasibility distance is what was sent, no more: RFC 8966 section 3.7.3.
func TestFeasibilityDistanceFollowsAnnouncements(t *testing.T) {
	b := newBench(t, Config{})
	b.both()
	b.receive("a", alice, update(7, 10, 100))
	b.pass(100 * time.Millisecond)
	if us := sent[wire.Update](t, b.take(), "b"); len(us) == 0 || us[0].Metric != 196 || us[0].Seqno != 10 {
		t.Fatalf("sent to bob: %+v", us)
	}
	src := b.s.dests[prefix(7)].source(idOf(prefix(7)))
	if src == nil || src.seqno != 10 || src.metric != 196 {
		t.Fatalf("source %+v", src)
	}
	b.receive("b", bob, update(7, 10, 196))
	for _, r := range b.s.Routes() {
		if r.Ifname == "b" && r.Feasible {
			t.Error("a route with our own metric is feasible")
		}
	}
}

// RFC 8966 section 3.5.4: a route that is not repeated is asked for, then dies.
func TestExpiry(t *testing.T) {
	b := newBench(t, Config{})
	b.both()
	u := update(7, 10, 100)
	u.Interval = 400
	b.receive("a", alice, u)
	b.keep(12 * time.Second)
	if b.selected(7) != "a" {
		t.Fatal("died before its time")
	}
	if asked := sent[wire.RouteRequest](t, b.take(), "a"); !slices.Contains(asked, wire.RouteRequest{Prefix: prefix(7)}) {
		t.Errorf("not asked for: %v", asked)
	}
	b.keep(6 * time.Second)
	if b.selected(7) != "" {
		t.Error("alive after 3.5 intervals")
	}
	b.keep(5 * time.Minute)
	if d := b.s.dests[prefix(7)]; d != nil || b.s.routes != 0 || b.s.sources != 0 {
		t.Errorf("never forgotten: %+v, %d routes, %d sources", d, b.s.routes, b.s.sources)
	}
}

// RFC 8966 section 3.5.3: an unfeasible update of the selected route is not taken,
// but a newer one is asked for, of that neighbour only.
func TestUnfeasibleUpdate(t *testing.T) {
	b := newBench(t, Config{})
	b.both()
	b.receive("a", alice, update(7, 10, 100))
	b.pass(100 * time.Millisecond)
	b.take()
	b.receive("a", alice, update(7, 10, 400))
	events := b.take()
	if b.selected(7) != "a" || b.s.dests[prefix(7)].selected.metric != 196 {
		t.Error("the unfeasible update was taken")
	}
	if got := sent[wire.SeqnoRequest](t, events, "a"); len(got) != 1 || got[0].Seqno != 11 {
		t.Errorf("asked %+v", got)
	}
	if got := sent[wire.SeqnoRequest](t, events, "b"); len(got) != 0 {
		t.Errorf("asked bob %+v", got)
	}
	b.receive("a", alice, update(7, 11, 400))
	if m := b.s.dests[prefix(7)].selected.metric; m != 496 {
		t.Errorf("metric %d after the newer one", m)
	}
}

// RFC 8966 appendix A.3: a route must be better for a while to be preferred.
func TestHysteresis(t *testing.T) {
	b := newBench(t, Config{})
	b.both()
	b.receive("a", alice, update(7, 10, 200))
	b.receive("b", bob, update(7, 10, 300))
	b.receive("b", bob, update(7, 11, 150))
	if b.selected(7) != "a" {
		t.Error("switched at once to a route that was worse a moment ago")
	}
	b.keep(16 * time.Second)
	if b.selected(7) != "b" {
		t.Error("never switched to the better route")
	}
}

// RFC 9616 section 4.
func TestRTTCost(t *testing.T) {
	n := &neighbour{iface: &iface{Interface: Interface{RTT: true, Cost: 96}}}
	for rtt, want := range map[time.Duration]int{0: 0, 10 * time.Millisecond: 0, 65 * time.Millisecond: 48,
		120 * time.Millisecond: 96, 5 * time.Second: 96} {
		if n.rtt = tick(rtt); n.rttCost() != want {
			t.Errorf("rtt %v costs %d, want %d", rtt, n.rttCost(), want)
		}
	}
}

func TestRTTMeasured(t *testing.T) {
	b := newBench(t, Config{})
	b.pass(time.Second)
	if err := b.s.AddInterface(b.now, Interface{Name: "c", Address: us, RTT: true}); err != nil {
		t.Fatal(err)
	}
	b.drain()
	hello := sent[wire.Hello](t, b.take(), "c")[0]
	if !hello.HasTimestamp {
		t.Fatal("no timestamp in our Hello")
	}
	b.now = b.now.Add(40 * time.Millisecond) // of which alice held it 10 ms
	b.receive("c", alice, wire.Hello{Seqno: 1, Interval: 400, HasTimestamp: true, Timestamp: 5_010_000},
		wire.IHU{Address: us, RxCost: 96, Interval: 1200, HasTimestamp: true, Origin: hello.Timestamp, Receive: 5_000_000})
	n := b.s.Neighbours()[0]
	if n.RTT != 30*time.Millisecond || n.Cost != 96+17 {
		t.Errorf("rtt %v cost %d", n.RTT, n.Cost)
	}
	b.pass(100 * time.Millisecond)
	for _, u := range sent[wire.IHU](t, b.take(), "c") {
		if u.HasTimestamp && u.Origin == 5_010_000 {
			return
		}
	}
	t.Error("we echo no timestamp")
}

func TestWithdraw(t *testing.T) {
	b := newBench(t, Config{})
	b.both()
	b.s.Withdraw(b.now, prefix(0))
	b.drain()
	if us := sent[wire.Update](t, b.take(), "a"); len(us) != 1 || us[0].Metric != infinity || us[0].Prefix != prefix(0) {
		t.Errorf("updates %+v", us)
	}
}

// Who says farewell retracts everything at once, its own and what it forwards;
// the receiver drops all routes of that neighbour and of no other.
func TestFarewell(t *testing.T) {
	b := newBench(t, Config{})
	b.both()
	b.receive("a", alice, update(7, 10, 100))
	b.take()
	b.s.Farewell(b.now)
	b.drain()
	said := b.take()
	for _, ifname := range []string{"a", "b"} {
		us := sent[wire.Update](t, said, ifname)
		if len(us) != 1 || us[0].Prefix.IsValid() || us[0].Metric != infinity {
			t.Errorf("on %s updates %+v", ifname, us)
		}
	}
	b.receive("a", alice, wire.Update{Interval: 1600, Metric: infinity})
	if got := happened[RouteRetracted](b.take()); len(got) != 1 {
		t.Errorf("after the neighbour's farewell retracted %v", got)
	}
}

func TestRemoveInterface(t *testing.T) {
	b := newBench(t, Config{})
	b.both()
	b.receive("a", alice, update(7, 10, 100))
	b.take()
	b.s.RemoveInterface(b.now, "a")
	b.drain()
	if got := happened[RouteRetracted](b.take()); len(got) != 1 {
		t.Errorf("retracted %v", got)
	}
	if err := b.s.HandlePacket(b.now, "a", alice, []byte{42, 2, 0, 0}); err == nil {
		t.Error("a packet from a removed interface was taken")
	}
	b.s.RemoveInterface(b.now, "b")
	if n := b.s.Neighbours(); len(n) != 0 {
		t.Errorf("neighbours %v", n)
	}
}

// With many neighbours on an interface, what is triggered goes to all at once, twice.
func TestCrowd(t *testing.T) {
	b := newBench(t, Config{})
	b.both()
	for k := range crowdSize + 1 {
		b.hello("a", netip.MustParseAddr(fmt.Sprintf("fe80::c%d", k)))
	}
	for range 10 {
		b.pass(100 * time.Millisecond)
		b.take()
	}
	b.receive("b", bob, update(7, 10, 100))
	b.pass(time.Second)
	n := 0
	for _, e := range happened[SendPacket](b.take()) {
		for _, v := range tlvs(t, e) {
			if u, ok := v.(wire.Update); ok && e.Ifname == "a" && u.Prefix == prefix(7) {
				if n++; e.To != wire.Group {
					t.Errorf("to %v", e.To)
				}
			}
		}
	}
	if n != 2 {
		t.Errorf("said %d times", n)
	}
}

func TestRefusedInterfaces(t *testing.T) {
	s := New(Config{Rand: rand.New(rand.NewPCG(1, 1))})
	if !s.NextTimeout().IsZero() {
		t.Error("a speaker without interfaces has something to do")
	}
	for _, i := range []Interface{
		{Address: us}, {Name: "x"}, {Name: "x", Address: netip.MustParseAddr("10.0.0.1")},
		{Name: "x", Address: netip.MustParseAddr("fd00::1")}, {Name: "x", Address: us.WithZone("y")},
	} {
		if err := s.AddInterface(start, i); err == nil {
			t.Errorf("%+v was taken", i)
		}
	}
}

func TestCountersHaveNames(t *testing.T) {
	s := New(Config{Rand: rand.New(rand.NewPCG(1, 1))})
	if c := s.Counters(); len(c) != int(counterCount) || !reflect.DeepEqual(c[""], uint64(0)) {
		t.Errorf("%d names for %d counters", len(c), counterCount)
	}
}

// Intervals that change while a link is up change at both ends, and lose nothing.
func TestSetIntervals(t *testing.T) {
	a, b := New(Config{RouterID: RouterID{1}, Rand: rand.New(rand.NewPCG(1, 1))}), New(Config{RouterID: RouterID{2}, Rand: rand.New(rand.NewPCG(2, 2))})
	now := time.Unix(1000, 0)
	addrA, addrB := netip.MustParseAddr("fe80::a"), netip.MustParseAddr("fe80::b")
	if err := errors.Join(
		a.AddInterface(now, Interface{Name: "x", Address: addrA}),
		b.AddInterface(now, Interface{Name: "x", Address: addrB})); err != nil {
		t.Fatal(err)
	}
	sent, lost := 0, 0
	run := func(d time.Duration) {
		for end := now.Add(d); now.Before(end); now = now.Add(10 * time.Millisecond) {
			for _, s := range []*Speaker{a, b} {
				to, from := b, addrA
				if s == b {
					to, from = a, addrB
				}
				s.HandleTimeout(now)
				for e, ok := s.NextEvent(); ok; e, ok = s.NextEvent() {
					switch e := e.(type) {
					case SendPacket:
						if s == a {
							sent++
						}
						to.HandlePacket(now, "x", from, e.Packet)
					case NeighbourLost:
						lost++
					}
				}
			}
		}
	}
	run(20 * time.Second)
	sent = 0
	run(20 * time.Second)
	slow := sent
	for _, s := range []*Speaker{a, b} {
		s.SetIntervals(now, "x", 500*time.Millisecond, 2*time.Second)
	}
	run(5 * time.Second)
	sent = 0
	run(20 * time.Second)
	if sent < 4*slow {
		t.Errorf("%d packets in 20 s after hellos became eight times as frequent, %d before", sent, slow)
	}
	for _, s := range []*Speaker{a, b} {
		s.SetIntervals(now, "x", 0, 0)
	}
	run(30 * time.Second)
	if lost != 0 {
		t.Errorf("neighbours were lost %d times", lost)
	}
}
