package onionlab

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"

	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/lan"
	"globalnet/onion/stream"
)

// Transparent serves connections that are redirected to a port of the current network
// namespace as the LAN edge does, but without circuits: they go where they wanted to,
// out of the namespace in which do runs what it is given.
func Transparent(ctx context.Context, port uint16, do func(func() error) error) (stop func(), err error) {
	listeners, err := lan.ListenTCP(ctx, port)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		lan.NewServer(lan.Config{Name: "direct", Dialer: straight(do), Pool: lan.NewPool()}).Run(ctx, listeners)
	}()
	return func() {
		cancel()
		<-over
	}, nil
}

// straight is a lan.Dialer without circuits.
type straight func(func() error) error

// Dial implements lan.Dialer.
func (do straight) Dial(ctx context.Context, _ client.Isolation, target cell.Target, early []byte) (lan.Stream, error) {
	if target.Network != cell.TCP || !target.Addr.IsValid() {
		return nil, errors.New("dialling straight: only TCP to addresses")
	}
	var c net.Conn
	err := do(func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, "tcp", netip.AddrPortFrom(target.Addr, target.Port).String())
		return err
	})
	if err != nil {
		return nil, &stream.EndError{Reason: cell.EndRefused}
	}
	s := &straightStream{TCPConn: c.(*net.TCPConn), addr: target.Addr, connected: make(chan struct{}), ended: make(chan struct{})}
	close(s.connected)
	if _, err := s.Write(early); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// straightStream is a connection of TCP in the place of a stream.
type straightStream struct {
	*net.TCPConn
	addr             netip.Addr
	connected, ended chan struct{}

	mu     sync.Mutex
	reason cell.EndReason
	over   bool
	after  []func()
}

// WriteTo implements io.WriterTo; the connection's own does not let the kernel do it.
func (s *straightStream) WriteTo(w io.Writer) (int64, error) {
	if r, ok := w.(io.ReaderFrom); ok {
		return r.ReadFrom(s.TCPConn)
	}
	return s.TCPConn.WriteTo(w)
}

func (s *straightStream) Connected() <-chan struct{} { return s.connected }

func (s *straightStream) Ended() <-chan struct{} { return s.ended }

func (s *straightStream) Addr() netip.Addr { return s.addr }

func (s *straightStream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		return nil
	}
	return &stream.EndError{Reason: s.reason}
}

func (s *straightStream) AfterEnd(f func()) {
	s.mu.Lock()
	over := s.over
	if !over {
		s.after = append(s.after, f)
	}
	s.mu.Unlock()
	if over {
		f()
	}
}

func (s *straightStream) Close() error { return s.CloseWith(cell.EndDone) }

func (s *straightStream) CloseWith(reason cell.EndReason) error {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return nil
	}
	s.over, s.reason = true, reason
	after := s.after
	s.mu.Unlock()
	if reason == cell.EndReset {
		s.SetLinger(0)
	}
	err := s.TCPConn.Close()
	close(s.ended)
	for _, f := range after {
		f()
	}
	return err
}
