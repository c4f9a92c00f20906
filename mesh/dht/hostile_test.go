package dht

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"globalnet/mesh/dht/wire"
)

// Before somebody has shown a token, a reply is at most three times its request, and
// there is at most one.
func TestAmplification(t *testing.T) {
	w := newWorld(t, Config{})
	for i := range 60 {
		w.meet(addrOf(i + 100))
	}
	long := signed(1, 1, string(make([]byte, 3000)))
	short := signed(2, 1, string(make([]byte, 500)))
	w.store(addrOf(9), long, nil)
	w.store(addrOf(9), short, nil)
	for name, body := range map[string]wire.Body{
		"ping":        wire.Ping{},
		"find":        wire.Find{Key: Key{1}},
		"find value":  wire.Find{Key: short.Key(), Value: true},
		"find long":   wire.Find{Key: long.Key(), Value: true},
		"false token": wire.Find{Token: wire.Token{1}, Key: short.Key(), Value: true},
		"fetch":       wire.Fetch{Key: long.Key(), Digest: long.Digest()},
		"offer":       wire.Offer{Key: long.Key(), Seq: 1},
		"store":       wire.Store{Key: short.Key(), Digest: short.Digest(), Total: uint16(short.Size()), Data: wire.AppendRecord(nil, short)},
	} {
		m := wire.Message{Body: body}
		request := len(wire.Append(nil, m))
		reply, sent := w.exchange(addrOf(10), m)
		if reply == nil {
			t.Errorf("%s: no reply", name)
		}
		if sent > amplification*request {
			t.Errorf("%s: %d octets for %d", name, sent, request)
		}
		w.pass(time.Minute)
	}
}

