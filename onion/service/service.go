// Package service is what a hidden service is to its owner: its configuration and
// its state. How services are published and reached is in docs/protocols/service.md;
// the folders below have its parts.
package service

import (
	"context"
	"net"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/service/key"
)

// Config is a service of this node.
type Config struct {
	Name  string             // as in the configuration
	Key   *identity.Identity // its address follows from it
	Ports []Port             // at least one

	Points     int                // introduction points; 0: 3
	Restricted bool               // answers Clients only
	Clients    []key.ClientPublic // who is served first, or alone
	SingleHop  bool               // no anonymity for this node: faster
	Work       bool               // asks for proof of work under load
}

// Port is a port of a service.
type Port struct {
	Port uint16
	// Connect opens a connection to what is behind it, one for each stream.
	Connect func(ctx context.Context) (net.Conn, error)
}

// Status is the state of a service of this node.
type Status struct {
	Name      string
	Address   identity.NodeID // of the service
	Points    []identity.NodeID
	Published time.Time // when a descriptor was last stored; zero: never
	Stored    int       // replicas that keep it
	Clients   int       // that are connected now
	Streams   int
	Waiting   int    // introductions that wait for an answer
	Answering int    // introductions that are being answered
	Effort    uint32 // of the proof of work that is asked for; 0: none
	Refused   uint64 // introductions that were not answered
	Replayed  uint64 // of them, those that were here before
	Error     string // why it is not reachable; empty: it is, as far as is known
}
