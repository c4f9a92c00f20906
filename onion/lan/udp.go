package lan

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/proxy"
)

// flowKey is a client's socket and whom it speaks to.
type flowKey struct{ from, to netip.AddrPort }

// flowTable is the flows of datagrams there are.
type flowTable struct {
	mu    sync.Mutex
	flows map[flowKey]*proxy.Flow
	each  map[netip.Addr]int
}

func (t *flowTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.flows)
}

// Datagrams are the datagrams that the firewall brings.
type Datagrams interface {
	// Read returns a datagram, from whom it came and where it was to go.
	Read(b []byte) (n int, from, to netip.AddrPort, err error)
	// Answer opens the way back: what is written to it comes from `to`.
	Answer(from, to netip.AddrPort) (net.Conn, error)
	Close() error
}

// RunUDP serves redirected datagrams until ctx ends; then it closes d and returns nil.
func (s *Server) RunUDP(ctx context.Context, d Datagrams) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	context.AfterFunc(ctx, func() { d.Close() })
	b := make([]byte, cell.MaxMessage+1)
	for {
		n, from, to, err := d.Read(b)
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return nil
		}
		if err != nil || n > cell.MaxMessage {
			s.counts.datagramsDropped.Add(1)
			continue
		}
		s.datagram(ctx, d, flowKey{from, to}, b[:n], &running)
	}
}

func (s *Server) datagram(ctx context.Context, d Datagrams, key flowKey, data []byte, running *sync.WaitGroup) {
	t := &s.flows
	t.mu.Lock()
	f := t.flows[key]
	if f != nil {
		t.mu.Unlock()
		if f.Send(data) {
			s.counts.datagramsOut.Add(1)
		} else {
			s.counts.datagramsDropped.Add(1)
		}
		return
	}
	client := key.from.Addr()
	if t.flows == nil {
		t.flows, t.each = make(map[flowKey]*proxy.Flow), make(map[netip.Addr]int)
	}
	if len(t.flows) >= s.cfg.MaxFlows || t.each[client] >= s.cfg.MaxEachFlows {
		t.mu.Unlock()
		s.counts.datagramsDropped.Add(1)
		return
	}
	f = &proxy.Flow{}
	f.Touch()
	t.flows[key] = f
	t.each[client]++
	t.mu.Unlock()
	s.counts.flows.Add(1)
	first := bytes.Clone(data)
	running.Go(func() {
		defer func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			delete(t.flows, key)
			if t.each[client]--; t.each[client] == 0 {
				delete(t.each, client)
			}
		}()
		if s.carry(ctx, d, key, f, first) != nil && ctx.Err() == nil {
			s.counts.failed.Add(1)
		}
	})
}

// carry is a flow from dialling to its end.
func (s *Server) carry(ctx context.Context, d Datagrams, key flowKey, f *proxy.Flow, first []byte) error {
	defer f.End()
	target, done, err := s.target(key.to, cell.UDP)
	if err != nil {
		return err
	}
	defer done()
	back, err := d.Answer(key.from, key.to)
	if err != nil {
		return err
	}
	defer back.Close()
	st, err := s.dial(ctx, client.Isolation{Listener: s.cfg.Name, Client: key.from.Addr()}, target, first, false)
	if err != nil {
		return err
	}
	defer st.Close()
	defer context.AfterFunc(ctx, func() { st.Close() })()
	s.counts.datagramsOut.Add(1)
	f.Begin(st)
	// The kernel gives a client's further datagrams to the socket that answers it.
	more := make(chan struct{})
	go func() {
		defer close(more)
		s.further(back, f)
	}()
	defer func() {
		back.Close()
		<-more
	}()
	b := make([]byte, cell.MaxMessage)
	return f.Receive(st, s.cfg.FlowIdle, b, func(n int) {
		back.Write(b[:n])
		s.counts.datagramsIn.Add(1)
	})
}

// further takes datagrams from the socket of a flow until it is closed.
func (s *Server) further(back net.Conn, f *proxy.Flow) {
	b := make([]byte, cell.MaxMessage+1)
	for {
		n, err := back.Read(b)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // an ICMP error of an earlier answer
			continue
		case n > cell.MaxMessage || !f.Send(b[:n]):
			s.counts.datagramsDropped.Add(1)
		default:
			s.counts.datagramsOut.Add(1)
		}
	}
}
