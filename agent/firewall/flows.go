package firewall

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"globalnet/agent/firewall/conntrack"
)

// cut has the kernel forget the flows of the clients of networks whose rules changed:
// what was connected before and is offloaded would go on past the proxy, in hardware even.
func cut(before, after Rules) error {
	var clients prefixes
	for _, n := range after.Networks {
		if n.has(All, Block) && !slices.ContainsFunc(before.Networks, func(b Network) bool { return same(b, n) }) {
			clients = append(clients, prefixesOf(n.Interfaces)...)
		}
	}
	if len(clients) == 0 {
		return nil
	}
	var errs []error
	for _, family := range families {
		errs = append(errs, conntrack.Remove(family, clients.leaves))
	}
	return errors.Join(errs...)
}

func same(a, b Network) bool {
	return a.Mode == b.Mode && a.DNS == b.DNS && a.UDP == b.UDP && a.Mesh == b.Mesh && slices.Equal(a.Interfaces, b.Interfaces) && slices.Equal(a.Clients, b.Clients)
}

type prefixes []netip.Prefix

// leaves reports whether a flow was begun by a client of one of the prefixes with somebody
// outside: what is with the router itself stays.
func (p prefixes) leaves(src, dst netip.Addr) bool { return p.has(src) && !p.has(dst) }

func (p prefixes) has(a netip.Addr) bool {
	return slices.ContainsFunc(p, func(q netip.Prefix) bool { return q.Contains(a) })
}

func prefixesOf(ifnames []string) (list []netip.Prefix) {
	for _, ifname := range ifnames {
		i, err := net.InterfaceByName(ifname)
		if err != nil {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if addr, ok := netip.AddrFromSlice(n.IP); ok {
					ones, _ := n.Mask.Size()
					list = append(list, netip.PrefixFrom(addr.Unmap(), ones).Masked())
				}
			}
		}
	}
	return list
}
