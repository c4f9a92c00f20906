package onion

import (
	"time"

	"context"
	"net"

	"globalnet/internal/identity"
	"globalnet/onion/client"
	"globalnet/onion/service"
	"globalnet/onion/service/host"
	"globalnet/onion/service/key"
	"globalnet/onion/service/places"
)

// offerServices joins what offers hidden services and what reaches them to the client's
// circuits.
func (n *Node) offerServices() {
	at := &places.Places{Client: n.client, Table: n.cfg.ServiceTable}
	n.visitor.Use(n.client, at)
	n.host = host.New(host.Config{Node: n.cfg.Identity, Client: n.client, Places: at, Relays: n.directory.Relays,
		Guard: n.guard, Budget: n.streams, Now: n.clock.Now, Small: n.cfg.Small, Log: n.log})
	if parts, err := splitState(n.cfg.State); err == nil {
		n.host.Load(time.Now(), parts[3])
	}
}

// AskTable has f ask the hash table through a relay at the end of a circuit, and through
// another one, until f is done, with whatever error: who holds what is asked for does not
// see who asks.
func (n *Node) AskTable(ctx context.Context, f func(ctx context.Context, conn net.Conn) (done bool, err error)) error {
	return (&places.Places{Client: n.client}).Ask(ctx, client.Want{Stub: true}, f)
}

// SetServices says which services this node offers from now on. Those that are the
// same go on as they are.
func (n *Node) SetServices(list []service.Config) { n.host.Set(list) }

// Services returns the state of the services of this node.
func (n *Node) Services() []service.Status { return n.host.Status() }

// SetServiceKeys says by which keys restricted services let this node in.
func (n *Node) SetServiceKeys(keys map[identity.NodeID]*key.ClientKey) { n.visitor.SetKeys(keys) }

// guard returns the guard that circuits begin with, as long as it answers.
func (n *Node) guard() identity.NodeID {
	for _, g := range n.chooser.Guards(time.Now()) {
		if g.Listed && !g.Down && !g.Resting {
			return g.Node
		}
	}
	return identity.NodeID{}
}
