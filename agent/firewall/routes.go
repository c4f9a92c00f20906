package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sort"

	"golang.org/x/sys/unix"

	"globalnet/mesh/kernel/rtnl"
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
)

var families = []int{unix.AF_INET, unix.AF_INET6}

// wanted are the policy rules that r needs, in the order in which they are made.
func wanted(r Rules) (list []rtnl.Rule) {
	add := func(family, priority int, rule rtnl.Rule) {
		rule.Family, rule.Priority, rule.Protocol = family, priority, ruleProtocol
		list = append(list, rule)
	}
	for _, family := range families {
		begun := false
		for _, n := range r.Networks {
			if !n.has(All) {
				continue
			}
			if !begun {
				begun = true
				add(family, ruleGoOn, rtnl.Rule{Action: unix.FR_ACT_NOP})
				add(family, ruleProxy, rtnl.Rule{Mark: markProxy, Mask: markMask, Action: unix.FR_ACT_TO_TBL, Table: proxyTable})
				add(family, ruleOff, rtnl.Rule{Mark: markOff, Mask: markMask, Action: unix.FR_ACT_GOTO, Goto: ruleGoOn})
			}
			for _, ifname := range n.Interfaces {
				if n.Mesh && family == unix.AF_INET6 {
					add(family, ruleMesh, rtnl.Rule{Ifname: ifname, Destination: r.Mesh, Action: unix.FR_ACT_GOTO, Goto: ruleGoOn})
				}
				add(family, ruleForbid, rtnl.Rule{Ifname: ifname, Action: unix.FR_ACT_PROHIBIT})
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

func keyOf(r rtnl.Rule) ruleKey { return ruleKey{r.Family, r.Priority, r.Ifname} }

func isOurs(r rtnl.Rule) bool {
	return r.Protocol == ruleProtocol && r.Priority >= ruleProxy && r.Priority <= ruleGoOn
}

// installed lists our policy rules in the kernel. A system without IPv6 has none there.
func installed() (list []rtnl.Rule, err error) {
	for _, family := range families {
		rules, err := rtnl.Rules(family)
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
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
		if rule.Priority == ruleProxy {
			if err := deliver(rule.Family); err != nil {
				return err
			}
		}
		if slices.ContainsFunc(have, func(h rtnl.Rule) bool { return keyOf(h) == keyOf(rule) }) {
			continue
		}
		err := rule.Add()
		if err != nil && !errors.Is(err, unix.EEXIST) && !(rule.Family == unix.AF_INET6 && errors.Is(err, unix.EAFNOSUPPORT)) {
			return fmt.Errorf("adding policy rule %d: %w", rule.Priority, err)
		}
	}
	return holdPrefixes(r)
}

// routesIn lists our routes of a table.
func routesIn(family, table int) []rtnl.Route {
	routes, err := rtnl.Routes(family, table, ruleProtocol)
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
	held := map[netip.Prefix]bool{}
	for _, family := range families {
		for _, route := range routesIn(family, unix.RT_TABLE_MAIN) {
			held[route.Destination] = true
		}
	}
	for _, n := range r.Networks {
		if !n.has(All) {
			continue
		}
		for _, p := range append(prefixesOf(n.Interfaces), r.Mesh) {
			if p.Addr().IsLinkLocalUnicast() || p.Bits() == 0 || held[p] {
				continue
			}
			held[p] = true
			err := rtnl.Route{
				Destination: p, Type: unix.RTN_UNREACHABLE, Table: unix.RT_TABLE_MAIN, Metric: lastMetric, Protocol: ruleProtocol,
			}.Replace()
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
			if route.Destination != r.Mesh {
				list = append(list, route.Destination)
			}
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Compare(list[j]) < 0 })
	return list
}

// deliver has what the proxy's table is asked for end on this machine.
func deliver(family int) error {
	lo, err := rtnl.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding the loopback interface: %w", err)
	}
	all := netip.MustParsePrefix("0.0.0.0/0")
	if family == unix.AF_INET6 {
		all = netip.MustParsePrefix("::/0")
	}
	err = rtnl.Route{
		Destination: all, Table: proxyTable, Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST, Index: lo.Index, Protocol: ruleProtocol,
	}.Replace()
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
		if !slices.ContainsFunc(want, func(w rtnl.Rule) bool { return keyOf(w) == keyOf(rule) }) {
			if err := rule.Delete(); err != nil && !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("removing policy rule %d: %w", rule.Priority, err))
			}
		}
	}
	if len(want) == 0 {
		for _, family := range families {
			for _, table := range []int{proxyTable, unix.RT_TABLE_MAIN} {
				for _, route := range routesIn(family, table) {
					errs = append(errs, route.Delete())
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
		if !slices.ContainsFunc(have, func(h rtnl.Rule) bool { return keyOf(h) == keyOf(w) }) {
			return false
		}
		// Whoever empties the loopback interface, as netifd does, takes the proxy's routes along.
		if w.Priority == ruleProxy && w.Family == unix.AF_INET && len(routesIn(w.Family, proxyTable)) == 0 {
			return false
		}
	}
	return true
}
