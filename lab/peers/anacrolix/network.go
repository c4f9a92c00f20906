package main

import (
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// network joins sockets in memory; a datagram takes delay ± 40 %.
type network struct {
	delay time.Duration
	sent  atomic.Int64
	cut   atomic.Bool // the halves do not reach each other

	mu      sync.Mutex
	sockets map[string]*socket
}

// socket is the net.PacketConn of a node.
type socket struct {
	net    *network
	addr   *net.UDPAddr
	side   atomic.Int32
	in     chan datagram
	closed chan struct{}
	once   sync.Once
}

type datagram struct {
	from net.Addr
	data []byte
}

func (n *network) open(i int) *socket {
	s := &socket{
		net: n, addr: &net.UDPAddr{IP: net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)), Port: 6881},
		in: make(chan datagram, 1024), closed: make(chan struct{}),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sockets[s.addr.String()] = s
	return s
}

func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-s.in:
		return copy(b, d.data), d.from, nil
	case <-s.closed:
		return 0, nil, net.ErrClosed
	}
}

func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-s.closed:
		return 0, net.ErrClosed
	default:
	}
	s.net.sent.Add(1)
	s.net.mu.Lock()
	other := s.net.sockets[to.String()]
	s.net.mu.Unlock()
	if other == nil || s.net.cut.Load() && s.side.Load() != other.side.Load() {
		return len(b), nil
	}
	d := datagram{s.addr, append([]byte(nil), b...)}
	jitter := time.Duration((rand.Float64() - 0.5) * 0.8 * float64(s.net.delay))
	time.AfterFunc(s.net.delay+jitter, func() {
		select {
		case other.in <- d:
		case <-other.closed:
		default: // its buffer is full, as a kernel's would be
		}
	})
	return len(b), nil
}

func (s *socket) Close() error {
	s.once.Do(func() {
		s.net.mu.Lock()
		delete(s.net.sockets, s.addr.String())
		s.net.mu.Unlock()
		close(s.closed)
	})
	return nil
}

func (s *socket) LocalAddr() net.Addr              { return s.addr }
func (s *socket) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (s *socket) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (s *socket) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
