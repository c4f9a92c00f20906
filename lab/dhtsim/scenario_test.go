package dhtsim

import (
	"testing"
	"time"
)

func TestScenario(t *testing.T) {
	for _, membership := range []bool{false, true} {
		name := map[bool]string{false: "iterative", true: "membership"}[membership]
		t.Run(name, func(t *testing.T) {
			r := Run(Options{Membership: membership})
			for _, p := range r.Phases {
				t.Log(p)
			}
			t.Logf("healed after %v, idle %.3f datagrams/s, %.0f octets a node, %v", r.HealedAfter, r.IdleDatagrams, r.BytesPerNode, r.Wall)
			_ = time.Second
		})
	}
}
