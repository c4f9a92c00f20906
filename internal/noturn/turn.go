// Package turn stands in for github.com/pion/turn/v2, which pion/ice imports for
// candidates of TURN servers. The agent has none: where hole punching fails, the mesh
// goes through a third node. docs/decisions/0006-no-dtls.md has what it saves.
package turn

import (
	"errors"
	"net"
)

// ErrUnsupported is what every attempt to use TURN fails with.
var ErrUnsupported = errors.New("turn is not part of this binary")

// ClientConfig has the fields that importers set. Logger and network are of no use here.
type ClientConfig struct {
	TURNServerAddr     string
	Username, Password string
	Conn               net.PacketConn
	LoggerFactory, Net any
}

// Client is never made.
type Client struct{}

// NewClient fails.
func NewClient(*ClientConfig) (*Client, error) { return nil, ErrUnsupported }

// Listen fails.
func (*Client) Listen() error { return ErrUnsupported }

// Allocate fails.
func (*Client) Allocate() (net.PacketConn, error) { return nil, ErrUnsupported }

// Close has nothing to close.
func (*Client) Close() {}

// STUNConn carries nothing.
type STUNConn struct{ net.PacketConn }

// NewSTUNConn returns a connection that is of no use.
func NewSTUNConn(net.Conn) *STUNConn { return &STUNConn{} }
