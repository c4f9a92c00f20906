package onion

import (
	"globalnet/internal/identity"
	"globalnet/onion/service"
	"globalnet/onion/service/key"
)

// SetServices says which services this node offers from now on. Those that are the
// same go on as they are.
func (n *Node) SetServices(list []service.Config) {}

// Services returns the state of the services of this node.
func (n *Node) Services() []service.Status { return nil }

// SetServiceKeys says by which keys restricted services let this node in.
func (n *Node) SetServiceKeys(keys map[identity.NodeID]*key.ClientKey) {}
