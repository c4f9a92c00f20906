package dht

import (
	"slices"
	"testing"
	"time"

	"globalnet/mesh/dht/wire"

	"pgregory.net/rapid"
)

// invariants holds for a node after anything that may happen to it.
func (w *world) invariants(t interface{ Fatalf(string, ...any) }) {
	d := w.d
	inBuckets := 0
	for i := range d.table.buckets {
		b := &d.table.buckets[i]
		if len(b.live) > bucketSize || len(b.spare) > bucketSize {
			t.Fatalf("bucket %d has %d contacts and %d spares", i, len(b.live), len(b.spare))
		}
		for _, c := range b.live {
			inBuckets++
			if !c.inBucket || c.inSpare || c.dead || c.gone || commonPrefix(&d.self, &c.key) != i {
				t.Fatalf("bucket %d: contact %+v", i, c)
			}
		}
		for _, c := range b.spare {
			if c.inBucket || !c.inSpare || c.dead || c.gone {
				t.Fatalf("bucket %d: spare %+v", i, c)
			}
		}
	}
	flagged, siblings := 0, 0
	for i, c := range d.contacts.list {
		if c.index != i || d.contacts.byAddr[c.addr] != c || c.addr == d.addr || c.gone {
			t.Fatalf("contacts are in disorder at %d", i)
		}
		if c.inBucket {
			flagged++
		}
		if c.sibling {
			siblings++
		}
		if c.dead != slices.Contains(d.graves, c) {
			t.Fatalf("contact %v: dead %v", c.addr, c.dead)
		}
	}
	if flagged != inBuckets || siblings != len(d.table.siblings) || siblings > siblingCount || len(d.graves) > d.bounds.graves {
		t.Fatalf("%d and %d in buckets, %d and %d siblings, %d graves", flagged, inBuckets, siblings, len(d.table.siblings), len(d.graves))
	}
	for i, c := range d.table.siblings {
		if c.dead || i > 0 && !closer(&d.self, &d.table.siblings[i-1].key, &c.key) {
			t.Fatalf("sibling %d is out of order or dead", i)
		}
	}
	if d.active > maxOutstanding || d.active != len(d.requests) {
		t.Fatalf("%d requests under way, %d known", d.active, len(d.requests))
	}
}

// Whatever contacts, routes, answers and silence come, the table stays in order, and
// the siblings are the closest of those who live.
func TestTableProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, Config{Membership: rapid.Bool().Draw(rt, "membership")})
		node := rapid.IntRange(1, 90)
		silent := map[int]bool{}
		rt.Repeat(map[string]func(*rapid.T){
			"seed":        func(rt *rapid.T) { w.d.AddSeeds(w.now, addrOf(node.Draw(rt, "node"))) },
			"reachable":   func(rt *rapid.T) { w.d.SetReachable(w.now, addrOf(node.Draw(rt, "node")), "via") },
			"unreachable": func(rt *rapid.T) { w.d.SetUnreachable(w.now, addrOf(node.Draw(rt, "node"))) },
			"falls silent": func(rt *rapid.T) {
				n := node.Draw(rt, "node")
				silent[n] = !silent[n]
			},
			"asks": func(rt *rapid.T) {
				from := addrOf(node.Draw(rt, "node"))
				if f, ok := w.ask(from, wire.Find{}).(wire.Found); ok {
					w.ask(from, wire.Find{Token: f.Token})
				}
			},
			"time": func(rt *rapid.T) {
				for range rapid.IntRange(1, 30).Draw(rt, "seconds") {
					w.pass(time.Second)
					w.answerAll(func(i int) bool { return !silent[i] })
				}
			},
			"": func(rt *rapid.T) {
				w.answerAll(func(i int) bool { return !silent[i] })
				w.invariants(rt)
				live := w.d.closest(w.d.self, siblingCount, func(c *contact) bool { return c.live() && (c.inBucket || c.inSpare) })
				for i, c := range live[:min(len(live), len(w.d.table.siblings))] {
					s := w.d.table.siblings[i]
					if s != c && closer(&w.d.self, &c.key, &s.key) {
						rt.Fatalf("sibling %d is %v, and %v is closer", i, s.addr, c.addr)
					}
				}
			},
		})
	})
}

// answerAll answers what the node asked, in the name of all who are not silent.
func (w *world) answerAll(speaks func(i int) bool) {
	index := map[string]int{}
	for i := range 400 {
		index[addrOf(i).String()] = i
	}
	for range 20 {
		list, to := w.requests()
		if len(list) == 0 {
			return
		}
		for i, m := range list {
			n, known := index[to[i].String()]
			if !known || !speaks(n) || m.Body.Kind().Reply() {
				continue
			}
			switch m.Body.(type) {
			case wire.Ping:
				w.reply(to[i], m.ID, wire.Pong{Token: wire.Token{1}})
			case wire.Find:
				w.reply(to[i], m.ID, wire.Found{Token: wire.Token{1}})
			case wire.Offer:
				w.reply(to[i], m.ID, wire.Answer{Token: wire.Token{1}, Status: wire.Refreshed})
			case wire.Store:
				w.reply(to[i], m.ID, wire.Answer{Token: wire.Token{1}, Status: wire.Stored})
			case wire.Fetch:
				w.reply(to[i], m.ID, wire.Segment{})
			}
		}
	}
}

