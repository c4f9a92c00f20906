package client

import "net/netip"

// Isolation tells apart whose streams may share a circuit: those of equal value do.
// It is a map key and never leaves this node.
type Isolation struct {
	Listener    string     // which door they came in by: a name from the configuration
	Client      netip.Addr // who came; the zero value where that is not told apart
	Credentials [32]byte   // hash of user and password
	Destination string     // host, where destinations are told apart
}
