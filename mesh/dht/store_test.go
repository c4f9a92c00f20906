package dht

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"globalnet/mesh/dht/wire"
)

func number(n uint64) *uint64 { return &n }

// The rules of BEP 44 where the shape is the same, and ours: what happens to a
// sequence of stores of one key.
func TestStoreRules(t *testing.T) {
	a, b := signed(1, 5, "a"), signed(1, 5, "b")
	low, high := a, b // by digest: the lower one wins
	if x, y := a.Digest(), b.Digest(); bytes.Compare(x[:], y[:]) > 0 {
		low, high = b, a
	}
	type step struct {
		record *Record
		cas    *uint64
		want   wire.Status
	}
	for name, steps := range map[string][]step{
		"first":                   {{signed(1, 0, "x"), nil, wire.Stored}},
		"newer replaces":          {{signed(1, 1, "x"), nil, wire.Stored}, {signed(1, 2, "y"), nil, wire.Stored}},
		"older is refused":        {{signed(1, 2, "x"), nil, wire.Stored}, {signed(1, 1, "y"), nil, wire.Newer}},
		"same again refreshes":    {{signed(1, 2, "x"), nil, wire.Stored}, {signed(1, 2, "x"), nil, wire.Refreshed}},
		"equivocation, keeps low": {{low, nil, wire.Stored}, {high, nil, wire.Conflict}, {low, nil, wire.Refreshed}},
		"equivocation, takes low": {{high, nil, wire.Stored}, {low, nil, wire.Stored}, {high, nil, wire.Conflict}},
		"CAS on nothing":          {{signed(1, 1, "x"), number(0), wire.Stored}},
		"CAS, nothing there":      {{signed(1, 2, "x"), number(1), wire.Mismatch}},
		"CAS matches":             {{signed(1, 1, "x"), nil, wire.Stored}, {signed(1, 2, "y"), number(1), wire.Stored}},
		"CAS does not": {{signed(1, 1, "x"), nil, wire.Stored}, {signed(1, 3, "y"), number(2), wire.Mismatch},
			{signed(1, 3, "y"), number(0), wire.Mismatch}, {signed(1, 3, "y"), number(1), wire.Stored}},
		"CAS does not help an older": {{signed(1, 5, "x"), nil, wire.Stored}, {signed(1, 4, "y"), number(5), wire.Newer}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Config{})
			for i, s := range steps {
				got := w.store(addrOf(9), s.record, func(m *wire.Store) { m.CAS = s.cas })
				if got != s.want {
					t.Fatalf("step %d: %v, want %v", i, got, s.want)
				}
			}
		})
	}
}

// What is wrong with a record is found whatever the sender says.
func TestForgeriesAreRefused(t *testing.T) {
	forged := func(change func(*Record)) *Record {
		r := signed(1, 5, "value")
		change(r)
		return r
	}
	future := uint64(start.Add(25 * time.Hour).Unix())
	for name, c := range map[string]struct {
		record *Record
		want   wire.Status
	}{
		"value":        {forged(func(r *Record) { r.Value[0]++ }), wire.BadRecord},
		"sequence":     {forged(func(r *Record) { r.Seq++ }), wire.BadRecord},
		"expiry":       {forged(func(r *Record) { r.Expiry = 1 << 60 }), wire.BadRecord},
		"salt":         {forged(func(r *Record) { r.Salt = []byte("tesu") }), wire.BadRecord},
		"key":          {forged(func(r *Record) { copy(r.Public[:], keyOf(2).Public()) }), wire.BadRecord},
		"type":         {forged(func(r *Record) { r.Type = TypeMailbox }), wire.BadRecord},
		"no such type": {forged(func(r *Record) { r.Type = 999; SignRecord(r, keyOf(1)) }), wire.UnknownType},
		"validator":    {forged(func(r *Record) { r.Salt = nil; SignRecord(r, keyOf(1)) }), wire.BadRecord},
		"small order":  {forged(func(r *Record) { r.Public, r.Signature = [32]byte{1}, [64]byte{1} }), wire.BadRecord},
		"expired":      {forged(func(r *Record) { r.Expiry = uint64(start.Unix()); SignRecord(r, keyOf(1)) }), wire.Expired},
		"future":       {forged(func(r *Record) { r.Seq = future; SignRecord(r, keyOf(1)) }), wire.Future},
		"false seq":    {forged(func(r *Record) { r.Seq = 1<<64 - 1 }), wire.Future},
	} {
		w := newWorld(t, Config{ClockTrusted: true})
		if got := w.store(addrOf(9), c.record, nil); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if len(w.d.store.list) != 0 {
			t.Errorf("%s: stored", name)
		}
	}
	w := newWorld(t, Config{ClockTrusted: true})
	r := signed(1, 5, "value")
	for name, change := range map[string]func(*wire.Store){
		"other key":    func(m *wire.Store) { m.Key[0]++ },
		"other digest": func(m *wire.Store) { m.Digest[0]++ },
		"no record":    func(m *wire.Store) { m.Data = bytes.Repeat([]byte{0xFF}, len(m.Data)) },
	} {
		if got := w.store(addrOf(9), r, change); got != wire.BadRecord {
			t.Errorf("%s: %v", name, got)
		}
	}
	// Without a trusted clock, dates say nothing.
	w = newWorld(t, Config{})
	old := forged(func(r *Record) { r.Expiry, r.Seq = 5, future; SignRecord(r, keyOf(1)) })
	if got := w.store(addrOf(9), old, nil); got != wire.Stored {
		t.Errorf("a node with a wrong clock: %v", got)
	}
}

