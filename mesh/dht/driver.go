package dht

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
)

// PacketConn is what a Node runs on: a *net.UDPConn bound to our mesh address and
// Port, or one in memory.
type PacketConn interface {
	ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	SetReadDeadline(t time.Time) error
}

// ErrClosed is returned by requests to a Node that does not run any more.
var ErrClosed = errors.New("the hash table is closed")

// Node runs a DHT on a packet connection. Its methods may be called by anybody; the
// DHT itself belongs to Run.
type Node struct {
	dht  *DHT
	log  *slog.Logger
	call chan func(now time.Time)
	done chan struct{}

	// Superseded is called by the loop when a publication of ours gave way; it must
	// not block. Set it before Run.
	Superseded func(Superseded)

	waiters map[OpID]chan Event // the loop's
	handed  bool                // ShutdownDone came; the loop's

	mu      sync.Mutex
	routes  map[netip.Addr]route // changes that the loop has not seen
	changed chan struct{}
}

type route struct {
	via       string
	reachable bool
}

// NewNode returns a Node that does nothing before Run. Changes of routes may be told
// at once.
func NewNode(cfg Config, log *slog.Logger) *Node {
	return &Node{
		dht: New(cfg), log: log, call: make(chan func(time.Time)), done: make(chan struct{}),
		waiters: make(map[OpID]chan Event), routes: make(map[netip.Addr]route), changed: make(chan struct{}, 1),
	}
}

type packet struct {
	from netip.AddrPort
	data []byte
}

// Run is the loop: a datagram, a request, a change of routes or the timer goes to
// the DHT, and what it wants is carried out. When ctx ends, what is stored here is
// handed on, which takes three seconds at most; then Run returns nil. It may be
// called once, and leaves the closing of conn to the caller.
func (n *Node) Run(ctx context.Context, conn PacketConn) error {
	defer close(n.done)
	packets := make(chan packet, 64)
	failed := make(chan error, 1)
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() { failed <- read(conn, packets, stop) })
	defer func() {
		close(stop)
		conn.SetReadDeadline(time.Now())
		reader.Wait()
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	ending := ctx.Done()
	for {
		if n.carryOut(conn); n.handed {
			return nil
		}
		n.arm(timer)
		select {
		case p := <-packets:
			if err := n.dht.HandlePacket(time.Now(), p.from, p.data); err != nil {
				n.log.Debug("dht packet refused", "err", err)
			}
		case f := <-n.call:
			f(time.Now())
		case <-n.changed:
			n.applyRoutes()
		case <-timer.C:
			n.dht.HandleTimeout(time.Now())
		case err := <-failed:
			return fmt.Errorf("receiving dht packets: %w", err)
		case <-ending:
			ending = nil
			n.dht.Shutdown(time.Now())
		}
	}
}

// arm sets the timer to when the DHT is due.
func (n *Node) arm(timer *time.Timer) {
	if due := n.dht.NextTimeout(); !due.IsZero() {
		timer.Reset(max(0, time.Until(due)))
	} else {
		timer.Reset(time.Hour)
	}
}

// read passes datagrams on until it is stopped or the connection fails for good.
func read(conn PacketConn, packets chan<- packet, stop <-chan struct{}) error {
	buf := make([]byte, 2048)
	for failures := 0; ; {
		k, from, err := conn.ReadFromUDPAddrPort(buf)
		select {
		case <-stop:
			return nil
		default:
		}
		if err != nil {
			failures++
			if failures > 100 || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
				return err
			}
			continue // an ICMP error of an earlier datagram
		}
		failures = 0
		select {
		case packets <- packet{from, append([]byte(nil), buf[:k]...)}:
		case <-stop:
			return nil
		}
	}
}

func (n *Node) carryOut(conn PacketConn) {
	for {
		e, ok := n.dht.NextEvent()
		if !ok {
			return
		}
		switch e := e.(type) {
		case SendPacket:
			if _, err := conn.WriteToUDPAddrPort(e.Packet, e.To); err != nil {
				n.log.Debug("dht packet not sent", "err", err) // as good as lost: it is sent again
			}
		case Superseded:
			n.log.Info("a newer record of ours was published elsewhere", "seq", e.Seq)
			if n.Superseded != nil {
				n.Superseded(e)
			}
		case ShutdownDone:
			n.handed = true
		case LookupDone:
			n.answer(e.ID, e)
		case GetDone:
			n.answer(e.ID, e)
		case PutDone:
			n.answer(e.ID, e)
		}
	}
}

