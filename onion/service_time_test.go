package onion

import (
	"testing"
	"time"

	"globalnet/internal/clock"
	"globalnet/onion/service"
)

// clockAt is a machine whose clock showed a time when the test began, whether it was set
// by NTP or not.
func clockAt(at time.Time, set bool) func() clock.Reading {
	began := time.Now()
	return func() clock.Reading {
		up := time.Since(began)
		return clock.Reading{Running: up, Wall: at.Add(up), Set: set}
	}
}

var boot = time.Unix(20, 0) // of a router without a clock battery

// timedNetwork is relays with a clock each, and what is said between them.
func timedNetwork(t *testing.T, clocks ...func() clock.Reading) *network {
	w, x := newNetwork(t), newTable()
	for _, c := range clocks {
		w.add(relays(), func(cfg *Config) {
			x.with(cfg)
			cfg.Clock = c
		})
	}
	w.meet()
	return w
}

// agree waits until nodes have the same mesh time.
func (w *network) agree(at func() time.Time, nodes ...*testNode) {
	w.t.Helper()
	w.wait("the same mesh time", func() bool {
		for _, n := range nodes {
			if n.Clock().Now().Sub(at()).Abs() > time.Minute {
				return false
			}
		}
		return true
	})
}

// A router that booted in 1970 is reached by those of today, and reaches theirs. Its
// service was published for 1970 before it had neighbours.
func TestServiceOfARouterWithoutAClock(t *testing.T) {
	today := clockAt(time.Now(), true)
	w := timedNetwork(t, clockAt(boot, false), today, clockAt(boot.Add(50*time.Hour), false), clockAt(boot, false), clockAt(boot, false))
	old, young, other := w.nodes[0], w.nodes[1], w.nodes[2]
	if old.cfg.Clock().Wall.Year() != 1970 {
		t.Fatal("the test's clock is not that of a router")
	}
	first, second := mustIdentity(t), mustIdentity(t)
	old.SetServices([]service.Config{w.echoService(first)})
	young.SetServices([]service.Config{w.echoService(second)})
	w.agree(time.Now, w.nodes...)
	w.published(old)
	w.published(young)
	for _, from := range []*testNode{young, other, old} {
		if err := greet(from, first.NodeID()); err != nil {
			t.Errorf("the service of a router of 1970: %v", err)
		}
		if err := greet(from, second.NodeID()); err != nil {
			t.Errorf("a service of today: %v", err)
		}
	}
	if s := old.Clock().Say(); s.Level != 1 {
		t.Errorf("%+v", s)
	}
}

// Routers that all think it is 1970, some for longer than others, agree.
func TestServicesWhereNobodyKnowsTheTime(t *testing.T) {
	latest := clockAt(boot.Add(9*24*time.Hour), false)
	w := timedNetwork(t, clockAt(boot, false), clockAt(boot.Add(3*24*time.Hour), false), latest, clockAt(boot.Add(time.Hour), false))
	w.agree(func() time.Time { return latest().Wall }, w.nodes...)
	id := mustIdentity(t)
	w.nodes[0].SetServices([]service.Config{w.echoService(id)})
	w.published(w.nodes[0])
	for _, from := range w.nodes[1:] {
		if err := greet(from, id.NodeID()); err != nil {
			t.Error(err)
		}
		if s := from.Clock().Say(); s.Level != clock.Free {
			t.Errorf("%+v", s)
		}
	}
}

// One of three neighbours lies about the time: a router that has none follows the others.
func TestServicesBesideALiar(t *testing.T) {
	today := clockAt(time.Now(), true)
	w := timedNetwork(t, clockAt(boot, false), today, today, clockAt(time.Now().AddDate(20, 0, 0), true))
	victim, honest := w.nodes[0], w.nodes[1]
	w.agree(time.Now, w.nodes[:3]...)
	id := mustIdentity(t)
	victim.SetServices([]service.Config{w.echoService(id)})
	w.published(victim)
	if err := greet(honest, id.NodeID()); err != nil {
		t.Error(err)
	}
}

// The time jumps while a service is published: it moves to the periods of the new one.
func TestTheTimeJumps(t *testing.T) {
	today := time.Now()
	source := clockAt(today, true)
	w := timedNetwork(t, clockAt(boot, false), clockAt(boot, false), clockAt(boot, false), clockAt(boot, false))
	id := mustIdentity(t)
	host := w.nodes[0]
	host.SetServices([]service.Config{w.echoService(id)})
	w.published(host)
	if err := greet(w.nodes[1], id.NodeID()); err != nil {
		t.Fatal(err)
	}
	late := w.add(relays(), func(c *Config) {
		c.Table, c.ServiceTable = host.cfg.Table, host.cfg.ServiceTable
		c.Clock = source
	})
	w.meet()
	w.agree(time.Now, w.nodes...)
	w.wait("the service reached by the new one", func() bool { return greet(late, id.NodeID()) == nil })
}
