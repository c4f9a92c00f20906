package kernel

import (
	"context"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"globalnet/mesh"
	"globalnet/mesh/kernel/rtnl"
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
		route.Index = link.Index
		route.Gateway = r.Gateway.WithZone("")
		route.Flags = unix.RTNH_F_ONLINK
		route.Source = r.Source
		err = route.Replace()
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
	if err := k.hostRoute(dst).Delete(); err != nil && !gone(err) {
		return fmt.Errorf("removing route to %v: %w", dst, explain(err))
	}
	return nil
}

// routeMetric is one for all, so that replacing a route replaces it.
const routeMetric = 1024

func (k *Kernel) hostRoute(dst netip.Prefix) rtnl.Route {
	return rtnl.Route{
		Destination: dst.Masked(),
		Table:       k.cfg.Table,
		Protocol:    uint8(k.cfg.Protocol),
		Metric:      routeMetric,
	}
}

// ownRoutes lists all that is in our table with our protocol number.
func (k *Kernel) ownRoutes() ([]rtnl.Route, error) {
	return rtnl.Routes(unix.AF_INET6, k.cfg.Table, uint8(k.cfg.Protocol))
}
