package kernel

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"globalnet/mesh"
)

// ReplaceRoute implements mesh.Kernel.
func (k *Kernel) ReplaceRoute(ctx context.Context, r mesh.Route) error {
	unlock, err := k.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	link, err := linkByName(r.Ifname)
	if err == nil && link == nil {
		err = fmt.Errorf("no interface %s", r.Ifname)
	}
	if err == nil {
		route := k.hostRoute(r.Destination)
		route.LinkIndex = link.Attrs().Index
		route.Gw = r.Gateway.WithZone("").AsSlice()
		route.Flags = int(netlink.FLAG_ONLINK)
		if r.Source.IsValid() {
			route.Src = r.Source.AsSlice()
		}
		err = netlink.RouteReplace(route)
	}
	if err != nil {
		return fmt.Errorf("replacing route to %v: %w", r.Destination, explain(err))
	}
	return nil
}

// RemoveRoute implements mesh.Kernel.
func (k *Kernel) RemoveRoute(ctx context.Context, dst netip.Prefix) error {
	unlock, err := k.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := netlink.RouteDel(k.hostRoute(dst)); err != nil && !gone(err) {
		return fmt.Errorf("removing route to %v: %w", dst, explain(err))
	}
	return nil
}

// routeMetric is one for all, so that replacing a route replaces it.
const routeMetric = 1024

func (k *Kernel) hostRoute(dst netip.Prefix) *netlink.Route {
	return &netlink.Route{
		Dst:      ipNet(dst.Masked()),
		Table:    k.cfg.Table,
		Protocol: netlink.RouteProtocol(k.cfg.Protocol),
		Priority: routeMetric,
	}
}

// ownRoutes lists all that is in our table with our protocol number.
func (k *Kernel) ownRoutes() ([]netlink.Route, error) {
	var routes []netlink.Route
	err := retryDump(func() (err error) {
		filter := &netlink.Route{Table: k.cfg.Table, Protocol: netlink.RouteProtocol(k.cfg.Protocol)}
		routes, err = netlink.RouteListFiltered(unix.AF_INET6, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_PROTOCOL)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing routes: %w", err)
	}
	return routes, nil
}
