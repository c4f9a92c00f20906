package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/internal/identity"
	"globalnet/mesh/dht"
	"globalnet/mesh/dht/dhttest"
	"globalnet/mesh/dht/proxy"
)

func testIdentity(t *testing.T, n byte) *identity.Identity {
	t.Helper()
	id, err := identity.FromSeed(bytes.Repeat([]byte{n}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// alone runs a table that reaches nobody, in a bubble of synctest.
func alone(t *testing.T, mode config.DHT) *hashTable {
	t.Helper()
	h, _ := aloneWith(t, mode, "")
	return h
}

// aloneWith keeps what is published in a file; stop ends the table.
func aloneWith(t *testing.T, mode config.DHT, path string) (h *hashTable, stop func()) {
	t.Helper()
	h = newHashTable(testIdentity(t, 1), mode, true, path, slog.New(slog.DiscardHandler))
	h.listen = func() (dht.PacketConn, func() error, error) {
		return dhttest.NewDeaf(), func() error { return nil }, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan struct{})
	close(ready)
	var running sync.WaitGroup
	running.Go(func() {
		if err := h.run(ctx, ready); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	synctest.Wait()
	return h, stop
}

func TestRecordKeysAgree(t *testing.T) {
	id := testIdentity(t, 1)
	seen := make(map[dht.Key]string)
	publics := make(map[string]string)
	for _, name := range []string{"", "a", "b", "node record", strings.Repeat("x", maxName)} {
		p := publication(id, name, []byte("v"))
		typ, key, err := recordKey(id.NodeID(), name)
		if err != nil || typ != p.Type || key != keyOf(p) {
			t.Errorf("%q: readers look for %x of type %d, %v; it is published as %x of type %d", name, key, typ, err, keyOf(p), p.Type)
		}
		if other, twice := seen[key]; twice {
			t.Errorf("%q and %q have one place", name, other)
		}
		seen[key] = name
		public := string(p.Signer.Public())
		if other, twice := publics[public]; twice {
			t.Errorf("%q and %q have one signer: holders see that they belong together", name, other)
		}
		publics[public] = name
		if public == string(p.Seal) {
			t.Errorf("%q is signed by the node's own key", name)
		}
	}
	if _, _, err := recordKey(identity.NodeID{1}, ""); err == nil {
		t.Error("a key of small order, or none, was blinded")
	}
}

func TestPutAndGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := alone(t, config.DHTFull)
		me := h.id.NodeID()
		long := bytes.Repeat([]byte{7}, maxValue)
		for i, value := range [][]byte{[]byte("hello"), nil, long} {
			s, err := h.Put(t.Context(), "greeting", value)
			if err != nil || s.Stored != 1 || s.Of != 1 {
				t.Fatalf("put %d: %+v, %v", i, s, err)
			}
			r, err := h.Get(t.Context(), me, "greeting", false)
			if err != nil || !r.Found || !bytes.Equal(r.Value, value) || r.Seq != s.Seq || r.Key != s.Key {
				t.Errorf("get %d: %+v, %v", i, r, err)
			}
		}
		own, err := h.Get(t.Context(), me, "", false)
		if err != nil || own.NodeRecord == nil || !slices.Equal(own.NodeRecord.Addresses, []netip.Addr{me.Address()}) ||
			!slices.Equal(own.NodeRecord.Roles, []string{"store"}) {
			t.Errorf("our own node record: %+v, %v", own.NodeRecord, err)
		}
		if r, err := h.Get(t.Context(), testIdentity(t, 2).NodeID(), "greeting", false); err != nil || r.Found {
			t.Errorf("found of another node: %+v, %v", r, err)
		}
		s, err := h.Status(t.Context())
		if err != nil || s.Mode != "full" || s.Published != 2 || s.Records != 2 || s.Counters["dht_puts"] == 0 {
			t.Errorf("status %+v, %v", s, err)
		}
	})
}

// Through the onion a relay asks; two that find nothing are believed, one is not.
func TestGetHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := alone(t, config.DHTFull)
		me := h.id.NodeID()
		if _, err := h.Put(t.Context(), "greeting", []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Get(t.Context(), me, "greeting", true); err == nil {
			t.Error("asked through an onion that is not there")
		}
		liars, asked := 0, 0
		h.askTable = func(ctx context.Context, f func(context.Context, net.Conn) (bool, error)) error {
			for {
				asked++
				here, there := net.Pipe()
				table := proxy.Table(h.node)
				if asked <= liars {
					table = nothing{h.node}
				}
				go func() {
					proxy.Serve(ctx, there, table)
					there.Close()
				}()
				done, err := f(ctx, here)
				here.Close()
				if done || asked == 3 {
					return err
				}
			}
		}
		for _, tt := range []struct {
			liars, asked int
			found        bool
		}{{0, 1, true}, {1, 2, true}, {2, 2, false}} {
			liars, asked = tt.liars, 0
			r, err := h.Get(t.Context(), me, "greeting", true)
			if err != nil || r.Found != tt.found || asked != tt.asked || tt.found && string(r.Value) != "hello" {
				t.Errorf("%d relays lie: %d asked, %+v, %v", tt.liars, asked, r, err)
			}
		}
	})
}