func TestStoreNeedsToken(t *testing.T) {
	w := newWorld(t, Config{})
	r := signed(1, 1, "x")
	token := w.token(addrOf(9))
	for name, bad := range map[string]wire.Token{"none": {}, "guess": {1, 2, 3}, "of another": w.token(addrOf(8))} {
		got := w.store(addrOf(9), r, func(m *wire.Store) { m.Token = bad })
		if got != wire.BadToken {
			t.Errorf("%s: %v", name, got)
		}
		if w.ask(addrOf(9), wire.Offer{Token: bad, Key: r.Key(), Seq: 1}).(wire.Answer).Status != wire.BadToken {
			t.Errorf("%s: offer passes", name)
		}
		if a, ok := w.ask(addrOf(9), wire.Fetch{Token: bad, Key: r.Key()}).(wire.Answer); !ok || a.Status != wire.BadToken || a.Token != token {
			t.Errorf("%s: fetch passes", name)
		}
	}
	use := func() wire.Status { return w.store(addrOf(9), r, func(m *wire.Store) { m.Token = token }) }
	if got := use(); got != wire.Stored {
		t.Fatalf("with the token: %v", got)
	}
	w.pass(5 * time.Minute)
	if got := use(); got != wire.Refreshed {
		t.Errorf("after 5 minutes: %v", got)
	}
	w.pass(6 * time.Minute)
	if got := use(); got != wire.BadToken {
		t.Errorf("after 11 minutes: %v", got)
	}
}

func TestSegments(t *testing.T) {
	w := newWorld(t, Config{})
	r := signed(1, 1, strings.Repeat("x", 4096))
	if got := w.store(addrOf(9), r, nil); got != wire.Stored {
		t.Fatal(got)
	}
	key := r.Key()
	encoded := wire.AppendRecord(nil, r)
	token := w.token(addrOf(8))
	found := w.ask(addrOf(8), wire.Find{Token: token, Key: key, Value: true}).(wire.Found)
	if found.Meta == nil || found.Meta.Digest != r.Digest() || found.Record != nil {
		t.Fatalf("found %+v", found)
	}
	var got []byte
	for at := 0; at < int(found.Meta.Total); at += wire.SegmentSize {
		s := w.ask(addrOf(8), wire.Fetch{Token: token, Key: key, Digest: found.Meta.Digest, Offset: uint16(at)}).(wire.Segment)
		got = append(got, s.Data...)
	}
	if !bytes.Equal(got, encoded) {
		t.Error("fetched something else")
	}
	if s := w.ask(addrOf(8), wire.Fetch{Token: token, Key: key, Digest: wire.Digest{1}}).(wire.Segment); s.Total != 0 {
		t.Error("fetched a digest that is not there")
	}
	// A small record comes with the Found.
	small := signed(2, 1, strings.Repeat("y", 900))
	w.store(addrOf(9), small, nil)
	found = w.ask(addrOf(8), wire.Find{Token: token, Key: small.Key(), Value: true}).(wire.Found)
	if !bytes.Equal(found.Record, wire.AppendRecord(nil, small)) {
		t.Error("a small record does not come at once")
	}
	if f := w.ask(addrOf(8), wire.Find{Token: token, Key: small.Key(), Value: true, Have: 1}).(wire.Found); f.Record != nil {
		t.Error("a record comes that the asker has")
	}
}

