package agent

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

// serviceTable is the hash table as hidden services use it: this node asks for others,
// who come through circuits, and others ask for this node. It implements service.Table.
type serviceTable struct {
	table proxy.Table // nil: this node has none, and still asks others
	log   *slog.Logger
}

// newServiceTable returns one that asks for others only if we have a table.
func newServiceTable(h *hashTable, log *slog.Logger) *serviceTable {
	t := &serviceTable{log: log}
	if h != nil {
		t.table = proxy.Limited(h.node, proxy.Limits{})
	}
	return t
}

// serve carries out what is asked in a stream.
func (t *serviceTable) serve(ctx context.Context, conn net.Conn) {
	if t.table == nil {
		return
	}
	if err := proxy.Serve(ctx, conn, t.table); err != nil {
		t.log.Debug("question to the hash table not answered", "err", err)
	}
}

// Get implements service.Table.
func (t *serviceTable) Get(ctx context.Context, conn net.Conn, place ed25519.PublicKey) ([]byte, error) {
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
func (t *serviceTable) Put(ctx context.Context, conn net.Conn, place service.Signer, revision uint64, value []byte) (int, error) {
	r := &dht.Record{Type: dht.TypeService, Seq: revision, Value: value}
	dht.SignRecord(r, place)
	stored, _, err := proxy.Put(ctx, conn, r)
	if errors.Is(err, dht.ErrNewer) {
		return 0, service.ErrNewer
	}
	return stored, err
}
