package dht_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"globalnet/mesh/dht"
	"globalnet/mesh/dht/dhttest"
	"globalnet/mesh/dht/wire"
)

// holders counts the nodes that hold a version of a key.
func holders(n *dhttest.Network, key dht.Key, seq uint64) (count int) {
	for _, x := range n.Alive() {
		for _, h := range x.Held() {
			if h.Key == key && h.Seq == seq && !h.Cached {
				count++
			}
		}
	}
	return count
}

// closestNodes lists the k nodes closest to a key that are up.
func closestNodes(n *dhttest.Network, key dht.Key, k int) []*dhttest.Node {
	alive := n.Alive()
	for i := range alive {
		for j := i + 1; j < len(alive); j++ {
			if nearer(key, alive[j].Key, alive[i].Key) {
				alive[i], alive[j] = alive[j], alive[i]
			}
		}
	}
	return alive[:min(k, len(alive))]
}

func nearer(key, a, b dht.Key) bool {
	for i := range key {
		a[i] ^= key[i]
		b[i] ^= key[i]
	}
	return bytes.Compare(a[:], b[:]) < 0
}

// The record lies on exactly the eight closest nodes.
func TestPlacement(t *testing.T) {
	modes(t, func(t *testing.T, cfg dht.Config) {
		n := dhttest.New(3)
		nodes := n.Build(60, cfg)
		for i := range 10 {
			p := publication(i, []byte("x"))
			nodes[i].Publish(p)
			for rank, x := range closestNodes(n, key(p), 8) {
				if !holds(x, key(p)) {
					t.Errorf("record %d: the node of rank %d does not hold it", i, rank)
				}
			}
		}
	})
}

func holds(x *dhttest.Node, key dht.Key) bool {
	for _, h := range x.Held() {
		if h.Key == key && !h.Cached {
			return true
		}
	}
	return false
}

// Republishing keeps a record for ever and sends its value to nobody who has it;
// after Withdraw it expires.
func TestRepublish(t *testing.T) {
	n := dhttest.New(4)
	nodes := n.Build(30, dht.Config{})
	p := publication(1, bytes.Repeat([]byte("v"), 4000))
	nodes[0].Publish(p)
	stores := 0
	n.Tap = func(_, _ *dhttest.Node, b []byte) {
		if m, err := wire.Parse(b); err == nil && m.Body.Kind() == wire.KindStore {
			stores++
		}
	}
	n.Run(3 * time.Hour)
	if got := holders(n, key(p), 1); got < 8 {
		t.Errorf("%d holders after three hours", got)
	}
	if stores > 4*8 {
		t.Errorf("%d datagrams with values in three hours of republishing", stores)
	}
	nodes[0].Do(func(now time.Time) { nodes[0].Withdraw(now, key(p)) })
	n.Run(90 * time.Minute)
	if got := holders(n, key(p), 1); got != 0 {
		t.Errorf("%d holders 90 minutes after it was withdrawn", got)
	}
}

// The owner published on another router: the first one gives way, and says so.
func TestSuperseded(t *testing.T) {
	n := dhttest.New(5)
	nodes := n.Build(30, dht.Config{})
	nodes[0].Publish(publication(1, []byte("old")))
	put := nodes[1].Publish(publication(1, []byte("new")))
	if put.Err != nil || put.Seq != 2 {
		t.Fatalf("second publication: %+v", put)
	}
	n.Run(20 * time.Minute)
	gave := 0
	for i, x := range nodes {
		for _, e := range x.Events {
			if s, ok := e.(dht.Superseded); ok {
				gave++
				if i != 0 || s.Seq != 2 {
					t.Errorf("node %d: %+v", i, s)
				}
			}
		}
	}
	if gave != 1 {
		t.Errorf("%d publications gave way", gave)
	}
	p := publication(1, nil)
	if got := nodes[7].Get(p.Type, key(p)); got.Record == nil || string(got.Record.Value) != "new" {
		t.Errorf("got %+v", got.Record)
	}
}