// inBucket0 returns n addresses of the farthest bucket.
func (w *world) inBucket0(n int) (list []int) {
	for i := 1; len(list) < n; i++ {
		if k := NodeKey(addrOf(i)); commonPrefix(&w.d.self, &k) == 0 {
			list = append(list, i)
		}
	}
	return list
}

// A live contact is never put out for a new one; it keeps its place until it fails
// twice, half a minute apart, and then the last spare gets it.
func TestOldContactsStay(t *testing.T) {
	w := newWorld(t, Config{})
	nodes := w.inBucket0(20)
	for _, i := range nodes {
		w.meet(addrOf(i))
	}
	b := &w.d.table.buckets[0]
	for _, i := range nodes[:16] {
		if c := w.d.contacts.get(addrOf(i)); !c.inBucket {
			t.Fatalf("contact %d lost its place to a newcomer", i)
		}
	}
	if len(b.spare) != 4 {
		t.Fatalf("%d spares", len(b.spare))
	}
	dead := nodes[0]
	c := w.d.contacts.get(addrOf(dead))
	speaks := func(i int) bool { return i != dead }
	run := func(d time.Duration) {
		for range int(d / time.Second) {
			w.pass(time.Second)
			w.answerAll(speaks)
		}
	}
	w.d.ping(c)
	run(10 * time.Second)
	if c.fails != 1 || !c.inBucket {
		t.Fatalf("after one failure: %d counted, in bucket %v", c.fails, c.inBucket)
	}
	run(2 * time.Minute)
	if !c.dead || c.inBucket {
		t.Fatalf("after two minutes of silence it is still there")
	}
	if len(b.live) != bucketSize || len(b.spare) != 3 {
		t.Errorf("%d contacts, %d spares", len(b.live), len(b.spare))
	}
	// It comes back, and is found by the graveyard's own attempts.
	speaks = func(int) bool { return true }
	run(3 * time.Minute)
	if c.dead || !c.live() || len(w.d.graves) != 0 {
		t.Errorf("the contact did not rise again: %+v", c)
	}
}

// A node that is cut off keeps its table: silence of everybody says nothing about
// anybody.
func TestTableSurvivesCutOff(t *testing.T) {
	w := newWorld(t, Config{})
	for i := range 40 {
		w.meet(addrOf(i + 1))
	}
	speaks := true
	run := func(d time.Duration) {
		for range int(d / time.Second) {
			w.pass(time.Second)
			w.answerAll(func(int) bool { return speaks })
		}
	}
	run(time.Minute)
	before := w.d.Status().Contacts
	speaks = false
	for range 20 {
		w.d.Lookup(w.now, Key{byte(w.now.Second())})
		run(time.Minute)
	}
	if lost := before - w.d.Status().Contacts; lost > 2 {
		t.Errorf("%d of %d contacts lost while cut off", lost, before)
	}
	if !w.d.Status().CutOff {
		t.Error("the node does not know that it is cut off")
	}
	speaks = true
	run(time.Minute)
	if s := w.d.Status(); s.CutOff || s.Contacts < before-1 {
		t.Errorf("after healing: %+v", s)
	}
}

// A bucket that one link fills makes room for contacts that others lead to.
func TestDiversity(t *testing.T) {
	w := newWorld(t, Config{})
	nodes := w.inBucket0(22)
	for n, i := range nodes {
		via := "one"
		if n >= 16 {
			via = "two"
		}
		w.d.SetReachable(w.now, addrOf(i), via)
		w.meet(addrOf(i))
	}
	b := &w.d.table.buckets[0]
	if n := b.through("two"); n != 6 {
		t.Errorf("%d of 6 contacts by the other link have a place", n)
	}
	if len(b.live) != bucketSize {
		t.Errorf("%d contacts", len(b.live))
	}
	// Old ones are not put out even for that.
	w.pass(2 * time.Hour)
	old := slices.Clone(b.live)
	third := w.inBucket0(23)[22]
	w.d.SetReachable(w.now, addrOf(third), "three")
	for _, c := range old {
		c.answered, c.fails = w.d.now, 0
	}
	w.meet(addrOf(third))
	for _, c := range old {
		if !c.inBucket {
			t.Error("a contact older than an hour was put out")
		}
	}
}

