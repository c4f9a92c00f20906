package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"globalnet/mesh"
)

// unreachableMetric is worse than that of any route to a node.
const unreachableMetric = 1 << 30

// SetAddress implements mesh.Kernel.
func (k *Kernel) SetAddress(ctx context.Context, addr netip.Addr) error {
	unlock, err := k.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if !meshPrefix.Contains(addr) {
		return fmt.Errorf("setting address %v: not a mesh address, %v expected", addr, meshPrefix)
	}
	if err := k.setAddress(addr); err != nil {
		return fmt.Errorf("setting address %v: %w", addr, explain(err))
	}
	return nil
}

func (k *Kernel) setAddress(addr netip.Addr) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if lo.Attrs().Flags&net.FlagUp == 0 {
		if err := netlink.LinkSetUp(lo); err != nil {
			return fmt.Errorf("bringing lo up: %w", err)
		}
	}
	if err := k.enableIPv6("lo"); err != nil {
		return err
	}
	// The table comes before the address, so that no packet from it leaves by another route.
	if err := netlink.RouteReplace(k.unreachable()); err != nil {
		return fmt.Errorf("adding the unreachable route: %w", err)
	}
	if err := k.addRule(); err != nil {
		return err
	}
	if err := k.removeAddresses(lo, addr); err != nil {
		return err
	}
	a := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(addr, 128)), Flags: unix.IFA_F_NODAD}
	if err := netlink.AddrReplace(lo, a); err != nil {
		return fmt.Errorf("adding the address to lo: %w", err)
	}
	return k.enableForwarding()
}

// unreachable is the route for all of the mesh that is not reachable now.
func (k *Kernel) unreachable() *netlink.Route {
	return &netlink.Route{
		Dst:      ipNet(meshPrefix),
		Table:    k.cfg.Table,
		Protocol: netlink.RouteProtocol(k.cfg.Protocol),
		Priority: unreachableMetric,
		Type:     unix.RTN_UNREACHABLE,
	}
}

func (k *Kernel) addRule() error {
	rules, err := k.ownRules()
	if err != nil {
		return err
	}
	have := false
	for i := range rules {
		if !have && prefixOf(rules[i].Dst) == meshPrefix {
			have = true
			continue
		}
		if err := netlink.RuleDel(&rules[i]); err != nil && !gone(err) {
			return fmt.Errorf("removing an old rule: %w", err)
		}
	}
	if have {
		return nil
	}
	r := netlink.NewRule()
	r.Family = unix.AF_INET6
	r.Dst = ipNet(meshPrefix)
	r.Table = k.cfg.Table
	r.Priority = k.cfg.Rule
	r.Protocol = uint8(k.cfg.Protocol)
	if err := netlink.RuleAdd(r); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("adding the rule: %w", err)
	}
	return nil
}

// ownRules lists the rules at our priority that lead to our table.
func (k *Kernel) ownRules() ([]netlink.Rule, error) {
	var own []netlink.Rule
	err := retryDump(func() error {
		rules, err := netlink.RuleList(unix.AF_INET6)
		own = own[:0]
		for _, r := range rules {
			if r.Priority == k.cfg.Rule && r.Table == k.cfg.Table {
				r.Family = unix.AF_INET6
				own = append(own, r)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing rules: %w", err)
	}
	return own, nil
}

// removeAddresses removes the mesh addresses from lo, keep excepted.
func (k *Kernel) removeAddresses(lo netlink.Link, keep netip.Addr) error {
	var addrs []netlink.Addr
	err := retryDump(func() (err error) {
		addrs, err = netlink.AddrList(lo, unix.AF_INET6)
		return err
	})
	if err != nil {
		return fmt.Errorf("listing addresses of lo: %w", err)
	}
	for i := range addrs {
		p := prefixOf(addrs[i].IPNet)
		if !meshPrefix.Contains(p.Addr()) || p.Addr() == keep {
			continue
		}
		if err := netlink.AddrDel(lo, &addrs[i]); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("removing %v from lo: %w", p, err)
		}
	}
	return nil
}

// Cleanup implements mesh.Kernel.
func (k *Kernel) Cleanup(ctx context.Context) error {
	unlock, err := k.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	var errs []error
	for name, d := range k.devices {
		d.close()
		delete(k.devices, name)
	}
	if k.wg != nil {
		clear(k.wg.links)
	}
	errs = append(errs, k.removeLinks(), k.removeRules(), k.removeRoutes())
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = k.removeAddresses(lo, netip.Addr{})
	}
	errs = append(errs, err, k.restoreSysctls())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cleaning up: %w", explain(err))
	}
	return nil
}

func (k *Kernel) removeLinks() error {
	links, err := listLinks()
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range links {
		a := l.Attrs()
		if !strings.HasPrefix(a.Name, mesh.LinkPrefix) {
			continue
		}
		// The alias is set a moment after the interface is made, so the kind counts too.
		if kind := l.Type(); a.Alias != Alias && kind != "wireguard" && kind != "tuntap" {
			continue
		}
		if err := netlink.LinkDel(l); err != nil && !gone(err) {
			errs = append(errs, fmt.Errorf("removing interface %s: %w", a.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (k *Kernel) removeRules() error {
	rules, err := k.ownRules()
	if err != nil {
		return err
	}
	var errs []error
	for i := range rules {
		if err := netlink.RuleDel(&rules[i]); err != nil && !gone(err) {
			errs = append(errs, fmt.Errorf("removing a rule: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (k *Kernel) removeRoutes() error {
	routes, err := k.ownRoutes()
	if err != nil {
		return err
	}
	var errs []error
	for i := range routes {
		if err := netlink.RouteDel(&routes[i]); err != nil && !gone(err) {
			errs = append(errs, fmt.Errorf("removing route to %v: %w", routes[i].Dst, err))
		}
	}
	return errors.Join(errs...)
}

// gone tells an error that means the thing to be removed is not there.
func gone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) ||
		errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EADDRNOTAVAIL)
}

// retryDump repeats a listing that the kernel says changed under way; the third
// time it is taken as it is.
func retryDump(dump func() error) error {
	for try := 1; ; try++ {
		err := dump()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return err
		}
		if try == 3 {
			return nil
		}
	}
}

func listLinks() (links []netlink.Link, err error) {
	err = retryDump(func() (err error) {
		links, err = netlink.LinkList()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing interfaces: %w", err)
	}
	return links, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefixOf is the zero Prefix for nil.
func prefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	a, _ := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	if n.IP.To4() != nil && bits <= 32 {
		a = a.Unmap()
	}
	return netip.PrefixFrom(a, bits)
}
