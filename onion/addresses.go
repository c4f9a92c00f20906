package onion

import (
	"net/netip"
	"sync"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/netdir"
)

// addressed is the directory, asked by mesh address as well.
type addressed struct {
	*netdir.Directory

	mu     sync.Mutex
	of     []netdir.Relay // what nodes was made of: while nothing changes it is the same slice
	byAddr map[netip.Addr]identity.NodeID
}

// NodeOf returns the relay that has a mesh address.
func (a *addressed) NodeOf(addr netip.Addr) (identity.NodeID, bool) {
	relays := a.Relays(time.Now())
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(relays) != len(a.of) || len(relays) > 0 && &relays[0] != &a.of[0] {
		a.of, a.byAddr = relays, make(map[netip.Addr]identity.NodeID, len(relays))
		for _, r := range relays {
			a.byAddr[r.Node.Address()] = r.Node
		}
	}
	node, ok := a.byAddr[addr]
	return node, ok
}
