package mesh

import (
	"net/netip"
	"time"

	"globalnet/internal/identity"
	"globalnet/mesh/babel"
)

// routerID is the last eight bytes of the mesh address, so that an update can
// carry address and router-id at once (RFC 8966 section 4.6.9, flag 0x40).
func routerID(id identity.NodeID) babel.RouterID {
	addr := id.Address().As16()
	return babel.RouterID(addr[8:])
}

func hostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// acceptRoute is the filter on what neighbours announce: one mesh address, whole,
// under the router-id that belongs to it. Whoever announces a foreign address can
// drop its packets but not read them: every session above checks the key.
func acceptRoute(_ string, p netip.Prefix, id babel.RouterID) bool {
	if p.Bits() != 128 || !identity.MeshPrefix.Contains(p.Addr()) {
		return false
	}
	addr := p.Addr().As16()
	return babel.RouterID(addr[8:]) == id
}

func (n *Node) handlePacket(now time.Time, p packet) {
	if nb := n.byIfname[p.ifname]; nb != nil {
		nb.heard = true
	}
	if err := n.speaker.HandlePacket(now, p.ifname, p.from, p.data); err != nil {
		n.count("babel_packets_refused")
		n.log.Debug("babel packet refused", "ifname", p.ifname, "err", err)
	}
}

// handlePackets takes in the packets that wait.
func (n *Node) handlePackets() {
	for range cap(n.packets) {
		select {
		case p := <-n.packets:
			n.handlePacket(time.Now(), p)
		default:
			return
		}
	}
}

// carryOut does what the speaker wants done.
func (n *Node) carryOut(now time.Time) {
	for {
		event, ok := n.speaker.NextEvent()
		if !ok {
			return
		}
		switch e := event.(type) {
		case babel.SendPacket:
			n.sendPacket(e)
		case babel.RouteSelected:
			n.setRoute(e.Prefix, e.NextHop, e.Ifname)
			if n.cfg.Destinations != nil {
				n.cfg.Destinations.SetReachable(e.Prefix.Addr(), e.Ifname)
			}
		case babel.RouteRetracted:
			n.worker.setRoute(e.Prefix, nil)
			if n.cfg.Destinations != nil {
				n.cfg.Destinations.SetUnreachable(e.Prefix.Addr())
			}
		case babel.NeighbourUp:
			if nb := n.byIfname[e.Ifname]; nb != nil {
				n.foundNeighbour(now, nb)
			}
		case babel.NeighbourLost:
			if nb := n.byIfname[e.Ifname]; nb != nil {
				nb.usable = false
				n.lostNeighbour(now, nb, "no answer")
			}
		}
	}
}

func (n *Node) sendPacket(e babel.SendPacket) {
	nb := n.byIfname[e.Ifname]
	if nb == nil || nb.conn == nil {
		return
	}
	if err := nb.conn.Send(e.Packet, e.To); err != nil {
		n.count("babel_send_errors")
		n.log.Debug("sending babel packet", "ifname", e.Ifname, "err", err)
	}
}

// farewell tells the neighbours that we go, so that they need not find out.
func (n *Node) farewell(now time.Time) {
	n.speaker.Farewell(now)
	n.carryOut(now)
}

// setRoute has the kernel send what is for dst to a neighbour.
func (n *Node) setRoute(dst netip.Prefix, gateway netip.Addr, ifname string) {
	n.worker.setRoute(dst, &Route{Destination: dst, Gateway: gateway, Ifname: ifname, Source: n.id.Address()})
}
