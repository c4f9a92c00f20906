package babel

import (
	"net/netip"
	"time"
)

// Event is something that the owner of a Speaker must do or may want to know.
type Event interface{ isEvent() }

// SendPacket wants a packet sent from the interface, UDP port 6696 to 6696.
type SendPacket struct {
	Ifname string
	To     netip.Addr // link-local address without a zone, or wire.Group
	Packet []byte
}

// RouteSelected wants the route installed, or replaced.
type RouteSelected struct {
	Prefix   netip.Prefix
	NextHop  netip.Addr
	Ifname   string
	Metric   uint16
	RouterID RouterID
}

// RouteRetracted wants the route removed: there is none now.
type RouteRetracted struct {
	Prefix netip.Prefix
}

// NeighbourUp says that packets go to and fro between us and a neighbour.
type NeighbourUp struct {
	Ifname  string
	Address netip.Addr
}

// NeighbourLost says that they no longer do.
type NeighbourLost struct {
	Ifname  string
	Address netip.Addr
}

func (SendPacket) isEvent()     {}
func (RouteSelected) isEvent()  {}
func (RouteRetracted) isEvent() {}
func (NeighbourUp) isEvent()    {}
func (NeighbourLost) isEvent()  {}

// NeighbourInfo describes a neighbour.
type NeighbourInfo struct {
	Ifname    string
	Address   netip.Addr
	RxCost    uint16        // of receiving from it, by its Hellos
	TxCost    uint16        // of sending to it, as it says
	Cost      uint16        // of the link: what is added to the metric of its routes
	RTT       time.Duration // smoothed; zero if not measured
	Reach     uint16        // history of its Hellos, the newest in the highest bit
	LastHello time.Time     // zero if none was heard
}

// RouteInfo describes an entry of the route table.
type RouteInfo struct {
	Prefix    netip.Prefix
	RouterID  RouterID
	Seqno     uint16
	RefMetric uint16 // as the neighbour announces it
	Metric    uint16 // with the cost of the link
	NextHop   netip.Addr
	Ifname    string
	Selected  bool
	Feasible  bool
	Age       time.Duration // since the last update
}
