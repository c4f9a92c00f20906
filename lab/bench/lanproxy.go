package bench

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"globalnet/agent/firewall"
	"globalnet/lab"
	"globalnet/lab/onionlab"
	"globalnet/lab/topology"
)

// lanHouse is a router with a phone and an uplink; no agent runs.
const lanHouse = `router a
uplink a
client phone on a
`

const (
	directPort = 18321
	roundTrips = 2000 // of one byte
	dials      = 300
)

// house is lanHouse with a server in the internet.
type house struct {
	lab    *lab.Lab
	server netip.AddrPort
	down   atomic.Bool // the server sends, else it takes
	echo   atomic.Bool
	close  func()
}

func newHouse(ctx context.Context) (*house, error) {
	top, err := topology.Parse(lanHouse)
	if err != nil {
		return nil, err
	}
	h := &house{lab: lab.New(top, lab.Options{Manual: true}), server: netip.AddrPortFrom(lab.WebServer, 7000)}
	if err := h.lab.Start(ctx); err != nil {
		return nil, err
	}
	var l net.Listener
	err = h.lab.Node(topology.Internet).Namespace().Do(func() (err error) {
		l, err = new(net.ListenConfig).Listen(ctx, "tcp4", h.server.String())
		return err
	})
	if err != nil {
		h.lab.Stop()
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go h.serve(c)
		}
	}()
	h.close = func() {
		l.Close()
		h.lab.Stop()
	}
	return h, nil
}

func (h *house) serve(c net.Conn) {
	defer c.Close()
	b := make([]byte, 128<<10)
	for {
		n := len(b)
		var err error
		if h.echo.Load() || !h.down.Load() {
			if n, err = c.Read(b); err != nil {
				return
			}
		}
		if h.echo.Load() || h.down.Load() {
			if _, err = c.Write(b[:n]); err != nil {
				return
			}
		}
	}
}

func (h *house) dial() (c net.Conn, err error) {
	err = h.lab.Node("phone").Namespace().Do(func() error {
		c, err = (&net.Dialer{Timeout: 10 * time.Second}).Dial("tcp4", h.server.String())
		return err
	})
	return c, err
}

// rate is how many bytes a second pass, after a time to warm up. What is sent is
// counted when the sender's kernel has taken it, which holds little. Cpu is in seconds a gigabyte, of all that takes part.
func (h *house) rate(ctx context.Context, down bool) (rate, cpu float64, err error) {
	h.down.Store(down)
	h.echo.Store(false)
	c, err := h.dial()
	if err != nil {
		return 0, 0, err
	}
	var passed atomic.Uint64
	over := make(chan struct{})
	go func() {
		defer close(over)
		b := make([]byte, 128<<10)
		move := c.Write
		if down {
			move = c.Read
		}
		for {
			n, err := move(b)
			passed.Add(uint64(n))
			if err != nil {
				return
			}
		}
	}()
	defer func() {
		c.Close()
		<-over
	}()
	if err := wait(ctx, transferWarm); err != nil {
		return 0, 0, err
	}
	began, before, used := time.Now(), passed.Load(), cpuOfSelf()
	if err := wait(ctx, transferFor); err != nil {
		return 0, 0, err
	}
	bytes := float64(passed.Load() - before)
	return bytes / time.Since(began).Seconds(), (cpuOfSelf() - used).Seconds() / (bytes / 1e9), nil
}

// roundTrips times the way of a byte there and back; if fresh, on a new connection each
// time, with the making.
func (h *house) roundTrips(n int, fresh bool) (took []float64, err error) {
	h.echo.Store(true)
	var c net.Conn
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	var b [1]byte
	for i := range n + 1 {
		began := time.Now()
		if c == nil || fresh {
			if c != nil {
				c.Close()
			}
			if c, err = h.dial(); err != nil {
				return nil, err
			}
			c.SetDeadline(began.Add(time.Minute))
		}
		if _, err := c.Write(b[:]); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(c, b[:]); err != nil {
			return nil, err
		}
		if i > 0 { // the first finds out how to get there
			took = append(took, float64(time.Since(began))/float64(time.Millisecond))
		}
	}
	return took, nil
}

