package channel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"globalnet/internal/gate"
	"globalnet/internal/identity"
)

const (
	maxChannels = 1024
	maxOfNode   = 4                // channels with one node
	idleChannel = 10 * time.Minute // after which a channel without circuits is closed
)

// Underlay reaches nodes by their NodeID: the mesh.
type Underlay interface {
	DialNode(ctx context.Context, id identity.NodeID) (net.Conn, error)
}

// Manager keeps a node's channels, at most one that this node opened to each
// other node. Its methods may be called from any goroutine; Run must be called once.
type Manager struct {
	cfg      Config
	underlay Underlay
	log      *slog.Logger
	shaking  gate.Gate
	running  chan struct{} // closed when Run has begun

	mu       sync.Mutex
	ctx      context.Context // of Run; nil before
	tasks    sync.WaitGroup
	channels map[identity.NodeID][]*Channel
	dials    map[identity.NodeID]*dial
	count    int
}

// dial is an attempt to open a channel, for all who want it.
type dial struct {
	done chan struct{}
	ch   *Channel
	err  error
}

// NewManager returns a Manager. Log may be nil.
func NewManager(cfg Config, u Underlay, log *slog.Logger) *Manager {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if cfg.Budget == nil {
		cfg.Budget = NewBudget(DefaultBudget)
	}
	return &Manager{cfg: cfg, underlay: u, log: log, running: make(chan struct{}),
		channels: make(map[identity.NodeID][]*Channel), dials: make(map[identity.NodeID]*dial)}
}

var errStopped = errors.New("channels are stopped")

// Run accepts connections from l, which it closes, until ctx ends. It returns
// when all channels have ended.
func (m *Manager) Run(ctx context.Context, l net.Listener) error {
	m.mu.Lock()
	m.ctx = ctx
	m.mu.Unlock()
	close(m.running)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer func() {
		m.mu.Lock()
		m.ctx = nil
		m.mu.Unlock()
		m.tasks.Wait()
	}()
	outer := ctx // is done before l is closed
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		conn, err := l.Accept()
		if err != nil {
			if outer.Err() != nil {
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accepting channels: %w", err)
			}
			select { // out of descriptors, or the like
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		if !m.shaking.Enter(conn) {
			conn.Close()
		} else if !m.start(func(ctx context.Context) { m.accept(ctx, conn) }) {
			m.shaking.Leave(conn)
			conn.Close()
		}
	}
}

func (m *Manager) start(f func(ctx context.Context)) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx == nil || m.ctx.Err() != nil {
		return false
	}
	ctx := m.ctx
	m.tasks.Go(func() { f(ctx) })
	return true
}

func (m *Manager) accept(ctx context.Context, conn net.Conn) {
	c, err := Accept(ctx, conn, m.cfg)
	m.shaking.Leave(conn)
	if err != nil {
		m.log.Debug("channel refused", "err", err)
		return
	}
	if !m.add(c) {
		c.Close()
		return
	}
	m.run(ctx, c)
}

func (m *Manager) add(c *Channel) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.channels[c.node]) >= maxOfNode || m.count >= maxChannels && !m.makeRoom() {
		return false
	}
	m.count++
	m.channels[c.node] = append(m.channels[c.node], c)
	return true
}

// makeRoom closes the oldest channel that no circuit uses. Called with mu held.
func (m *Manager) makeRoom() bool {
	var oldest *Channel
	for _, cs := range m.channels {
		for _, c := range cs {
			if c.Circuits() == 0 && !c.isClosing() && (oldest == nil || c.opened.Before(oldest.opened)) {
				oldest = c
			}
		}
	}
	if oldest == nil {
		return false
	}
	oldest.Close()
	return true
}

// run runs a channel that was added.
func (m *Manager) run(ctx context.Context, c *Channel) {
	m.log.Debug("channel opened", "node", c.node.Short(), "outgoing", c.client)
	ctx, cancel := context.WithCancel(ctx)
	idle := m.watch(ctx, c)
	err := c.Run(ctx)
	cancel()
	<-idle
	m.mu.Lock()
	m.count--
	left := m.channels[c.node][:0]
	for _, o := range m.channels[c.node] {
		if o != c {
			left = append(left, o)
		}
	}
	if m.channels[c.node] = left; len(left) == 0 {
		delete(m.channels, c.node)
	}
	m.mu.Unlock()
	m.log.Debug("channel closed", "node", c.node.Short(), "err", err)
}

// watch closes a channel that no circuit uses for long.
func (m *Manager) watch(ctx context.Context, c *Channel) (ended chan struct{}) {
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(idleChannel / 2)
		defer tick.Stop()
		for idle := 0; idle < 2; {
			select {
			case <-ctx.Done():
				return
			case <-c.Done():
				return
			case <-tick.C:
			}
			if idle++; c.Circuits() > 0 {
				idle = 0
			}
		}
		c.Close()
	}()
	return ended
}

// Channel returns a channel to a node: one that is there, or a new one.
func (m *Manager) Channel(ctx context.Context, id identity.NodeID) (*Channel, error) {
	select {
	case <-m.running:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	m.mu.Lock()
	for _, c := range m.channels[id] {
		if !c.isClosing() && c.limit() == nil { // what we want for ourselves is not bounded
			m.mu.Unlock()
			return c, nil
		}
	}
	d := m.dials[id]
	fresh := d == nil
	if fresh {
		d = &dial{done: make(chan struct{})}
		m.dials[id] = d
	}
	m.mu.Unlock()
	if fresh && !m.start(func(ctx context.Context) { m.dial(ctx, id, d) }) {
		m.finish(id, d, nil, errStopped)
	}
	select {
	case <-d.done:
		return d.ch, d.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// dial opens a channel and runs it.
func (m *Manager) dial(ctx context.Context, id identity.NodeID, d *dial) {
	dialCtx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	conn, err := m.underlay.DialNode(dialCtx, id)
	var c *Channel
	if err == nil {
		c, err = Dial(dialCtx, conn, m.cfg, id)
	}
	cancel()
	if err == nil && !m.add(c) {
		c.Close()
		c, err = nil, errors.New("too many channels")
	}
	m.finish(id, d, c, err)
	if err == nil {
		m.run(ctx, c)
	}
}

func (m *Manager) finish(id identity.NodeID, d *dial, c *Channel, err error) {
	m.mu.Lock()
	delete(m.dials, id)
	m.mu.Unlock()
	d.ch, d.err = c, err
	close(d.done)
}

// Has reports whether there is a channel with the node of a mesh address.
func (m *Manager) Has(addr netip.Addr) bool { return len(m.with(addr)) > 0 }

// CloseTo closes the channels with the node of a mesh address: it cannot be reached.
func (m *Manager) CloseTo(addr netip.Addr) {
	for _, c := range m.with(addr) {
		c.Close()
	}
}

func (m *Manager) with(addr netip.Addr) (list []*Channel) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, cs := range m.channels {
		if id.Address() == addr {
			list = append(list, cs...)
		}
	}
	return list
}

// Channels returns the channels there are.
func (m *Manager) Channels() (all []*Channel) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, cs := range m.channels {
		all = append(all, cs...)
	}
	return all
}
