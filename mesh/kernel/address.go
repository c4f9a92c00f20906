package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"globalnet/mesh"
	"globalnet/mesh/kernel/rtnl"
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
	lo, err := rtnl.LinkByName("lo")
	if err != nil {
		return err
	}
	if lo.Flags&unix.IFF_UP == 0 {
		if err := lo.SetUp(); err != nil {
			return fmt.Errorf("bringing lo up: %w", err)
		}
	}
	if err := k.enableIPv6("lo"); err != nil {
		return err
	}
	// The table comes before the address, so that no packet from it leaves by another route.
	if err := k.unreachable().Replace(); err != nil {
		return fmt.Errorf("adding the unreachable route: %w", err)
	}
	if err := k.addRule(); err != nil {
		return err
	}
	if err := k.removeAddresses(lo, addr); err != nil {
		return err
	}
	a := rtnl.Address{Index: lo.Index, Prefix: netip.PrefixFrom(addr, 128), Flags: unix.IFA_F_NODAD}
	if !delivered(a.Prefix) {
		_ = a.Delete() // as a rule it is not there
	}
	if err := a.Replace(); err != nil {
		return fmt.Errorf("adding the address to lo: %w", err)
	}
	return k.enableForwarding()
}

// delivered reports whether the kernel's own table has the route by which what is for an
// address arrives: somebody may have removed that, and a new one comes with the address alone.
func delivered(p netip.Prefix) bool {
	routes, err := rtnl.Routes(unix.AF_INET6, unix.RT_TABLE_LOCAL, unix.RTPROT_KERNEL)
	return err != nil || slices.ContainsFunc(routes, func(r rtnl.Route) bool { return r.Destination == p })
}

// unreachable is the route for all of the mesh that is not reachable now.
func (k *Kernel) unreachable() rtnl.Route {
	return rtnl.Route{
		Destination: meshPrefix,
		Table:       k.cfg.Table,
		Protocol:    uint8(k.cfg.Protocol),
		Metric:      unreachableMetric,
		Type:        unix.RTN_UNREACHABLE,
	}
}

func (k *Kernel) addRule() error {
	rules, err := k.ownRules()
	if err != nil {
		return err
	}
	have := false
	for _, r := range rules {
		if !have && r.Destination == meshPrefix {
			have = true
			continue
		}
		if err := r.Delete(); err != nil && !gone(err) {
			return fmt.Errorf("removing an old rule: %w", err)
		}
	}
	if have {
		return nil
	}
	r := rtnl.Rule{
		Family:      unix.AF_INET6,
		Destination: meshPrefix,
		Action:      unix.FR_ACT_TO_TBL,
		Table:       k.cfg.Table,
		Priority:    k.cfg.Rule,
		Protocol:    uint8(k.cfg.Protocol),
	}
	if err := r.Add(); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("adding the rule: %w", err)
	}
	return nil
}

// ownRules lists the rules at our priority that lead to our table.
func (k *Kernel) ownRules() (own []rtnl.Rule, err error) {
	rules, err := rtnl.Rules(unix.AF_INET6)
	for _, r := range rules {
		if r.Priority == k.cfg.Rule && r.Table == k.cfg.Table {
			own = append(own, r)
		}
	}
	return own, err
}

// removeAddresses removes the mesh addresses from lo, keep excepted.
func (k *Kernel) removeAddresses(lo *rtnl.Link, keep netip.Addr) error {
	addrs, err := rtnl.Addresses(lo.Index)
	if err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	for _, a := range addrs {
		p := a.Prefix
		if !meshPrefix.Contains(p.Addr()) || p.Addr() == keep {
			continue
		}
		if err := a.Delete(); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
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
	lo, err := rtnl.LinkByName("lo")
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
	links, err := rtnl.Links()
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range links {
		if !strings.HasPrefix(l.Name, mesh.LinkPrefix) {
			continue
		}
		// The alias is set a moment after the interface is made, so the kind counts too.
		if l.Alias != Alias && l.Kind != "wireguard" && l.Kind != "tun" {
			continue
		}
		if err := l.Delete(); err != nil && !gone(err) {
			errs = append(errs, fmt.Errorf("removing interface %s: %w", l.Name, err))
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
	for _, r := range rules {
		if err := r.Delete(); err != nil && !gone(err) {
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
	for _, r := range routes {
		if err := r.Delete(); err != nil && !gone(err) {
			errs = append(errs, fmt.Errorf("removing route to %v: %w", r.Destination, err))
		}
	}
	return errors.Join(errs...)
}

// gone tells an error that means the thing to be removed is not there.
func gone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) ||
		errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EADDRNOTAVAIL)
}