// A node that was away returns with a stale value and a new address, and another with
// a stale store: the newest value stays.
func TestStaleNodesReturn(t *testing.T) {
	modes(t, func(t *testing.T, cfg dht.Config) {
		n := dhttest.New(6)
		nodes := n.Build(40, cfg)
		p := publication(1, []byte("old"))
		nodes[0].Publish(p)
		old := nodes[20].Get(p.Type, key(p)).Record
		away := closestNodes(n, key(p), 3)
		for _, x := range away {
			n.Kill(x, cfg.Membership)
		}
		n.Run(time.Minute)
		writer := n.Alive()[5]
		if put := writer.Publish(publication(1, []byte("new"))); put.Err != nil || put.Seq != 2 {
			t.Fatalf("%+v", put)
		}
		for _, x := range away { // with the old record still in their stores
			x.Up = true
			x.Do(func(now time.Time) { x.HandleTimeout(now) })
			if cfg.Membership {
				for _, y := range n.Alive() {
					if y != x {
						y.Do(func(now time.Time) { y.SetReachable(now, x.Addr, "") })
					}
				}
			}
		}
		late := n.Join(cfg) // the old publisher, at a new address, puts what it had
		n.Run(5 * time.Second)
		put := late.Put(old, dht.PutOptions{})
		if put.Err == nil && put.Stored > 3 {
			t.Errorf("the stale record was stored on %d nodes", put.Stored)
		}
		n.Run(time.Minute)
		for i := range 20 {
			x := n.Alive()[i]
			if got := x.Get(p.Type, key(p)); got.Record == nil || string(got.Record.Value) != "new" {
				t.Errorf("node %d reads %+v", i, got.Record)
			}
		}
	})
}

// A newcomer gets what it should hold from those who hold it, without the publisher.
func TestHandOver(t *testing.T) {
	modes(t, func(t *testing.T, cfg dht.Config) {
		n := dhttest.New(7)
		nodes := n.Build(30, cfg)
		var keys []dht.Key
		for i := range 30 {
			p := publication(i, []byte("x"))
			nodes[i].Publish(p)
			nodes[i].Do(func(now time.Time) { nodes[i].Withdraw(now, key(p)) })
			keys = append(keys, key(p))
		}
		for range 10 {
			n.Join(cfg)
			n.Run(time.Second)
		}
		n.Run(20 * time.Second)
		missing := 0
		for _, k := range keys {
			for _, x := range closestNodes(n, k, 8) {
				if !holds(x, k) {
					missing++
				}
			}
		}
		if missing > 3 {
			t.Errorf("%d of %d places are empty after ten nodes joined", missing, 8*len(keys))
		}
	})
}

// A node that leaves in an orderly way hands on what it holds.
func TestShutdown(t *testing.T) {
	n := dhttest.New(8)
	nodes := n.Build(30, dht.Config{})
	p := publication(1, []byte("x"))
	nodes[0].Publish(p)
	nodes[0].Do(func(now time.Time) { nodes[0].Withdraw(now, key(p)) })
	for _, x := range closestNodes(n, key(p), 8) {
		x.Do(func(now time.Time) { x.Shutdown(now) })
		ended := n.RunUntil(3100*time.Millisecond, func() bool {
			for _, e := range x.Events {
				if _, ok := e.(dht.ShutdownDone); ok {
					return true
				}
			}
			return false
		})
		if !ended {
			t.Error("no end of the shutdown")
		}
		n.Kill(x, false)
	}
	if got := holders(n, key(p), 1); got < 6 {
		t.Errorf("%d holders after all eight left", got)
	}
}