// proxied sends the phone's connections through a proxy without circuits, until stop.
func (h *house) proxied(ctx context.Context) (stop func(), err error) {
	a := h.lab.Node("a").Namespace()
	rules := firewall.Rules{Networks: []firewall.Network{{Name: "lan", Interfaces: []string{"lan"}, Mode: firewall.All}},
		DNSPort: 18320, ProxyPort: directPort, Virtual4: netip.MustParsePrefix("10.192.0.0/10"),
		Virtual6: netip.MustParsePrefix("fd67:6e65:7400::/64"), Mesh: netip.MustParsePrefix("fd47:4e45::/32"), Links: "gn-"}
	var end func()
	err = a.Do(func() error {
		if end, err = onionlab.Transparent(ctx, directPort, a.Do); err != nil {
			return err
		}
		return firewall.New(nil).Apply(rules)
	})
	return func() {
		if end != nil {
			end()
		}
		a.Do(func() error { return firewall.New(nil).Remove() })
	}, err
}

// cpuOfSelf is the CPU time that this process has used.
func cpuOfSelf() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// lanProxy compares the proxy alone with a router that only forwards. They take turns.
func lanProxy(ctx context.Context, e Env) ([]Result, error) {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	h, err := newHouse(ctx)
	if err != nil {
		return nil, err
	}
	defer h.close()
	// By way: rates down and up, milliseconds of a round trip and of a new connection.
	var found [2]struct{ down, up, cpu, trip, fresh []float64 }
	for round := range e.Times(5) {
		for way := range found {
			f, stop := &found[way], func() {}
			if way == 1 {
				if stop, err = h.proxied(ctx); err != nil {
					stop()
					return nil, err
				}
			}
			measure := func() error {
				for _, m := range []struct {
					to   *[]float64
					down bool
				}{{&f.down, true}, {&f.up, false}} {
					rate, cpu, err := h.rate(ctx, m.down)
					if err != nil {
						return err
					}
					*m.to, f.cpu = append(*m.to, rate*8/1e6), append(f.cpu, cpu)
				}
				trips, err := h.roundTrips(roundTrips, false)
				if err != nil {
					return err
				}
				f.trip = append(f.trip, trips...)
				trips, err = h.roundTrips(dials, true)
				f.fresh = append(f.fresh, trips...)
				return err
			}
			err := measure()
			stop()
			if err != nil {
				return nil, err
			}
			e.Logf("  %s, round %d: %.0f Mbit/s down, %.0f up, %.2f CPU s a GB, %.3f ms a round trip (load average %s)", []string{"forwarding", "proxy"}[way], round+1,
				f.down[round], f.up[round], quantile(f.cpu, 0.5), quantile(f.trip, 0.5), load())
		}
	}
	plain, proxy := found[0], found[1]
	half := func(v []float64) float64 { return quantile(v, 0.5) }
	return []Result{
		Info("lan, plain forwarding, down", half(plain.down), "Mbit/s", "more"),
		Info("lan, plain forwarding, up", half(plain.up), "Mbit/s", "more"),
		More("lan, proxy without circuits, multiple of forwarding's rate down", half(proxy.down)/half(plain.down), "×", 0.5),
		More("lan, proxy without circuits, multiple of forwarding's rate up", half(proxy.up)/half(plain.up), "×", 0.5),
		Info("lan, plain forwarding, round trip, p50", half(plain.trip), "ms", "less"),
		Less("lan, proxy without circuits, added to a round trip, p50", half(proxy.trip)-half(plain.trip), "ms", 0.3),
		Info("lan, proxy without circuits, added to a new connection's first byte, p50", half(proxy.fresh)-half(plain.fresh), "ms", "less"),
	}, nil
}
