package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/agent/web"
)

// webRetry is until an address is tried again that could not be listened on.
const webRetry = 10 * time.Second

// webPage serves the page on the addresses of the configuration.
type webPage struct {
	log    *slog.Logger
	server *web.Server

	mu     sync.Mutex
	ctx    context.Context // of run; nil before
	tasks  sync.WaitGroup
	config config.Config
	open   map[netip.AddrPort]context.CancelFunc
}

func newWebPage(a *Agent, c config.Config, log *slog.Logger) *webPage {
	return &webPage{log: log, config: c, open: make(map[netip.AddrPort]context.CancelFunc),
		server: web.New(web.Config{API: control.Handler(a), Log: log})}
}

// run serves until ctx ends.
func (p *webPage) run(ctx context.Context) error {
	p.mu.Lock()
	p.ctx = ctx
	c := p.config
	p.mu.Unlock()
	p.apply(c)
	<-ctx.Done()
	p.tasks.Wait()
	return nil
}

// apply takes a configuration into use.
func (p *webPage) apply(c config.Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.config = c
	if p.ctx == nil || p.ctx.Err() != nil {
		return
	}
	var want []netip.AddrPort
	if c.Web.Enabled {
		want = c.Web.Listen
	}
	for at, stop := range p.open {
		if !slices.Contains(want, at) {
			stop()
			delete(p.open, at)
		}
	}
	for _, at := range want {
		if p.open[at] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(p.ctx)
		p.open[at] = cancel
		p.tasks.Go(func() { p.keep(ctx, at) })
	}
}

// keep has the page at an address, and tries again where it cannot be had.
func (p *webPage) keep(ctx context.Context, at netip.AddrPort) {
	for said := false; ; {
		err := p.serve(ctx, at)
		if ctx.Err() != nil {
			return
		}
		if !said {
			p.log.Warn("the page is not served at an address; it is tried again", "addr", at, "err", err)
			said = true
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(webRetry):
		}
	}
}

func (p *webPage) serve(ctx context.Context, at netip.AddrPort) error {
	p.mu.Lock()
	lans := p.config.LANs
	p.mu.Unlock()
	if err := onLAN(at.Addr(), lans); err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", at.String())
	if err != nil {
		return fmt.Errorf("opening the page's port: %w", err)
	}
	return p.server.Serve(ctx, l)
}

// onLAN refuses an address that is neither loopback nor of an interface of a LAN.
func onLAN(addr netip.Addr, lans []config.LAN) error {
	if addr.IsLoopback() {
		return nil
	}
	for _, n := range lans {
		for _, name := range n.Interfaces {
			if slices.ContainsFunc(prefixesOf(name), func(p netip.Prefix) bool { return p.Addr() == addr }) {
				return nil
			}
		}
	}
	if len(lans) == 0 {
		return fmt.Errorf("%v is not loopback, and there is no LAN: add a section lan that names its interface", addr)
	}
	return errors.New(addr.String() + " is not loopback, and of no interface of a section lan: the page is for the LAN only")
}

// prefixesOf lists the addresses of an interface with their networks.
func prefixesOf(ifname string) (list []netip.Prefix) {
	i, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil
	}
	addrs, _ := i.Addrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			addr, _ := netip.AddrFromSlice(n.IP)
			ones, _ := n.Mask.Size()
			list = append(list, netip.PrefixFrom(addr.Unmap(), ones))
		}
	}
	return list
}
