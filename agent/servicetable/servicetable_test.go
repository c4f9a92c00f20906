package servicetable

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/mesh/dht"
	"globalnet/onion/layer"
	"globalnet/onion/service"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/intro"
	"globalnet/onion/service/key"
)

// memoryTable holds one record a key, and judges as every node of the table does.
type memoryTable map[dht.Key]*dht.Record

func (m memoryTable) Get(_ context.Context, typ uint16, k dht.Key) (dht.GetDone, error) {
	return dht.GetDone{Record: m[k]}, nil
}

func (m memoryTable) Put(_ context.Context, r *dht.Record, _ dht.PutOptions) (dht.PutDone, error) {
	if err := dht.Verify(dht.DefaultTypes(), r); err != nil {
		return dht.PutDone{}, dht.ErrRecord
	}
	if old := m[r.Key()]; old != nil && old.Seq > r.Seq {
		return dht.PutDone{}, dht.ErrNewer
	}
	c := *r
	c.Value = bytes.Clone(r.Value)
	m[r.Key()] = &c
	return dht.PutDone{Stored: 3, Of: 8}, nil
}

// A descriptor goes through a stranger's table and comes back; an older one does not
// replace it.
func TestServiceTable(t *testing.T) {
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	point, err := intro.NewPoint(id.NodeID())
	if err != nil {
		t.Fatal(err)
	}
	table := New(memoryTable{}, slog.New(slog.DiscardHandler))
	ask := func(f func(conn net.Conn) error) error {
		near, far := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer far.Close()
			table.Serve(t.Context(), far)
		}()
		err := f(near)
		near.Close()
		<-done
		return err
	}
	at := key.Place{Period: 20000, Replica: 1}
	place := key.Signer(id, at)
	get := func() (value []byte, err error) {
		err = ask(func(conn net.Conn) error {
			value, err = table.Get(t.Context(), conn, place.Public())
			return err
		})
		return value, err
	}
	if _, err := get(); !errors.Is(err, service.ErrNotFound) {
		t.Errorf("before it is published: %v", err)
	}
	now := uint64(time.Now().Unix())
	var last []byte
	for _, tt := range []struct {
		name     string
		revision uint64
		want     error
	}{{"first", now, nil}, {"newer", now + 1, nil}, {"older", now, service.ErrNewer}} {
		d := &desc.Descriptor{Revision: tt.revision, Slots: 1, Points: []desc.IntroPoint{point.Describe(id.NodeID(), [32]byte{1}, []layer.Suite{layer.ChaCha})}}
		value, err := desc.Seal(id, at, d, desc.Access{})
		if err != nil {
			t.Fatal(err)
		}
		var stored int
		err = ask(func(conn net.Conn) error {
			var err error
			stored, err = table.Put(t.Context(), conn, place, tt.revision, value)
			return err
		})
		if !errors.Is(err, tt.want) || tt.want == nil && stored != 3 {
			t.Errorf("%s: stored on %d, %v", tt.name, stored, err)
		}
		if err == nil {
			last = value
		}
	}
	got, err := get()
	if err != nil || !bytes.Equal(got, last) {
		t.Fatalf("%d octets came back, want %d: %v", len(got), len(last), err)
	}
	if d, err := desc.Open(got, id.NodeID(), at, nil, now+1); err != nil || d.Revision != now+1 {
		t.Errorf("%+v, %v", d, err)
	}
	// A node without a table hangs up.
	table.table = nil
	if _, err := get(); err == nil || errors.Is(err, service.ErrNotFound) {
		t.Errorf("a node without a table: %v", err)
	}
}
