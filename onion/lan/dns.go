package lan

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"globalnet/onion/client"
	"golang.org/x/net/dns/dnsmessage"
)

const (
	maxQuery     = 1500
	maxSlow      = 256 // questions at exits at a time
	maxSlowEach  = 64  // of one client
	maxDNSConns  = 64
	dnsIdle      = 10 * time.Second
	resolveTime  = 15 * time.Second
	dnsReadError = 50 * time.Millisecond
)

// DNSConfig is what a DNS is made of.
type DNSConfig struct {
	Name     string // of the LAN, which isolates
	Names    Names
	Resolver Resolver
	Log      *slog.Logger
}

// DNS answers the questions of LAN clients.
type DNS struct {
	cfg      DNSConfig
	cache    *cache
	settings atomic.Pointer[DNSSettings]

	mu    sync.Mutex
	slow  int
	each  map[netip.Addr]int
	conns int

	queries, malformed, zone, unknown, full, failed, busy, asked atomic.Uint64
}

// DNSStats are counts since the start.
type DNSStats struct {
	Queries   uint64 // that could be read
	Malformed uint64
	Zone      uint64 // for names of the zone
	Unknown   uint64 // of them, for names that there are not
	Full      uint64 // names that found no room
	Asked     uint64 // at exits
	Failed    uint64 // of them, without an answer
	Busy      uint64 // refused: too many at a time
	Cached    int    // answers that are kept
}

// NewDNS returns a DNS.
func NewDNS(cfg DNSConfig) *DNS {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	d := &DNS{cfg: cfg, cache: newCache(), each: make(map[netip.Addr]int)}
	d.settings.Store(&DNSSettings{})
	return d
}

// Apply takes other settings into use.
func (d *DNS) Apply(s DNSSettings) { d.settings.Store(&s) }

// Stats returns the counts.
func (d *DNS) Stats() DNSStats {
	return DNSStats{Queries: d.queries.Load(), Malformed: d.malformed.Load(), Zone: d.zone.Load(), Unknown: d.unknown.Load(), Full: d.full.Load(),
		Asked: d.asked.Load(), Failed: d.failed.Load(), Busy: d.busy.Load(), Cached: d.cache.len()}
}

// answer returns the answer to a query, nil for what is none, appended to dst, which is
// nil where there is room as over TCP. Where it takes an exit,
// later is called with what gives the answer, and nil is returned; later may refuse.
func (d *DNS) answer(b []byte, from netip.Addr, dst []byte, later func(func(context.Context) []byte)) []byte {
	q, rcode, err := parse(b, from)
	if err != nil {
		d.malformed.Add(1)
		return nil
	}
	d.queries.Add(1)
	if rcode != dnsmessage.RCodeSuccess {
		return appendAnswer(dst, q, refused(rcode))
	}
	switch q.room = answerSize; {
	case dst == nil:
		q.room = tcpSize
	case q.edns:
		q.room = ednsSize
	}
	o, done := d.local(q, *d.settings.Load())
	if !done {
		if r, ok := d.cache.get(client.Isolation{Listener: d.cfg.Name, Client: q.from}, q.asks()); ok {
			return appendAnswer(dst, q, d.present(q, r))
		}
		if !d.enter(from) {
			d.busy.Add(1)
			return appendAnswer(dst, q, refused(dnsmessage.RCodeServerFailure))
		}
		d.asked.Add(1)
		later(func(ctx context.Context) []byte {
			defer d.leave(from)
			ctx, cancel := context.WithTimeout(ctx, resolveTime)
			defer cancel()
			return appendAnswer(nil, q, d.exits(ctx, q))
		})
		return nil
	}
	return appendAnswer(dst, q, o)
}

func (d *DNS) enter(from netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.slow >= maxSlow || d.each[from] >= maxSlowEach {
		return false
	}
	d.slow++
	d.each[from]++
	return true
}

func (d *DNS) leave(from netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slow--
	if d.each[from]--; d.each[from] == 0 {
		delete(d.each, from)
	}
}

// Run answers on sockets until ctx ends; it closes them and returns nil then. The UDP
// sockets are ListenDNS's.
func (d *DNS) Run(ctx context.Context, packets []*net.UDPConn, streams []net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for _, c := range packets {
		context.AfterFunc(ctx, func() { c.Close() })
		running.Go(func() { d.serveUDP(ctx, c, &running) })
	}
	for _, l := range streams {
		context.AfterFunc(ctx, func() { l.Close() })
		running.Go(func() { d.serveTCP(ctx, l, &running) })
	}
	<-ctx.Done()
	return nil
}

// serveUDP answers from the address that was asked, which is one of several: what the
// kernel told with the query goes back with the answer.
func (d *DNS) serveUDP(ctx context.Context, c *net.UDPConn, running *sync.WaitGroup) {
	b, oob, out := make([]byte, maxQuery), make([]byte, 128), make([]byte, 0, ednsSize)
	for {
		n, oobn, _, from, err := c.ReadMsgUDPAddrPort(b, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error of an earlier answer
		}
		a := d.answer(b[:n], clientAddr(from), out[:0], func(ask func(context.Context) []byte) {
			back := append([]byte(nil), oob[:oobn]...)
			running.Go(func() {
				if a := ask(ctx); a != nil {
					c.WriteMsgUDPAddrPort(a, back, from)
				}
			})
		})
		if a != nil {
			c.WriteMsgUDPAddrPort(a, oob[:oobn], from)
		}
	}
}

func clientAddr(a netip.AddrPort) netip.Addr { return a.Addr().Unmap().WithZone("") }

func (d *DNS) serveTCP(ctx context.Context, l net.Listener, running *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(dnsReadError)
			continue
		}
		d.mu.Lock()
		room := d.conns < maxDNSConns
		if room {
			d.conns++
		}
		d.mu.Unlock()
		if !room {
			d.busy.Add(1)
			c.Close()
			continue
		}
		running.Go(func() {
			defer func() {
				c.Close()
				d.mu.Lock()
				d.conns--
				d.mu.Unlock()
			}()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			d.serveConn(ctx, c)
		})
	}
}

// serveConn answers one question after the other (RFC 7766 allows it).
func (d *DNS) serveConn(ctx context.Context, c net.Conn) {
	from := clientAddr(c.RemoteAddr().(*net.TCPAddr).AddrPort())
	b := make([]byte, maxQuery)
	for {
		c.SetDeadline(time.Now().Add(dnsIdle))
		if _, err := io.ReadFull(c, b[:2]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(b))
		if n > len(b) {
			d.malformed.Add(1)
			return
		}
		if _, err := io.ReadFull(c, b[:n]); err != nil {
			return
		}
		var slow []byte
		a := d.answer(b[:n], from, nil, func(ask func(context.Context) []byte) {
			c.SetDeadline(time.Now().Add(resolveTime + dnsIdle))
			slow = ask(ctx)
		})
		if a == nil {
			a = slow
		}
		if a == nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...)); err != nil {
			return
		}
	}
}