// Segments in any order, twice, or of a record that changes its size on the way.
func TestSegmentsOutOfOrder(t *testing.T) {
	w := newWorld(t, Config{})
	r := signed(1, 1, strings.Repeat("x", 3000))
	encoded := wire.AppendRecord(nil, r)
	token := w.token(addrOf(9))
	send := func(at int, total int) wire.Status {
		return w.ask(addrOf(9), wire.Store{Token: token, Key: r.Key(), Digest: r.Digest(), TTL: 60, Total: uint16(total),
			Offset: uint16(at), Data: encoded[at:][:wire.SegmentLen(total, at)]}).(wire.Answer).Status
	}
	last := 2 * wire.SegmentSize
	for _, at := range []int{last, last, wire.SegmentSize} {
		if got := send(at, len(encoded)); got != wire.Partial {
			t.Fatalf("segment at %d: %v", at, got)
		}
	}
	if got := send(0, 2*wire.SegmentSize); got != wire.BadRecord {
		t.Errorf("another total: %v", got)
	}
	if got := send(0, len(encoded)); got != wire.Stored {
		t.Errorf("the last segment: %v", got)
	}
	if got := send(wire.SegmentSize, len(encoded)); got != wire.Refreshed {
		t.Errorf("a segment that comes late: %v", got)
	}
	if len(w.d.assemblies) != 0 {
		t.Errorf("%d assemblies left", len(w.d.assemblies))
	}
}

func TestAssembliesAreBounded(t *testing.T) {
	w := newWorld(t, Config{})
	w.d.strangers = bucket{rate: 1000, burst: 1000}
	for i := range 100 {
		for j := range 10 {
			from := addrOf(10 + i)
			token := w.token(from)
			w.ask(from, wire.Store{Token: token, Key: Key{byte(j)}, Digest: wire.Digest{byte(i), byte(j)}, Total: 4000,
				Data: make([]byte, wire.SegmentSize)})
		}
		w.pass(10 * time.Millisecond)
	}
	if n := len(w.d.assemblies); n > w.d.bounds.assemblies {
		t.Errorf("%d assemblies", n)
	}
	w.pass(time.Minute)
	if n := len(w.d.assemblies); n != 0 {
		t.Errorf("%d assemblies after a minute", n)
	}
}

func TestExpiry(t *testing.T) {
	w := newWorld(t, Config{})
	w.store(addrOf(9), signed(1, 1, "hour"), func(m *wire.Store) { m.TTL = 1 << 30 })
	w.store(addrOf(9), signed(2, 1, "short"), func(m *wire.Store) { m.TTL = 300 })
	w.store(addrOf(9), signed(3, 1, "none"), func(m *wire.Store) { m.TTL = 0 })
	held := func() (list []string) {
		for _, e := range w.d.store.list {
			list = append(list, string(e.record().Value))
		}
		return list
	}
	w.pass(150 * time.Second)
	if got := fmt.Sprint(held()); got != "[hour short]" {
		t.Errorf("after 2.5 minutes: %v", got)
	}
	w.pass(5 * time.Minute)
	if got := fmt.Sprint(held()); got != "[hour]" {
		t.Errorf("after 7.5 minutes: %v", got)
	}
	w.pass(30 * time.Minute)
	w.store(addrOf(9), signed(1, 1, "hour"), nil)
	w.pass(55 * time.Minute)
	if len(held()) != 1 {
		t.Error("a refreshed record expired")
	}
	w.pass(10 * time.Minute)
	if len(held()) != 0 {
		t.Error("a record outlived the time of its type")
	}
}

// A node with too many others closer to the key stores nothing, and far copies
// live shorter.
func TestResponsibility(t *testing.T) {
	w := newWorld(t, Config{})
	r := signed(1, 1, "x")
	key := r.Key()
	added := 0
	for i := 100; added < responsible; i++ {
		k := NodeKey(addrOf(i))
		if !closer(&key, &k, &w.d.self) {
			continue
		}
		if added == replicas+2 {
			if got := w.store(addrOf(9), r, nil); got != wire.Stored {
				t.Fatalf("with %d closer: %v", added, got)
			}
			if left := w.d.remaining(w.d.store.byKey[key]); left > 3600/4 {
				t.Errorf("with %d closer it is kept %d s", added, left)
			}
		}
		w.meet(addrOf(i))
		added++
	}
	other := *r
	other.Seq = 2
	SignRecord(&other, keyOf(1))
	if got := w.store(addrOf(9), &other, nil); got != wire.NotResponsible {
		t.Errorf("with %d closer: %v", added, got)
	}
	if got := w.ask(addrOf(9), wire.Offer{Token: w.token(addrOf(9)), Key: Key{}, Seq: 1}).(wire.Answer).Status; got != wire.NotResponsible && got != wire.Wanted {
		t.Errorf("offer: %v", got)
	}
}