// Floods of bogus stores leave memory inside the quota and what was there readable.
func TestFloodOfStores(t *testing.T) {
	w := newWorld(t, Config{MaxBytes: 1 << 20, MaxRecords: 1024})
	for i := range 64 {
		w.d.SetReachable(w.now, addrOf(10+i), "good")
		w.d.SetReachable(w.now, addrOf(1000+i), "bad")
	}
	w.pass(time.Minute)
	kept := w.fill(0, 8, 900, func(i int) netip.Addr { return addrOf(10 + i) })
	if len(kept) == 0 {
		t.Fatal("nothing could be stored")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	record := wire.AppendRecord(nil, signed(5000, 1, string(make([]byte, 900))))
	bogus := func(from netip.Addr, token wire.Token) []byte {
		s := wire.Store{Token: token, TTL: 1 << 31, Total: uint16(len(record)), Data: slices.Clone(record)}
		switch rng.IntN(3) {
		case 0: // many segments, never the last
			s.Total, s.Data = 4000, make([]byte, wire.SegmentSize)
		case 1: // a record of another key
			s.Data[10] = byte(rng.Uint32())
			if r, err := wire.ParseRecord(s.Data); err == nil {
				s.Key, s.Digest = r.Key(), r.Digest()
			}
		}
		if s.Key == (Key{}) {
			for i := 0; i < 32; i += 8 {
				s.Key[i] = byte(rng.Uint32())
			}
			s.Digest[0] = byte(rng.Uint32())
		}
		return wire.Append(nil, wire.Message{ID: rng.Uint64(), Body: s})
	}
	tokens := map[netip.Addr]wire.Token{}
	for i := range 64 {
		tokens[addrOf(1000+i)] = w.token(addrOf(1000 + i))
	}
	count := 1_000_000
	if testing.Short() {
		count = 50_000
	}
	templates := make([][]byte, 4096)
	froms := make([]netip.AddrPort, len(templates))
	for i := range templates {
		from := addrOf(1000 + rng.IntN(64))
		token := tokens[from]
		if i%4 == 0 {
			token = wire.Token{byte(i)}
		}
		templates[i], froms[i] = bogus(from, token), netip.AddrPortFrom(from, Port)
	}
	before := heap()
	for i := range count {
		if err := w.d.HandlePacket(w.now, froms[i%len(froms)], templates[i%len(templates)]); err != nil {
			t.Fatal(err)
		}
		for {
			if _, ok := w.d.NextEvent(); !ok {
				break
			}
		}
		if i%1000 == 0 {
			w.now = w.now.Add(20 * time.Millisecond)
			w.d.HandleTimeout(w.now)
		}
	}
	if grown := heap() - before; grown > int64(w.d.cfg.MaxBytes) {
		t.Errorf("heap grew by %d octets", grown)
	}
	w.invariants(t)
	if w.d.store.bytes > w.d.store.maxBytes {
		t.Errorf("the store holds %d octets", w.d.store.bytes)
	}
	w.pass(5 * time.Second)
	for _, key := range kept {
		f, ok := w.ask(addrOf(10), wire.Find{Token: w.token(addrOf(10)), Key: key, Value: true}).(wire.Found)
		if !ok || f.Record == nil {
			t.Errorf("a record that was there before cannot be read")
		}
	}
	c := w.d.Counters()
	t.Logf("%d limited, %d without token, %d busy, %d bad, %d signatures verified",
		c["dht_requests_limited"], c["dht_stores_refused_token"], c["dht_stores_refused_busy"], c["dht_stores_refused_bad"], c["dht_signatures_verified"])
	if c["dht_stores_refused_bad"] == 0 || c["dht_requests_limited"] == 0 {
		t.Error("the flood did not reach what the test is about")
	}
}

// A reply counts only if it comes from where the request went, with its number, and
// is of its kind.
func TestStrayRepliesAreIgnored(t *testing.T) {
	w := newWorld(t, Config{})
	w.d.AddSeeds(w.now, addrOf(1))
	list, _ := w.requests()
	id := list[0].ID
	w.reply(addrOf(2), id, wire.Pong{})
	w.reply(addrOf(1), id+1, wire.Pong{})
	w.reply(addrOf(1), id, wire.Found{})
	if c := w.d.contacts.get(addrOf(1)); c.answered != 0 {
		t.Fatal("a stray reply counted")
	}
	w.reply(addrOf(1), id, wire.Pong{})
	if c := w.d.contacts.get(addrOf(1)); c.answered == 0 {
		t.Fatal("the right reply did not count")
	}
	if n := w.d.Counters()["dht_replies_unasked"]; n != 3 {
		t.Errorf("%d stray replies counted", n)
	}
}

// Addresses that are no node's, foreign ports and our own address are refused.
func TestForeignSourcesAreRefused(t *testing.T) {
	w := newWorld(t, Config{})
	p := wire.Append(nil, wire.Message{ID: 1, Body: wire.Ping{}})
	for _, from := range []netip.AddrPort{
		netip.AddrPortFrom(addrOf(1), Port+1), netip.AddrPortFrom(addrOf(0), Port),
		netip.MustParseAddrPort("[2001:db8::1]:18246"), netip.MustParseAddrPort("192.0.2.1:18246"),
	} {
		if w.d.HandlePacket(w.now, from, p) == nil {
			t.Errorf("%v is served", from)
		}
	}
	w.collect()
	if len(w.sent) != 0 {
		t.Errorf("%d replies", len(w.sent))
	}
}

// Where all nodes are known by their routes, names without a route are not asked.
func TestNamesWithoutRouteAreIgnored(t *testing.T) {
	w := newWorld(t, Config{Membership: true})
	for i := range 20 {
		w.d.SetReachable(w.now, addrOf(i+1), "")
	}
	w.d.Lookup(w.now, Key{})
	for range 30 {
		list, to := w.requests()
		for i, m := range list {
			if to[i] == addrOf(777) {
				t.Fatal("a node without a route was asked")
			}
			if m.Body.Kind() == wire.KindFind {
				w.reply(to[i], m.ID, wire.Found{Contacts: []wire.Contact{toContact(addrOf(777)), toContact(addrOf(5))}})
			}
		}
		w.pass(time.Millisecond)
	}
	if w.d.Counters()["dht_contacts_without_route"] == 0 {
		t.Error("nothing was ignored")
	}
}

// A claim of a higher sequence number that does not hold costs a fetch, and changes
// neither what a reader gets nor what a writer counts on from.
func TestFalseSequenceNumbers(t *testing.T) {
	w := newWorld(t, Config{Membership: true})
	for i := range 6 {
		w.d.SetReachable(w.now, addrOf(i+1), "")
	}
	r := signed(1, 7, "true")
	encoded := wire.AppendRecord(nil, r)
	id := w.d.Get(w.now, TypeGeneric, r.Key())
	w.liarsServe(r, encoded)
	done := w.done(id).(GetDone)
	if done.Record == nil || string(done.Record.Value) != "true" {
		t.Fatalf("got %+v", done)
	}
	pub := w.d.Publish(w.now, Publication{Type: TypeGeneric, Salt: []byte("test"), Value: []byte("next"), Signer: keyOf(1)})
	w.liarsServe(r, encoded)
	put := w.done(pub).(PutDone)
	if put.Err != nil || put.Seq != 8 {
		t.Errorf("published as %d: %v", put.Seq, put.Err)
	}
}

// liarsServe plays six nodes: the even ones hold r, the odd ones claim a version of
// number 2^64−1 and send garbage for it.
func (w *world) liarsServe(r *Record, encoded []byte) {
	for range 400 {
		list, to := w.requests()
		for i, m := range list {
			honest := to[i].As16()[15]%2 == 0
			meta := &wire.Meta{Seq: r.Seq, Digest: r.Digest(), TTL: 3600, Total: uint16(len(encoded))}
			if !honest {
				meta = &wire.Meta{Seq: 1<<64 - 1, Digest: wire.Digest{to[i].As16()[15]}, TTL: 3600, Total: uint16(len(encoded))}
			}
			switch b := m.Body.(type) {
			case wire.Find:
				w.reply(to[i], m.ID, wire.Found{Token: wire.Token{1}, Meta: meta})
			case wire.Fetch:
				data := encoded[b.Offset:][:wire.SegmentLen(len(encoded), int(b.Offset))]
				if !honest {
					data = make([]byte, len(data))
				}
				w.reply(to[i], m.ID, wire.Segment{Total: uint16(len(encoded)), Offset: b.Offset, Data: data})
			case wire.Ping:
				w.reply(to[i], m.ID, wire.Pong{Token: wire.Token{1}})
			case wire.Offer:
				w.reply(to[i], m.ID, wire.Answer{Token: wire.Token{1}, Status: wire.Wanted})
			case wire.Store:
				w.reply(to[i], m.ID, wire.Answer{Token: wire.Token{1}, Status: wire.Stored})
			}
		}
		w.pass(5 * time.Millisecond)
	}
}

func (w *world) done(id OpID) Event {
	w.t.Helper()
	for _, e := range w.told {
		switch e := e.(type) {
		case GetDone:
			if e.ID == id {
				return e
			}
		case PutDone:
			if e.ID == id {
				return e
			}
		case LookupDone:
			if e.ID == id {
				return e
			}
		}
	}
	w.t.Fatalf("operation %d has not ended", id)
	return nil
}

// Identities made to surround a key make a lookup ask further.
func TestCrowdIsNoticed(t *testing.T) {
	w := newWorld(t, Config{Membership: true})
	key := Key{0xAA, 0x55}
	type placed struct {
		addr netip.Addr
		key  Key
	}
	var pool []placed
	for i := range 30000 {
		pool = append(pool, placed{addrOf(i + 1), NodeKey(addrOf(i + 1))})
	}
	for _, p := range pool[:100] {
		w.d.SetReachable(w.now, p.addr, "")
	}
	look := func() LookupResult {
		id := w.d.Lookup(w.now, key)
		for range 100 {
			w.answerPool()
			w.pass(5 * time.Millisecond)
		}
		return w.done(id).(LookupDone).Result
	}
	if r := look(); r.Suspicious || len(r.Closest) > replicas+2 {
		t.Errorf("an honest network is suspicious: %d asked", len(r.Closest))
	}
	slices.SortFunc(pool, func(a, b placed) int {
		if closer(&key, &a.key, &b.key) {
			return -1
		}
		return 1
	})
	for _, p := range pool[:8] { // the work of 30 000 identities for eight places
		w.d.SetReachable(w.now, p.addr, "")
	}
	r := look()
	if !r.Suspicious || len(r.Closest) < wide {
		t.Errorf("eight identities around a key: suspicious %v, %d asked", r.Suspicious, len(r.Closest))
	}
}

// When all of the closest are behind one link, more are asked, and the record goes to
// some that are reached by others.
func TestReplicasBehindOneLink(t *testing.T) {
	for name, tt := range map[string]struct {
		crowd, links int
		wider        bool
	}{
		"all of four links": {8, 4, true}, "seven of four links": {7, 4, true}, "five of four links": {5, 4, false},
		"all of the only link": {8, 1, false}, "seven of two links": {7, 2, false}, "all of two links": {8, 2, true},
	} {
		w := newWorld(t, Config{Membership: true})
		r := signed(1, 1, "x")
		key := r.Key()
		var list []netip.Addr
		for i := range 120 {
			list = append(list, addrOf(i+1))
		}
		slices.SortFunc(list, func(a, b netip.Addr) int {
			x, y := NodeKey(a), NodeKey(b)
			if closer(&key, &x, &y) {
				return -1
			}
			return 1
		})
		via := func(i int) string {
			if i < tt.crowd {
				return "0"
			}
			if i < replicas {
				return fmt.Sprint(1 + i%(tt.links-1))
			}
			return fmt.Sprint(i % tt.links)
		}
		for i, a := range list {
			w.d.SetReachable(w.now, a, via(i))
		}
		id := w.d.Put(w.now, r, PutOptions{})
		stored := make(map[int]bool)
		for range 300 {
			requests, to := w.requests()
			for i, m := range requests {
				switch m.Body.Kind() {
				case wire.KindFind:
					w.reply(to[i], m.ID, wire.Found{Token: wire.Token{1}})
				case wire.KindPing:
					w.reply(to[i], m.ID, wire.Pong{Token: wire.Token{1}})
				case wire.KindOffer:
					w.reply(to[i], m.ID, wire.Answer{Token: wire.Token{1}, Status: wire.Wanted})
				case wire.KindStore:
					stored[slices.Index(list, to[i])] = true
					w.reply(to[i], m.ID, wire.Answer{Token: wire.Token{1}, Status: wire.Stored})
				}
			}
			w.pass(5 * time.Millisecond)
		}
		if done := w.done(id).(PutDone); done.Err != nil || done.Stored < replicas || done.Stored > replicas+1 {
			t.Errorf("%s: stored on %d of %d, %v", name, done.Stored, done.Of, done.Err)
		}
		others := 0
		for i := range stored {
			if i >= replicas && via(i) != "0" {
				others++
			}
		}
		if (others >= otherWays) != tt.wider || (w.d.counts[lookupsOneLink] > 0) != tt.wider || w.d.counts[lookupsSuspicious] > 0 {
			t.Errorf("%s: on %d through other links, %d lookups went wide", name, others, w.d.counts[lookupsOneLink])
		}
	}
}

func TestChanceOfOneLink(t *testing.T) {
	for _, tt := range []struct {
		n       int
		p, want float64
	}{{8, 0.5, 0.00390625}, {0, 0.3, 1}, {8, 1, 1}, {7, 0.5, 9.0 / 256}, {4, 0, 0}} {
		if got := atLeast(tt.n, tt.p); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("%d of 8 at %v: %v, want %v", tt.n, tt.p, got, tt.want)
		}
	}
}

