package inside

import (
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"globalnet/internal/identity"
	"globalnet/mesh"
)

// table is the agents' routing table.
const table = 18245

// Left lists what an agent has made in the kernel and not removed.
func (r *Radio) Left() ([]string, error) {
	h, err := r.Netlink()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	var left []string
	links, err := h.LinkList()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if name := l.Attrs().Name; strings.HasPrefix(name, mesh.LinkPrefix) {
			left = append(left, "interface "+name)
		}
		addrs, err := h.AddrList(l, unix.AF_INET6)
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if addr, _ := netip.AddrFromSlice(a.IP); identity.MeshPrefix.Contains(addr) {
				left = append(left, "address "+a.String())
			}
		}
	}
	rules, err := h.RuleList(unix.AF_INET6)
	if err != nil {
		return nil, err
	}
	for _, rule := range rules {
		if rule.Table == table {
			left = append(left, "rule "+rule.String())
		}
	}
	routes, err := h.RouteListFiltered(unix.AF_INET6, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
	for _, route := range routes {
		left = append(left, "route "+route.String())
	}
	return left, err
}
