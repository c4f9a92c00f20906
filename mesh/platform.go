package mesh

import (
	"context"
	"net/netip"
	"time"
)

// Kernel is all that the mesh needs of the operating system's network: what
// interfaces there are, WireGuard interfaces, routes. mesh/kernel implements it
// for Linux. Every call states what is wanted and is idempotent; calls come from
// one goroutine at a time, except Changes, OpenSpeaker and the connections it returns.
type Kernel interface {
	// Cleanup removes all interfaces, routes, rules and addresses that an earlier
	// run left behind. It is called before the first other call and at the end.
	Cleanup(ctx context.Context) error

	// SetAddress makes addr, a mesh address, ours: on the loopback interface, with
	// a routing table and rule of our own in which the rest of the mesh prefix is
	// unreachable, so that mesh traffic never leaves by another route.
	SetAddress(ctx context.Context, addr netip.Addr) error

	// Interfaces lists the network interfaces as they are now, ours excepted.
	Interfaces(ctx context.Context) ([]Interface, error)

	// Changes delivers what happened since; it is never closed while the kernel is open.
	// Under pressure, several changes may be folded into one without a name.
	Changes() <-chan Change

	// SetLink creates the WireGuard interface l.Name, or changes it to match l:
	// another key, port, endpoint, MTU. An unchanged peer keeps its session.
	SetLink(ctx context.Context, l LinkConfig) error

	// RemoveLink removes the WireGuard interface; it is no error if there is none.
	RemoveLink(ctx context.Context, name string) error

	// LinkStats reads the counters of all WireGuard interfaces of ours, by name.
	LinkStats(ctx context.Context) (map[string]LinkStats, error)

	// OpenSpeaker opens a Babel socket on one WireGuard interface.
	OpenSpeaker(ctx context.Context, ifname string) (SpeakerConn, error)

	// ReplaceRoute installs or replaces the route to r.Destination in our table.
	ReplaceRoute(ctx context.Context, r Route) error

	// RemoveRoute removes the route to dst from our table; no error if there is none.
	RemoveRoute(ctx context.Context, dst netip.Prefix) error
}

// Interface is a network interface on which neighbours may be found.
type Interface struct {
	Index     int
	Name      string
	Up        bool // administratively up and with carrier
	Multicast bool
	Loopback  bool
	Radio     bool // 802.11, or a simulated radio (interface alias "radio")
	MTU       int
	Addresses []netip.Prefix // usable ones: not tentative, not deprecated; no zone
}

// ChangeKind says what a Change tells.
type ChangeKind uint8

const (
	// InterfacesChanged: an interface came, went, changed its state or address; Interfaces tells.
	InterfacesChanged ChangeKind = iota
	// StationJoined: a radio reports a new station on Change.Ifname: a neighbour may be near.
	StationJoined
	// StationLeft: a radio has lost a station on Change.Ifname.
	StationLeft
)

// Change is something that happened to the kernel's interfaces.
type Change struct {
	Kind   ChangeKind
	Ifname string // may be empty
}

// LinkConfig is a WireGuard interface with its single peer, allowed IPs ::/0 and 0.0.0.0/0.
type LinkConfig struct {
	Name         string // at most 15 characters, begins with LinkPrefix
	LinkLocal    netip.Addr
	MTU          int
	PrivateKey   Secret // ours
	ListenPort   uint16
	PeerKey      [32]byte       // the neighbour's public key
	PresharedKey Secret         // from the signalling session
	Endpoint     netip.AddrPort // with a zone if link-local
	Handshake    bool           // we begin: send a handshake at once
}

// LinkPrefix begins the name of each WireGuard interface of ours.
const LinkPrefix = "gn-"

// Secret is key material. It never prints itself.
type Secret [32]byte

// String hides the key from fmt and, through it, from logs.
func (Secret) String() string { return "[secret]" }

// GoString hides the key from %#v.
func (Secret) GoString() string { return "[secret]" }

// MarshalText hides the key from encoders, slog's among them.
func (Secret) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// LinkStats are the counters of a WireGuard interface.
type LinkStats struct {
	RxBytes, TxBytes uint64
	LastHandshake    time.Time // zero if there was none; compare only with other readings
	Endpoint         netip.AddrPort
}

// SpeakerConn carries Babel packets on one interface: UDP port 6696 (RFC 8966
// section 4), hop limit 1, joined to ff02::1:6.
type SpeakerConn interface {
	// Send sends one packet; to is a link-local address or ff02::1:6.
	Send(packet []byte, to netip.Addr) error
	// Receive waits for a packet and copies it to buf. It fails once Close was called.
	Receive(buf []byte) (n int, from netip.Addr, err error)
	Close() error
}

// Route is a route in our table.
type Route struct {
	Destination netip.Prefix
	Gateway     netip.Addr // link-local address of the neighbour
	Ifname      string
	Source      netip.Addr // our own mesh address, preferred source
}
