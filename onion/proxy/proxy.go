// Package proxy is the door of programs into the onion: SOCKS5 (RFC 1928, RFC 1929),
// SOCKS4 and 4a, and HTTP proxying (RFC 9110 section 9.3.6) on one port. The first
// byte of a connection tells which it is.
//
// A connection becomes a stream. It has begun, and the program hears of success, as
// soon as there is a circuit: what the program then sends follows at once, and does
// not wait for the target's answer. If the target cannot be reached after all, the
// connection is reset; with Config.Wait the program hears the exact reason instead,
// one round trip later. BEGIN goes out before the program's first bytes are there:
// browsers need 1 to 6 ms to say the first thing, and the exit connects meanwhile;
// waiting for them would save one small cell. What a program sends along with its
// request, and the head of a plain HTTP request, travel in BEGIN's cell.
//
// A Server owns its connections and associations; all it started has ended when
// Serve returns. Targets and addresses of clients are neither logged nor kept.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/stream"
)

const (
	requestTime = 10 * time.Second // for a whole request
	lingerTime  = time.Second      // for a client to read a refusal
	logPeriod   = time.Minute      // between two lines about full tables
)

// Dialer is the onion as a proxy sees it.
type Dialer interface {
	// Dial begins a stream on a circuit that fits who and target, with early data. It
	// returns when the circuit is there, not when the target is reached. The stream
	// outlives ctx.
	Dial(ctx context.Context, who client.Isolation, target cell.Target, early []byte) (*stream.Stream, error)
	// Resolve has an exit look a name up. A name below in-addr.arpa or ip6.arpa asks
	// for names.
	Resolve(ctx context.Context, who client.Isolation, name string) (cell.Resolved, error)
}

// Config is what a Server needs. Zero numbers mean defaults.
type Config struct {
	Name   string // of the listener, as in the configuration; isolates
	Dialer Dialer
	// IsolateDestination keeps streams to different hosts on different circuits.
	IsolateDestination bool
	// Wait has programs wait until the target is reached, and hear why it is not.
	Wait bool

	MaxConns        int           // 2048; connections at once
	MaxPerClient    int           // 1024; of these, from one address
	MaxAssociations int           // 64; UDP ASSOCIATE at once
	MaxFlows        int           // 64; targets of an association at once
	DialTime        time.Duration // 30 s; for a circuit, and with Wait for the target
	FlowIdle        time.Duration // 2 min; after which an unused flow of datagrams ends

	Log *slog.Logger
}

// Server is a proxy. It may serve several listeners, which then share its bounds.
type Server struct {
	cfg Config
	log *slog.Logger
	counters

	mu           sync.Mutex
	conns        int
	perClient    map[netip.Addr]int
	associations int
	logged       time.Time // when full tables were last logged
}

// New returns a Server.
func New(cfg Config) *Server {
	setDefault(&cfg.MaxConns, 2048)
	setDefault(&cfg.MaxPerClient, 1024)
	setDefault(&cfg.MaxAssociations, 64)
	setDefault(&cfg.MaxFlows, 64)
	setDefault(&cfg.DialTime, 30*time.Second)
	setDefault(&cfg.FlowIdle, 2*time.Minute)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg: cfg, log: cfg.Log, perClient: make(map[netip.Addr]int)}
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

// Serve accepts connections from l until ctx ends; then it closes l and all of its
// connections and returns nil. Other errors are those of l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	context.AfterFunc(ctx, func() { l.Close() })
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accepting on %s: %w", s.cfg.Name, err)
		case err != nil: // out of file descriptors, or the client has left already
			s.logFull("accepting", err)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		socket, ok := conn.(Socket)
		if !ok {
			conn.Close()
			return fmt.Errorf("accepting on %s: %T is no socket", s.cfg.Name, conn)
		}
		from := addrPort(conn.RemoteAddr()).Addr()
		if !s.enter(from) {
			s.full.Add(1)
			s.logFull("refusing connections", errTooMany)
			reset(conn)
			continue
		}
		running.Go(func() {
			defer s.leave(from)
			defer conn.Close()
			stop := context.AfterFunc(ctx, func() { reset(conn) })
			defer stop()
			s.serve(ctx, socket, from)
		})
	}
}

var errTooMany = errors.New("too many connections")

// enter counts a connection in, if there is room.
func (s *Server) enter(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns >= s.cfg.MaxConns || s.perClient[from] >= s.cfg.MaxPerClient {
		return false
	}
	s.conns++
	s.perClient[from]++
	s.accepted.Add(1)
	return true
}

func (s *Server) leave(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns--
	if s.perClient[from]--; s.perClient[from] == 0 {
		delete(s.perClient, from)
	}
}

// logFull logs that something is used up, once in a while.
func (s *Server) logFull(what string, err error) {
	s.mu.Lock()
	now := time.Now()
	due := now.Sub(s.logged) > logPeriod
	if due {
		s.logged = now
	}
	s.mu.Unlock()
	if due {
		s.log.Warn("proxy is short of something", "listener", s.cfg.Name, "doing", what, "err", err)
	}
}

// addrPort returns a as numbers, without zone; the zero value where it has none.
func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}

// serve takes a connection from its first byte to its end.
func (s *Server) serve(ctx context.Context, conn Socket, from netip.Addr) {
	conn.SetDeadline(time.Now().Add(requestTime))
	r := &reader{conn: conn}
	req, err := r.request()
	if err != nil {
		no := (*refusal)(nil)
		switch {
		case errors.As(err, &no):
			s.invalid.Add(1)
			hangUp(conn, no.reply)
		case err == errProtocol, err == errLong, errors.Is(err, os.ErrDeadlineExceeded):
			s.invalid.Add(1)
		default: // browsers open connections that they then do not need
			s.left.Add(1)
		}
		return
	}
	conn.SetDeadline(time.Time{})
	who := client.Isolation{Listener: s.cfg.Name, Client: from, Credentials: req.credentials}
	if s.cfg.IsolateDestination {
		who.Destination = req.host()
	}
	switch {
	case req.command != associate && own(conn, req.target):
		s.loops.Add(1)
		hangUp(conn, req.refuse(cell.EndPolicy))
	case req.command == connect:
		s.connect(ctx, conn, who, req, r.rest())
	case req.command == associate:
		s.associate(ctx, conn, who, req)
	default:
		s.resolve(ctx, conn, who, req)
	}
}

// own reports whether target is the proxy itself: each such request would make another.
func own(conn net.Conn, target cell.Target) bool {
	here := addrPort(conn.LocalAddr())
	if target.Port == 0 || target.Port != here.Port() {
		return false
	}
	return target.Name == "localhost" || target.Addr.IsLoopback() || target.Addr.IsUnspecified() ||
		target.Addr.IsValid() && target.Addr == here.Addr()
}
