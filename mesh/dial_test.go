package mesh

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"globalnet/mesh/link"
)

func TestDialPausesDouble(t *testing.T) {
	d := newDialTable()
	now := time.Unix(0, 0)
	for i, want := range []time.Duration{dialPauseMin, 2 * dialPauseMin, 4 * dialPauseMin} {
		if !d.start(now, "x") {
			t.Fatalf("dial %d refused", i)
		}
		if d.start(now, "x") {
			t.Fatalf("dial %d: a second one at the same time", i)
		}
		d.failed(now, "x")
		if d.start(now.Add(want-1), "x") {
			t.Fatalf("dial %d: again before %v", i, want)
		}
		now = now.Add(want)
	}
	for range 40 { // no overflow, no pause beyond the longest
		d.start(now, "x")
		d.failed(now, "x")
		now = now.Add(dialPauseMax)
	}
	if !d.start(now, "x") {
		t.Error("refused after the longest pause")
	}
	d.stop("x")
	d.succeeded("x")
	if !d.start(now, "x") {
		t.Error("refused after success")
	}
}

func TestDialTableIsBounded(t *testing.T) {
	d := newDialTable()
	now := time.Unix(0, 0)
	started := 0
	for i := range 5000 {
		if d.start(now, target(fmt.Sprint(i))) {
			started++
		}
	}
	if started != maxDials {
		t.Errorf("%d dials at once, want %d", started, maxDials)
	}
	for i := range 5000 {
		x := target(fmt.Sprint("later", i))
		d.running = 0
		d.start(now, x)
		d.failed(now, x)
	}
	if len(d.entries) > maxDialEntries {
		t.Errorf("%d entries, want at most %d", len(d.entries), maxDialEntries)
	}
	d.running = 0
	for _, e := range d.entries {
		e.running = false
	}
	d.expire(now.Add(dialEntryLife + time.Second))
	if len(d.entries) != 0 {
		t.Errorf("%d entries are left after their life", len(d.entries))
	}
}

func TestSightingTable(t *testing.T) {
	s := newSightingTable()
	now := time.Unix(0, 0)
	tag := link.Tag{1}
	old := netip.MustParseAddrPort("[fe80::1%a]:1")
	fresh := netip.MustParseAddrPort("[fe80::1%b]:1")
	s.add(now, "a", tag, old)
	s.add(now.Add(time.Second), "b", tag, fresh)
	cable := func(string) bool { return false }
	if got, _, ok := s.best(tag, cable); !ok || got != fresh {
		t.Errorf("of two cables the best is %v, want %v", got, fresh)
	}
	if got, radio, _ := s.best(tag, func(ifname string) bool { return ifname == "b" }); got != old || radio {
		t.Errorf("of a cable and a radio the best is %v, want %v", got, old)
	}
	s.forget("b")
	if got, _, _ := s.best(tag, cable); got != old {
		t.Errorf("after b has gone, latest is %v, want %v", got, old)
	}
	for i := range 3 * maxSightings {
		s.add(now.Add(time.Duration(i)*time.Millisecond), "a", link.Tag{2, byte(i), byte(i >> 8)}, old)
	}
	if len(s.entries) > maxSightings {
		t.Errorf("%d entries, want at most %d", len(s.entries), maxSightings)
	}
	s.expire(now.Add(time.Hour))
	if len(s.entries) != 0 {
		t.Errorf("%d entries outlived their time", len(s.entries))
	}
}
