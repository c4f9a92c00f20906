// Package mdns stands in for version 1 of github.com/pion/mdns, which pion/ice imports for
// candidates that hide their address behind a name. The links have none: beacons tell the
// addresses, by version 2 of the same. docs/decisions/0006-no-dtls.md has what it saves.
package mdns

import (
	"context"
	"errors"
	"net"
)

// ErrUnsupported is what every attempt to use such names fails with.
var ErrUnsupported = errors.New("names of ICE candidates are not part of this binary")

// DefaultAddress is where nothing listens.
const DefaultAddress = "224.0.0.0:5353"

// Config has the field that importers set.
type Config struct{ LocalNames []string }

// Conn is never made.
type Conn struct{}

// Server fails.
func Server(any, *Config) (*Conn, error) { return nil, ErrUnsupported }

// Query fails.
func (*Conn) Query(context.Context, string) (any, net.Addr, error) { return nil, nil, ErrUnsupported }

// Close has nothing to close.
func (*Conn) Close() error { return nil }
