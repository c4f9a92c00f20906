package dht

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"globalnet/mesh/dht/wire"
)

// Places are a promise to other versions: docs/protocols/dht.md.
func TestPlacesAreFixed(t *testing.T) {
	node := NodeKey(netip.MustParseAddr("fd47:4e45::1"))
	record := wire.RecordKey(5, [32]byte{1}, []byte("salt"))
	for name, c := range map[string][2]string{
		"node":   {hex.EncodeToString(node[:]), nodePlace},
		"record": {hex.EncodeToString(record[:]), recordPlace},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %s, want %s", name, c[0], c[1])
		}
	}
}

// Computed with sha256sum from what the document says.
const (
	nodePlace   = "d9cb9beaad458a681fe41eac929f97f6b1407136df92d7163c443d944b79499b"
	recordPlace = "60b48525a8ab0720bf960dc0d45ad18fcb2bc1500e63e0e072c4bd29ba04c89b"
)

func TestContactForm(t *testing.T) {
	for i := range 10 {
		if a := addrOf(i); fromContact(toContact(a)) != a {
			t.Errorf("%v became %v", a, fromContact(toContact(a)))
		}
	}
}

func TestSealing(t *testing.T) {
	public := keyOf(1).Public()
	sealed := Seal(1, public, Key{1}, []byte("value"))
	if got, err := Open(public, Key{1}, sealed); err != nil || string(got) != "value" {
		t.Fatalf("%q, %v", got, err)
	}
	if bytes.Equal(sealed, Seal(1, public, Key{1}, []byte("other"))) || !bytes.Equal(sealed, Seal(1, public, Key{1}, []byte("value"))) {
		t.Error("the nonce does not follow from the value")
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := Open(public, Key{1}, bad); err == nil {
			t.Errorf("opened with octet %d changed", i)
		}
	}
	for n := range len(sealed) {
		if _, err := Open(public, Key{1}, sealed[:n]); err == nil {
			t.Errorf("opened the first %d octets", n)
		}
	}
	if _, err := Open(public, Key{2}, sealed); err == nil {
		t.Error("opened at another place")
	}
}

func TestNodeRecord(t *testing.T) {
	n := &NodeRecord{Roles: RoleRelay | RoleStore, Addresses: []netip.Addr{addrOf(1), addrOf(2)}}
	p, err := n.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseNodeRecord(p); err != nil || !reflect.DeepEqual(got, n) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, bad := range map[string]*NodeRecord{
		"none":    {},
		"foreign": {Addresses: []netip.Addr{netip.MustParseAddr("2001:db8::1")}},
		"nine":    {Addresses: make([]netip.Addr, 9)},
	} {
		if _, err := bad.Append(nil); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

func FuzzParseNodeRecord(f *testing.F) {
	p, _ := (&NodeRecord{Roles: 1, Addresses: []netip.Addr{addrOf(1)}}).Append(nil)
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		n, err := ParseNodeRecord(p)
		if err != nil {
			return
		}
		if got, err := n.Append(nil); err != nil || !bytes.Equal(got, p) {
			t.Errorf("%x became %x, %v", p, got, err)
		}
	})
}

