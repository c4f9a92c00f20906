package dht_test

import (
	"testing"
	"time"

	"globalnet/mesh/dht"
	"globalnet/mesh/dht/dhttest"
)

// With trusted clocks numbers are seconds, records carry an expiry, and are signed
// anew long before it.
func TestTrustedClock(t *testing.T) {
	n := dhttest.New(20)
	cfg := dht.Config{ClockTrusted: true, Republish: 30 * time.Minute}
	nodes := n.Build(12, cfg)
	p := publication(1, []byte("x"))
	put := nodes[0].Publish(p)
	if age := n.Now().Unix() - int64(put.Seq); put.Err != nil || age < 0 || age > 5 {
		t.Fatalf("number %d: %v", put.Seq, put.Err)
	}
	for range 5 {
		n.Run(10 * time.Hour)
		got := nodes[5].Get(p.Type, key(p))
		if got.Record == nil {
			t.Fatalf("lost after %v", n.Now().Sub(dhttest.Epoch))
		}
		if left := int64(got.Record.Expiry) - n.Now().Unix(); left < int64(10*time.Hour/time.Second) {
			t.Errorf("after %v the record expires in %d s", n.Now().Sub(dhttest.Epoch), left)
		}
	}
}

// A node that learns the time while it runs gives its records an expiry and puts up
// with what others signed without one.
func TestClockIsSetLater(t *testing.T) {
	n := dhttest.New(21)
	nodes := n.Build(12, dht.Config{})
	p := publication(1, []byte("x"))
	if put := nodes[0].Publish(p); put.Seq != 1 {
		t.Fatalf("without a clock the number is %d", put.Seq)
	}
	for _, x := range nodes {
		x.Do(func(now time.Time) { x.SetClockTrusted(now, true) })
	}
	if got := nodes[3].Get(p.Type, key(p)); got.Record == nil {
		t.Error("a record without expiry is not found by nodes with a clock")
	}
	n.Run(10 * time.Minute)
	if got := nodes[3].Get(p.Type, key(p)); got.Record == nil || got.Record.Seq < 1e9 || got.Record.Expiry == 0 {
		t.Errorf("got %+v", got.Record)
	}
}

// A node whose clock is years off, but not trusted, works with the others.
func TestWrongClock(t *testing.T) {
	n := dhttest.New(22)
	n.Build(12, dht.Config{ClockTrusted: true})
	lost := n.Join(dht.Config{}) // its numbers are small, its records have no expiry
	n.Run(5 * time.Second)
	p := publication(1, []byte("x"))
	n.Nodes[2].Publish(p)
	put := lost.Publish(publication(1, []byte("y")))
	if put.Err != nil || put.Seq < 1e9 {
		t.Fatalf("its number does not follow the newest: %+v", put)
	}
	if got := n.Nodes[3].Get(p.Type, key(p)); got.Record == nil || string(got.Record.Value) != "y" {
		t.Errorf("got %+v", got.Record)
	}
}

// A writer that has lost the time is alone on its side of a cut, and starts anew there.
// If it remembers its last number, all read its new value after healing; if not, it
// gives way to its old one, and says so.
func TestWriterWithoutClockInACut(t *testing.T) {
	for _, remembers := range []bool{true, false} {
		n := dhttest.New(23)
		n.Build(20, dht.Config{ClockTrusted: true})
		writer := n.Join(dht.Config{})
		n.Run(5 * time.Second)
		first := writer.Publish(publication(1, []byte("old")))
		for range 3 { // its numbers are well above what it would begin with
			first = writer.Publish(publication(1, []byte("old")))
		}
		writer.Side = 1
		n.Cut(false)
		n.Restart(writer, dht.Config{})
		p := publication(1, []byte("new"))
		if remembers {
			p.Seq = first.Seq
		}
		writer.Do(func(now time.Time) {
			for _, x := range n.Nodes[:5] { // what it would know from routes
				writer.AddSeeds(now, x.Addr)
			}
		})
		if put := writer.Publish(p); put.Stored != 1 || remembers && put.Seq <= first.Seq {
			t.Errorf("in the cut: %+v", put)
		}
		n.Run(10 * time.Minute)
		n.Heal(false)
		writer.Do(func(now time.Time) {
			for _, x := range n.Nodes[:5] {
				writer.AddSeeds(now, x.Addr)
			}
		})
		n.Run(2 * time.Minute)
		got := n.Nodes[7].Get(p.Type, key(p)).Record
		gaveWay := false
		for _, e := range writer.Events {
			_, is := e.(dht.Superseded)
			gaveWay = gaveWay || is
		}
		if got == nil || (string(got.Value) == "new") != remembers || gaveWay == remembers {
			t.Errorf("remembers %v: after healing %+v is read, the writer gave way: %v", remembers, got, gaveWay)
		}
	}
}

// Two routers of one owner publish at the same moment again and again: all nodes
// come to hold the same, whoever wins.
func TestRivals(t *testing.T) {
	for seed := range uint64(8) {
		n := dhttest.New(30 + seed)
		nodes := n.Build(20, dht.Config{})
		a, b := publication(1, []byte("of a")), publication(1, []byte("of b"))
		nodes[0].Do(func(now time.Time) { nodes[0].DHT.Publish(now, a) })
		nodes[1].Do(func(now time.Time) { nodes[1].DHT.Publish(now, b) })
		n.Run(30 * time.Minute)
		first := nodes[5].Get(a.Type, key(a)).Record
		if first == nil {
			t.Fatal("nothing found")
		}
		for i, x := range nodes {
			if got := x.Get(a.Type, key(a)).Record; got == nil || got.Digest() != first.Digest() {
				t.Errorf("seed %d: node %d reads %+v, node 5 %+v", seed, i, got, first)
			}
		}
		for _, x := range nodes {
			for _, h := range x.Held() {
				if h.Key == key(a) && !h.Cached && h.Digest != first.Digest() && isClosest(n, x, h.Key) {
					t.Errorf("seed %d: a holder has number %d, readers get %d", seed, h.Seq, first.Seq)
				}
			}
		}
	}
}

func isClosest(n *dhttest.Network, x *dhttest.Node, key dht.Key) bool {
	for _, y := range closestNodes(n, key, 8) {
		if x == y {
			return true
		}
	}
	return false
}
