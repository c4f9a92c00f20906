package babel

import (
	"fmt"
	"net/netip"
	"time"

	"globalnet/mesh/babel/wire"
)

// HandlePacket takes in a packet that came from a link-local address, UDP port
// 6696, on an interface. An error says why it was dropped as a whole.
func (s *Speaker) HandlePacket(now time.Time, ifname string, from netip.Addr, packet []byte) error {
	s.begin(now)
	f, from := s.iface(ifname), from.WithZone("")
	if f == nil {
		s.count(packetsRefused)
		return fmt.Errorf("handling packet: unknown interface %q", ifname)
	}
	if from == f.Address {
		return nil // our own, looped back
	}
	if !linkLocal(from) {
		s.count(packetsRefused)
		return fmt.Errorf("handling packet: sender %v is not link-local", from)
	}
	p, err := wire.Parse(packet)
	if err != nil {
		s.count(packetsRefused)
		return err
	}
	n := s.meet(f, from)
	if n == nil {
		return fmt.Errorf("handling packet: more than %d neighbours on %q", maxNeighbours, ifname)
	}
	s.count(packetsReceived)
	s.counts[bytesReceived] += uint64(len(packet)) + headers
	s.counts[tlvsMalformed] += uint64(p.Malformed)
	s.counts[tlvsUnknown] += uint64(p.Unknown)
	s.counts[tlvsMandatory] += uint64(p.Mandatory)
	n.lastHeard = s.now
	if n.lost {
		s.greet(n)
	}
	s.handleTLVs(n, p.TLVs)
	s.settle()
	return nil
}

func (s *Speaker) handleTLVs(n *neighbour, tlvs []wire.TLV) {
	var hello wire.Hello
	var ihu wire.IHU
	for _, t := range tlvs {
		switch t := t.(type) {
		case wire.Hello:
			s.handleHello(n, t)
			hello = t
		case wire.IHU:
			if t.Address == n.iface.Address || !t.Address.IsValid() {
				s.handleIHU(n, t)
				ihu = t
			}
		case wire.AckRequest:
			n.out.owe(t.Opaque)
		case wire.Ack:
			s.handleAck(n, t.Opaque)
		case wire.Update:
			s.handleUpdate(n, t)
		case wire.RouteRequest:
			s.handleRouteRequest(n, t.Prefix)
		case wire.SeqnoRequest:
			s.handleSeqnoRequest(n, t)
		}
	}
	// RFC 9616 section 3.3: both stamps must come in one packet.
	if hello.HasTimestamp && ihu.HasTimestamp {
		s.measure(n, ihu.Origin, ihu.Receive, hello.Timestamp)
		s.refreshCost(n)
	}
}

// send hands a packet to the owner.
func (s *Speaker) send(f *iface, to netip.Addr, packet []byte) {
	s.count(packetsSent)
	s.counts[bytesSent] += uint64(len(packet)) + headers
	s.emit(SendPacket{f.Name, to, packet})
}
