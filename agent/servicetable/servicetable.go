// Package servicetable joins hidden services to the hash table: what the onion asks by
// service.Table is carried out by mesh/dht/proxy, at whose other end another node asks
// its table (docs/protocols/service.md, section 2).
package servicetable

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net"

	"globalnet/mesh/dht"
	"globalnet/mesh/dht/proxy"
	"globalnet/mesh/dht/wire"
	"globalnet/onion/service"
)

// Table is the hash table as hidden services use it: this node asks for others, who
// come through circuits, and others ask for this node. It implements service.Table.
type Table struct {
	table proxy.Table // nil: this node has none, and still asks others
	log   *slog.Logger
}

// New returns a Table that asks for others only if this node has one: table may be nil.
func New(table proxy.Table, log *slog.Logger) *Table {
	t := &Table{log: log}
	if table != nil {
		t.table = proxy.Limited(table, proxy.Limits{})
	}
	return t
}

// Serve carries out what is asked in a stream.
func (t *Table) Serve(ctx context.Context, conn net.Conn) {
	if t.table == nil {
		return
	}
	if err := proxy.Serve(ctx, conn, t.table); err != nil {
		t.log.Debug("question to the hash table not answered", "err", err)
	}
}

// Get implements service.Table.
func (t *Table) Get(ctx context.Context, conn net.Conn, place ed25519.PublicKey) ([]byte, error) {
	key := wire.RecordKey(dht.TypeService, [32]byte(place), nil)
	r, err := proxy.Get(ctx, conn, dht.TypeService, key)
	if errors.Is(err, proxy.ErrNotFound) {
		return nil, service.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return r.Value, nil
}

// Put implements service.Table.
func (t *Table) Put(ctx context.Context, conn net.Conn, place service.Signer, revision uint64, value []byte) (int, error) {
	r := &dht.Record{Type: dht.TypeService, Seq: revision, Value: value}
	dht.SignRecord(r, place)
	stored, _, err := proxy.Put(ctx, conn, r)
	if errors.Is(err, dht.ErrNewer) {
		return 0, service.ErrNewer
	}
	return stored, err
}