func (n *Node) answer(id OpID, e Event) {
	if w := n.waiters[id]; w != nil {
		w <- e // it has room
		delete(n.waiters, id)
	}
}

// SetReachable says that a route leads to a node, by the link via. It never blocks.
func (n *Node) SetReachable(addr netip.Addr, via string) { n.setRoute(addr, route{via, true}) }

// SetUnreachable says that none does. It never blocks.
func (n *Node) SetUnreachable(addr netip.Addr) { n.setRoute(addr, route{}) }

func (n *Node) setRoute(addr netip.Addr, r route) {
	n.mu.Lock()
	n.routes[addr] = r
	n.mu.Unlock()
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

func (n *Node) applyRoutes() {
	n.mu.Lock()
	routes := n.routes
	n.routes = make(map[netip.Addr]route)
	n.mu.Unlock()
	now := time.Now()
	for addr, r := range routes {
		if r.reachable {
			n.dht.SetReachable(now, addr, r.via)
		} else {
			n.dht.SetUnreachable(now, addr)
		}
	}
}

// Do calls f in the loop and waits for it.
func (n *Node) Do(ctx context.Context, f func(now time.Time, d *DHT)) error {
	ran := make(chan struct{})
	select {
	case n.call <- func(now time.Time) { f(now, n.dht); close(ran) }:
		<-ran // the loop runs what it took
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-n.done:
		return ErrClosed
	}
}

// operate begins an operation and waits for its end.
func (n *Node) operate(ctx context.Context, begin func(now time.Time, d *DHT) OpID) (Event, error) {
	w := make(chan Event, 1)
	if err := n.Do(ctx, func(now time.Time, d *DHT) { n.waiters[begin(now, d)] = w }); err != nil {
		return nil, err
	}
	select {
	case e := <-w:
		return e, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-n.done:
		return nil, ErrClosed
	}
}

// Get finds the newest record of a key; GetDone.Record is nil if there is none.
func (n *Node) Get(ctx context.Context, typ uint16, key Key) (GetDone, error) {
	e, err := n.operate(ctx, func(now time.Time, d *DHT) OpID { return d.Get(now, typ, key) })
	done, _ := e.(GetDone)
	return done, err
}

// Publish stores a value and keeps it stored until Withdraw.
func (n *Node) Publish(ctx context.Context, p Publication) (PutDone, error) {
	return n.put(ctx, func(now time.Time, d *DHT) OpID { return d.Publish(now, p) })
}

// Put stores a signed record once.
func (n *Node) Put(ctx context.Context, r *Record, o PutOptions) (PutDone, error) {
	return n.put(ctx, func(now time.Time, d *DHT) OpID { return d.Put(now, r, o) })
}

func (n *Node) put(ctx context.Context, begin func(time.Time, *DHT) OpID) (PutDone, error) {
	e, err := n.operate(ctx, begin)
	done, _ := e.(PutDone)
	if err == nil {
		err = done.Err
	}
	return done, err
}

// Withdraw ends a publication.
func (n *Node) Withdraw(ctx context.Context, key Key) error {
	return n.Do(ctx, func(now time.Time, d *DHT) { d.Withdraw(now, key) })
}

// Publications lists what is kept stored.
func (n *Node) Publications(ctx context.Context) (list []Published, err error) {
	err = n.Do(ctx, func(_ time.Time, d *DHT) { list = d.Publications() })
	return list, err
}

// Lookup finds the nodes closest to a key.
func (n *Node) Lookup(ctx context.Context, key Key) (LookupDone, error) {
	e, err := n.operate(ctx, func(now time.Time, d *DHT) OpID { return d.Lookup(now, key) })
	done, _ := e.(LookupDone)
	return done, err
}

// Status returns what the DHT knows about itself.
func (n *Node) Status(ctx context.Context) (s Status, err error) {
	err = n.Do(ctx, func(_ time.Time, d *DHT) { s = d.Status() })
	return s, err
}

// Counters returns what was counted, by metric name.
func (n *Node) Counters(ctx context.Context) (m map[string]uint64, err error) {
	err = n.Do(ctx, func(_ time.Time, d *DHT) { m = d.Counters() })
	return m, err
}
