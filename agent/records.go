package agent

import (
	"crypto/ed25519"
	"fmt"
	"net/netip"

	"globalnet/agent/config"
	"globalnet/internal/blind"
	"globalnet/internal/identity"
	"globalnet/mesh/dht"
	"globalnet/mesh/dht/wire"
)

// The records of a node are signed by blinded keys, one for each kind and name, so
// that who holds them learns neither whose they are nor which belong together. The
// period is always 0: who has lost the time still finds them.
const (
	nodeLabel  = "globalnet node record"
	namedLabel = "globalnet named record"

	valueVersion = 1

	maxName  = wire.MaxSalt
	maxValue = wire.MaxValue - 1 - 28 // version, and what sealing adds
)

func factor(node identity.NodeID, label, name string) blind.Factor {
	secret := append([]byte{byte(len(label))}, label...)
	return blind.PeriodFactor(node[:], append(secret, name...), 0, 0)
}

// kind is where the records of a name are: no name means the node record.
func kind(name string) (typ uint16, label string, salt []byte) {
	if name == "" {
		return dht.TypeNode, nodeLabel, nil
	}
	return dht.TypeGeneric, namedLabel, []byte(name)
}

// recordKey is where a node publishes its record of a name. It fails for keys that
// no node has.
func recordKey(node identity.NodeID, name string) (uint16, dht.Key, error) {
	typ, label, salt := kind(name)
	public, err := blind.PublicKey(node[:], factor(node, label, name))
	if err != nil {
		return 0, dht.Key{}, fmt.Errorf("deriving the key of %s: %w", node.Short(), err)
	}
	return typ, wire.RecordKey(typ, [32]byte(public), salt), nil
}

func keyOf(p dht.Publication) dht.Key {
	return wire.RecordKey(p.Type, [32]byte(p.Signer.Public()), p.Salt)
}

// publication of a value of ours under a name.
func publication(id *identity.Identity, name string, value []byte) dht.Publication {
	typ, label, salt := kind(name)
	node := id.NodeID()
	return dht.Publication{
		Type:   typ,
		Salt:   salt,
		Value:  append([]byte{valueVersion}, value...),
		Signer: id.Blinded(factor(node, label, name)),
		Seal:   ed25519.PublicKey(node[:]),
	}
}

// nodePublication is what this node says of itself.
func (h *hashTable) nodePublication() dht.Publication {
	r := dht.NodeRecord{Addresses: []netip.Addr{h.id.NodeID().Address()}}
	if h.mode == config.DHTFull {
		r.Roles |= dht.RoleStore
	}
	value, err := r.Append(nil)
	if err != nil {
		panic(err) // our address is in the mesh
	}
	return publication(h.id, "", value)
}
