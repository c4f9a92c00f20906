package dhtsim

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	placementNodes   = 200
	placementRecords = 60
	placementRounds  = 200
)

// placement simulates where records lie while nodes come and go, without any
// messages: it returns how often none of the k, and none of the 2k, nodes closest to
// a record holds it an interval after it was stored.
func placement(seed uint64, law Law, life, interval time.Duration, k int) (near, far float64) {
	rng := rand.New(rand.NewPCG(seed, uint64(k)))
	type node struct {
		place uint64
		until float64 // of its life, in means
		holds [placementRecords]bool
	}
	draw := func() float64 { return law.draw(1 - rng.Float64()) }
	nodes := make([]*node, placementNodes)
	for i := range nodes {
		nodes[i] = &node{place: rng.Uint64(), until: draw()}
	}
	records := make([]uint64, placementRecords)
	for i := range records {
		records[i] = rng.Uint64()
	}
	step := interval.Hours() / life.Hours()
	closest := func(key uint64, n int) []*node {
		slices.SortFunc(nodes, func(a, b *node) int { return cmp.Compare(a.place^key, b.place^key) })
		return nodes[:n]
	}
	now := 0.0
	pass := func(until float64) {
		now = until
		for i, x := range nodes {
			for at := x.until; at < now; at = nodes[i].until {
				nodes[i] = &node{place: rng.Uint64(), until: at + draw()} // who replaces it begins then
			}
		}
	}
	pass(20) // until the ages are as they are at a random moment
	missedNear, missedFar := 0, 0
	for range placementRounds {
		for i, key := range records {
			for _, x := range nodes {
				x.holds[i] = false
			}
			for _, x := range closest(key, k) {
				x.holds[i] = true
			}
		}
		pass(now + step)
		for i, key := range records {
			who := closest(key, 2*k)
			holds := func(x *node) bool { return x.holds[i] }
			if !slices.ContainsFunc(who[:k], holds) {
				missedNear++
			}
			if !slices.ContainsFunc(who, holds) {
				missedFar++
			}
		}
	}
	total := float64(placementRounds * placementRecords)
	return float64(missedNear) / total, float64(missedFar) / total
}
