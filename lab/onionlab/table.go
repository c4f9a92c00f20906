package onionlab

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"

	"golang.org/x/sync/errgroup"

	"globalnet/internal/identity"
	"globalnet/mesh/dht"
	"globalnet/onion/service"
	"globalnet/onion/service/key"
)

func newTable(id *identity.Identity, log *slog.Logger) *dht.Node {
	var seed [32]byte
	crand.Read(seed[:]) // never fails
	return dht.NewNode(dht.Config{Self: id.NodeID().Address(), Rand: rand.New(rand.NewChaCha8(seed)),
		Membership: true, ClockTrusted: true}, log)
}

// joinTable runs this node of the hash table, as one that reaches all others.
func (n *node) joinTable(ctx context.Context, group *errgroup.Group, c nodeConfig) error {
	p := &packets4{places: make(map[netip.Addr]netip.Addr), nodes: make(map[netip.Addr]netip.Addr)}
	for place, addr := range c.Addrs {
		id, err := nodeIdentity(place)
		if err != nil {
			return err
		}
		at := id.NodeID().Address()
		p.places[at], p.nodes[addr] = addr, at
		if place != c.Place {
			n.table.SetReachable(at, "mesh")
		}
	}
	var err error
	if p.UDPConn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.Addrs[c.Place], dht.Port))); err != nil {
		return err
	}
	group.Go(func() error {
		defer p.Close()
		return n.table.Run(ctx, p)
	})
	return nil
}

// packets4 carries datagrams between mesh addresses over the addresses of places.
type packets4 struct {
	*net.UDPConn
	places map[netip.Addr]netip.Addr // by mesh address
	nodes  map[netip.Addr]netip.Addr // mesh addresses, by that of the place
}

// ReadFromUDPAddrPort implements dht.PacketConn.
func (p *packets4) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, err := p.UDPConn.ReadFromUDPAddrPort(b)
	return n, netip.AddrPortFrom(p.nodes[from.Addr().Unmap()], from.Port()), err
}

// WriteToUDPAddrPort implements dht.PacketConn.
func (p *packets4) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	place, ok := p.places[to.Addr()]
	if !ok {
		return 0, fmt.Errorf("nobody has the address %v", to.Addr())
	}
	return p.UDPConn.WriteToUDPAddrPort(b, netip.AddrPortFrom(place, to.Port()))
}

// offer offers one service, and none of those before.
func (n *node) offer(target netip.AddrPort) (address string, err error) {
	id, err := identity.Generate()
	if err != nil {
		return "", err
	}
	connect := func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", target.String())
	}
	n.SetServices([]service.Config{{Name: "files", Key: id, Ports: []service.Port{{Port: servicePort, Connect: connect}}}})
	return fmt.Sprintf("%s:%d", key.Host(id.NodeID()), servicePort), nil
}
