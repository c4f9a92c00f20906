package proxy

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/client"
)

const (
	maxSocksAddr = 1 + 1 + 255 + 2
	flowRest     = 2 * time.Second // during which a target that failed is not tried again
)

// association is a UDP ASSOCIATE, RFC 1928 section 7: a socket for one client, which
// lives as long as the connection that asked for it. Each target is a flow.
type association struct {
	s   *Server
	ctx context.Context
	who client.Isolation
	pc  *net.UDPConn

	from atomic.Pointer[netip.AddrPort] // the client's; nil until its first datagram

	running sync.WaitGroup
	mu      sync.Mutex
	flows   map[cell.Target]*flow
}

// flow is the datagrams to and from one target.
type flow struct {
	Flow
	cancel context.CancelFunc
}

// associate serves an association until its connection or ctx ends.
func (s *Server) associate(ctx context.Context, conn Socket, who client.Isolation, req *request) {
	s.mu.Lock()
	room := s.associations < s.cfg.MaxAssociations
	if room {
		s.associations++
	}
	s.mu.Unlock()
	if !room {
		s.full.Add(1)
		s.logFull("refusing associations", errTooMany)
		hangUp(conn, req.refuse(cell.EndResource))
		return
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.associations--
	}()
	here := addrPort(conn.LocalAddr())
	pc, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(localAddr(conn), 0)))
	if err != nil {
		s.logFull("opening a socket", err)
		hangUp(conn, req.refuse(cell.EndResource))
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &association{s: s, ctx: ctx, who: who, pc: pc, flows: make(map[cell.Target]*flow)}
	// A client may say from which port it is going to send.
	if at := netip.AddrPortFrom(who.Client, req.target.Port); req.target.Port != 0 && (req.target.Addr == who.Client || req.target.Addr.IsUnspecified()) {
		a.from.Store(&at)
	}
	a.running.Go(a.read)
	bound := netip.AddrPortFrom(here.Addr(), addrPort(pc.LocalAddr()).Port())
	if _, err := conn.Write(socks5Reply(replyDone, bound)); err == nil {
		io.Copy(io.Discard, conn)
	}
	cancel()
	pc.Close()
	a.running.Wait()
}

// localAddr returns the address of conn at our side, with its zone.
func localAddr(conn net.Conn) netip.Addr {
	if t, ok := conn.LocalAddr().(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// read takes the client's datagrams.
func (a *association) read() {
	b := make([]byte, 3+maxSocksAddr+cell.MaxMessage+1)
	for {
		n, from, err := a.pc.ReadFromUDPAddrPort(b)
		if err != nil {
			return // closed: a socket that is not connected has no other errors
		}
		target, data, ok := parseDatagram(b[:n])
		if !ok || len(data) > cell.MaxMessage || !a.isClient(from) {
			a.s.datagrams.dropped.Add(1)
			continue
		}
		a.send(target, data)
	}
}

// isClient reports whether from is the client; the port of its first datagram stays.
func (a *association) isClient(from netip.AddrPort) bool {
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if from.Addr().WithZone("") != a.who.Client {
		return false
	}
	if known := a.from.Load(); known != nil && known.Port() != from.Port() {
		return false
	} else if known == nil || known.Addr() != from.Addr() {
		a.from.Store(&from)
	}
	return true
}

// parseDatagram reads 0 (2) ‖ fragment ‖ address ‖ data. Fragments are refused.
func parseDatagram(b []byte) (target cell.Target, data []byte, ok bool) {
	if len(b) < 4 || b[0] != 0 || b[1] != 0 || b[2] != 0 {
		return target, nil, false
	}
	target, n, err := parseSocksAddr(b[3:])
	if err != nil || target.Port == 0 {
		return target, nil, false
	}
	target.Network = cell.UDP
	return target, b[3+n:], true
}

// appendDatagram appends what parseDatagram reads, without the data.
func appendDatagram(b []byte, from cell.Target) []byte {
	return appendSocksAddr(append(b, 0, 0, 0), from)
}

// send passes a datagram to its flow, which it starts if need be.
func (a *association) send(target cell.Target, data []byte) {
	a.mu.Lock()
	f := a.flows[target]
	if f == nil {
		if len(a.flows) >= a.s.cfg.MaxFlows && !a.evict() {
			a.mu.Unlock()
			a.s.datagrams.dropped.Add(1)
			return
		}
		ctx, cancel := context.WithCancel(a.ctx)
		f = &flow{cancel: cancel}
		f.Touch()
		a.flows[target] = f
		a.s.datagrams.flows.Add(1)
		first := bytes.Clone(data)
		a.running.Go(func() { a.run(ctx, f, target, first) })
		a.mu.Unlock()
		return
	}
	a.mu.Unlock()
	if !f.Send(data) {
		a.s.datagrams.dropped.Add(1)
		return
	}
	a.s.datagrams.out.Add(1)
}

// evict ends the flow that was not used for longest. Called with mu held.
func (a *association) evict() bool {
	var oldest cell.Target
	least := int64(1<<63 - 1)
	for t, f := range a.flows {
		if used := f.used.Load(); used < least {
			oldest, least = t, used
		}
	}
	if f := a.flows[oldest]; f != nil {
		f.cancel()
		delete(a.flows, oldest)
		return true
	}
	return false
}

// run is a flow from dialling to its end.
func (a *association) run(ctx context.Context, f *flow, target cell.Target, first []byte) {
	defer func() {
		f.cancel()
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.flows[target] == f {
			delete(a.flows, target)
		}
	}()
	err := a.carry(ctx, f, target, first)
	if reason := reasonOf(err); ctx.Err() == nil && reason != cell.EndDone {
		a.s.fail(reason)
		select {
		case <-ctx.Done():
		case <-time.After(flowRest):
		}
	}
}

func (a *association) carry(ctx context.Context, f *flow, target cell.Target, first []byte) error {
	who := a.who
	if a.s.cfg.IsolateDestination {
		who.Destination = (&request{target: target}).host()
	}
	dial, cancel := context.WithTimeout(ctx, a.s.cfg.DialTime)
	st, err := a.s.cfg.Dialer.Dial(dial, who, target, first)
	cancel()
	if err != nil {
		f.End()
		return err
	}
	defer st.Close()
	defer f.End()
	stop := context.AfterFunc(ctx, func() { st.Close() })
	defer stop()
	a.s.datagrams.out.Add(1)
	f.Begin(st)

	b := appendDatagram(nil, target)
	head := len(b)
	b = slices.Grow(b, cell.MaxMessage)[:head+cell.MaxMessage]
	return f.Receive(st, a.s.cfg.FlowIdle, b[head:], func(n int) {
		if to := a.from.Load(); to != nil {
			a.pc.WriteToUDPAddrPort(b[:head+n], *to)
			a.s.datagrams.in.Add(1)
		}
	})
}
