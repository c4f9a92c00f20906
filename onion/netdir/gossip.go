package netdir

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"globalnet/internal/clock"
	"globalnet/internal/gate"
	"globalnet/internal/identity"
)

const (
	// GossipPort is the TCP port, at a node's mesh address.
	GossipPort = 18247

	alpn             = "globalnet-directory/1"
	handshakeTimeout = 10 * time.Second
	// strangerWait is how long a node may be early: it knows of the link already,
	// we do not.
	strangerWait = 3 * time.Second
	tickInterval = 5 * time.Second
	minRedial    = 200 * time.Millisecond
	maxRedial    = time.Minute
	maxQuotas    = 256
)

// Underlay reaches nodes by their NodeID: the mesh, at GossipPort.
type Underlay interface {
	DialNode(ctx context.Context, id identity.NodeID) (net.Conn, error)
}

// GossipConfig is what a Gossip needs.
type GossipConfig struct {
	Identity  *identity.Identity
	Directory *Directory
	Underlay  Underlay
	Clock     *clock.Keeper // of mesh time; nil: it is not spoken of
	Log       *slog.Logger  // may be nil
	// OnVouches is called when Vouches changed, if it is not nil.
	OnVouches func()
}

// Gossip keeps the directories of neighbours alike. It has one connection with
// each neighbour, which the one with the lower NodeID opens. Its methods may be
// called from any goroutine; Run must be called once.
type Gossip struct {
	cfg  GossipConfig
	self identity.NodeID
	tls  *tls.Config
	log  *slog.Logger
	gate gate.Gate
	book *book

	synced   chan struct{}
	syncOnce sync.Once

	mu         sync.Mutex
	ctx        context.Context // of Run; nil before and after
	tasks      sync.WaitGroup
	neighbours map[identity.NodeID]*neighbour
	quotas     map[identity.NodeID]*quota
	moved      chan struct{} // closed when neighbours change
	vouchCount int
}

// neighbour is a node we have a link with.
type neighbour struct {
	id      identity.NodeID
	quota   *quota
	ctx     context.Context // nil as long as nothing runs
	cancel  context.CancelFunc
	vouch   *Vouch
	order   int // of the vouch's coming
	session *session
}

// NewGossip returns a Gossip without neighbours.
func NewGossip(cfg GossipConfig) (*Gossip, error) {
	config, err := cfg.Identity.TLSConfig(alpn)
	if err != nil {
		return nil, fmt.Errorf("gossip: %w", err)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Gossip{cfg: cfg, self: cfg.Identity.NodeID(), tls: config, log: cfg.Log, book: newBook(),
		synced: make(chan struct{}), moved: make(chan struct{}),
		neighbours: make(map[identity.NodeID]*neighbour), quotas: make(map[identity.NodeID]*quota)}, nil
}

// Synced returns a channel that is closed once all that some neighbour knew is here.
func (g *Gossip) Synced() <-chan struct{} { return g.synced }

// Vouches returns the vouches of the neighbours, those that came first in front.
func (g *Gossip) Vouches() []Vouch {
	g.mu.Lock()
	defer g.mu.Unlock()
	var from []*neighbour
	for _, n := range g.neighbours {
		if n.vouch != nil {
			from = append(from, n)
		}
	}
	slices.SortFunc(from, func(a, b *neighbour) int { return a.order - b.order })
	vouches := make([]Vouch, len(from))
	for i, n := range from {
		vouches[i] = *n.vouch
	}
	return vouches
}

func (g *Gossip) vouched(n *neighbour, v Vouch) {
	g.mu.Lock()
	same := n.vouch != nil && *n.vouch == v
	if !same {
		g.vouchCount++
		n.vouch, n.order = &v, g.vouchCount
	}
	g.mu.Unlock()
	if !same && g.cfg.OnVouches != nil {
		g.cfg.OnVouches()
	}
}

// SetNeighbours says with which nodes there is a direct link now. With those that
// are gone nothing is spoken any more.
func (g *Gossip) SetNeighbours(ids []identity.NodeID) {
	g.mu.Lock()
	lost := false
	var gone []identity.NodeID
	for id, n := range g.neighbours {
		if !slices.Contains(ids, id) {
			lost = lost || n.vouch != nil
			if n.cancel != nil {
				n.cancel()
			}
			delete(g.neighbours, id)
			gone = append(gone, id)
		}
	}
	for _, id := range ids {
		if g.neighbours[id] == nil && id != g.self {
			n := &neighbour{id: id, quota: g.quotaOf(id)}
			g.neighbours[id] = n
			g.begin(n)
		}
	}
	close(g.moved)
	g.moved = make(chan struct{})
	g.mu.Unlock()
	if g.cfg.Clock != nil {
		g.cfg.Clock.Forget(gone...)
	}
	if lost && g.cfg.OnVouches != nil {
		g.cfg.OnVouches()
	}
}

// TimeChanged has the neighbours told of mesh time at once.
func (g *Gossip) TimeChanged() { g.wake(false) }

// quotaOf returns the quota of a node, which outlives its links. Called with mu held.
func (g *Gossip) quotaOf(id identity.NodeID) *quota {
	if q := g.quotas[id]; q != nil {
		return q
	}
	now := time.Now()
	for old, q := range g.quotas {
		if g.neighbours[old] == nil && (q.idle(now) || len(g.quotas) >= maxQuotas) {
			delete(g.quotas, old)
		}
	}
	q := newQuota(g.cfg.Directory.cfg.Max)
	g.quotas[id] = q
	return q
}

// begin makes a neighbour's context, and dials if that is our part. Called with
// mu held.
func (g *Gossip) begin(n *neighbour) {
	if g.ctx == nil || g.ctx.Err() != nil || n.ctx != nil {
		return
	}
	n.ctx, n.cancel = context.WithCancel(g.ctx)
	if bytes.Compare(g.self[:], n.id[:]) < 0 {
		g.tasks.Go(func() { g.keepDialling(n) })
	}
}

// Run speaks with the neighbours, and accepts connections from l, which it closes,
// until ctx ends. It returns when all it started has ended.
func (g *Gossip) Run(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	g.mu.Lock()
	g.ctx = ctx
	for _, n := range g.neighbours {
		g.begin(n)
	}
	g.tasks.Go(func() { g.watch(ctx) })
	g.mu.Unlock()
	defer func() {
		cancel()
		g.mu.Lock()
		g.ctx = nil
		g.mu.Unlock()
		g.tasks.Wait()
	}()
	for {
		conn, err := l.Accept()
		switch {
		case err == nil && g.gate.Enter(conn):
			g.tasks.Go(func() { g.accept(ctx, conn) })
		case err == nil:
			g.cfg.Directory.count(gossipStrangers)
			conn.Close()
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accepting gossip: %w", err)
		default: // out of descriptors, or the like
			pause(ctx, 100*time.Millisecond)
		}
	}
}

// pause waits, and reports whether ctx still runs.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// watch wakes the sessions when the directory changes, and ticks.
func (g *Gossip) watch(ctx context.Context) {
	tick := time.NewTicker(tickInterval)
	defer tick.Stop()
	for {
		changed := g.cfg.Directory.Changed()
		g.wake(false)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
			if g.cfg.Clock != nil {
				g.cfg.Clock.Tick()
			}
			g.wake(true)
		}
	}
}

