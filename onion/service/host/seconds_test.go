package host

import (
	"errors"
	"slices"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/netdir"
)

// pool draws relays by their number.
type pool struct {
	relays int
	gone   map[identity.NodeID]bool
}

func relayNo(i int) identity.NodeID { return identity.NodeID{byte(i), byte(i >> 8), 1} }

func (p *pool) Draw(avoid ...identity.NodeID) (netdir.Relay, error) {
	for i := range p.relays {
		if n := relayNo(i); !slices.Contains(avoid, n) && !p.gone[n] {
			return netdir.Relay{Descriptor: &netdir.Descriptor{Node: n}}, nil
		}
	}
	return netdir.Relay{}, errors.New("no relay is left")
}

func (p *pool) Listed(n identity.NodeID) bool { return !p.gone[n] }

func TestSecondsLast(t *testing.T) {
	p := &pool{relays: 1000, gone: make(map[identity.NodeID]bool)}
	var s seconds
	now := time.Now()
	first := s.get(now, p, identity.NodeID{})
	if len(first) != numSeconds {
		t.Fatalf("%d second hops", len(first))
	}
	// Those that are out of sight are replaced, and taken again when they are back.
	p.gone[first[0]] = true
	if got := s.get(now, p, identity.NodeID{}); len(got) != numSeconds || slices.Contains(got, first[0]) || !slices.Contains(got, first[1]) {
		t.Errorf("with one out of sight: %v", got)
	}
	delete(p.gone, first[0])
	if got := s.get(now, p, identity.NodeID{}); !slices.Contains(got, first[0]) {
		t.Errorf("it is back: %v", got)
	}
	// However many vanish, there is a bound.
	for i := range p.relays {
		p.gone[relayNo(i)] = i < p.relays/2
		s.get(now, p, identity.NodeID{})
	}
	if len(s.list) > maxSeconds {
		t.Errorf("%d are remembered", len(s.list))
	}
	clear(p.gone)
	// All are replaced within twelve days, none within one; a clock that jumps by years
	// replaces none.
	known := make(map[identity.NodeID]bool)
	for _, x := range s.list {
		known[x.node] = true
	}
	now = now.Add(40 * 365 * 24 * time.Hour)
	for i := 0; i < 23; i++ {
		now = now.Add(time.Hour)
		for _, n := range s.get(now, p, identity.NodeID{}) {
			if !known[n] {
				t.Fatalf("replaced after %d hours", i+1)
			}
		}
	}
	p.relays = 2000
	for i := range 500 { // as if those of the first day were no more
		p.gone[relayNo(i)] = true
	}
	for range 12 * 24 {
		now = now.Add(time.Hour)
		s.get(now, p, identity.NodeID{})
	}
	for _, n := range s.get(now, p, identity.NodeID{}) {
		if known[n] {
			t.Errorf("%v is still there after twelve days", n)
		}
	}
}

func TestFewSeconds(t *testing.T) {
	var s seconds
	if got := s.get(time.Now(), &pool{relays: 2}, identity.NodeID{}); len(got) != 2 {
		t.Errorf("%d of two relays", len(got))
	}
	if got := s.get(time.Now(), &pool{}, relayNo(1)); len(got) != 1 || got[0] != relayNo(0) {
		t.Errorf("without the guard %v remain", got)
	}
}

func TestSecondsAreKept(t *testing.T) {
	p, h := &pool{relays: 100}, new(Host)
	now := time.Now()
	before := h.seconds.get(now, p, identity.NodeID{})
	if !h.Changed() {
		t.Error("nothing to save")
	}
	state := h.Save(now.Add(time.Hour))
	if h.Changed() {
		t.Error("saved, and still changed")
	}
	next := new(Host)
	next.Load(now, append(state, 1, 2, 3)) // what is not whole is left out
	if got := next.seconds.get(now, p, identity.NodeID{}); !slices.Equal(got, before) {
		t.Errorf("%v became %v", before, got)
	}
	for i, x := range next.seconds.list {
		if was := h.seconds.list[i].left; x.left > was-time.Hour+time.Second || x.left < was-time.Hour-time.Second {
			t.Errorf("%v were left an hour ago, now %v", was, x.left)
		}
	}
	long := make([]byte, 100*secondSize)
	next.Load(now, long)
	if len(next.seconds.list) > maxSeconds {
		t.Errorf("%d were loaded", len(next.seconds.list))
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	now := time.Now()
	for _, want := range []time.Duration{1, 2, 4, 5, 5} {
		b.failed(now, time.Second, 5*time.Second)
		if got := b.left(now); got != want*time.Second {
			t.Errorf("%v, want %d s", got, want)
		}
	}
	if b.left(now.Add(time.Minute)) != 0 {
		t.Error("it never ends")
	}
	if b.reset(); b.left(now) != 0 {
		t.Error("reset has no effect")
	}
}
