// Package channel is the connection between two nodes that carries circuits: one
// TCP connection over the mesh, a TLS 1.3 handshake judged by NodeID, and records
// of cells whose headers alone are sealed (docs/protocols/onion.md).
//
// A Channel has one goroutine that reads and one that writes. The reader calls
// the circuits; what they send waits in a bounded queue for each circuit, and the
// writer takes from the queues in turn. Nothing else is shared.
package channel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
)

// Errors of a channel that is no more.
var (
	ErrClosed   = errors.New("channel is closed")
	errTooMany  = errors.New("too many circuits on the channel")
	errProtocol = errors.New("the node broke the protocol of the channel")
)

const (
	// MaxCircuits bounds the circuits of one channel, of both sides together.
	MaxCircuits = 2048
	// maxControls bounds the control cells that wait to be written.
	maxControls = 2 * MaxCircuits

	writeTimeout = 30 * time.Second // for one record
	readTimeout  = 90 * time.Second // three keep-alives lost
)

// Circuit is one end of a circuit on a channel. The calls come from the channel's
// reader, in order, but HandleDestroy may come from its writer; none may block.
type Circuit interface {
	// HandleCell takes a relay cell. Body is the channel's again when it returns.
	HandleCell(flags cell.Flags, body []byte)
	// HandleCreated takes the reply to the Create that this side sent.
	HandleCreated(reply []byte)
	// HandleIdle is called after some cells, when no more are there to be read.
	HandleIdle()
	// HandleDestroy says that the other side, the end of the channel or want of
	// memory destroyed the circuit. At most a HandleIdle comes afterwards.
	HandleDestroy(reason cell.Reason)
}

// Acceptor takes the circuits that the other side makes.
type Acceptor interface {
	// HandleCreate is called from the channel's reader and must not block. It, or
	// somebody later, calls Attach and SendCreated, or Destroy. Request must be copied.
	HandleCreate(leg *Leg, request []byte)
}

// Config is what channels of a node have in common.
type Config struct {
	Identity *identity.Identity
	Accept   Acceptor // nil: circuits of others are refused
	Budget   *Budget  // nil: one of its own
	Limit    Limit    // of what channels carry that others opened; nil: there is none
	Self     bool     // a node may open channels to itself: where there are few, circuits end at home
}

// Limit bounds a rate of bytes. exit.Limiter does.
type Limit interface {
	// Active reports whether there is a bound now.
	Active() bool
	// Wait takes n bytes and waits until they are paid for, at most until done is closed.
	Wait(n int, done <-chan struct{})
}

// limit returns the bound of this channel; nil if it has none now. What this node
// wants for itself goes through channels that it opened.
func (c *Channel) limit() Limit {
	if c.client || c.cfg.Limit == nil || !c.cfg.Limit.Active() {
		return nil
	}
	return c.cfg.Limit
}

// Stats counts what went through a channel. All are since it was made.
type Stats struct {
	CellsIn, CellsOut     uint64
	BytesIn, BytesOut     uint64
	RecordsIn, RecordsOut uint64
	Unknown               uint64 // cells of circuits that are gone
}

// Channel is a connection to another node. Run must be called once.
type Channel struct {
	cfg      Config
	conn     net.Conn
	raw      syscall.RawConn // of conn; nil where that is no socket
	in       *bufio.Reader   // what the handshake may have read too much
	node     identity.NodeID
	client   bool
	opened   time.Time
	send     *protection // the writer's
	get      *protection // the reader's
	closing  chan struct{}
	closeErr error // why; set before closing is closed
	once     sync.Once

	mu     sync.RWMutex
	legs   map[uint32]*Leg
	nextID uint32
	closed bool

	out     outbox
	pending *packer // what the connection did not take at once; of who is writing
	attempt attempt // of who is writing
	wrote   atomic.Int64

	stats struct {
		cellsIn, cellsOut, bytesIn, bytesOut, recordsIn, recordsOut, unknown atomic.Uint64
	}
}

// Dial makes a channel over conn to a node that must be the one given. It closes
// conn if that fails.
func Dial(ctx context.Context, conn net.Conn, cfg Config, node identity.NodeID) (*Channel, error) {
	c, err := open(ctx, conn, cfg, true)
	if err == nil && c.node != node {
		conn.Close()
		return nil, fmt.Errorf("opening a channel: %w: %s", ErrWrongNode, c.node.Short())
	}
	return c, err
}

