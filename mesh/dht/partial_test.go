package dht_test

import (
	"hash/fnv"
	"testing"
	"time"

	"globalnet/mesh/dht"
	"globalnet/mesh/dht/dhttest"
)

// blockedPairs says of a share of all pairs that they do not reach each other.
func blockedPairs(share float64) func(a, b *dhttest.Node) bool {
	return func(a, b *dhttest.Node) bool {
		x, y := a.Addr, b.Addr
		if y.Less(x) {
			x, y = y, x
		}
		h := fnv.New64a()
		h.Write(x.AsSlice())
		h.Write(y.AsSlice())
		return float64(h.Sum64()%1000) < share*1000
	}
}

// Every fifth pair of nodes cannot talk: others can, and lookups find a way.
func TestPartialConnectivity(t *testing.T) {
	n := dhttest.New(40)
	nodes := n.Build(50, dht.Config{})
	n.Blocked = blockedPairs(0.2)
	n.Run(5 * time.Minute)
	wrong := 0
	for i := range 50 {
		p := publication(i, []byte("x"))
		if put := nodes[i].Publish(p); put.Err != nil || put.Stored < 6 {
			t.Errorf("record %d: stored on %d: %v", i, put.Stored, put.Err)
		}
		for j := range 4 {
			if got := nodes[(i*7+j*13+5)%50].Get(p.Type, key(p)); got.Record == nil {
				wrong++
			}
		}
	}
	if wrong > 1 {
		t.Errorf("%d of 200 reads found nothing", wrong)
	}
}

// Half of the nodes have links that are slow and lose much; the others do not wait
// for them.
func TestSlowNodesAreNotWaitedFor(t *testing.T) {
	n := dhttest.New(41)
	nodes := n.Build(50, dht.Config{})
	rng := n.Rand()
	n.Blocked = func(a, b *dhttest.Node) bool { // loses, at odd nodes, two of five datagrams
		return (a.Addr.As16()[15]%2 == 1 || b.Addr.As16()[15]%2 == 1) && rng.IntN(5) < 2
	}
	slow := 0
	for i := range 40 {
		p := publication(i, []byte("x"))
		nodes[i].Publish(p)
		got := nodes[49-i].Get(p.Type, key(p))
		if got.Record == nil {
			t.Errorf("record %d is not found", i)
		}
		if got.Result.Elapsed > 300*time.Millisecond {
			slow++
		}
	}
	if slow > 4 {
		t.Errorf("%d of 40 reads took longer than 300 ms", slow)
	}
}
