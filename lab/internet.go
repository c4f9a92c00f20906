package lab

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"

	"globalnet/lab/netns"
	"globalnet/lab/topology"
)

// Addresses of the internet's servers.
var (
	WebServer  = netip.MustParseAddr("203.0.113.80")
	WebServer6 = netip.MustParseAddr("2001:db8:ffff::80")
	DNSServer  = netip.MustParseAddr("203.0.113.53")
	DNSServer6 = netip.MustParseAddr("2001:db8:ffff::53")
)

// addInternet makes the node "internet" and the way of each site to it, if the
// topology has uplinks.
//
// Uplink k has 198.51.100.4k/30 and, without NAT, 2001:db8:0:k::/64; the
// internet has the first address in both. Behind a NAT box it is 192.168.k.0/24.
func (l *Lab) addInternet() error {
	if len(l.Topology.Uplinks) == 0 {
		return nil
	}
	if err := l.addNode(topology.Node{Name: topology.Internet, Kind: topology.Host}); err != nil {
		return err
	}
	internet := l.byName[topology.Internet].ns
	if err := forwarding(internet); err != nil {
		return err
	}
	for k, u := range l.Topology.Uplinks {
		provider := []string{fmt.Sprintf("198.51.100.%d/30", 4*k+1), fmt.Sprintf("2001:db8:0:%x::1/64", k+1)}
		public := []string{fmt.Sprintf("198.51.100.%d/30", 4*k+2), fmt.Sprintf("2001:db8:0:%x::2/64", k+1)}
		site := plug{node: u.Nodes[0], ns: l.byName[u.Nodes[0]].ns, ifname: "wan", addrs: public}
		if u.NAT != topology.NATNone {
			box, err := l.addNATBox(k, u)
			if err != nil {
				return err
			}
			site = plug{node: box.Name, ns: box, ifname: "out", addrs: public[:1]}
		}
		name := topology.Internet
		if u.NAT != topology.NATNone {
			name = fmt.Sprintf("uplink%d", k)
		}
		far := plug{node: topology.Internet, ns: internet, ifname: fmt.Sprintf("up%d", k), addrs: provider}
		if err := l.addCable(name, []plug{far, site}); err != nil {
			return err
		}
		gateways := []string{fmt.Sprintf("198.51.100.%d", 4*k+1)}
		if u.NAT == topology.NATNone {
			gateways = append(gateways, fmt.Sprintf("2001:db8:0:%x::1", k+1))
		}
		if err := defaultRoutes(site.ns, site.ifname, gateways); err != nil {
			return err
		}
	}
	return l.startServers(internet)
}

// addNATBox makes the box and the site's network behind it.
func (l *Lab) addNATBox(k int, u topology.Uplink) (*netns.Namespace, error) {
	box, err := netns.New(netns.Config{Name: fmt.Sprintf("nat%d", k), Keep: []string{l.Dir}, TmpDir: l.Dir})
	if err != nil {
		return nil, err
	}
	l.boxes = append(l.boxes, box)
	inside := []plug{{node: box.Name, ns: box, ifname: "in", addrs: []string{fmt.Sprintf("192.168.%d.1/24", k+1)}}}
	for i, name := range u.Nodes {
		inside = append(inside, plug{
			node: name, ns: l.byName[name].ns, ifname: "wan",
			addrs: []string{fmt.Sprintf("192.168.%d.%d/24", k+1, 10+i)},
		})
	}
	if err := l.addCable(topology.Internet, inside); err != nil {
		return nil, err
	}
	for _, p := range inside[1:] {
		if err := defaultRoutes(p.ns, "wan", []string{fmt.Sprintf("192.168.%d.1", k+1)}); err != nil {
			return nil, err
		}
	}
	if err := forwarding(box); err != nil {
		return nil, err
	}
	return box, masquerade(box, "out", u.NAT == topology.NATSymmetric, true)
}

// PublicAddress is the address under which the internet reaches a node without NAT.
func (l *Lab) PublicAddress(name string) (netip.Addr, bool) {
	for k, u := range l.Topology.Uplinks {
		if u.NAT == topology.NATNone && u.Nodes[0] == name {
			return netip.AddrFrom4([4]byte{198, 51, 100, byte(4*k + 2)}), true
		}
	}
	return netip.Addr{}, false
}

// addLANs gives each router with clients an interface "lan", 10.77.k.1/24, and
// its clients "eth0" with a default route to it.
func (l *Lab) addLANs() error {
	k := 0
	for _, router := range slices.Clone(l.nodes) {
		lan := []plug{{node: router.Name, ns: router.ns, ifname: "lan",
			addrs: []string{fmt.Sprintf("10.77.%d.1/24", k), fmt.Sprintf("fd00:77:%x::1/64", k)}}}
		for _, c := range l.nodes {
			if c.Kind == topology.Client && c.Router == router.Name {
				i := 9 + len(lan)
				lan = append(lan, plug{node: c.Name, ns: c.ns, ifname: "eth0",
					addrs: []string{fmt.Sprintf("10.77.%d.%d/24", k, i), fmt.Sprintf("fd00:77:%x::%x/64", k, i)}})
			}
		}
		if len(lan) == 1 {
			continue
		}
		if err := l.addCable(router.Name, lan); err != nil {
			return err
		}
		for _, c := range lan[1:] {
			if err := defaultRoutes(c.ns, "eth0", []string{fmt.Sprintf("10.77.%d.1", k), fmt.Sprintf("fd00:77:%x::1", k)}); err != nil {
				return err
			}
		}
		if err := forwarding(router.ns); err != nil {
			return err
		}
		// What the firewall of a real router does for its LAN.
		if slices.ContainsFunc(l.Topology.Uplinks, func(u topology.Uplink) bool { return slices.Contains(u.Nodes, router.Name) }) {
			if err := masquerade(router.ns, "wan", false, false); err != nil {
				return err
			}
		}
		k++
	}
	return nil
}

// nameserver is what a node finds in its resolv.conf; empty leaves the machine's own.
func (l *Lab) nameserver(t topology.Node) string {
	if t.Kind == topology.Client {
		k := 0
		for _, n := range l.Topology.Nodes {
			has := slices.ContainsFunc(l.Topology.Nodes, func(c topology.Node) bool { return c.Kind == topology.Client && c.Router == n.Name })
			if n.Name == t.Router {
				return fmt.Sprintf("10.77.%d.1", k)
			}
			if has {
				k++
			}
		}
	}
	return DNSServer.String()
}

func forwarding(ns *netns.Namespace) error {
	for _, name := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		if err := ns.Sysctl(name, "1"); err != nil {
			return err
		}
	}
	return nil
}

func defaultRoutes(ns *netns.Namespace, ifname string, gateways []string) error {
	h, err := ns.Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(ifname)
	if err != nil {
		return fmt.Errorf("default route of %s: %w", ns.Name, err)
	}
	for _, g := range gateways {
		gw := netip.MustParseAddr(g)
		if err := h.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gw.AsSlice()}); err != nil {
			return fmt.Errorf("default route of %s via %s: %w", ns.Name, g, err)
		}
	}
	return nil
}
