package scenario

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"
)

// a ~ b ~ c, a third of all frames lost each way: a ping from end to end and back
// has a chance of one in four, so many are sent.
func TestHeavyLoss(t *testing.T) {
	l := start(t, "router a b c\nradio a b c loss=30%")
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	must(t, l.WaitAllPairs(ctx))
}

//	 a
//	↗ ↘    a hears b, b does not hear a: the way leads through c
//
// b ~ c
func TestOneWayLossIsRoutedAround(t *testing.T) {
	l := start(t, "router a b c\nradio a b c\nradio a c")
	allReach(t, l)
	must(t, l.SetQuality("a", "b", "loss", "100%", true))
	eventually(t, "a leaves the link that b does not hear", func() bool {
		n, ok := neighbour(t, l, "a", "b")
		return !ok || n.State != "up" || metric(t, l, "a", "b") > n.Cost
	})
	allReach(t, l)
}

// a ~ b ~ c     cut between the columns, then whole again
// |   |   |
// d ~ e ~ f
func TestPartitionAndHeal(t *testing.T) {
	l := start(t, "grid 3x2")
	allReach(t, l)
	must(t, l.Partition([]string{"r1", "r4"}, []string{"r2", "r3", "r5", "r6"}))
	eventually(t, "the left side forgets the right", func() bool { return metric(t, l, "r1", "r6") == 0 })
	reach(t, l, "r1", "r4")
	reach(t, l, "r2", "r3", "r5", "r6")
	must(t, l.HealAll())
	allReach(t, l)
}

// a ~ b ~ c, power cut at b
func TestKilledAndRestarted(t *testing.T) {
	l := start(t, "router a b c\nradio a b c")
	allReach(t, l)
	before, err := l.Node("b").ID()
	must(t, err)
	must(t, l.Node("b").Kill())
	eventually(t, "a loses c", func() bool { return metric(t, l, "a", "c") == 0 })
	must(t, l.Node("b").Restart())
	allReach(t, l)
	if s := status(t, l, "b"); s.Node != before {
		t.Errorf("b came back as %v, it was %v", s.Node, before)
	}
}

// every one of a ~ b ~ c ~ d is killed once
func TestAnyNodeMayDie(t *testing.T) {
	l := start(t, "router a b c d\nradio a b c d")
	allReach(t, l)
	for _, n := range l.Routers() {
		must(t, n.Kill())
		must(t, n.Restart())
		allReach(t, l)
	}
}

// a ~ b: b sleeps for longer than Babel waits, and wakes
func TestSuspendedNeighbourReturns(t *testing.T) {
	l := start(t, "router a b\nradio a b")
	allReach(t, l)
	must(t, l.Node("b").Suspend())
	eventually(t, "a notices that b sleeps", func() bool { return metric(t, l, "a", "b") == 0 })
	must(t, l.Node("b").Resume())
	allReach(t, l)
}

// w walks along the line a ~ b ~ c ~ d ~ e and is always reached
func TestWalkAlongALine(t *testing.T) {
	l := start(t, `router a b c d e w
place a 0 0
place b 80 0
place c 160 0
place d 240 0
place e 320 0
place w 0 40
range 100`)
	allReach(t, l)
	for x := 0.0; x <= 320; x += 40 {
		must(t, l.Move("w", x, 40))
		time.Sleep(500 * time.Millisecond) // it walks, it does not jump
	}
	reach(t, l, "a", "w")
	allReach(t, l)
}

// 25 routers in a grid; for a minute, five links at a time are cut and healed at random
func TestFlappingGrid(t *testing.T) {
	l := start(t, "grid 5x5")
	allReach(t, l)
	rng := rand.New(rand.NewPCG(1, 2))
	edges := l.Topology.Edges
	down := make(map[int]bool)
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(500 * time.Millisecond) {
		for i := range down {
			if rng.IntN(4) == 0 {
				must(t, l.Heal(edges[i].From, edges[i].To))
				delete(down, i)
			}
		}
		for len(down) < 5 {
			i := rng.IntN(len(edges))
			down[i] = true
			must(t, l.Cut(edges[i].From, edges[i].To))
		}
	}
	must(t, l.HealAll())
	allReach(t, l)
}

// a - b - c     on cables
// |       |
// f - e - d     the cable between a and b dies; both ends see a carrier
func TestSilentDeathOfACable(t *testing.T) {
	l := start(t, "ring 6 wire")
	allReach(t, l)
	must(t, l.Silent("r1", "r2"))
	allReach(t, l)
	if m, direct := metric(t, l, "r1", "r2"), uint16(96); m <= direct {
		t.Errorf("the route from r1 to r2 has metric %d, as if the dead cable were in use", m)
	}
}

// the plugs are pulled: the carrier goes
func TestPulledPlug(t *testing.T) {
	l := start(t, "ring 6 wire")
	allReach(t, l)
	must(t, l.Cut("r1", "r2"))
	allReach(t, l)
	must(t, l.Heal("r1", "r2"))
	eventually(t, "the direct way is taken again", func() bool { return metric(t, l, "r1", "r2") < 192 })
}