func TestValidators(t *testing.T) {
	types := DefaultTypes()
	long := make([]byte, 200)
	long[0] = 1
	for name, c := range map[string]struct {
		record Record
		ok     bool
	}{
		"node":            {Record{Type: TypeNode, Value: long}, true},
		"node, version 2": {Record{Type: TypeNode, Value: append([]byte{2}, long...)}, false},
		"node, short":     {Record{Type: TypeNode, Value: []byte{1, 2, 3}}, false},
		"node, salt":      {Record{Type: TypeNode, Value: long, Salt: []byte("x")}, false},
		"relay":           {Record{Type: TypeRelay, Value: long}, true},
		"relay, empty":    {Record{Type: TypeRelay}, false},
		"generic":         {Record{Type: TypeGeneric, Salt: []byte("app")}, true},
		"generic, none":   {Record{Type: TypeGeneric}, false},
	} {
		if err := types[c.record.Type].Validate(&c.record); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeysHideThemselves(t *testing.T) {
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(format, keyOf(1)); s != "[secret]" {
			t.Errorf("%s prints %q", format, s)
		}
	}
}

// A request that is not answered is sent three times with one number, then fails; a
// late answer to any of them counts.
func TestResending(t *testing.T) {
	w := newWorld(t, Config{})
	w.d.AddSeeds(w.now, addrOf(1), addrOf(2))
	w.pass(3 * time.Second)
	list, to := w.requests()
	ids := map[netip.Addr][]uint64{}
	for i, m := range list {
		ids[to[i]] = append(ids[to[i]], m.ID)
	}
	for addr, sent := range ids {
		if len(sent) != 3 || sent[0] != sent[1] || sent[1] != sent[2] {
			t.Errorf("%v was asked with %v", addr, sent)
		}
	}
	if len(w.d.requests) != 0 || w.d.active != 0 {
		t.Errorf("%d requests left", len(w.d.requests))
	}
	w.d.AddSeeds(w.now, addrOf(3))
	w.pass(300 * time.Millisecond) // sent twice by now
	list, _ = w.requests()
	w.reply(addrOf(3), list[0].ID, wire.Pong{})
	c := w.d.contacts.get(addrOf(3))
	if c.answered == 0 {
		t.Error("the late answer did not count")
	}
	if c.srtt != 0 {
		t.Error("a time was measured although it is not known which datagram was answered")
	}
}

// Patience follows the measured times.
func TestPatience(t *testing.T) {
	w := newWorld(t, Config{})
	c := &contact{}
	if slow, fail := w.d.patience(c); slow < 100*millisecond || fail < 500*millisecond {
		t.Errorf("before anything was measured: %v, %v", time.Duration(slow), time.Duration(fail))
	}
	for range 50 {
		c.measured(10 * millisecond)
	}
	if slow, fail := w.d.patience(c); slow != slowFloor || fail != failFloor {
		t.Errorf("on a fast path: %v, %v", time.Duration(slow), time.Duration(fail))
	}
	for range 50 {
		c.measured(3 * second)
	}
	if slow, fail := w.d.patience(c); slow != slowCap || fail != failCap {
		t.Errorf("on a very slow path: %v, %v", time.Duration(slow), time.Duration(fail))
	}
}

// No more requests than allowed are under way, and none is lost: each ends.
func TestRequestsAreBounded(t *testing.T) {
	w := newWorld(t, Config{})
	ended := 0
	for i := range 2000 {
		w.d.begin(w.now)
		w.d.ask(w.d.contact(addrOf(i%50+1)), wire.Ping{}, priority(i%2), counting{&ended})
		if w.d.active > maxOutstanding || len(w.d.queues[0]) > w.d.bounds.queued || len(w.d.queues[1]) > w.d.bounds.queued {
			t.Fatalf("%d under way, %d and %d waiting", w.d.active, len(w.d.queues[0]), len(w.d.queues[1]))
		}
	}
	w.pass(10 * time.Minute)
	if ended != 2000 || w.d.active != 0 {
		t.Errorf("%d of 2000 ended, %d under way", ended, w.d.active)
	}
	for _, c := range w.d.contacts.list {
		if c.inflight != 0 || c.queued != 0 {
			t.Errorf("%v has %d under way and %d waiting", c.addr, c.inflight, c.queued)
		}
	}
}

type counting struct{ ended *int }

func (c counting) answered(*request, wire.Body) { *c.ended++ }
func (c counting) slow(*request)                {}
func (c counting) failed(*request)              { *c.ended++ }

// A route that is withdrawn ends what is under way at once.
func TestLostRouteFailsRequests(t *testing.T) {
	w := newWorld(t, Config{Membership: true})
	for i := range 4 {
		w.d.SetReachable(w.now, addrOf(i+1), "")
	}
	id := w.d.Lookup(w.now, Key{})
	for i := range 4 {
		w.d.SetUnreachable(w.now, addrOf(i+1))
	}
	w.pass(time.Millisecond)
	if r := w.done(id).(LookupDone).Result; len(r.Closest) != 0 || r.Requests == 0 {
		t.Errorf("%+v", r)
	}
}

// The token that we have ran out: a store and a fetch go on with the new one.
func TestStaleTokenIsRenewed(t *testing.T) {
	w := newWorld(t, Config{})
	c := w.meet(addrOf(1))
	r := signed(1, 1, string(make([]byte, 2500)))
	encoded := wire.AppendRecord(nil, r)
	fresh := wire.Token{9, 9}
	serve := func() (stores int) {
		for range 20 {
			list, to := w.requests()
			for i, m := range list {
				if to[i] != c.addr {
					continue
				}
				if token := tokenOf(m.Body); token != fresh && m.Body.Kind() != wire.KindPing && m.Body.Kind() != wire.KindFind {
					w.reply(to[i], m.ID, wire.Answer{Token: fresh, Status: wire.BadToken})
					continue
				}
				switch b := m.Body.(type) {
				case wire.Store:
					if stores++; stores%3 == 0 {
						w.reply(to[i], m.ID, wire.Answer{Token: fresh, Status: wire.Stored})
					} else {
						w.reply(to[i], m.ID, wire.Answer{Token: fresh, Status: wire.Partial})
					}
				case wire.Fetch:
					w.reply(to[i], m.ID, wire.Segment{Total: uint16(len(encoded)), Offset: b.Offset,
						Data: encoded[b.Offset:][:wire.SegmentLen(len(encoded), int(b.Offset))]})
				}
			}
			w.pass(time.Millisecond)
		}
		return stores
	}
	p := w.d.newPush(c, r, encoded, hour)
	p.start()
	serve()
	if !p.over || !p.kept() {
		t.Errorf("the push ended with %v", p.answer.Status)
	}
	w.d.learnToken(c, wire.Token{7})
	var got []byte
	f := w.d.newFetch(c, r.Key(), wire.Meta{Digest: r.Digest(), Total: uint16(len(encoded))}, own, func(b []byte) { got = b })
	f.start()
	serve()
	if !bytes.Equal(got, encoded) {
		t.Errorf("fetched %d octets of %d", len(got), len(encoded))
	}
}

func TestFloorsAreBounded(t *testing.T) {
	maxFloors := 100
	f := newFloors(maxFloors)
	for i := range 3 * maxFloors {
		f.raise(Key{byte(i), byte(i >> 8)}, uint64(i))
	}
	if len(f.seq) != maxFloors || len(f.order) != maxFloors {
		t.Errorf("%d and %d", len(f.seq), len(f.order))
	}
	last := 3*maxFloors - 1
	if k := (Key{byte(last), byte(last >> 8)}); !f.below(k, uint64(last-1)) || f.below(k, uint64(last)) {
		t.Error("the last floor is not there")
	}
}

func TestEstimate(t *testing.T) {
	for _, n := range []int{5, 40, 300} {
		w := newWorld(t, Config{})
		for i := range n {
			w.meet(addrOf(i + 1))
		}
		if got := w.d.estimate(); got < n/2 || got > 2*n {
			t.Errorf("%d nodes are estimated as %d", n+1, got)
		}
	}
}
