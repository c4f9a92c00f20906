package dht

import (
	"runtime"
	"testing"
	"time"

	"globalnet/mesh/dht/wire"
)

// A small node to which everybody brings all they can stays below what its bounds
// promise, and goes on working.
func TestMemoryOfAFullSmallNode(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	w := newWorld(t, Config{Small: true, Membership: true})
	b := w.d.bounds
	links := []string{"a", "b", "c", "d"}
	for i := range 12 { // so few that it is responsible for everything
		w.d.SetReachable(w.now, addrOf(i+1), links[i%4])
	}
	for i := range b.maxRecords { // of 1100 octets: the octets end first
		w.store(addrOf(i%12+1), signed(i, 1, string(make([]byte, 1100))), nil)
		w.sent = w.sent[:0]
		if i%10 == 0 {
			w.pass(time.Second)
		}
	}
	for i := range 2 * b.contacts {
		w.d.SetReachable(w.now, addrOf(i+1), links[i%4])
	}
	for i := range 2 * b.floors {
		w.d.floor.raise(Key{byte(i), byte(i >> 8)}, 1)
	}
	for i := range 2 * b.assemblies {
		from := addrOf(i + 1)
		w.ask(from, wire.Store{
			Token: w.token(from), Digest: wire.Digest{byte(i)}, Total: 4000, Data: make([]byte, wire.SegmentSize),
		})
	}
	for i := range 4 * b.queued {
		if c := w.d.contacts.get(addrOf(i%b.contacts + 1)); c != nil {
			w.d.ask(c, wire.Store{Total: wire.SegmentSize, Data: make([]byte, wire.SegmentSize)}, priority(i%2), nobody{})
		}
	}
	w.d.events, w.d.read, w.sent, w.told = nil, 0, nil, nil // the owner's
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	s := w.d.Status()
	t.Logf("%d octets: %d contacts, %d records of %d octets", grown, s.Known, s.Records, s.Bytes)
	if grown > 3<<20 {
		t.Errorf("%d octets, want at most 3 MiB", grown)
	}
	if s.Known != b.contacts || s.Bytes < b.maxBytes/2 || s.Membership {
		t.Errorf("the node was not filled: %+v", s)
	}
	w.invariants(t)
	if _, ok := w.ask(addrOf(5), wire.Ping{}).(wire.Pong); !ok {
		t.Error("it does not answer")
	}
	runtime.KeepAlive(w)
}

// More routes than a small node keeps make it search as if it knew none.
func TestSmallNodeInALargeMesh(t *testing.T) {
	w := newWorld(t, Config{Small: true, Membership: true})
	for i := range 2000 {
		w.d.SetReachable(w.now, addrOf(i+1), "a")
	}
	id := w.d.Lookup(w.now, Key{1})
	for range 200 {
		w.answerPool()
		w.pass(5 * time.Millisecond)
	}
	if done := w.done(id).(LookupDone); len(done.Result.Closest) < replicas {
		t.Errorf("%d nodes found", len(done.Result.Closest))
	}
}
