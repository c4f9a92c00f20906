package mesh

import (
	"net/netip"
	"time"

	"globalnet/internal/identity"
)

// Status is a copy of a node's state, safe to keep.
type Status struct {
	Node       identity.NodeID   `json:"node"`
	Address    netip.Addr        `json:"address"`
	Network    string            `json:"network"`
	Uptime     time.Duration     `json:"uptime_ns"`
	Interfaces []InterfaceStatus `json:"interfaces"`
	Neighbours []Neighbour       `json:"neighbours"`
	Routes     []RouteStatus     `json:"routes"`
	Known      int               `json:"known_nodes"` // entries of the peer book
	Counters   map[string]uint64 `json:"counters"`    // what was done and what was refused
	Clock      *Clock            `json:"clock,omitempty"`
}

// Clock is mesh time, by which hidden services go; nil without the onion.
type Clock struct {
	Time   time.Time     `json:"time"`
	Source string        `json:"source"`   // "set": our own clock is; "neighbours"; "held": was that once; "free": nobody knew better
	Hops   int           `json:"hops"`     // to the node whose clock is set; -1 if none is known
	Ahead  time.Duration `json:"ahead_ns"` // of this machine's clock
}

// InterfaceStatus is a segment on which neighbours are looked for.
type InterfaceStatus struct {
	Name      string   `json:"name"`
	Up        bool     `json:"up"`
	Radio     bool     `json:"radio"`
	Addresses []string `json:"addresses"`
	Error     string   `json:"error,omitempty"`
}

// Neighbour is a link to a node one hop away.
type Neighbour struct {
	Node          identity.NodeID `json:"node"`
	Address       netip.Addr      `json:"address"`
	Ifname        string          `json:"ifname"`
	State         string          `json:"state"`        // "connecting", "up", "failed"
	Class         string          `json:"class"`        // "radio", "wire", "internet", "mesh"
	Endpoint      string          `json:"endpoint"`     // the path WireGuard uses now
	Via           string          `json:"via"`          // local interface of the path
	Cost          uint16          `json:"cost"`         // Babel link cost; 65535 is infinity
	RTT           time.Duration   `json:"rtt_ns"`       // zero while unknown
	Loss          int             `json:"loss"`         // percent of its last Hellos, 16 at most; -1 while unknown
	Since         time.Duration   `json:"since_ns"`     // time in this state
	LastHandshake time.Duration   `json:"handshake_ns"` // age; negative if there was none
	RxBytes       uint64          `json:"rx_bytes"`
	TxBytes       uint64          `json:"tx_bytes"`
	Restarts      int             `json:"restarts"` // how often a path was chosen again
}

// RouteStatus is a Babel route. Of several to one destination, one may be selected.
type RouteStatus struct {
	Destination netip.Prefix  `json:"destination"`
	Gateway     netip.Addr    `json:"gateway"`
	Ifname      string        `json:"ifname"`
	Neighbour   string        `json:"neighbour"` // NodeID of the next hop, if known
	Metric      uint16        `json:"metric"`    // 65535 is infinity
	Seqno       uint16        `json:"seqno"`
	Selected    bool          `json:"selected"`
	Feasible    bool          `json:"feasible"`
	Age         time.Duration `json:"age_ns"`
}