// A link that leads to much of the table gives up places even where it has few of
// the bucket; and the exchange is not undone.
func TestDiversityOfTheWholeTable(t *testing.T) {
	w := newWorld(t, Config{})
	nodes := w.inBucket0(20)
	links := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"}
	for n, i := range nodes[:16] { // two by each of a to h
		w.d.SetReachable(w.now, addrOf(i), links[n/2])
		w.meet(addrOf(i))
	}
	b := &w.d.table.buckets[0]
	late := func(i int) *contact {
		w.d.SetReachable(w.now, addrOf(nodes[i]), "i")
		return w.meet(addrOf(nodes[i]))
	}
	if c := late(16); c.inBucket {
		t.Error("a newcomer was preferred although no link has much")
	}
	crowd := 0
	for i := 1; crowd < 20; i++ { // elsewhere in the table a leads to many
		if key := NodeKey(addrOf(i)); commonPrefix(&w.d.self, &key) > 0 {
			w.d.SetReachable(w.now, addrOf(i), "a")
			w.meet(addrOf(i))
			crowd++
		}
	}
	if c := late(17); !c.inBucket || b.through("a") != 1 {
		t.Errorf("a newcomer by another link has a place: %v; %d by the link that leads to most", c.inBucket, b.through("a"))
	}
	before := slices.Clone(b.live)
	for range 3 {
		for _, c := range slices.Clone(b.spare) {
			w.d.present(c)
		}
	}
	for _, c := range before {
		if !c.inBucket && c.via != "a" {
			t.Errorf("a contact by %s was put out again", c.via)
		}
	}
	if b.through("i") != 2 {
		t.Errorf("%d contacts by the new link", b.through("i"))
	}
}

// Replies name newcomers for at most a quarter, if there are others.
func TestNewcomersAreNamedLess(t *testing.T) {
	w := newWorld(t, Config{})
	for i := range 30 {
		w.meet(addrOf(i + 1))
	}
	if n := len(w.d.introduceable(Key{}, 16, addrOf(500))); n != 16 {
		t.Fatalf("in a new network %d are named", n)
	}
	w.pass(time.Second)
	for range 5 {
		for range 60 {
			w.pass(time.Second)
			w.answerAll(func(int) bool { return true })
		}
	}
	for i := range 30 {
		w.meet(addrOf(i + 100))
	}
	newcomers := 0
	list := w.d.introduceable(Key{}, 16, addrOf(500))
	for _, c := range list {
		if w.d.now-c.alive < newcomerFor {
			newcomers++
		}
	}
	if len(list) != 16 || newcomers > 4 || newcomers == 0 {
		t.Errorf("%d of %d named are newcomers", newcomers, len(list))
	}
}

func TestContactsAreBounded(t *testing.T) {
	w := newWorld(t, Config{})
	for i := range w.d.bounds.contacts + 500 {
		w.d.begin(w.now)
		w.d.contact(addrOf(i + 1))
	}
	if n := len(w.d.contacts.list); n > w.d.bounds.contacts {
		t.Errorf("%d contacts", n)
	}
	w.invariants(t)
}

func TestPuzzle(t *testing.T) {
	w := newWorld(t, Config{PuzzleBits: 3})
	let := 0
	for i := range 200 {
		valid := Puzzle(addrOf(i+1)) >= 3
		if w.d.validNode(addrOf(i+1)) != valid {
			t.Fatalf("node %d with %d bits", i, Puzzle(addrOf(i+1)))
		}
		if valid {
			let++
		}
	}
	if let < 10 || let > 50 {
		t.Errorf("%d of 200 addresses show 3 bits of work", let)
	}
}

func TestKeyArithmetic(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(name string) (k Key) {
			copy(k[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(rt, name))
			return k
		}
		key, a, b := draw("key"), draw("a"), draw("b")
		if a != b && closer(&key, &a, &b) == closer(&key, &b, &a) {
			rt.Fatal("closer is no order")
		}
		if closer(&key, &a, &a) {
			rt.Fatal("closer than itself")
		}
		if commonPrefix(&key, &a) > commonPrefix(&key, &b) && !closer(&key, &a, &b) {
			rt.Fatal("a longer prefix is not closer")
		}
		if commonPrefix(&a, &a) != 256 || a != b && commonPrefix(&a, &b) == 256 {
			rt.Fatal("common prefix")
		}
	})
}

// A key drawn for a bucket lies in that bucket.
func TestRefreshHitsItsBucket(t *testing.T) {
	w := newWorld(t, Config{})
	w.meet(addrOf(1))
	for _, i := range []int{0, 1, 7, 8, 9, 100, 255} {
		w.d.table.buckets[i].refreshed = 0
		w.d.refreshBucket(i)
		if w.d.table.buckets[i].refreshed != w.d.now {
			t.Errorf("bucket %d was not the one refreshed", i)
		}
	}
}