// Accept makes a channel over a connection that another node has opened. It
// closes conn if that fails.
func Accept(ctx context.Context, conn net.Conn, cfg Config) (*Channel, error) {
	return open(ctx, conn, cfg, false)
}

func open(ctx context.Context, conn net.Conn, cfg Config, client bool) (*Channel, error) {
	tune(conn)
	config, err := cfg.Identity.TLSConfig(alpn)
	if err != nil {
		conn.Close()
		return nil, err
	}
	in := bufio.NewReaderSize(conn, 4096)
	h, err := shake(ctx, conn, in, config, client)
	if err == nil && !cfg.Self && h.node == cfg.Identity.NodeID() {
		err = fmt.Errorf("%w: it is ourselves", ErrWrongNode)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("opening a channel: %w", err)
	}
	if cfg.Budget == nil {
		cfg.Budget = NewBudget(DefaultBudget)
	}
	c := &Channel{
		cfg: cfg, conn: conn, in: in, node: h.node, client: client, opened: time.Now(),
		send: newProtection(h.aes, h.send), get: newProtection(h.aes, h.get),
		closing: make(chan struct{}), legs: make(map[uint32]*Leg),
	}
	c.out.init()
	if socket, ok := conn.(syscall.Conn); ok {
		if c.raw, err = socket.SyscallConn(); err != nil {
			conn.Close()
			return nil, fmt.Errorf("opening a channel: %w", err)
		}
	}
	return c, nil
}

// Node returns the node at the other end.
func (c *Channel) Node() identity.NodeID { return c.node }

// Outgoing reports whether this side opened the channel.
func (c *Channel) Outgoing() bool { return c.client }

// Done is closed when the channel ends.
func (c *Channel) Done() <-chan struct{} { return c.closing }

func (c *Channel) isClosing() bool {
	select {
	case <-c.closing:
		return true
	default:
		return false
	}
}

// Circuits returns how many circuits use the channel.
func (c *Channel) Circuits() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.legs)
}

// Stats returns the counters.
func (c *Channel) Stats() Stats {
	s := &c.stats
	return Stats{
		CellsIn: s.cellsIn.Load(), CellsOut: s.cellsOut.Load(), BytesIn: s.bytesIn.Load(), BytesOut: s.bytesOut.Load(),
		RecordsIn: s.recordsIn.Load(), RecordsOut: s.recordsOut.Load(), Unknown: s.unknown.Load(),
	}
}

// Run reads and writes until ctx ends, Close is called or the channel breaks. All
// circuits have been told when it returns. It returns nil on cancel and on Close.
func (c *Channel) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { c.close(ErrClosed) })
	defer stop()
	c.cfg.Budget.add(c)
	defer c.cfg.Budget.remove(c)
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.close(c.write())
	}()
	c.close(c.read())
	<-written
	c.out.drain(c.cfg.Budget)
	c.tellDoomed()
	for _, l := range c.takeLegs() {
		l.end(cell.ReasonClosed)
	}
	if c.closeErr == ErrClosed {
		return nil
	}
	return fmt.Errorf("channel to %s: %w", c.node.Short(), c.closeErr)
}

// Close ends the channel; Run then returns.
func (c *Channel) Close() { c.close(ErrClosed) }

func (c *Channel) close(err error) {
	c.once.Do(func() {
		c.closeErr = err
		close(c.closing)
		c.conn.Close()
	})
}

func (c *Channel) takeLegs() []*Leg {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	legs := make([]*Leg, 0, len(c.legs))
	for _, l := range c.legs {
		legs = append(legs, l)
	}
	clear(c.legs)
	return legs
}

// Open takes a circuit identifier for a new circuit of this side.
func (c *Channel) Open(circuit Circuit) (*Leg, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if len(c.legs) >= MaxCircuits {
		return nil, errTooMany
	}
	for {
		// The side that opened the channel has the upper half of the numbers.
		c.nextID = (c.nextID + 1) & (1<<31 - 1)
		id := c.nextID
		if c.client {
			id |= 1 << 31
		}
		if _, used := c.legs[id]; !used && id != 0 {
			l := newLeg(c, id, circuit)
			c.legs[id] = l
			return l, nil
		}
	}
}

func (c *Channel) leg(id uint32) *Leg {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.legs[id]
}

// forget removes the leg and reports whether it was there.
func (c *Channel) forget(l *Leg) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.legs[l.id] != l {
		return false
	}
	delete(c.legs, l.id)
	l.dropped.Store(true)
	return true
}
