package inside

import (
	"slices"
	"testing"
	"time"
)

// TestReach moves two running agents into reach of each other and out again, and
// measures from the moment they are in reach to the first ping through WireGuard.
//
//	n0 ~ ~ ~ ~ n1   ⇄   n0        n1
func TestReach(t *testing.T) {
	require(t)
	radios := open(t, 2)
	apart := func() {
		t.Helper()
		for i, r := range radios {
			if err := r.SetGroups(1 << i); err != nil {
				t.Fatal(err)
			}
		}
	}
	apart()
	agents := neighbourhood(t, radios)
	start(t, agents...)
	for _, c := range []struct {
		what  string
		rest  time.Duration // apart, once both have noticed
		times int
	}{
		// The radio forgets a station after a minute, an agent a neighbour after three.
		{"in reach to first ping, strangers", 4 * time.Minute, 3},
		{"in reach to first ping, soon again", time.Second, 20},
	} {
		var took []time.Duration
		for i := range c.times {
			// Not in step with the beacons.
			time.Sleep(c.rest + time.Duration(i)*137*time.Millisecond)
			begin := time.Now()
			for _, r := range radios {
				if err := r.SetGroups(1); err != nil {
					t.Fatal(err)
				}
			}
			took = append(took, reach(t, begin, agents[0], agents[1]))
			apart()
			begin = time.Now()
			noticeLoss(t, agents)
			if i == 0 {
				measured(t, "out of reach to both have noticed, idle", time.Since(begin).Seconds(), "s")
			}
		}
		slices.Sort(took)
		t.Logf("%s: %v", c.what, took)
		against(t, 1.5, c.what+", median", took[len(took)/2].Seconds(), "s")
		measured(t, c.what+", longest", took[len(took)-1].Seconds(), "s")
	}
	time.Sleep(4 * time.Minute)
	for _, r := range radios {
		if n := r.Links(); n != 0 {
			t.Errorf("%s has %d links after four minutes alone", r.Name, n)
		}
	}
	stop(t, agents)
}

// noticeLoss waits until no agent believes in a link.
func noticeLoss(t *testing.T, agents []*Agent) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(500 * time.Millisecond) {
		up := 0
		for _, a := range agents {
			s, err := a.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range s.Neighbours {
				if n.State == "up" {
					up++
				}
			}
		}
		if up == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the agents do not notice that they are alone")
		}
	}
}
