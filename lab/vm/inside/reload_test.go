package inside

import (
	"testing"
	"time"

	"globalnet/mesh/kernel"
)

// TestReload does to the radios of running agents what OpenWrt does: a radio that is
// ready only long after the agent, another channel, `wifi down` and `wifi up`. The
// link must return by itself, and the agents must be the same processes.
func TestReload(t *testing.T) {
	require(t)
	radios := open(t, 2)
	agents := settle(t, kernel.RadioMesh, radios, func(int) []string { return nil })
	join := func(r *Radio, frequency int) {
		t.Helper()
		if err := r.JoinAt(kernel.RadioMesh, frequency); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(r *Radio) {
		t.Helper()
		if err := r.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	add := func(r *Radio) {
		t.Helper()
		if err := r.Add(); err != nil {
			t.Fatal(err)
		}
	}
	remove(radios[0])
	start(t, agents...)
	if !until(30*time.Second, func() bool { _, err := agents[0].Status(t.Context()); return err == nil }) {
		t.Fatal("an agent without a radio does not answer")
	}
	time.Sleep(20 * time.Second)
	add(radios[0])
	join(radios[0], frequency)
	begin := time.Now()
	measured(t, "a late radio to first ping", reach(t, begin, agents[0], agents[1]).Seconds(), "s")

	for _, r := range radios {
		join(r, 2437)
	}
	begin = time.Now()
	measured(t, "another channel to first ping", reach(t, begin, agents[0], agents[1]).Seconds(), "s")

	// Long enough for both ends to notice.
	remove(radios[0])
	time.Sleep(30 * time.Second)
	add(radios[0])
	join(radios[0], 2437)
	begin = time.Now()
	measured(t, "wifi down and up to first ping", reach(t, begin, agents[0], agents[1]).Seconds(), "s")

	// All at once, as `network restart`: the interface has another number at once.
	for _, r := range radios {
		remove(r)
		add(r)
		join(r, frequency)
	}
	begin = time.Now()
	measured(t, "network restart on both to first ping", reach(t, begin, agents[1], agents[0]).Seconds(), "s")
	stop(t, agents)
}
