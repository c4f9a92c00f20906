package lan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/proxy"
	"globalnet/onion/service"
	"globalnet/onion/stream"
)

// Dialer begins streams.
type Dialer interface {
	Dial(ctx context.Context, who client.Isolation, target cell.Target, early []byte) (Stream, error)
}

// Stream is what a Server needs of a *stream.Stream.
type Stream interface {
	proxy.Stream
	net.Conn
}

// Config is what a Server is made of. Zero numbers mean defaults.
type Config struct {
	Name   string // of the LAN, which isolates
	Dialer Dialer
	Pool   *Pool

	// Target says what a stream to a name of the Pool is to ask for; false: there is no
	// such thing. Nil: the name itself.
	Target func(name string) (cell.Target, bool)

	// Local serves a connection to a port of a name of the Pool on this machine, until it
	// ends; false: the name is not of this machine. May be nil.
	Local func(ctx context.Context, name string, port uint16, conn net.Conn) bool

	// Limit bounds the bytes a second that one client may receive, and send; 0: no
	// bound. It is asked at the start of each connection, with our side's address.
	Limit func(local netip.Addr) int64

	MaxConns     int           // 4096
	MaxPerClient int           // 2304
	MaxFlows     int           // 512; of datagrams
	MaxEachFlows int           // 128; of one client
	DialTime     time.Duration // 45 s
	FlowIdle     time.Duration // 1 min

	Log *slog.Logger
}

// Server turns redirected connections and datagrams into streams.
type Server struct {
	cfg    Config
	counts serverCounts

	mu        sync.Mutex
	conns     int
	perClient map[netip.Addr]*clientState
	logged    time.Time

	flows flowTable
}

// clientState is what one client has now.
type clientState struct {
	conns int
	rate  *rate // nil: no bound
}

type serverCounts struct {
	accepted, full, loops, unknown, failed, pages, streams, sent, received atomic.Uint64
	flows, datagramsOut, datagramsIn, datagramsDropped                     atomic.Uint64
}

// Stats are counts since the start.
type Stats struct {
	Open     int    // connections now
	Accepted uint64 // connections
	Full     uint64 // refused: too many
	Loops    uint64 // to ourselves
	Unknown  uint64 // to a virtual address that is nobody's
	Failed   uint64 // did not reach their target
	Pages    uint64 // of them, told why over HTTP
	Streams  uint64
	Sent     uint64 // bytes of streams that have ended
	Received uint64

	Flows            int // of datagrams, now
	FlowsBegun       uint64
	DatagramsOut     uint64
	DatagramsIn      uint64
	DatagramsDropped uint64
}

// Client is a client that has connections now.
type Client struct {
	Addr  netip.Addr
	Conns int
}

// NewServer returns a Server.
func NewServer(cfg Config) *Server {
	setDefault(&cfg.MaxConns, 4096)
	setDefault(&cfg.MaxPerClient, 2304)
	setDefault(&cfg.MaxFlows, 512)
	setDefault(&cfg.MaxEachFlows, 128)
	setDefault(&cfg.DialTime, 45*time.Second)
	setDefault(&cfg.FlowIdle, time.Minute)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg: cfg, perClient: make(map[netip.Addr]*clientState)}
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	open := s.conns
	s.mu.Unlock()
	c := &s.counts
	return Stats{Open: open, Accepted: c.accepted.Load(), Full: c.full.Load(), Loops: c.loops.Load(), Unknown: c.unknown.Load(),
		Failed: c.failed.Load(), Pages: c.pages.Load(), Streams: c.streams.Load(), Sent: c.sent.Load(), Received: c.received.Load(),
		Flows: s.flows.len(), FlowsBegun: c.flows.Load(), DatagramsOut: c.datagramsOut.Load(), DatagramsIn: c.datagramsIn.Load(),
		DatagramsDropped: c.datagramsDropped.Load()}
}

// Clients lists who has connections now.
func (s *Server) Clients() []Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Client, 0, len(s.perClient))
	for addr, c := range s.perClient {
		list = append(list, Client{Addr: addr, Conns: c.conns})
	}
	return list
}

