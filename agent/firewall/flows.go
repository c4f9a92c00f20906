package firewall

import (
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
)

// cut has the kernel forget the flows of the clients of networks whose rules changed:
// what was connected before would go on past the proxy, in hardware even.
func cut(before, after Rules) {
	var prefixes []netip.Prefix
	for _, n := range after.Networks {
		if n.has(All, Block) && !slices.ContainsFunc(before.Networks, func(b Network) bool { return same(b, n) }) {
			prefixes = append(prefixes, prefixesOf(n.Interfaces)...)
		}
	}
	if len(prefixes) == 0 {
		return
	}
	for _, family := range families {
		// What cannot be removed here does not pass the rules either.
		netlink.ConntrackDeleteFilters(netlink.ConntrackTable, netlink.InetFamily(family), flowsOf(prefixes))
	}
}

func same(a, b Network) bool {
	return a.Mode == b.Mode && a.DNS == b.DNS && a.UDP == b.UDP && a.Mesh == b.Mesh && slices.Equal(a.Interfaces, b.Interfaces) && slices.Equal(a.Clients, b.Clients)
}

// flowsOf are flows that a client of one of the prefixes began, with somebody else than
// this router: what is with the router itself stays.
type flowsOf []netip.Prefix

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (p flowsOf) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	src, ok1 := netip.AddrFromSlice(f.Forward.SrcIP)
	dst, ok2 := netip.AddrFromSlice(f.Forward.DstIP)
	return ok1 && ok2 && p.has(src.Unmap()) && !p.has(dst.Unmap())
}

func (p flowsOf) has(a netip.Addr) bool {
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
