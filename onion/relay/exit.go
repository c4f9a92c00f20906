package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/stream"
)

const (
	connectTimeout = 20 * time.Second
	resolveTimeout = 10 * time.Second
	// quietUDP is after how long without a datagram either way a UDP stream ends.
	quietUDP = 2 * time.Minute

	// Streams that a circuit may begin at once, and how many a second afterwards.
	beginBurst = 10000
	beginRate  = 10000
)

// Error is a refusal of an Exit that the client is told.
type Error struct{ Reason cell.EndReason }

func (e *Error) Error() string { return "exit: " + e.Reason.String() }

// EndReason translates the error of a connection for the other end of a stream.
func EndReason(err error) cell.EndReason {
	var told *Error
	var dns *net.DNSError
	switch {
	case errors.As(err, &told):
		return told.Reason
	case errors.As(err, &dns):
		return cell.EndResolve
	case errors.Is(err, syscall.ECONNREFUSED):
		return cell.EndRefused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return cell.EndUnreachable
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return cell.EndTimeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return cell.EndReset
	}
	return cell.EndMisc
}

// accept takes a stream that the client opens, on the reader's goroutine.
func (c *circuit) accept(s *stream.Stream, m cell.Begin) {
	c.mu.Lock()
	ok := !c.extending && !c.passing && c.role == plain && c.takeBegin()
	c.mu.Unlock()
	switch {
	case m.Target.Network == cell.Table:
		c.acceptTable(s, ok)
	case c.r.cfg.Exit == nil:
		s.CloseWith(cell.EndPolicy)
	case !ok || !c.r.start(func(ctx context.Context) { c.r.serve(c.mark(ctx), s, m.Target) }):
		s.CloseWith(cell.EndResource)
	}
}

func (c *circuit) takeBegin() bool {
	now := time.Now()
	if c.begins.at.IsZero() {
		c.begins = bucket{beginBurst, now}
	}
	return c.begins.take(now, beginRate, beginBurst)
}

// resolve looks a name up for the client.
func (c *circuit) resolve(name string, answer func(cell.Resolved)) {
	resolver, ok := c.r.cfg.Exit.(Resolver)
	if !ok {
		answer(cell.Resolved{Reason: cell.EndPolicy})
		return
	}
	c.mu.Lock()
	ok = c.takeBegin()
	c.mu.Unlock()
	if !ok || !c.r.start(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
		defer cancel()
		m, err := resolver.Resolve(c.mark(ctx), name)
		if err != nil {
			m = cell.Resolved{Reason: EndReason(err)}
		}
		answer(m)
	}) {
		answer(cell.Resolved{Reason: cell.EndResource})
	}
}

// serve connects a stream and carries its bytes until both ways are closed.
func (r *Relay) serve(ctx context.Context, s *stream.Stream, target cell.Target) {
	r.stats.streams.Add(1)
	defer r.stats.streams.Add(-1)
	stop := context.AfterFunc(ctx, func() { s.CloseWith(cell.EndCircuit) })
	defer stop()
	connectCtx, cancel := context.WithTimeout(ctx, connectTimeout)
	s.AfterEnd(cancel)
	conn, err := r.cfg.Exit.Connect(connectCtx, target)
	cancel()
	if err != nil {
		s.CloseWith(EndReason(err))
		return
	}
	var addr netip.Addr
	if a, ok := conn.RemoteAddr().(interface{ AddrPort() netip.AddrPort }); ok {
		addr = a.AddrPort().Addr().Unmap().WithZone("")
	}
	if s.Accepted(addr) != nil {
		conn.Close()
		return
	}
	if target.Network == cell.UDP {
		defer conn.Close()
		r.servePackets(s, conn)
		return
	}
	Carry(s, conn, func(f func()) bool { return r.start(func(context.Context) { f() }) })
}

// Carry carries the bytes of a stream to conn and back until both ways are closed, and
// closes conn. Start runs a function on a goroutine, or reports false.
func Carry(s *stream.Stream, conn net.Conn, start func(func()) bool) {
	defer conn.Close()
	outward := make(chan struct{}) // closed when all that the client sent is written
	s.AfterEnd(func() {
		if end := (*stream.EndError)(nil); !errors.As(s.Err(), &end) || end.Reason != cell.EndDone {
			if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
				tcp.SetLinger(0) // a reset: what came so far is not all
			}
			conn.Close()
			return
		}
		select {
		case <-outward:
			conn.Close()
		default:
		}
	})
	started := start(func() {
		_, err := s.WriteTo(conn)
		if err != nil {
			s.CloseWith(EndReason(err))
		} else if half, ok := conn.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
		close(outward)
		if s.Err() != nil {
			conn.Close()
		}
	})
	if !started {
		s.CloseWith(cell.EndCircuit)
		return
	}
	if _, err := io.Copy(s, conn); err != nil && !errors.Is(err, net.ErrClosed) {
		s.CloseWith(EndReason(err))
	} else {
		s.CloseWrite()
	}
	<-outward
}

// servePackets carries the datagrams of a stream until it ends or is quiet for long.
func (r *Relay) servePackets(s *stream.Stream, conn net.Conn) {
	s.AfterEnd(func() { conn.Close() })
	defer s.CloseWith(cell.EndDone)
	var last atomic.Int64 // when a datagram went, either way
	touch := func() { last.Store(time.Now().UnixNano()) }
	touch()
	outward := make(chan struct{})
	started := r.start(func(context.Context) {
		defer close(outward)
		p := make([]byte, cell.MaxMessage)
		for {
			n, err := s.Read(p)
			if err != nil {
				s.CloseWith(cell.EndDone)
				return
			}
			touch()
			conn.Write(p[:n]) // lost datagrams are nobody's error
		}
	})
	if !started {
		return
	}
	defer func() {
		s.CloseWith(cell.EndDone)
		<-outward
	}()
	p := make([]byte, 1<<16)
	for {
		conn.SetReadDeadline(time.Unix(0, last.Load()).Add(quietUDP))
		n, err := conn.Read(p)
		switch {
		case err == nil:
			touch()
			if n <= cell.MaxMessage {
				if _, err := s.Write(p[:n]); err != nil {
					return
				}
			}
		case errors.Is(err, syscall.ECONNREFUSED): // of an earlier datagram
		case errors.Is(err, os.ErrDeadlineExceeded) && time.Since(time.Unix(0, last.Load())) < quietUDP:
		default:
			return
		}
	}
}