// Run serves redirected connections until ctx ends; then it closes the listeners and all
// connections and returns nil.
func (s *Server) Run(ctx context.Context, listeners []net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for _, l := range listeners {
		context.AfterFunc(ctx, func() { l.Close() })
		running.Go(func() { s.accept(ctx, l, &running) })
	}
	<-ctx.Done()
	return nil
}

func (s *Server) accept(ctx context.Context, l net.Listener, running *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of file descriptors, or the client has left already
			s.logFull(err)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		conn := c.(*net.TCPConn)
		local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
		from := clientAddr(conn.RemoteAddr().(*net.TCPAddr).AddrPort())
		state := s.enter(from, clientAddr(local))
		if state == nil {
			s.counts.full.Add(1)
			s.logFull(errTooMany)
			reset(conn)
			continue
		}
		running.Go(func() { s.serve(ctx, conn, from, state, running) })
	}
}

var errTooMany = errors.New("too many connections")

func (s *Server) enter(from, local netip.Addr) *clientState {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.perClient[from]
	if s.conns >= s.cfg.MaxConns || c != nil && c.conns >= s.cfg.MaxPerClient {
		return nil
	}
	if c == nil {
		c = &clientState{}
		if s.cfg.Limit != nil {
			c.rate = newRate(s.cfg.Limit(local))
		}
		s.perClient[from] = c
	}
	s.conns++
	c.conns++
	s.counts.accepted.Add(1)
	return c
}

func (s *Server) leave(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns--
	c := s.perClient[from]
	if c.conns--; c.conns == 0 {
		delete(s.perClient, from)
	}
}

func (s *Server) logFull(err error) {
	s.mu.Lock()
	now := time.Now()
	due := now.Sub(s.logged) > time.Minute
	if due {
		s.logged = now
	}
	s.mu.Unlock()
	if due {
		s.cfg.Log.Warn("connections of the LAN are refused", "err", err)
	}
}

// reset closes conn so that the other side sees an error.
func reset(conn *net.TCPConn) {
	conn.SetLinger(0)
	conn.Close()
}

// serve takes one connection to its target, and has it carried by another goroutine:
// the way there needs a deep stack, which each idle connection would keep.
func (s *Server) serve(ctx context.Context, conn *net.TCPConn, from netip.Addr, state *clientState, running *sync.WaitGroup) {
	stop := context.AfterFunc(ctx, func() { reset(conn) })
	end := func() {
		stop()
		conn.Close()
		s.leave(from)
	}
	st, done := s.reach(ctx, conn, from)
	if st == nil {
		end()
		return
	}
	running.Go(func() {
		defer end()
		defer done()
		s.relay(ctx, conn, st, state)
	})
}

// reach begins the stream of a connection. If there is none, the client knows.
func (s *Server) reach(ctx context.Context, conn *net.TCPConn, from netip.Addr) (st Stream, done func()) {
	dst, err := originalDst(conn)
	local := conn.LocalAddr().(*net.TCPAddr).AddrPort()
	if err != nil || netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port()) == netip.AddrPortFrom(local.Addr().Unmap(), local.Port()) {
		s.counts.loops.Add(1)
		reset(conn)
		return nil, nil
	}
	if s.local(ctx, conn, dst) {
		return
	}
	early, plain, err := peek(conn, dst.Port())
	if err != nil {
		reset(conn)
		return nil, nil
	}
	target, done, err := s.target(dst, cell.TCP)
	if err != nil {
		s.fail(conn, plain, dst, err)
		return nil, nil
	}
	st, err = s.dial(ctx, client.Isolation{Listener: s.cfg.Name, Client: from}, target, early, plain)
	if err != nil {
		done()
		s.fail(conn, plain, dst, err)
		return nil, nil
	}
	return st, done
}

