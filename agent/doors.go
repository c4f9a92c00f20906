package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"globalnet/agent/config"
	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/path"
	"globalnet/onion/proxy"
	"globalnet/onion/stream"
)

const (
	doorRetry     = 10 * time.Second // until a port that was taken is tried again
	maxTunnelled  = 1024             // connections of one tunnel
	tunnelTimeout = 30 * time.Second
)

// doors are the listeners of this node into the onion: proxies, and tunnels by hand.
type doors struct {
	client *client.Client
	names  func(string) (identity.NodeID, bool)
	log    *slog.Logger

	mu    sync.Mutex
	ctx   context.Context // of run; nil before
	tasks sync.WaitGroup
	open  map[any]*door // by the section of the configuration
	want  []any
}

// door is one of them.
type door struct {
	close context.CancelFunc
	where string // it is open here; guarded by doors.mu, as what follows
	err   error  // why it is not
}

// run keeps the doors open until ctx ends.
func (d *doors) run(ctx context.Context) error {
	d.mu.Lock()
	d.ctx = ctx
	d.mu.Unlock()
	d.apply(d.want)
	<-ctx.Done()
	d.tasks.Wait()
	return nil
}

// configure makes the doors those of c.
func (d *doors) configure(c config.Config) {
	var want []any
	for _, p := range c.Proxies {
		want = append(want, p)
	}
	for _, t := range c.Tunnels {
		want = append(want, t)
	}
	d.apply(want)
}

func (d *doors) apply(want []any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.want = want
	if d.ctx == nil || d.ctx.Err() != nil {
		return
	}
	keep := make(map[any]bool, len(want))
	for _, section := range want {
		keep[section] = true
	}
	for section, open := range d.open {
		if !keep[section] {
			open.close()
			delete(d.open, section)
		}
	}
	for _, section := range want {
		if d.open[section] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(d.ctx)
		open := &door{close: cancel}
		d.open[section] = open
		d.tasks.Go(func() { d.keep(ctx, section, open) })
	}
}

// keep has a door open, and tries again where its port is taken.
func (d *doors) keep(ctx context.Context, section any, open *door) {
	state := func(where string, err error) {
		d.mu.Lock()
		open.where, open.err = where, err
		d.mu.Unlock()
	}
	for said := false; ; {
		err := d.serve(ctx, section, func(where string) { state(where, nil) })
		if ctx.Err() != nil {
			return
		}
		state("", err)
		if !said {
			d.log.Warn("a proxy or tunnel is not open; it is tried again", "err", err)
			said = true
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(doorRetry):
		}
	}
}

func (d *doors) serve(ctx context.Context, section any, opened func(where string)) error {
	logged := newRarely(time.Minute)
	failed := func(err error) {
		if logged.now(time.Now()) {
			d.log.Warn("a connection through a tunnel did not come about", "err", err)
		}
	}
	switch s := section.(type) {
	case config.Proxy:
		if err := d.openProxy(ctx, s, s.Listen.String(), opened, nil); err != nil {
			return fmt.Errorf("proxy %s: %w", s.Name, err)
		}
	case config.Tunnel:
		if err := d.openTunnel(ctx, s, opened, failed); err != nil {
			return fmt.Errorf("tunnel %s: %w", s.Name, err)
		}
	}
	return nil
}

// openTunnel serves a tunnel until ctx ends.
func (d *doors) openTunnel(ctx context.Context, t config.Tunnel, opened func(where string), failed func(error)) error {
	addr, route, err := d.parse(t.Path)
	if err != nil {
		return err
	}
	l, err := listen(ctx, addr)
	if err != nil {
		return err
	}
	opened(l.Addr().String())
	return d.serveTunnel(ctx, l, route, failed)
}

// openProxy serves a proxy at addr until ctx ends. Failed, which may be nil, is told why
// a circuit by hand did not come about.
func (d *doors) openProxy(ctx context.Context, p config.Proxy, addr string, opened func(where string), failed func(error)) error {
	var dialer proxy.Dialer = d.client
	if p.Path != "" {
		_, route, err := d.parse("1>" + p.Path)
		if err != nil {
			return err
		}
		dialer = byHand{d.client, route, failed}
	}
	l, err := listen(ctx, addr)
	if err != nil {
		return err
	}
	opened(l.Addr().String())
	return proxy.New(proxy.Config{Name: p.Name, Dialer: dialer, IsolateDestination: p.IsolateDestination, Wait: p.Wait, Log: d.log}).Serve(ctx, l)
}

func listen(ctx context.Context, addr string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp", addr)
}

// parse reads a path and looks its names up.
func (d *doors) parse(text string) (addr string, route path.Route, err error) {
	spec, err := path.Parse(text)
	if err != nil {
		return "", route, err
	}
	route, err = spec.Resolve(d.names)
	return spec.Listen, route, err
}

// byHand is the onion along one path.
type byHand struct {
	client *client.Client
	route  path.Route
	failed func(error) // may be nil
}

// Dial implements proxy.Dialer.
func (b byHand) Dial(ctx context.Context, _ client.Isolation, target cell.Target, early []byte) (*stream.Stream, error) {
	s, err := b.client.DialPath(ctx, b.route, target, early)
	if err != nil && b.failed != nil {
		b.failed(err)
	}
	return s, err
}

// Resolve implements proxy.Dialer.
func (b byHand) Resolve(ctx context.Context, _ client.Isolation, name string) (cell.Resolved, error) {
	return b.client.ResolvePath(ctx, b.route, name)
}

// serveTunnel gives each connection to l a circuit along route; failed is told why
// one did not come about. It closes l when ctx ends, and returns when all has ended.
func (d *doors) serveTunnel(ctx context.Context, l net.Listener, route path.Route, failed func(error)) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	context.AfterFunc(ctx, func() { l.Close() })
	slots := make(chan struct{}, maxTunnelled)
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			time.Sleep(50 * time.Millisecond) // out of descriptors, or the like
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			conn.Close()
			failed(fmt.Errorf("more than %d connections at a time", maxTunnelled))
			continue
		}
		running.Go(func() {
			defer func() { <-slots }()
			if err := d.tunnel(ctx, conn.(*net.TCPConn), route); err != nil {
				failed(err)
			}
		})
	}
}

// tunnel carries one connection.
func (d *doors) tunnel(ctx context.Context, conn *net.TCPConn, route path.Route) error {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	dialCtx, cancel := context.WithTimeout(ctx, tunnelTimeout)
	defer cancel()
	s, err := d.client.DialPath(dialCtx, route, *route.Target, nil)
	if err != nil {
		conn.SetLinger(0)
		return err
	}
	_, _, err = proxy.Relay(conn, s)
	select {
	case <-s.Connected():
		return nil // what ends a connection that was there is its two ends' business
	default:
	}
	if end := s.Err(); end != nil {
		return end
	}
	return err
}

// rarely lets one through now and then.
type rarely struct {
	mu    sync.Mutex
	pause time.Duration
	last  time.Time
}

func newRarely(pause time.Duration) *rarely { return &rarely{pause: pause} }

func (r *rarely) now(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.last.IsZero() && now.Sub(r.last) < r.pause {
		return false
	}
	r.last = now
	return true
}
