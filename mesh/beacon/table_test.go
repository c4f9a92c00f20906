package beacon

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func foreign(*announcement) bool { return false }

func TestTableReports(t *testing.T) {
	six, six2, four := netip.MustParseAddr("fe80::1%w0"), netip.MustParseAddr("fe80::2%w0"), netip.MustParseAddr("10.0.0.1")
	type step struct {
		after         time.Duration // since the last step
		addr          netip.Addr
		tag           byte
		port          uint16
		known, report bool
	}
	for _, c := range []struct {
		name  string
		dual  bool
		steps []step
	}{
		{"repeats once a second", false, []step{
			{0, six, 1, 1, false, true},
			{time.Millisecond, six, 1, 1, true, false},
			{998 * time.Millisecond, six, 1, 1, true, false},
			{time.Millisecond, six, 1, 1, true, true},
			{time.Hour, six, 1, 1, true, true},
		}},
		{"a changed port at once, but not at each message", false, []step{
			{0, six, 1, 1, false, true},
			{300 * time.Millisecond, six, 1, 2, true, true},
			{time.Millisecond, six, 1, 3, true, false},
			{time.Millisecond, six, 1, 4, true, false},
		}},
		{"another tag at the address", false, []step{
			{0, six, 1, 1, false, true},
			{time.Millisecond, six, 2, 1, false, true},
			{time.Millisecond, six, 1, 1, true, false},
		}},
		{"the tag at another address", false, []step{
			{0, six, 1, 1, false, true},
			{time.Millisecond, six2, 1, 1, true, true},
			{time.Millisecond, six, 1, 1, true, false},
		}},
		{"IPv6 is preferred", true, []step{
			{0, four, 1, 1, false, false},
			{time.Millisecond, six, 1, 1, true, true},
			{time.Second, four, 1, 1, true, false},
			{time.Second, four, 1, 1, true, false},
			{preferIPv6, four, 1, 1, true, true},
		}},
		{"IPv4 alone", true, []step{
			{0, four, 1, 1, false, false},
			{holdIPv4, four, 1, 1, true, true},
		}},
		{"IPv4 where there is no other", false, []step{{0, four, 1, 1, false, true}}},
	} {
		tab := newTable(c.dual)
		now := start
		for i, s := range c.steps {
			now = now.Add(s.after)
			_, known, report := tab.hear(now, s.addr, &announcement{tag: Tag{s.tag}, port: s.port}, foreign)
			if known != s.known || report != s.report {
				t.Errorf("%s, step %d: known %v, report %v; want %v, %v", c.name, i, known, report, s.known, s.report)
			}
		}
	}
}

func TestProofIsJudgedOnce(t *testing.T) {
	tab, judged := newTable(false), 0
	same := func(a *announcement) bool { judged++; return a.proof[0] == 1 }
	addr := netip.MustParseAddr("fe80::1%w0")
	for i := range 20 {
		e, _, _ := tab.hear(start.Add(time.Duration(i)*time.Second), addr, &announcement{proof: [8]byte{byte(i / 10)}}, same)
		if e.same != (i >= 10) {
			t.Errorf("message %d: same network %v", i, e.same)
		}
	}
	if judged != 2 {
		t.Errorf("judged %d times", judged)
	}
}

func TestTableIsBounded(t *testing.T) {
	tab := newTable(false)
	friend := netip.MustParseAddr("fe80::f%w0")
	now := start
	for i := range 5000 { // one address with many tags
		now = now.Add(time.Millisecond)
		tab.hear(now, netip.MustParseAddr("fe80::1%w0"), &announcement{tag: Tag{byte(i), byte(i >> 8)}}, foreign)
	}
	if len(tab.entries) != maxTagsOfAddress {
		t.Errorf("%d entries of one address", len(tab.entries))
	}
	for i := range 5000 { // many addresses, while a friend goes on speaking
		now = now.Add(time.Millisecond)
		addr := netip.MustParseAddr(fmt.Sprintf("fe80::1:%x%%w0", i))
		tab.hear(now, addr, &announcement{tag: Tag{byte(i), byte(i >> 8)}}, foreign)
		if i%100 == 0 {
			tab.hear(now, friend, &announcement{tag: Tag{255, 255}}, foreign)
		}
	}
	if len(tab.entries) != maxNeighbours || tab.entries[place{friend, Tag{255, 255}}] == nil {
		t.Errorf("%d entries", len(tab.entries))
	}
	now = now.Add(forgetAfter + time.Second)
	tab.hear(now, netip.MustParseAddr("fe80::77%w0"), &announcement{}, foreign)
	if len(tab.entries) != 1 {
		t.Errorf("%d entries after a long silence", len(tab.entries))
	}
}

func TestSourceLimiter(t *testing.T) {
	l := newSourceLimiter()
	loud := netip.MustParseAddr("fe80::1")
	now, passed := start, 0
	for range 10000 { // in ten seconds
		now = now.Add(time.Millisecond)
		if l.allow(now, loud) {
			passed++
		}
	}
	if want := sourceBurst + 10*sourceRate; passed < want-1 || passed > want+1 {
		t.Errorf("%d messages of one source in 10 s, want about %d", passed, want)
	}
	quiet := 0
	for i := range 256 {
		if l.allow(now, netip.AddrFrom16([16]byte{0xfe, 0x80, 15: byte(i), 14: 1})) {
			quiet++
		}
	}
	if quiet < 200 {
		t.Errorf("only %d of 256 other sources heard beside a loud one", quiet)
	}
	passed = 0
	for i := range 100000 {
		if l.allow(now, netip.AddrFrom16([16]byte{0xfe, 0x80, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})) {
			passed++
		}
	}
	if passed > sourceBuckets*sourceBurst {
		t.Errorf("%d messages at one moment", passed)
	}
	if !l.allow(now.Add(-time.Hour), netip.MustParseAddr("fe80::aaaa")) && !l.allow(now.Add(time.Minute), loud) {
		t.Error("a clock that jumps locks sources out")
	}
}

func TestPaces(t *testing.T) {
	for p, limits := range map[Pace][2]time.Duration{
		Isolated:  {500 * time.Millisecond, time.Second},
		Connected: {5 * time.Second, 10 * time.Second},
	} {
		for range 1000 {
			if d := p.interval(); d < limits[0] || d > limits[1] {
				t.Fatalf("pace %d: %v", p, d)
			}
		}
	}
}
