package firewall

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sort"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Our bits of the mark, far from those that mwan3, PBR and others use.
const (
	markMask  = 0x60000000
	markProxy = 0x20000000 // a datagram for the proxy
	markOff   = 0x40000000 // of a client that may be routed as usual
)

// Policy rules, in their order, before those of mwan3 and PBR (from 1000 on).
const (
	ruleProxy    = 181 // what is marked is for a socket here
	ruleOff      = 182 // clients of other modes skip the next ones
	ruleMesh     = 183 // and so does what is for the mesh
	ruleForbid   = 184 // the rest from the LAN goes nowhere
	ruleGoOn     = 185
	ruleProtocol = 72
	proxyTable   = 18321

	actionNop    = 3 // FR_ACT_NOP of the kernel
	actionForbid = unix.RTN_PROHIBIT
)

var families = []int{unix.AF_INET, unix.AF_INET6}

// wanted are the policy rules that r needs, in the order in which they are made.
func wanted(r Rules) (list []netlink.Rule) {
	add := func(family, priority int, change func(*netlink.Rule)) {
		rule := netlink.NewRule()
		rule.Family, rule.Priority, rule.Protocol = family, priority, ruleProtocol
		change(rule)
		list = append(list, *rule)
	}
	mask := uint32(markMask)
	for _, family := range families {
		begun := false
		for _, n := range r.Networks {
			if !n.has(All) {
				continue
			}
			if !begun {
				begun = true
				add(family, ruleGoOn, func(r *netlink.Rule) { r.Type = actionNop })
				add(family, ruleProxy, func(r *netlink.Rule) { r.Mark, r.Mask, r.Table = markProxy, &mask, proxyTable })
				add(family, ruleOff, func(r *netlink.Rule) { r.Mark, r.Mask, r.Goto = markOff, &mask, ruleGoOn })
			}
			for _, ifname := range n.Interfaces {
				if n.Mesh && family == unix.AF_INET6 {
					add(family, ruleMesh, func(rule *netlink.Rule) {
						rule.IifName, rule.Goto = ifname, ruleGoOn
						rule.Dst = &net.IPNet{IP: r.Mesh.Addr().AsSlice(), Mask: net.CIDRMask(r.Mesh.Bits(), 128)}
					})
				}
				add(family, ruleForbid, func(r *netlink.Rule) { r.IifName, r.Type = ifname, actionForbid })
			}
		}
	}
	return list
}

// ruleKey tells rules of ours apart.
type ruleKey struct {
	family, priority int
	ifname           string
}

func keyOf(r netlink.Rule) ruleKey { return ruleKey{r.Family, r.Priority, r.IifName} }

func isOurs(r netlink.Rule) bool {
	return r.Protocol == ruleProtocol && r.Priority >= ruleProxy && r.Priority <= ruleGoOn
}

// installed lists our policy rules in the kernel. A system without IPv6 has none there.
func installed() (list []netlink.Rule, err error) {
	for _, family := range families {
		rules, err := netlink.RuleList(family)
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue
		}
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return nil, fmt.Errorf("listing policy rules: %w", err)
		}
		for _, r := range rules {
			r.Family = family
			if isOurs(r) {
				list = append(list, r)
			}
		}
	}
	return list, nil
}

// addRoutes adds what r needs.
func addRoutes(r Rules) error {
	have, err := installed()
	if err != nil {
		return err
	}
	for _, rule := range wanted(r) {
		if slices.ContainsFunc(have, func(h netlink.Rule) bool { return keyOf(h) == keyOf(rule) }) {
			continue
		}
		if rule.Priority == ruleProxy {
			if err := deliver(rule.Family); err != nil {
				return err
			}
		}
		err := netlink.RuleAdd(&rule)
		if err != nil && !errors.Is(err, unix.EEXIST) && !(rule.Family == unix.AF_INET6 && errors.Is(err, unix.EAFNOSUPPORT)) {
			return fmt.Errorf("adding policy rule %d: %w", rule.Priority, err)
		}
	}
	return holdPrefixes(r)
}

