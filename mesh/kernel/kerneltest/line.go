package kerneltest

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"

	"globalnet/mesh"
)

// MTU is that of the links: an Ethernet frame less what WireGuard over IPv6 takes.
const MTU = 1420

// Line is a line of nodes, each joined to the next by a veth pair and a WireGuard
// link over it, with routes between all.
//
//	node 0 ── eth1|eth0 ── node 1 ── eth1|eth0 ── node 2 …
type Line struct {
	Nodes []*Node
	Links []Link // between Nodes[i] and Nodes[i+1]
}

// Link is one WireGuard link: the configuration of its left and right side.
type Link struct{ Left, Right mesh.LinkConfig }

// NewLine builds a line of n nodes. Close ends it, also after an error.
func NewLine(n int, o Options) (*Line, error) {
	l := &Line{}
	for i := range n {
		each := o
		each.Userspace = o.Userspace || o.Mixed && i%2 == 1
		node, err := Start(each)
		if err != nil {
			return l, err
		}
		l.Nodes = append(l.Nodes, node)
		if err := node.SetAddress(l.Address(len(l.Nodes) - 1)); err != nil {
			return l, err
		}
	}
	for i := range n - 1 {
		if err := l.join(i); err != nil {
			return l, err
		}
	}
	return l, l.Route()
}

// Close kills all nodes.
func (l *Line) Close() {
	for _, n := range l.Nodes {
		n.Kill()
	}
}

// Address is the mesh address of node i.
func (l *Line) Address(i int) netip.Addr {
	a := netip.MustParseAddr("fd47:4e45::").As16()
	binary.BigEndian.PutUint16(a[14:], uint16(i+1))
	return netip.AddrFrom16(a)
}

func linkLocal(n int) netip.Addr {
	a := netip.MustParseAddr("fe80::").As16()
	binary.BigEndian.PutUint16(a[14:], uint16(n))
	return netip.AddrFrom16(a)
}

// join joins node i with the next: eth1 of the left with eth0 of the right.
func (l *Line) join(i int) error {
	left, right := l.Nodes[i], l.Nodes[i+1]
	if err := Join(left, right, "veth"); err != nil {
		return err
	}
	for n, name := range map[*Node]string{left: "eth1", right: "eth0"} {
		if err := n.call("Adopt", [2]string{"veth", name}, nil); err != nil {
			return err
		}
	}
	// On the wire: fe80::1000+i and fe80::2000+i; on the WireGuard link fe80::1 and fe80::2.
	if err := left.AddAddress("eth1", netip.PrefixFrom(linkLocal(0x1000+i), 64)); err != nil {
		return err
	}
	if err := right.AddAddress("eth0", netip.PrefixFrom(linkLocal(0x2000+i), 64)); err != nil {
		return err
	}
	link, err := NewLink("gn-right", "gn-left")
	if err != nil {
		return err
	}
	link.Left.ListenPort, link.Right.ListenPort = 18250, 18251
	link.Left.Endpoint = netip.AddrPortFrom(linkLocal(0x2000+i).WithZone("eth1"), 18251)
	link.Right.Endpoint = netip.AddrPortFrom(linkLocal(0x1000+i).WithZone("eth0"), 18250)
	l.Links = append(l.Links, link)
	if err := right.SetLink(link.Right); err != nil {
		return err
	}
	return left.SetLink(link.Left)
}

// NewLink makes the keys and addresses of a link; ports and endpoints are the caller's.
func NewLink(left, right string) (Link, error) {
	var link Link
	a, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return link, err
	}
	b, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return link, err
	}
	var psk [32]byte
	if _, err := rand.Read(psk[:]); err != nil {
		return link, err
	}
	link.Left = mesh.LinkConfig{
		Name: left, LinkLocal: linkLocal(1), MTU: MTU, Handshake: true,
		PrivateKey: mesh.Secret(a.Bytes()), PeerKey: [32]byte(b.PublicKey().Bytes()), PresharedKey: psk,
	}
	link.Right = mesh.LinkConfig{
		Name: right, LinkLocal: linkLocal(2), MTU: MTU,
		PrivateKey: mesh.Secret(b.Bytes()), PeerKey: [32]byte(a.PublicKey().Bytes()), PresharedKey: psk,
	}
	return link, nil
}

// Route gives each node a route to every other.
func (l *Line) Route() error {
	for i, n := range l.Nodes {
		for j := range l.Nodes {
			if i == j {
				continue
			}
			r := mesh.Route{
				Destination: netip.PrefixFrom(l.Address(j), 128),
				Gateway:     linkLocal(2), Ifname: "gn-right",
				Source: l.Address(i),
			}
			if j < i {
				r.Gateway, r.Ifname = linkLocal(1), "gn-left"
			}
			if err := n.ReplaceRoute(r); err != nil {
				return fmt.Errorf("node %d: %w", i, err)
			}
		}
	}
	return nil
}
