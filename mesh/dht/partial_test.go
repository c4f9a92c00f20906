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

// A fifth of the nodes send but do not receive, half of them from the beginning, the
// others from when they are well known: they leave the tables, nobody waits for them,
// and what the others publish is stored and found as ever.
func TestDeafNodes(t *testing.T) {
	modes(t, func(t *testing.T, cfg dht.Config) {
		n := dhttest.New(42)
		deaf := make(map[*dhttest.Node]bool)
		n.Blocked = func(_, to *dhttest.Node) bool { return deaf[to] }
		hear := n.Build(45, cfg)
		for range 5 {
			deaf[n.Join(cfg)] = true
		}
		n.Run(10 * time.Minute)
		named := func(when string, most int) {
			t.Helper()
			in := 0
			for _, x := range n.Nodes {
				if deaf[x] {
					continue
				}
				for _, a := range x.Contacts(1000) {
					if deaf[n.Node(a)] {
						in++
					}
				}
			}
			if in > most {
				t.Errorf("%s: deaf nodes are in tables %d times", when, in)
			}
		}
		named("from the beginning", 0)
		for _, x := range hear[:5] {
			deaf[x] = true
		}
		hear = hear[5:]
		talk := func(d time.Duration) { // those that are deaf go on asking, with the tokens they have
			for end := n.Now().Add(d); n.Now().Before(end); n.Run(10 * time.Second) {
				for x := range deaf {
					x.Do(func(now time.Time) { x.Lookup(now, dht.Key{byte(n.Rand().Uint32())}) })
				}
			}
		}
		talk(5 * time.Minute)
		slow := 0
		for i := range 40 {
			p := publication(i, []byte("x"))
			if put := hear[i].Publish(p); put.Err != nil || put.Stored < 8 {
				t.Errorf("record %d is stored on %d, %v", i, put.Stored, put.Err)
			}
			got := hear[39-i].Get(p.Type, key(p))
			if got.Record == nil {
				t.Errorf("record %d is not found", i)
			}
			if got.Result.Elapsed > 150*time.Millisecond {
				slow++
			}
		}
		if slow > 2 {
			t.Errorf("%d of 40 reads took longer than 150 ms", slow)
		}
		talk(10 * time.Minute)
		named("a quarter of an hour after they fell deaf", 20) // of 400: those whom nobody asked since
		// Their ears are mended: they are back.
		clear(deaf)
		n.Run(35 * time.Minute)
		p := publication(3, []byte("x"))
		for i, x := range n.Nodes[:5] {
			if got := x.Get(p.Type, key(p)); got.Record == nil {
				t.Errorf("node %d that was deaf finds nothing", i)
			}
		}
	})
}

// Of a fifth of all ordered pairs, the first does not reach the second, while the
// second reaches the first.
func TestOneWayPairs(t *testing.T) {
	n := dhttest.New(43)
	nodes := n.Build(50, dht.Config{})
	either := blockedPairs(0.2)
	n.Blocked = func(a, b *dhttest.Node) bool { return either(a, b) && a.Addr.Less(b.Addr) }
	n.Run(5 * time.Minute)
	missed, slow := 0, 0
	for i := range 50 {
		p := publication(i, []byte("x"))
		if put := nodes[i].Publish(p); put.Err != nil || put.Stored < 6 {
			t.Errorf("record %d: stored on %d: %v", i, put.Stored, put.Err)
		}
		for j := range 4 {
			got := nodes[(i*7+j*13+5)%50].Get(p.Type, key(p))
			if got.Record == nil {
				missed++
			}
			if got.Result.Elapsed > 300*time.Millisecond {
				slow++
			}
		}
	}
	if missed > 1 || slow > 10 {
		t.Errorf("of 200 reads %d found nothing, %d took longer than 300 ms", missed, slow)
	}
}
