package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"globalnet/agent/config"
	"globalnet/agent/web"
)

// webRetry is until an address is tried again that could not be listened on.
const webRetry = 10 * time.Second

// webPage serves the page on the addresses of the configuration.
type webPage struct {
	log    *slog.Logger
	server *web.Server
	handed *handed // connections that the LAN's proxy gives

	mu     sync.Mutex
	ctx    context.Context // of run; nil before
	tasks  sync.WaitGroup
	config config.Config
	open   map[netip.AddrPort]context.CancelFunc
}

func newWebPage(a *Agent, c config.Config, log *slog.Logger) *webPage {
	p := &webPage{log: log, config: c, open: make(map[netip.AddrPort]context.CancelFunc), handed: newHanded()}
	p.server = web.New(web.Config{Agent: a, Password: filepath.Join(c.StateDir, web.PasswordFile), View: p.view, Radios: a.o.Radios,
		Version: a.o.Version, Log: log})
	return p
}

// view is what the configuration says of the page.
func (p *webPage) view() web.View {
	p.mu.Lock()
	defer p.mu.Unlock()
	return web.View{On: p.config.Web.Enabled, Name: p.config.Web.Name, Public: p.config.Web.Public, Metrics: p.config.Web.Metrics}
}

// take serves a connection of the LAN's proxy until it ends; false: there is no page.
func (p *webPage) take(ctx context.Context, conn net.Conn) bool {
	p.mu.Lock()
	on := p.config.Web.Enabled
	p.mu.Unlock()
	return on && p.handed.give(ctx, conn)
}

// run serves until ctx ends.
func (p *webPage) run(ctx context.Context) error {
	p.mu.Lock()
	p.ctx = ctx
	c := p.config
	p.mu.Unlock()
	p.tasks.Go(func() {
		if err := p.server.Serve(ctx, p.handed, web.Door{Hosts: []string{web.Host, web.Host + ":80"}}); err != nil {
			p.log.Error("the page is not served to the LAN", "err", err)
		}
	})
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
	p.log.Info("the page is served", "addr", at)
	return p.server.Serve(ctx, l, doorAt(at, lans))
}

// doorAt is the door at an address of our own. From the LAN are those whose addresses are
// of its networks: the kernel takes packets to an address of the LAN on any interface.
func doorAt(at netip.AddrPort, lans []config.LAN) web.Door {
	port := fmt.Sprintf(":%d", at.Port())
	door := web.Door{Hosts: []string{at.String(), web.Host + port}}
	if at.Addr().IsLoopback() {
		door.Hosts = append(door.Hosts, "localhost"+port)
		door.From = netip.Addr.IsLoopback
	} else {
		door.From = func(from netip.Addr) bool { return isOfLAN(from, lans) }
	}
	if at.Port() == 80 {
		for _, host := range door.Hosts {
			door.Hosts = append(door.Hosts, strings.TrimSuffix(host, port))
		}
	}
	return door
}

func isOfLAN(from netip.Addr, lans []config.LAN) bool {
	from = from.WithZone("")
	for _, n := range lans {
		for _, name := range n.Interfaces {
			if slices.ContainsFunc(prefixesOf(name), func(p netip.Prefix) bool { return p.Contains(from) }) {
				return true
			}
		}
	}
	return false
}

// handed is a listener of connections that somebody else accepted.
type handed struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newHanded() *handed { return &handed{conns: make(chan net.Conn), closed: make(chan struct{})} }

// give hands a connection over and returns when it is closed.
func (h *handed) give(ctx context.Context, conn net.Conn) bool {
	c := &givenConn{Conn: conn, closed: make(chan struct{})}
	select {
	case h.conns <- c:
	case <-h.closed:
		return false
	case <-ctx.Done():
		return false
	}
	select {
	case <-c.closed:
	case <-ctx.Done():
	}
	return true
}

// Accept implements net.Listener.
func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handed) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr implements net.Listener.
func (h *handed) Addr() net.Addr { return &net.TCPAddr{} }

type givenConn struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

// Close implements net.Conn.
func (c *givenConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// SetLinger is that of TCP.
func (c *givenConn) SetLinger(seconds int) error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.SetLinger(seconds)
	}
	return nil
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