// Mailboxes live on while their holders are replaced, with no publisher there.
func TestMailboxOutlivesItsHolders(t *testing.T) {
	n := dhttest.New(9)
	nodes := n.Build(40, dht.Config{})
	r := &dht.Record{Type: dht.TypeMailbox, Seq: 1, Value: []byte("message")}
	dht.SignRecord(r, signer(1))
	if put := nodes[0].Put(r, dht.PutOptions{}); put.Stored < 8 {
		t.Fatalf("%+v", put)
	}
	for range 30 {
		n.Kill(n.Alive()[0], false)
		n.Join(dht.Config{})
		n.Run(10 * time.Minute)
	}
	if got := n.Alive()[10].Get(r.Type, r.Key()); got.Record == nil {
		t.Errorf("the message is lost")
	}
}

// A value published in one half of a cut network reaches the other within a minute,
// although neither the publisher's interval nor anything else is due.
func TestHealing(t *testing.T) {
	modes(t, func(t *testing.T, cfg dht.Config) {
		n := dhttest.New(10)
		nodes := n.Build(50, cfg)
		p := publication(1, []byte("old"))
		nodes[0].Publish(p)
		for i, x := range nodes {
			x.Side = i % 2
		}
		n.Cut(cfg.Membership)
		n.Run(5 * time.Minute) // long enough to bury the others
		if put := nodes[2].Publish(publication(1, []byte("new"))); put.Err != nil {
			t.Fatal(put.Err)
		}
		if got := nodes[1].Get(p.Type, key(p)); got.Record == nil || string(got.Record.Value) != "old" {
			t.Fatalf("in the other half: %+v", got.Record)
		}
		n.Heal(cfg.Membership)
		n.Run(time.Minute)
		for i := 1; i < len(nodes); i += 2 {
			if got := nodes[i].Get(p.Type, key(p)); got.Record == nil || string(got.Record.Value) != "new" {
				t.Errorf("node %d reads %+v", i, got.Record)
			}
		}
	})
}

func TestCAS(t *testing.T) {
	n := dhttest.New(11)
	nodes := n.Build(20, dht.Config{})
	record := func(seq uint64, value string) *dht.Record {
		r := &dht.Record{Type: dht.TypeGeneric, Salt: []byte("test"), Seq: seq, Value: []byte(value)}
		dht.SignRecord(r, signer(1))
		return r
	}
	cas := func(v uint64) dht.PutOptions { return dht.PutOptions{CAS: &v} }
	if put := nodes[0].Put(record(1, "a"), cas(0)); put.Err != nil || put.Stored < 8 {
		t.Fatalf("%+v", put)
	}
	if put := nodes[1].Put(record(2, "b"), cas(0)); put.Err != dht.ErrMismatch {
		t.Errorf("compared with nothing, stored is 1: %v, on %d", put.Err, put.Stored)
	}
	if put := nodes[2].Put(record(2, "c"), cas(1)); put.Err != nil || put.Stored < 8 {
		t.Errorf("%+v", put)
	}
	if put := nodes[3].Put(record(1, "d"), dht.PutOptions{}); put.Err != dht.ErrNewer {
		t.Errorf("an older one: %v, on %d", put.Err, put.Stored)
	}
	bad := record(9, "e")
	bad.Value[0]++
	if put := nodes[4].Put(bad, dht.PutOptions{}); put.Err == nil {
		t.Error("a forged record was put")
	}
}

// Clients use the network and do not become part of it.
func TestClient(t *testing.T) {
	n := dhttest.New(12)
	nodes := n.Build(20, dht.Config{})
	client := n.Join(dht.Config{Client: true})
	n.Run(5 * time.Second)
	p := publication(1, []byte("x"))
	if put := client.Publish(p); put.Err != nil || put.Stored < 8 {
		t.Fatalf("%+v", put)
	}
	if got := nodes[3].Get(p.Type, key(p)); got.Record == nil {
		t.Error("not found")
	}
	q := publication(2, []byte("y"))
	nodes[4].Publish(q)
	if got := client.Get(q.Type, key(q)); got.Record == nil {
		t.Error("a client does not find a record")
	}
	n.Run(30 * time.Minute)
	for i, x := range nodes {
		for _, addr := range x.Contacts(1000) {
			if addr == client.Addr {
				t.Errorf("node %d has the client in its table", i)
			}
		}
	}
	if holds(client, key(q)) {
		t.Error("a client stores for others")
	}
}