// answerPool answers every Find and Ping of the node.
func (w *world) answerPool() {
	list, to := w.requests()
	for i, m := range list {
		switch m.Body.Kind() {
		case wire.KindFind:
			w.reply(to[i], m.ID, wire.Found{Token: wire.Token{1}})
		case wire.KindPing:
			w.reply(to[i], m.ID, wire.Pong{Token: wire.Token{1}})
		}
	}
}

// Nothing that arrives makes a node panic, and its table stays in order.
func FuzzHandlePacket(f *testing.F) {
	r := signed(1, 1, "x")
	for _, b := range []wire.Body{
		wire.Ping{}, wire.Find{Key: r.Key(), Value: true}, wire.Fetch{Key: r.Key()}, wire.Offer{Key: r.Key(), Seq: 1},
		wire.Store{Total: uint16(r.Size()), Data: wire.AppendRecord(nil, r)}, wire.Pong{}, wire.Segment{}, wire.Answer{},
		wire.Found{Contacts: []wire.Contact{{1}, {2}}},
	} {
		f.Add(uint8(1), wire.Append(nil, wire.Message{Body: b}))
	}
	f.Fuzz(func(t *testing.T, from uint8, p []byte) {
		w := newWorld(t, Config{})
		w.meet(addrOf(3))
		w.store(addrOf(4), r, nil)
		w.d.Get(w.now, TypeGeneric, Key{1})
		list, to := w.requests()
		w.d.HandlePacket(w.now, netip.AddrPortFrom(addrOf(int(from)), Port), p)
		if m, err := wire.Parse(p); err == nil { // once more as what was asked for, or with a token
			for i, asked := range list {
				m.ID = asked.ID
				w.d.HandlePacket(w.now, netip.AddrPortFrom(to[i], Port), wire.Append(nil, m))
			}
			w.d.HandlePacket(w.now, netip.AddrPortFrom(addrOf(4), Port), wire.Append(nil, withToken(m, w.token(addrOf(4)))))
		}
		w.pass(time.Minute)
		w.invariants(t)
	})
}

func withToken(m wire.Message, token wire.Token) wire.Message {
	switch b := m.Body.(type) {
	case wire.Find:
		b.Token = token
		m.Body = b
	case wire.Fetch:
		b.Token = token
		m.Body = b
	case wire.Offer:
		b.Token = token
		m.Body = b
	case wire.Store:
		b.Token = token
		m.Body = b
	}
	return m
}
