// Package dtls stands in for github.com/pion/dtls/v2, which pion/ice and
// pion/stun import for TURN and STUN over DTLS. The agent uses neither; without
// the real package its binary is smaller: docs/decisions/0006-no-dtls.md.
package dtls

import (
	"context"
	"errors"
	"net"
)

// ErrUnsupported is what every attempt to use DTLS fails with.
var ErrUnsupported = errors.New("dtls is not part of this binary")

// Config has the fields that importers set.
type Config struct {
	ServerName         string
	InsecureSkipVerify bool
}

// Conn is never made.
type Conn struct{ net.Conn }

// Client fails.
func Client(net.Conn, *Config) (*Conn, error) { return nil, ErrUnsupported }

// ClientWithContext fails.
func ClientWithContext(context.Context, net.Conn, *Config) (*Conn, error) {
	return nil, ErrUnsupported
}