// Node and key of the record, and the value, are hidden from who does not know the
// public key, and only the holder of the private key can change it.
func TestSealed(t *testing.T) {
	n := dhttest.New(13)
	nodes := n.Build(10, dht.Config{})
	rec := &dht.NodeRecord{Roles: dht.RoleRelay, Addresses: []netipAddr{nodes[0].Addr}}
	plain, err := rec.Append([]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	secret := signer(1)
	p := dht.Publication{Type: dht.TypeNode, Value: plain, Signer: blinded(secret, 7), Seal: secret.Public()}
	if put := nodes[0].Publish(p); put.Err != nil {
		t.Fatal(put.Err)
	}
	k := wire.RecordKey(dht.TypeNode, [32]byte(blindedPublic(t, secret.Public(), 7)), nil)
	got := nodes[5].Get(dht.TypeNode, k)
	if got.Record == nil {
		t.Fatal("not found under the key that is computed from the public key")
	}
	if bytes.Contains(got.Record.Value, plain[1:]) || bytes.Contains(got.Record.Value, secret.Public()) {
		t.Error("the value lies open")
	}
	value, err := dht.Open(secret.Public(), k, got.Record.Value)
	if err != nil {
		t.Fatal(err)
	}
	back, err := dht.ParseNodeRecord(value)
	if err != nil || fmt.Sprint(back) != fmt.Sprint(rec) {
		t.Errorf("got %+v, %v", back, err)
	}
	if _, err := dht.Open(signer(2).Public(), k, got.Record.Value); err == nil {
		t.Error("opened with another key")
	}
}

// Two nodes alone, then one alone: what can be stored is stored, and what cannot says so.
func TestTinyNetworks(t *testing.T) {
	n := dhttest.New(14)
	a := n.Join(dht.Config{})
	if put := a.Publish(publication(1, []byte("x"))); put.Err != nil || put.Stored != 1 || put.Of != 1 {
		t.Errorf("alone: %+v", put)
	}
	b := n.Join(dht.Config{})
	n.Run(5 * time.Second)
	p := publication(2, []byte("y"))
	if put := a.Publish(p); put.Err != nil || put.Stored != 2 || put.Of != 2 {
		t.Errorf("two: %+v", put)
	}
	if got := b.Get(p.Type, key(p)); got.Record == nil {
		t.Error("not found")
	}
	q := publication(1, nil)
	n.Run(10 * time.Minute)
	if got := b.Get(q.Type, key(q)); got.Record == nil {
		t.Error("what was published alone did not reach the other")
	}
	client := n.Add(dht.Config{Client: true})
	if put := client.Publish(publication(3, []byte("z"))); put.Err != dht.ErrNoNodes {
		t.Errorf("a client alone: %v", put.Err)
	}
	if got := client.Get(q.Type, key(q)); got.Record != nil {
		t.Error("a client alone finds something")
	}
}

func TestPathIsShown(t *testing.T) {
	n := dhttest.New(15)
	nodes := n.Build(50, dht.Config{})
	p := publication(1, []byte("x"))
	nodes[0].Publish(p)
	got := nodes[9].Get(p.Type, key(p))
	if len(got.Result.Path) == 0 || got.Holders < 3 {
		t.Fatalf("%+v", got)
	}
	has := 0
	for _, h := range got.Result.Path {
		if h.Outcome == "has it" && h.Seq == 1 && h.RTT > 0 && strings.HasPrefix(h.Node.String(), "fd47:4e45:") {
			has++
		}
	}
	if has != got.Holders {
		t.Errorf("the path shows %d holders of %d", has, got.Holders)
	}
}
