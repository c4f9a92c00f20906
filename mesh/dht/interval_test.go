package dht

import (
	"testing"
	"time"
)

// Publications slow down as the contacts turn out to stay, and not where there are
// only a few, or where most came lately.
func TestInterval(t *testing.T) {
	for _, tt := range []struct {
		name       string
		old, young int
		age        time.Duration
		fixed      time.Duration
		want       time.Duration
	}{
		{"fresh", 20, 0, time.Minute, 0, 5 * time.Minute},
		{"six hours", 20, 0, 6 * time.Hour, 0, 5 * time.Minute},
		{"between", 20, 0, 15 * time.Hour, 0, 7*time.Minute + 30*time.Second},
		{"a day", 20, 0, 24 * time.Hour, 0, 10 * time.Minute},
		{"a month", 20, 0, 720 * time.Hour, 0, 10 * time.Minute},
		{"many newcomers", 20, 30, 24 * time.Hour, 0, 5 * time.Minute},
		{"some newcomers", 20, 10, 24 * time.Hour, 0, 10 * time.Minute},
		{"a few old ones", 6, 0, 24 * time.Hour, 0, 5 * time.Minute},
		{"set", 20, 0, 24 * time.Hour, time.Minute, time.Minute},
		{"nobody", 0, 0, 0, 0, 5 * time.Minute},
	} {
		w := newWorld(t, Config{Membership: true, Republish: tt.fixed})
		for i := range tt.old {
			w.d.SetReachable(w.now, addrOf(i+1), "a")
		}
		w.now = w.now.Add(tt.age)
		for i := range tt.young {
			w.d.SetReachable(w.now, addrOf(i+100), "a")
		}
		w.d.begin(w.now)
		if got := w.d.Status().Republish; got != tt.want {
			t.Errorf("%s: every %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Who falls silent and comes back begins to count anew.
func TestAgeEndsWithABreak(t *testing.T) {
	w := newWorld(t, Config{Membership: true})
	for i := range 11 {
		w.d.SetReachable(w.now, addrOf(i+1), "a")
	}
	w.now = w.now.Add(30 * time.Hour)
	for i := range 6 {
		w.d.SetUnreachable(w.now, addrOf(i+1))
		w.d.SetReachable(w.now.Add(time.Second), addrOf(i+1), "a")
	}
	if age := w.d.Status().MedianAge; age > time.Minute {
		t.Errorf("half of them came back a moment ago, the median age is %v", age)
	}
}