func TestQuotaOfAPublisher(t *testing.T) {
	w := newWorld(t, Config{})
	stored := 0
	for i := range 2 * perPublisher {
		r := &Record{Type: TypeGeneric, Salt: fmt.Append(nil, i), Seq: 1, Value: []byte("x")}
		SignRecord(r, keyOf(1))
		from := addrOf(50 + i/30)
		if w.store(from, r, nil) == wire.Stored {
			stored++
		}
		w.pass(time.Second)
	}
	if stored != perPublisher {
		t.Errorf("%d records of one key stored", stored)
	}
}

// fill stores records of n different keys from addresses behind one link.
func (w *world) fill(first, n, size int, from func(i int) netip.Addr) (stored []Key) {
	for i := range n {
		r := signed(first+i, 1, strings.Repeat("z", size))
		if w.store(from(i), r, nil) == wire.Stored {
			stored = append(stored, r.Key())
		}
		w.pass(100 * time.Millisecond)
	}
	return stored
}

// A flood through one link stays within its share and pushes out nothing that came
// another way.
func TestQuotaOfALink(t *testing.T) {
	w := newWorld(t, Config{MaxBytes: 200 << 10})
	for i := range 40 {
		w.d.SetReachable(w.now, addrOf(10+i), "good")
		w.d.SetReachable(w.now, addrOf(100+i), "bad")
		w.d.SetReachable(w.now, addrOf(200+i), "third")
		w.d.SetReachable(w.now, addrOf(300+i), "fourth")
	}
	w.pass(time.Minute)
	good := w.fill(0, 10, 900, func(i int) netip.Addr { return addrOf(10 + i) })
	w.fill(1000, 400, 900, func(i int) netip.Addr { return addrOf(100 + i%40) })
	s := &w.d.store
	if s.perLink["bad"] > s.maxBytes/4 || s.bytes > s.maxBytes {
		t.Errorf("the link has %d of %d octets, the store holds %d", s.perLink["bad"], s.maxBytes, s.bytes)
	}
	for i, key := range good {
		if w.d.lookupEntry(key) == nil {
			t.Errorf("record %d was pushed out", i)
		}
	}
	if len(good) == 0 {
		t.Error("nothing was there before")
	}
	if s.perLink["bad"] < s.maxBytes/8 {
		t.Errorf("the link could store only %d octets: the test shows nothing", s.perLink["bad"])
	}
}

// The account of the store is right after anything.
func TestStoreAccount(t *testing.T) {
	w := newWorld(t, Config{MaxBytes: 20 << 10, MaxRecords: 15})
	for i := range 200 {
		from := addrOf(10 + i%7)
		w.store(from, signed(i%25, uint64(i/25+1), strings.Repeat("v", i*7%2500)), func(m *wire.Store) {
			m.TTL, m.Cache = uint32(60*(i%10)), i%5 == 0
		})
		w.pass(time.Duration(i%9) * time.Second)
		s := &w.d.store
		bytes, cached := 0, 0
		keys, links := map[[32]byte]int{}, map[string]int{}
		for j, e := range s.list {
			if e.index != j || s.byKey[e.key] != e {
				t.Fatal("list and map differ")
			}
			bytes += e.size()
			if e.cached {
				cached += e.size()
			}
			keys[e.public]++
			links[e.via] += e.size()
		}
		if bytes != s.bytes || cached != s.cacheBytes || len(s.list) != len(s.byKey) ||
			fmt.Sprint(keys) != fmt.Sprint(s.perKey) || fmt.Sprint(links) != fmt.Sprint(s.perLink) {
			t.Fatalf("after %d stores the account is wrong: %d and %d octets, %d and %d cached", i, bytes, s.bytes, cached, s.cacheBytes)
		}
		if s.bytes > s.maxBytes || len(s.list) > s.maxRecords {
			t.Fatalf("%d octets, %d records", s.bytes, len(s.list))
		}
	}
}
