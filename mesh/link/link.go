// Package link makes links to neighbours: a signalling session over TCP proves
// who the other node is and that it belongs to the same network, ICE (RFC 8445)
// picks a path over all interfaces that the two share and over the internet, and
// the UDP port of that path is handed to WireGuard.
//
// A session lives as long as it takes to make one link. An Engine owns all
// sessions; each session is one goroutine that owns its state, and the Handler
// is called from it. The byte layouts are in docs/protocols/signalling.md.
package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"globalnet/internal/identity"
)

// Tag is the name a node goes by until it has proved its identity. It is drawn
// at each start.
type Tag [16]byte

// IsZero reports whether t is no tag.
func (t Tag) IsZero() bool { return t == Tag{} }

// Class is the kind of network behind an address.
type Class uint8

// The classes. The zero value is none of them.
const (
	Wire Class = iota + 1
	Radio
	Internet
	Mesh // the mesh itself; a link never runs over it
)

// String returns the name used in status output.
func (c Class) String() string {
	switch c {
	case Wire:
		return "wire"
	case Radio:
		return "radio"
	case Internet:
		return "internet"
	case Mesh:
		return "mesh"
	}
	return "unknown"
}

// LocalAddress is an address of ours that links may use.
type LocalAddress struct {
	Addr   netip.Addr // zone = interface name if link-local
	Ifname string
	Class  Class
	MTU    int
}

// Config is what an Engine needs. Identity, NetworkKey, Tag, Local and Handler
// are required.
type Config struct {
	Identity   *identity.Identity
	NetworkKey []byte // see NetworkKey
	Tag        Tag
	Log        *slog.Logger

	PortMin, PortMax uint16                  // UDP ports of links; default 18250 to 18313
	Local            func() []LocalAddress   // the addresses of now
	STUN             func() []netip.AddrPort // nodes with public addresses to ask for ours; may be nil
	Handler          Handler

	MaxSessions int           // authenticated or not yet, in both directions; default 32
	Timeout     time.Duration // of a whole session; default 15 s
}

// Handler is told of the sessions. Its methods are called from the goroutine of
// the session, so from several at once for different sessions; each must return
// soon after its context ends.
type Handler interface {
	// Admit decides whether a link with the node p is wanted. The node has proved its
	// identity and its knowledge of the network key. An error refuses: ErrDuplicate
	// and ErrBusy are told to the other side as such, any other as a refusal.
	Admit(ctx context.Context, p Peer) error
	// Switch configures WireGuard on est.Port and begins a handshake if est.Initiator.
	// The port is free when it is called. An error ends the session.
	Switch(ctx context.Context, est Established) error
	// Peers answers the node from, which asks whom we know; at most 32 are sent.
	Peers(ctx context.Context, from identity.NodeID) []PeerAddress
}

// DialTarget says whom to dial. Addr is required, and one of Tag, Node and MeshAddr.
type DialTarget struct {
	Addr      netip.AddrPort  // TCP; with a zone if link-local
	Tag       Tag             // if known
	Node      identity.NodeID // if known
	MeshAddr  netip.Addr      // the expected mesh address, when dialled over the mesh
	WantPeers bool            // ask for the nodes it knows
}

// Peer is the other side of a session, after it proved its identity.
type Peer struct {
	Node     identity.NodeID
	Tag      Tag
	Outgoing bool           // we dialled
	From     netip.AddrPort // its TCP address
	Public   bool           // it says that it has a public address, and so answers STUN there
}

// PeerAddress is a node and where it was reached.
type PeerAddress struct {
	Node  identity.NodeID
	Addrs []netip.AddrPort
}

// Secret is key material. It never prints itself.
type Secret [32]byte

// String hides the key from fmt and, through it, from logs.
func (Secret) String() string { return "[secret]" }

// GoString hides the key from %#v.
func (Secret) GoString() string { return "[secret]" }

// MarshalText hides the key from encoders, slog's among them.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// Established is the outcome of a session.
type Established struct {
	Node     identity.NodeID
	Tag      Tag
	Outgoing bool // we dialled
	Public   bool // see Peer.Public

	Port          uint16         // the local UDP port, now WireGuard's
	Local, Remote netip.AddrPort // the chosen path; with a zone if link-local
	Ifname        string
	Class         Class
	MTU           int // of the WireGuard interface

	PrivateKey   Secret // ours, made for this link
	PeerKey      [32]byte
	PresharedKey Secret
	Initiator    bool // we send the WireGuard handshake

	LearnedPeers []PeerAddress  // only after Dial with WantPeers
	Observed     netip.AddrPort // our TCP address as the other side saw it, if it told
}

// The errors that callers tell apart.
var (
	ErrRefused      = errors.New("the node refuses the link")
	ErrBusy         = fmt.Errorf("%w: busy", ErrRefused)
	ErrDuplicate    = errors.New("another session or link with this node is preferred")
	ErrWrongNetwork = errors.New("not a node of this network")
	ErrWrongNode    = errors.New("another node than expected")
	ErrNoPath       = errors.New("no path between the nodes")
)

const (
	defaultPortMin     = 18250
	defaultPortMax     = 18313
	defaultMaxSessions = 32
	defaultTimeout     = 15 * time.Second

	// handshakeTimeout ends connections that have not proved anything yet.
	handshakeTimeout = 5 * time.Second
	// connectTimeout is short so that a session held for ours need not wait long.
	connectTimeout = 3 * time.Second
)

func (c *Config) setDefaults() error {
	switch {
	case c.Identity == nil:
		return errors.New("link: no identity")
	case len(c.NetworkKey) == 0:
		return errors.New("link: no network key")
	case c.Tag.IsZero():
		return errors.New("link: no tag")
	case c.Local == nil || c.Handler == nil:
		return errors.New("link: no source of addresses or no handler")
	}
	if c.PortMin == 0 && c.PortMax == 0 {
		c.PortMin, c.PortMax = defaultPortMin, defaultPortMax
	}
	if c.PortMin == 0 || c.PortMin > c.PortMax {
		return fmt.Errorf("link: port range %d to %d", c.PortMin, c.PortMax)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxSessions <= 0 {
		c.MaxSessions = defaultMaxSessions
	}
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	return nil
}