// relay carries what is said until the end.
func (s *Server) relay(ctx context.Context, conn *net.TCPConn, st Stream, state *clientState) {
	s.counts.streams.Add(1)
	var socket proxy.Socket = conn
	if state.rate != nil {
		socket = &metered{conn, ctx, state.rate}
	}
	sent, received, err := proxy.Relay(socket, st)
	s.counts.sent.Add(uint64(sent))
	s.counts.received.Add(uint64(received))
	if err != nil && !isClosed(st.Connected()) {
		s.counts.failed.Add(1)
	}
}

// local serves a connection on this machine, if that is what its address is for.
func (s *Server) local(ctx context.Context, conn net.Conn, dst netip.AddrPort) bool {
	if s.cfg.Local == nil || !IsVirtual(dst.Addr()) {
		return false
	}
	name, release, ok := s.cfg.Pool.Hold(dst.Addr())
	if !ok {
		return false
	}
	defer release()
	return s.cfg.Local(ctx, name, dst.Port(), conn)
}

// dial begins a stream. For plain HTTP it awaits the target's answer, so that it can be
// said why there is none.
func (s *Server) dial(ctx context.Context, who client.Isolation, target cell.Target, early []byte, wait bool) (Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.DialTime)
	defer cancel()
	st, err := s.cfg.Dialer.Dial(ctx, who, target, early)
	if err != nil || !wait {
		return st, err
	}
	if err := proxy.Await(ctx, st); err != nil {
		return nil, err
	}
	return st, nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// errNobody is about a virtual address that belongs to no name any more.
var errNobody = fmt.Errorf("the address is nobody's: %w", &stream.EndError{Reason: cell.EndResolve})

// target is what to ask for to reach dst; done says that it is used no longer.
func (s *Server) target(dst netip.AddrPort, network cell.Network) (t cell.Target, done func(), err error) {
	addr := dst.Addr().Unmap()
	if !IsVirtual(addr) {
		if !addr.IsGlobalUnicast() || addr.IsPrivate() && !identity.MeshPrefix.Contains(addr) {
			return t, nil, &stream.EndError{Reason: cell.EndPolicy} // what is inside a LAN is no exit's matter
		}
		return cell.Target{Network: network, Addr: addr, Port: dst.Port()}, func() {}, nil
	}
	name, release, ok := s.cfg.Pool.Hold(addr)
	if !ok {
		s.counts.unknown.Add(1)
		return t, nil, errNobody
	}
	t, ok = cell.Target{Name: name}, true
	if s.cfg.Target != nil {
		t, ok = s.cfg.Target(name)
	}
	if !ok {
		release()
		s.counts.unknown.Add(1)
		return cell.Target{}, nil, errNobody
	}
	t.Network, t.Port = network, dst.Port()
	return t, release, nil
}

// peek reads what a client says first on the port of plain HTTP, where it is sure to
// speak first: it then travels with the request for the stream.
func peek(conn *net.TCPConn, port uint16) (early []byte, plain bool, err error) {
	if port != 80 && port != 8080 {
		return nil, false, nil
	}
	b := firstWords.Get().(*[maxEarly]byte)
	defer firstWords.Put(b)
	conn.SetReadDeadline(time.Now().Add(firstWord))
	n, err := conn.Read(b[:])
	conn.SetReadDeadline(time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return bytes.Clone(b[:n]), isHTTP(b[:n]), nil
}

var firstWords = sync.Pool{New: func() any { return new([maxEarly]byte) }}

const (
	maxEarly  = 4096
	firstWord = 300 * time.Millisecond // that a client of plain HTTP has to say something
)

// fail ends a connection whose target cannot be reached.
func (s *Server) fail(conn *net.TCPConn, plain bool, dst netip.AddrPort, err error) {
	s.counts.failed.Add(1)
	if !plain {
		reset(conn)
		return
	}
	s.counts.pages.Add(1)
	reason := proxy.ReasonOf(err)
	if errors.Is(err, service.ErrNotFound) {
		reason = cell.EndResolve
	}
	proxy.HangUp(conn, whyPage(reason, IsVirtual(dst.Addr())))
}
