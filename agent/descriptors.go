package agent

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"globalnet/internal/blind"
	"globalnet/internal/identity"
	"globalnet/mesh/dht"
	"globalnet/mesh/dht/wire"
)

// The hash table is the second source of descriptors: for nodes that are named in a
// path by hand and are past what the directory keeps.

const (
	relayLabel    = "globalnet relay record"
	descriptorAge = 30 * time.Minute // taken for the age of a descriptor of the table, which tells none
)

func relayFactor(node identity.NodeID) blind.Factor { return factor(node, relayLabel, "") }

// publishDescriptor keeps a descriptor of ours in the table; nil takes it away.
func (h *hashTable) publishDescriptor(ctx context.Context, raw []byte) {
	node := h.id.NodeID()
	_, err := h.node.Publish(ctx, dht.Publication{
		Type: dht.TypeRelay, Value: append([]byte{valueVersion}, raw...),
		Signer: h.id.Blinded(relayFactor(node)), Seal: ed25519.PublicKey(node[:]),
	})
	if err != nil && ctx.Err() == nil {
		h.log.Debug("descriptor not stored yet", "err", err) // the table tries again
	}
}

// findDescriptor looks the descriptor of a node up. Hidden has relays ask: a hop that
// is looked for tells of a path.
func (h *hashTable) findDescriptor(ctx context.Context, node identity.NodeID, hidden bool) ([]byte, error) {
	public, err := blind.PublicKey(node[:], relayFactor(node))
	if err != nil {
		return nil, fmt.Errorf("deriving the key of %s: %w", node.Short(), err)
	}
	key := wire.RecordKey(dht.TypeRelay, [32]byte(public), nil)
	get := h.node.Get
	if hidden {
		get = h.getHidden
	}
	done, err := get(ctx, dht.TypeRelay, key)
	if err != nil {
		return nil, err
	}
	if done.Record == nil {
		return nil, errors.New("no descriptor of the node is known")
	}
	return dht.Open(node[:], key, done.Record.Value)
}