// routesIn lists our routes of a table.
func routesIn(family, table int) []netlink.Route {
	filter := &netlink.Route{Table: table, Protocol: ruleProtocol}
	routes, err := netlink.RouteListFiltered(family, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return nil // a system without that family
	}
	return routes
}

// lastMetric is that of the routes that hold when there is no other.
const lastMetric = 0x7ffffffe

// holdPrefixes has the kernel keep what is for clients when their interface is down: the
// proxy's answers to them would take the default route otherwise. So would what is left
// of connections to mesh addresses when the agent ends and takes its routes with it.
// What was held once stays so until nothing of ours is left.
func holdPrefixes(r Rules) error {
	var errs []error
	held := map[string]bool{}
	for _, family := range families {
		for _, route := range routesIn(family, unix.RT_TABLE_MAIN) {
			held[route.Dst.String()] = true
		}
	}
	for _, n := range r.Networks {
		if !n.has(All) {
			continue
		}
		for _, p := range append(prefixesOf(n.Interfaces), r.Mesh) {
			if p.Addr().IsLinkLocalUnicast() || p.Bits() == 0 || held[p.String()] {
				continue
			}
			held[p.String()] = true
			err := netlink.RouteReplace(&netlink.Route{
				Dst:  &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())},
				Type: unix.RTN_UNREACHABLE, Table: unix.RT_TABLE_MAIN, Priority: lastMetric, Protocol: ruleProtocol,
			})
			if err != nil && !(p.Addr().Is6() && errors.Is(err, unix.EAFNOSUPPORT)) {
				errs = append(errs, fmt.Errorf("holding the prefix %s: %w", p, err))
			}
		}
	}
	return errors.Join(errs...)
}

// heldPrefixes are those of clients, in order.
func heldPrefixes(r Rules) (list []netip.Prefix) {
	if !slices.ContainsFunc(r.Networks, func(n Network) bool { return n.has(All) }) {
		return nil // they are about to go
	}
	for _, family := range families {
		for _, route := range routesIn(family, unix.RT_TABLE_MAIN) {
			addr, ok := netip.AddrFromSlice(route.Dst.IP)
			ones, _ := route.Dst.Mask.Size()
			if p := netip.PrefixFrom(addr.Unmap(), ones); ok && p != r.Mesh {
				list = append(list, p)
			}
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Compare(list[j]) < 0 })
	return list
}

// deliver has what the proxy's table is asked for end on this machine.
func deliver(family int) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding the loopback interface: %w", err)
	}
	all := netip.MustParsePrefix("0.0.0.0/0")
	if family == unix.AF_INET6 {
		all = netip.MustParsePrefix("::/0")
	}
	err = netlink.RouteReplace(&netlink.Route{
		Family: family, Table: proxyTable, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, LinkIndex: lo.Attrs().Index, Protocol: ruleProtocol,
		Dst: &net.IPNet{IP: all.Addr().AsSlice(), Mask: net.CIDRMask(0, all.Addr().BitLen())},
	})
	if err != nil && !(family == unix.AF_INET6 && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EACCES))) {
		return fmt.Errorf("adding the route of the proxy: %w", err)
	}
	return nil
}

// dropRoutes removes what r does not need.
func dropRoutes(r Rules) error {
	have, err := installed()
	if err != nil {
		return err
	}
	want := wanted(r)
	var errs []error
	for _, rule := range have {
		if !slices.ContainsFunc(want, func(w netlink.Rule) bool { return keyOf(w) == keyOf(rule) }) {
			if err := netlink.RuleDel(&rule); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("removing policy rule %d: %w", rule.Priority, err))
			}
		}
	}
	if len(want) == 0 {
		for _, family := range families {
			for _, table := range []int{proxyTable, unix.RT_TABLE_MAIN} {
				for _, route := range routesIn(family, table) {
					errs = append(errs, netlink.RouteDel(&route))
				}
			}
		}
	}
	return errors.Join(errs...)
}

func routesAreThere(r Rules) bool {
	have, err := installed()
	if err != nil {
		return true // it cannot be told
	}
	for _, w := range wanted(r) {
		if !slices.ContainsFunc(have, func(h netlink.Rule) bool { return keyOf(h) == keyOf(w) }) {
			return false
		}
	}
	return true
}