// nothing is a table that holds nothing.
type nothing struct{ proxy.Table }

func (nothing) Get(context.Context, uint16, dht.Key) (dht.GetDone, error) { return dht.GetDone{}, nil }

func TestRequestsAreChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := alone(t, config.DHTClient)
		ctx, me := t.Context(), h.id.NodeID()
		put := func(name string, n int) error { _, err := h.Put(ctx, name, make([]byte, n)); return err }
		get := func(id identity.NodeID, name string) error { _, err := h.Get(ctx, id, name, false); return err }
		lookup := func(target string) error { _, err := h.Lookup(ctx, target); return err }
		for what, err := range map[string]error{
			"no name":         put("", 1),
			"long name":       put(strings.Repeat("x", maxName+1), 1),
			"long value":      put("x", maxValue+1),
			"get long name":   get(me, strings.Repeat("x", maxName+1)),
			"get no node":     get(identity.NodeID{1}, "x"),
			"lookup nothing":  lookup(""),
			"lookup half key": lookup(strings.Repeat("0", 62)),
		} {
			if e, ok := errors.AsType[*control.Error](err); !ok || e.Code != control.BadRequest {
				t.Errorf("%s: %v", what, err)
			}
		}
		for _, target := range []string{me.String(), strings.Repeat("0F", 32)} {
			if err := lookup(target); err != nil {
				t.Errorf("lookup of %s: %v", target, err)
			}
		}
		// A client alone has nobody who keeps a record: no error, it goes on trying.
		if s, err := h.Put(ctx, "x", []byte("y")); err != nil || s.Stored != 0 {
			t.Errorf("put of a client that reaches nobody: %+v, %v", s, err)
		}
	})
}

func TestNamesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := alone(t, config.DHTFull)
		for i := 1; i < maxPublished; i++ { // the node record is one
			if _, err := h.Put(t.Context(), fmt.Sprint(i), nil); err != nil {
				t.Fatal(i, err)
			}
		}
		_, err := h.Put(t.Context(), "one more", nil)
		if e, ok := errors.AsType[*control.Error](err); !ok || e.Code != control.Full || e.Hint == "" {
			t.Errorf("one more: %v", err)
		}
		if _, err := h.Put(t.Context(), "1", []byte("new")); err != nil {
			t.Errorf("a new value of a known name: %v", err)
		}
	})
}

// What gave way is published again, at most once a minute.
func TestSuperseded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := alone(t, config.DHTFull)
		_, key, err := recordKey(h.id.NodeID(), "")
		if err != nil {
			t.Fatal(err)
		}
		seq := func() uint64 {
			t.Helper()
			synctest.Wait()
			r, err := h.Get(t.Context(), h.id.NodeID(), "", false)
			if err != nil {
				t.Fatal(err)
			}
			return r.Seq
		}
		first := seq()
		h.node.Superseded(dht.Superseded{Key: key})
		second := seq()
		if second <= first {
			t.Errorf("not published again: %d after %d", second, first)
		}
		h.node.Superseded(dht.Superseded{Key: key})
		if third := seq(); third != second {
			t.Errorf("published again at once: %d after %d", third, second)
		}
		time.Sleep(tendInterval + time.Second)
		if third := seq(); third <= second {
			t.Errorf("not published again after a minute: %d after %d", third, second)
		}
		for range 2 * maxPublished { // must not block the table's loop
			h.node.Superseded(dht.Superseded{Key: dht.Key{1}})
		}
	})
}

func TestClockIsJudged(t *testing.T) {
	for ahead, want := range map[time.Duration]bool{0: true, farOff + time.Minute: false, -farOff - time.Minute: false, farOff - time.Minute: true} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)))
			h := &hashTable{meshTime: func() time.Time { return time.Now().Add(ahead) }}
			if h.trusted() != want {
				t.Errorf("mesh time %v ahead: trusted %v", ahead, !want)
			}
		})
	}
	// Without the time, records have no expiry and count from 1.
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2025, 12, 31, 23, 59, 0, 0, time.UTC)))
		h := alone(t, config.DHTFull)
		if s, err := h.Put(t.Context(), "x", nil); err != nil || s.Seq != 1 {
			t.Fatalf("in 2025: %+v, %v", s, err)
		}
		time.Sleep(3 * tendInterval) // the time is right now, as if NTP had answered
		if s, err := h.Put(t.Context(), "x", nil); err != nil || s.Seq < 1.7e9 {
			t.Errorf("in 2026: %+v, %v", s, err)
		}
	})
}

func TestTableOff(t *testing.T) {
	if newHashTable(testIdentity(t, 1), config.DHTOff, false, "", slog.New(slog.DiscardHandler)) != nil {
		t.Error("there is a table that is off")
	}
	if (&Agent{}).DHT() != nil {
		t.Error("the API has a table that is off")
	}
}
