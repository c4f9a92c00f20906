// Package relay is a node's part in the circuits of others: it answers
// handshakes, extends circuits, passes cells on, one layer each, and at the end
// of a circuit connects streams through an Exit. It keeps nothing about a circuit
// but its two neighbours and its keys.
//
// A circuit's forward cells are handled on the reader of the channel they come
// from, backward cells on that of the next one. docs/protocols/onion.md has the
// protocol.
package relay

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/channel"
	"globalnet/onion/layer"
	"globalnet/onion/ntor"
	"globalnet/onion/stream"
)

const (
	workers = 2

	extendTimeout = 10 * time.Second
	maxExtending  = 64 // extensions under way, of all circuits

	// CREATE cells that a channel may send at once, and how many a second afterwards.
	createBurst = 500
	createRate  = 200
)

// Dialer gives channels to other nodes.
type Dialer interface {
	// Channel returns the channel to a node, an existing one if there is one.
	Channel(ctx context.Context, node identity.NodeID) (*channel.Channel, error)
}

// Exit connects the streams that end here.
type Exit interface {
	// Connect opens a connection to the target, or refuses it. An error that is an
	// *Error tells the client why; others are translated.
	Connect(ctx context.Context, target cell.Target) (net.Conn, error)
}

// Resolver is an Exit that looks names up.
type Resolver interface {
	// Resolve answers with addresses, or, below in-addr.arpa and ip6.arpa, with
	// names. What the Exit would not connect to it does not tell.
	Resolve(ctx context.Context, name string) (cell.Resolved, error)
}

// Config is what a Relay needs.
type Config struct {
	Identity *identity.Identity
	OnionKey ntor.PrivateKey
	Dialer   Dialer
	Exit     Exit           // nil: no streams end here
	Budget   *stream.Budget // of what waits to be written by the Exit; nil: one of its own
	// Table serves streams that ask for the hash table until they end; nil: none are taken.
	Table func(ctx context.Context, conn net.Conn)
	Log   *slog.Logger
}

// Stats counts what the relay did since it was made.
type Stats struct {
	Circuits   int64 // now
	Streams    int64 // now
	Created    uint64
	Refused    uint64 // handshakes: wrong, replayed, too many
	Extended   uint64
	Broken     uint64 // circuits that died of a cell that did not verify
	CellsRelay uint64 // cells passed on or opened
	Services   ServiceStats
}

// Relay takes part in circuits. It is the channel.Acceptor of the node's channels.
type Relay struct {
	cfg   Config
	ntor  *ntor.Server
	queue *queue
	slots chan struct{} // extensions under way

	services services

	mu      sync.Mutex // guards adding to tasks
	tasks   sync.WaitGroup
	ctx     context.Context // of Run; nil before
	stopped bool
	buckets map[*channel.Channel]*bucket

	stats struct {
		circuits, streams                           atomic.Int64
		created, refused, extended, broken, relayed atomic.Uint64
	}
}

// New returns a Relay, which works while Run runs.
func New(cfg Config) *Relay {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Budget == nil {
		cfg.Budget = stream.NewBudget(stream.DefaultBudget)
	}
	return &Relay{
		cfg:      cfg,
		ntor:     ntor.NewServer(cfg.Identity.NodeID(), cfg.OnionKey),
		queue:    newQueue(),
		slots:    make(chan struct{}, maxExtending),
		buckets:  make(map[*channel.Channel]*bucket),
		services: services{points: make(map[[32]byte]*point), waits: make(map[cell.Cookie]*circuit)},
	}
}

// Rotate takes a new onion key; the one before stays good.
func (r *Relay) Rotate(key ntor.PrivateKey) { r.ntor.Rotate(key) }

// Stats returns the counters.
func (r *Relay) Stats() Stats {
	s := &r.stats
	return Stats{s.circuits.Load(), s.streams.Load(), s.created.Load(), s.refused.Load(), s.extended.Load(), s.broken.Load(), s.relayed.Load(), r.services.stats()}
}

// Run answers handshakes until ctx ends, and returns when all that the relay
// started has ended. Its circuits end with their channels.
func (r *Relay) Run(ctx context.Context) error {
	r.mu.Lock()
	r.ctx = ctx
	r.mu.Unlock()
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-r.queue.more:
					r.shake(r.queue.pop())
				}
			}
		})
	}
	group.Wait()
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	r.tasks.Wait()
	for {
		select {
		case <-r.queue.more:
			r.queue.pop().leg.Destroy(cell.ReasonShutdown)
		default:
			return nil
		}
	}
}

// start runs f on a goroutine that Run waits for. It reports false if the relay
// has stopped or not begun.
func (r *Relay) start(f func(ctx context.Context)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped || r.ctx == nil || r.ctx.Err() != nil {
		return false
	}
	r.tasks.Go(func() { f(r.ctx) })
	return true
}

// HandleCreate implements channel.Acceptor.
func (r *Relay) HandleCreate(leg *channel.Leg, request []byte) {
	if !r.mayCreate(leg.Channel()) {
		r.stats.refused.Add(1)
		leg.Destroy(cell.ReasonResource)
		return
	}
	if h, full := r.queue.push(leg.Channel(), handshake{leg, bytes.Clone(request), time.Now()}); full {
		r.stats.refused.Add(1)
		h.leg.Destroy(cell.ReasonResource)
	}
}

// mayCreate takes a token of the channel.
func (r *Relay) mayCreate(c *channel.Channel) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return false
	}
	b := r.buckets[c]
	if b == nil {
		for old := range r.buckets { // rare: forget channels that are no more
			select {
			case <-old.Done():
				delete(r.buckets, old)
			default:
			}
		}
		b = &bucket{tokens: createBurst, at: time.Now()}
		r.buckets[c] = b
	}
	return b.take(time.Now(), createRate, createBurst)
}

// bucket is a token bucket.
type bucket struct {
	tokens float64
	at     time.Time
}

func (b *bucket) take(now time.Time, rate, burst float64) bool {
	b.tokens = min(burst, b.tokens+now.Sub(b.at).Seconds()*rate)
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// shake answers a Create.
func (r *Relay) shake(h handshake) {
	if time.Since(h.since) > handshakeAge {
		r.stats.refused.Add(1)
		h.leg.Destroy(cell.ReasonResource)
		return
	}
	if len(h.request) == 0 || h.request[0] != cell.HandshakeHybrid {
		r.stats.refused.Add(1)
		h.leg.Destroy(cell.ReasonHandshake)
		return
	}
	var suite layer.Suite
	var proof [ntor.ProofSize]byte
	keys, reply, err := r.ntor.Reply(h.request[1:], func(p []byte) ([]byte, error) {
		params, err := cell.ParseCreateParams(p)
		suite, proof = layer.Suite(params.Suite), params.Proof
		if err == nil && !suite.Known() {
			err = cell.ErrMessage
		}
		return nil, err
	})
	if err != nil {
		r.stats.refused.Add(1)
		r.cfg.Log.Debug("handshake refused", "neighbour", h.leg.Channel().Node().Short(), "err", err)
		h.leg.Destroy(cell.ReasonHandshake)
		return
	}
	r.stats.created.Add(1)
	r.stats.circuits.Add(1)
	newCircuit(r, h.leg, suite, keys).trusted.Store(r.admits(h.request[1:], proof))
	h.leg.SendCreated(append([]byte{cell.HandshakeHybrid}, reply...))
}
