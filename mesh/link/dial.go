package link

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// attempts are when connects to one address begin. A radio that loses the first
// SYN would hold a session up for a second, the kernel's first timeout.
var attempts = [...]time.Duration{0, 200 * time.Millisecond, 600 * time.Millisecond}

// dialTCP returns the first connection that comes up; others are closed.
func (e *Engine) dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, connectTimeout, fmt.Errorf("no answer within %v", connectTimeout))
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result)
	running := 0
	defer func() {
		cancel()
		for range running {
			if r := <-results; r.err == nil {
				r.conn.Close()
			}
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for begun := 0; ; {
		select {
		case <-timer.C:
			begun++
			running++
			go func() {
				conn, err := e.connect(ctx, to)
				results <- result{conn, err}
			}()
			if begun < len(attempts) {
				timer.Reset(attempts[begun] - attempts[begun-1])
			}
		case r := <-results:
			running--
			if r.err != nil && ctx.Err() != nil {
				r.err = context.Cause(ctx)
			}
			return r.conn, r.err
		}
	}
}

func (e *Engine) connect(ctx context.Context, to netip.AddrPort) (conn net.Conn, err error) {
	dialer := net.Dialer{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error { return impatient(c) }}
	err = e.enter(func() (err error) {
		conn, err = dialer.DialContext(ctx, "tcp", indexed(to).String())
		return err
	})
	return conn, err
}

// impatient keeps the kernel from doubling the time between retransmissions: a
// session is a few packets, and on a lossy radio would spend it waiting.
func impatient(c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_THIN_LINEAR_TIMEOUTS, 1) // only a help
	})
}

func (e *Engine) listenUDP(at netip.AddrPort) (conn *net.UDPConn, err error) {
	err = e.enter(func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(indexed(at)))
		return err
	})
	return conn, err
}

// indexed replaces the name of an interface in the zone by its index: package net
// keeps the indexes of names for a minute, and an interface that was unplugged
// and plugged in again would not be found.
func indexed(a netip.AddrPort) netip.AddrPort {
	if zone := a.Addr().Zone(); zone != "" {
		if i, err := net.InterfaceByName(zone); err == nil {
			return netip.AddrPortFrom(a.Addr().WithZone(strconv.Itoa(i.Index)), a.Port())
		}
	}
	return a
}

func addrPortOf(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
