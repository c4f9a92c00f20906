package babel

import (
	"slices"
	"testing"
	"time"

	"globalnet/mesh/babel/wire"
)

// Split horizon, RFC 8966 section 3.7.4.
func TestSplitHorizon(t *testing.T) {
	b := newBench(t, Config{})
	b.both()
	b.receive("a", alice, update(7, 10, 100))
	b.keep(40 * time.Second)
	events := b.take()
	for _, u := range sent[wire.Update](t, events, "a") {
		if u.Prefix == prefix(7) {
			t.Errorf("announced to where it came from: %+v", u)
		}
	}
	if n := len(sent[wire.Update](t, events, "b")); n < 4 {
		t.Errorf("%d updates to bob in 40 s", n)
	}
}

// RFC 8966 section 3.8.2.1: with the last feasible route lost, a retraction and a
// request go out at once, to all.
func TestStarvation(t *testing.T) {
	b := newBench(t, Config{})
	b.both()
	b.receive("a", alice, update(7, 10, 100))
	b.pass(100 * time.Millisecond)
	b.receive("b", bob, update(7, 10, 300)) // not feasible: we announced 196
	b.take()
	b.s.LinkDown(b.now, "a")
	b.drain()
	events := b.take()
	if got := happened[RouteRetracted](events); !slices.Equal(got, []RouteRetracted{{prefix(7)}}) {
		t.Errorf("retracted %v", got)
	}
	if lost := happened[NeighbourLost](events); len(lost) != 1 {
		t.Errorf("lost %v", lost)
	}
	us := sent[wire.Update](t, events, "b")
	if len(us) != 1 || us[0] != (wire.Update{Prefix: prefix(7), Interval: 1600, Metric: infinity}) {
		t.Errorf("updates %+v", us)
	}
	want := wire.SeqnoRequest{Prefix: prefix(7), Seqno: 11, HopCount: 64, RouterID: idOf(prefix(7))}
	if got := sent[wire.SeqnoRequest](t, events, "b"); len(got) != 1 || got[0] != want {
		t.Errorf("requests %+v", got)
	}
	b.receive("b", bob, update(7, 11, 300))
	if b.selected(7) != "b" {
		t.Error("the answer is not used")
	}
}

// A feasible alternative is used at once, without asking anyone.
func TestAlternative(t *testing.T) {
	b := newBench(t, Config{})
	b.both()
	b.receive("a", alice, update(7, 10, 100))
	b.pass(100 * time.Millisecond)
	b.receive("b", bob, update(7, 10, 150)) // 150 < 196
	b.take()
	b.s.LinkDown(b.now, "a")
	b.drain()
	events := b.take()
	if b.selected(7) != "b" || len(happened[RouteRetracted](events)) != 0 || len(sent[wire.SeqnoRequest](t, events, "b")) != 0 {
		t.Errorf("selected %q, events %v", b.selected(7), events)
	}
}

// RFC 8966 section 3.8.1.2, case by case.
func TestSeqnoRequest(t *testing.T) {
	own := func(b *bench) uint16 { return b.s.seqno }
	t.Run("ours: raised, answered", func(t *testing.T) {
		b := newBench(t, Config{})
		b.both()
		want := own(b) + 1
		b.receive("a", alice, wire.SeqnoRequest{Prefix: prefix(0), Seqno: want, HopCount: 5, RouterID: idOf(prefix(0))})
		us := sent[wire.Update](t, b.take(), "a")
		if own(b) != want || len(us) != 1 || us[0].Seqno != want || us[0].Metric != 0 {
			t.Errorf("seqno %d, updates %+v", own(b), us)
		}
	})
	t.Run("ours, not newer: answered", func(t *testing.T) {
		b := newBench(t, Config{})
		b.both()
		before := own(b)
		b.receive("a", alice, wire.SeqnoRequest{Prefix: prefix(0), Seqno: before, HopCount: 5, RouterID: idOf(prefix(0))})
		if us := sent[wire.Update](t, b.take(), "a"); own(b) != before || len(us) != 1 {
			t.Errorf("updates %+v", us)
		}
	})
	request := wire.SeqnoRequest{Prefix: prefix(7), Seqno: 11, HopCount: 5, RouterID: idOf(prefix(7))}
	t.Run("forwarded to the next hop, once", func(t *testing.T) {
		b := newBench(t, Config{})
		b.both()
		b.receive("a", alice, update(7, 10, 100))
		b.pass(100 * time.Millisecond)
		b.take()
		b.receive("b", bob, request)
		b.receive("b", bob, request)
		fwd := request
		fwd.HopCount = 4
		events := b.take()
		if got := sent[wire.SeqnoRequest](t, events, "a"); len(got) != 1 || got[0] != fwd {
			t.Errorf("forwarded %+v", got)
		}
		b.receive("a", alice, update(7, 11, 100))
		us := sent[wire.Update](t, b.take(), "b")
		if len(us) != 1 || us[0].Seqno != 11 || us[0].Metric != 196 {
			t.Errorf("the answer is not passed on: %+v", us)
		}
	})
	t.Run("answered from our table", func(t *testing.T) {
		b := newBench(t, Config{})
		b.both()
		b.receive("a", alice, update(7, 12, 100))
		b.pass(100 * time.Millisecond)
		b.take()
		b.receive("b", bob, request)
		if us := sent[wire.Update](t, b.take(), "b"); len(us) != 1 || us[0].Seqno != 12 {
			t.Errorf("updates %+v", us)
		}
	})
	for name, q := range map[string]wire.SeqnoRequest{
		"hop count used up": {Prefix: prefix(7), Seqno: 11, HopCount: 1, RouterID: idOf(prefix(7))},
		"unknown prefix":    {Prefix: prefix(8), Seqno: 11, HopCount: 5, RouterID: idOf(prefix(8))},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Config{})
			b.both()
			b.receive("a", alice, update(7, 10, 100))
			b.pass(100 * time.Millisecond)
			b.take()
			b.receive("b", bob, q)
			if got := sent[wire.SeqnoRequest](t, b.take(), "a"); len(got) != 0 {
				t.Errorf("forwarded %+v", got)
			}
		})
	}
}