func (g *Gossip) wake(tick bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.neighbours {
		if n.session != nil {
			n.session.wake(tick)
		}
	}
}

// keepDialling keeps a session with a neighbour until its context ends.
func (g *Gossip) keepDialling(n *neighbour) {
	wait := minRedial
	for n.ctx.Err() == nil {
		began := time.Now()
		if err := g.dial(n); err != nil && n.ctx.Err() == nil {
			g.log.Debug("gossip not begun", "neighbour", n.id.Short(), "err", err)
		}
		if time.Since(began) > maxRedial {
			wait = minRedial
		}
		if !pause(n.ctx, wait/2+rand.N(wait)) {
			return
		}
		wait = min(2*wait, maxRedial)
	}
}

func (g *Gossip) dial(n *neighbour) error {
	if !n.quota.session(time.Now()) {
		return errors.New("too many sessions, or broken ones")
	}
	ctx, cancel := context.WithTimeout(n.ctx, handshakeTimeout)
	defer cancel()
	raw, err := g.cfg.Underlay.DialNode(ctx, n.id)
	if err != nil {
		return err
	}
	conn := tls.Client(raw, g.tls)
	if err = conn.HandshakeContext(ctx); err == nil {
		var node identity.NodeID
		if node, err = identity.PeerNode(conn.ConnectionState()); err == nil && node != n.id {
			err = errors.New("another node answered")
		}
	}
	if err != nil {
		raw.Close()
		return err
	}
	g.converse(n, conn)
	return nil
}

// accept finds out who connects, and speaks if it is a neighbour whose part it is
// to open the connection.
func (g *Gossip) accept(ctx context.Context, raw net.Conn) {
	entered := true
	leave := func() {
		if entered {
			entered = false
			g.gate.Leave(raw)
		}
	}
	defer leave()
	defer raw.Close()
	hctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	conn := tls.Server(raw, g.tls)
	if err := conn.HandshakeContext(hctx); err != nil {
		g.log.Debug("gossip refused", "err", err)
		return
	}
	id, err := identity.PeerNode(conn.ConnectionState())
	if err != nil {
		return
	}
	n := g.await(ctx, id)
	if n == nil || bytes.Compare(id[:], g.self[:]) >= 0 || !n.quota.session(time.Now()) {
		g.cfg.Directory.count(gossipStrangers)
		g.log.Debug("gossip refused", "node", id.Short())
		return
	}
	leave()
	g.converse(n, conn)
}

// await returns the neighbour id, nil if it is none; it waits a little until it is.
func (g *Gossip) await(ctx context.Context, id identity.NodeID) *neighbour {
	ctx, cancel := context.WithTimeout(ctx, strangerWait)
	defer cancel()
	for {
		g.mu.Lock()
		n, moved := g.neighbours[id], g.moved
		g.mu.Unlock()
		if n != nil && n.ctx != nil {
			return n
		}
		select {
		case <-ctx.Done():
			return nil
		case <-moved:
		}
	}
}
