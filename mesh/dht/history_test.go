package dht_test

import (
	"fmt"
	"testing"
	"time"

	"globalnet/mesh/dht"
	"globalnet/mesh/dht/dhttest"
)

// Several writers of one key and many readers, while datagrams are lost, doubled and
// reordered, nodes come and go, and the network is cut and healed. A reader never
// goes back, reads only what was written, and when all is quiet everybody reads the
// newest.
func TestHistory(t *testing.T) {
	runs := 12
	if testing.Short() {
		runs = 3
	}
	for seed := range runs {
		modes(t, func(t *testing.T, cfg dht.Config) { history(t, uint64(seed+1), cfg) })
	}
}

type writer struct {
	node  *dhttest.Node
	id    dht.OpID
	count int
}

func history(t *testing.T, seed uint64, cfg dht.Config) {
	n := dhttest.New(seed)
	n.Build(24, cfg)
	n.Loss, n.Duplicate, n.Delay, n.Jitter = 0.08, 0.05, 20*time.Millisecond, 19*time.Millisecond
	rng := n.Rand()
	p := publication(1, nil)
	written := map[string]bool{}
	seen := map[*dhttest.Node]uint64{}
	reads := map[*dhttest.Node]dht.OpID{}
	writers := []*writer{{node: n.Nodes[0]}, {node: n.Nodes[1]}, {node: n.Nodes[2]}}
	highest := uint64(0)
	found, asked := 0, 0
	for step := range 240 {
		switch rng.IntN(12) {
		case 0:
			w := writers[rng.IntN(len(writers))]
			w.count++
			value := fmt.Sprintf("%d of writer %v", w.count, w.node.Addr)
			written[value] = true
			w.node.Do(func(now time.Time) { w.id = w.node.DHT.Publish(now, publication(1, []byte(value))) })
		case 1:
			if alive := n.Alive(); len(alive) > 18 {
				if x := alive[3+rng.IntN(len(alive)-3)]; x.Side == 0 {
					n.Kill(x, cfg.Membership)
					delete(reads, x)
				}
			}
		case 2:
			if n.Blocked == nil {
				n.Join(cfg)
			}
		case 3:
			if n.Blocked == nil && step < 200 {
				for _, x := range n.Alive() {
					x.Side = rng.IntN(2)
				}
				n.Cut(cfg.Membership)
			}
		case 4, 5:
			if n.Blocked != nil {
				n.Heal(cfg.Membership)
				for _, x := range n.Nodes {
					x.Side = 0
				}
			}
		default:
			alive := n.Alive()
			x := alive[rng.IntN(len(alive))]
			if _, busy := reads[x]; !busy {
				x.Do(func(now time.Time) { reads[x] = x.DHT.Get(now, p.Type, key(p)) })
			}
		}
		n.Run(time.Duration(rng.IntN(1500)) * time.Millisecond)
		for _, x := range n.Alive() {
			if e, ok := x.Take(reads[x]); ok && reads[x] != 0 {
				delete(reads, x)
				asked++
				if r := e.(dht.GetDone).Record; r != nil {
					found++
					check(t, r, written, seen, x)
				}
			}
		}
		for _, w := range writers {
			if e, ok := w.node.Take(w.id); ok {
				highest = max(highest, e.(dht.PutDone).Seq)
			}
		}
	}
	if n.Blocked != nil {
		n.Heal(cfg.Membership)
	}
	n.Run(time.Minute)
	if found == 0 || asked == 0 || highest == 0 {
		t.Fatalf("%d of %d reads found something, the highest number written is %d", found, asked, highest)
	}
	newest := ""
	for _, x := range n.Alive() {
		got := x.Get(p.Type, key(p))
		if got.Record == nil {
			t.Errorf("seed %d: %v reads nothing at the end", seed, x.Addr)
			continue
		}
		check(t, got.Record, written, seen, x)
		if newest == "" {
			newest = string(got.Record.Value)
		}
		if string(got.Record.Value) != newest || got.Record.Seq < highest {
			t.Errorf("seed %d: %v reads %q of number %d at the end, others %q, the highest is %d",
				seed, x.Addr, got.Record.Value, got.Record.Seq, newest, highest)
		}
	}
}

func check(t *testing.T, r *dht.Record, written map[string]bool, seen map[*dhttest.Node]uint64, x *dhttest.Node) {
	t.Helper()
	if !written[string(r.Value)] {
		t.Errorf("read %q, which nobody wrote", r.Value)
	}
	if r.Seq < seen[x] {
		t.Errorf("%v went back from %d to %d", x.Addr, seen[x], r.Seq)
	}
	seen[x] = r.Seq
}