// RFC 8966 section 3.8.1.1.
func TestRouteRequest(t *testing.T) {
	b := newBench(t, Config{})
	b.both()
	b.receive("a", alice, update(7, 10, 100))
	b.pass(2 * time.Second)
	b.take()
	b.receive("b", bob, wire.RouteRequest{Prefix: prefix(7)}, wire.RouteRequest{Prefix: prefix(9)})
	if us := sent[wire.Update](t, b.take(), "b"); len(us) != 2 || us[0].Metric != 196 || us[1].Metric != infinity {
		t.Errorf("updates %+v", us)
	}
	b.receive("b", bob, wire.RouteRequest{})
	b.pass(100 * time.Millisecond)
	if us := sent[wire.Update](t, b.take(), "b"); len(us) != 2 {
		t.Errorf("of all: %+v", us)
	}
}

// What is urgent is sent again until it is acknowledged, as things are then.
func TestResend(t *testing.T) {
	b := newBench(t, Config{})
	b.both()
	b.receive("a", alice, update(7, 10, 100))
	b.pass(100 * time.Millisecond)
	b.take()
	b.receive("a", alice, retraction(7))
	count := func(d time.Duration) int {
		b.pass(d)
		events := b.events
		b.events = nil
		return len(sent[wire.Update](t, events, "b"))
	}
	if n := count(0); n != 1 {
		t.Fatalf("%d retractions at first", n)
	}
	if n := count(4500 * time.Millisecond); n != maxResends {
		t.Errorf("sent again %d times without an acknowledgment, want %d", n, maxResends)
	}
}

// RFC 8966 section 3.3.
func TestAcknowledge(t *testing.T) {
	b := newBench(t, Config{})
	b.receive("a", alice, wire.AckRequest{Opaque: 77, Interval: 10})
	if acks := sent[wire.Ack](t, b.take(), "a"); !slices.Equal(acks, []wire.Ack{{Opaque: 77}}) {
		t.Errorf("acks %v", acks)
	}
}

func TestProbe(t *testing.T) {
	b := newBench(t, Config{})
	b.both()
	b.s.Probe(b.now, "a")
	b.drain()
	b.take() // answered
	b.pass(time.Second)
	if lost := happened[NeighbourLost](b.take()); len(lost) != 0 {
		t.Errorf("lost although it answered: %v", lost)
	}
	b.s.Probe(b.now, "a")
	b.drain()
	b.events = nil
	b.pass(590 * time.Millisecond)
	if len(happened[NeighbourLost](b.events)) != 0 {
		t.Error("lost before three questions had their time")
	}
	b.pass(20 * time.Millisecond)
	if lost := happened[NeighbourLost](b.events); len(lost) != 1 {
		t.Errorf("lost: %v", lost)
	}
	b.events = nil
	b.hello("a", alice)
	if up := happened[NeighbourUp](b.events); len(up) != 0 {
		t.Error("a Hello alone does not say that it hears us again")
	}
	b.take() // acknowledges the greeting
	if up := happened[NeighbourUp](b.take()); len(up) != 1 {
		t.Error("not up after an acknowledgment")
	}
}

// A neighbour that takes long to answer, because it or we have much to do, is given up
// once at most: then it is known how long it takes. One that is gone still is noticed.
func TestSlowNeighbour(t *testing.T) {
	b := newBench(t, Config{})
	b.both()
	type answer struct {
		at    time.Time
		nonce uint16
	}
	var owed []answer
	// live lets time go by, with alice's acknowledgments after so long; it counts losses.
	live := func(d, delay time.Duration) (lost int) {
		for end := b.now.Add(d); b.now.Before(end); {
			b.pass(10 * time.Millisecond)
			events := b.events
			b.events = nil
			for _, e := range happened[NeighbourLost](events) {
				if e.Ifname == "a" {
					lost++
				}
			}
			for _, e := range events {
				if e, ok := e.(SendPacket); ok && e.Ifname == "a" && delay > 0 {
					for _, q := range sent[wire.AckRequest](t, []Event{e}, "a") {
						owed = append(owed, answer{b.now.Add(delay), q.Opaque})
					}
				}
			}
			for len(owed) > 0 && !owed[0].at.After(b.now) {
				b.receive("a", alice, wire.Ack{Opaque: owed[0].nonce})
				owed = owed[1:]
			}
		}
		return lost
	}
	probe := func() {
		b.s.Probe(b.now, "a")
		b.drain()
	}
	probe()
	first := live(3*time.Second, 1200*time.Millisecond)
	b.hello("a", alice) // what brings a lost one back: it is greeted
	first += live(3*time.Second, 1200*time.Millisecond)
	if first > 1 {
		t.Errorf("a slow neighbour was lost %d times at first", first)
	}
	for range 5 {
		probe()
		if lost := live(3*time.Second, 1200*time.Millisecond); lost != 0 {
			t.Fatal("lost although it always takes so long")
		}
		b.hello("a", alice)
	}
	owed = nil
	probe()
	if lost := live(4*time.Second, 0); lost != 1 {
		t.Errorf("gone, and lost %d times", lost)
	}
}
