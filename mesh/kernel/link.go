package kernel

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"globalnet/mesh"
	"globalnet/mesh/kernel/rtnl"
)

// maxIfname is the longest interface name, IFNAMSIZ less its final zero.
const maxIfname = unix.IFNAMSIZ - 1

// addrGenNone (IN6_ADDR_GEN_MODE_NONE) keeps the kernel from adding a link-local
// address of its own.
const addrGenNone = 1

// SetLink implements mesh.Kernel. With Handshake set and no handshake complete yet,
// each call begins a new one at once: a caller need not wait out WireGuard's five
// seconds when the first was lost.
func (k *Kernel) SetLink(ctx context.Context, l mesh.LinkConfig) error {
	unlock, err := k.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := checkLink(l); err != nil {
		return fmt.Errorf("setting link %q: %w", l.Name, err)
	}
	if k.useNative(l.Name) {
		err = k.setNative(l)
	} else {
		err = k.setUserspace(l)
	}
	if err != nil {
		return fmt.Errorf("setting link %s: %w", l.Name, explain(err))
	}
	return nil
}

func checkLink(l mesh.LinkConfig) error {
	switch {
	case !strings.HasPrefix(l.Name, mesh.LinkPrefix) || len(l.Name) > maxIfname:
		return fmt.Errorf("name must begin with %s and have at most %d characters", mesh.LinkPrefix, maxIfname)
	case !l.LinkLocal.IsLinkLocalUnicast() || !l.LinkLocal.Is6():
		return fmt.Errorf("%v is not a link-local IPv6 address", l.LinkLocal)
	case l.MTU < 1280 || l.MTU > 65535:
		return fmt.Errorf("MTU %d: IPv6 needs at least 1280", l.MTU)
	case l.Endpoint.IsValid() && l.Endpoint.Addr().IsLinkLocalUnicast() && l.Endpoint.Addr().Is6() && l.Endpoint.Addr().Zone() == "":
		return fmt.Errorf("endpoint %v is link-local and has no zone", l.Endpoint)
	}
	return nil
}

// RemoveLink implements mesh.Kernel.
func (k *Kernel) RemoveLink(ctx context.Context, name string) error {
	unlock, err := k.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if !strings.HasPrefix(name, mesh.LinkPrefix) {
		return fmt.Errorf("removing link %q: its name does not begin with %s", name, mesh.LinkPrefix)
	}
	if d := k.devices[name]; d != nil {
		d.close()
		delete(k.devices, name)
	}
	if k.wg != nil {
		delete(k.wg.links, name)
	}
	// Also an interface that an earlier run or another mode left.
	link, err := linkByName(name)
	if err == nil && link != nil {
		err = link.Delete()
	}
	if err != nil && !gone(err) {
		return fmt.Errorf("removing link %s: %w", name, explain(err))
	}
	return nil
}

// LinkStats implements mesh.Kernel.
func (k *Kernel) LinkStats(ctx context.Context) (map[string]mesh.LinkStats, error) {
	unlock, err := k.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	stats := make(map[string]mesh.LinkStats, len(k.devices))
	if k.native {
		if err := k.nativeStats(stats); err != nil {
			return nil, fmt.Errorf("reading WireGuard counters: %w", explain(err))
		}
	}
	for name, d := range k.devices {
		stats[name] = d.stats()
	}
	return stats, nil
}

// configureInterface gives a WireGuard interface what both kinds need, and brings
// it up last, when its address is there.
func (k *Kernel) configureInterface(link *rtnl.Link, l mesh.LinkConfig) error {
	if link.Alias != Alias {
		if err := link.SetAlias(Alias); err != nil {
			return fmt.Errorf("setting its alias: %w", err)
		}
	}
	if link.MTU != l.MTU {
		if err := link.SetMTU(l.MTU); err != nil {
			return fmt.Errorf("setting MTU %d: %w", l.MTU, err)
		}
	}
	if err := k.enableIPv6(l.Name); err != nil {
		return err
	}
	if link.Flags&unix.IFF_UP == 0 {
		// Kernels before 4.1 do not have it; they add an address of their own, which does no harm.
		if err := link.SetAddrGenMode(addrGenNone); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("keeping the kernel from choosing an address: %w", err)
		}
		if err := link.SetFlags(unix.IFF_MULTICAST, unix.IFF_MULTICAST); err != nil {
			return fmt.Errorf("switching multicast on: %w", err)
		}
	}
	if err := setLinkLocal(link, l.LinkLocal); err != nil {
		return err
	}
	if err := link.SetUp(); err != nil {
		return fmt.Errorf("bringing it up: %w", err)
	}
	return nil
}

// setLinkLocal makes addr the one link-local address of an interface.
func setLinkLocal(link *rtnl.Link, addr netip.Addr) error {
	want := netip.PrefixFrom(addr.WithZone(""), 64)
	addrs, err := rtnl.Addresses(link.Index)
	if err != nil {
		return err
	}
	have := false
	for _, a := range addrs {
		p := a.Prefix
		if p == want {
			have = true
		} else if p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
			if err := a.Delete(); err != nil && !gone(err) {
				return fmt.Errorf("removing %v: %w", p, err)
			}
		}
	}
	if have {
		return nil
	}
	// No duplicate detection: it would hold the address back for a second, and who
	// else has it cannot speak on this link.
	a := rtnl.Address{Index: link.Index, Prefix: want, Flags: unix.IFA_F_NODAD, Scope: unix.RT_SCOPE_LINK}
	if err := a.Replace(); err != nil {
		return fmt.Errorf("adding %v: %w", want, err)
	}
	return nil
}
