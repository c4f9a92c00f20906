// Package host offers hidden services: it keeps their introduction points, publishes
// their descriptors, answers introductions and connects streams to what is behind the
// ports. docs/protocols/service.md has the protocol.
//
// A Host owns the services and the relays that its circuits go by. The methods may be
// called from any goroutine; each service belongs to a goroutine of its own.
package host

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/circuit"
	"globalnet/onion/client"
	"globalnet/onion/netdir"
	"globalnet/onion/service"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/key"
	"globalnet/onion/service/pow"
	"globalnet/onion/stream"
)

// Config is what a Host needs.
type Config struct {
	Node   *identity.Identity // names this machine among those of a service
	Client Circuits
	Places Places
	Relays func(now time.Time) []netdir.Relay
	Guard  func() identity.NodeID // in use; zero: none yet. Nil: it is not known
	Budget *stream.Budget         // of what clients send; nil: no bound but that of each stream
	Now    func() time.Time       // mesh time; nil: time.Now
	Small  bool                   // little memory: tighter bounds
	Log    *slog.Logger
}

// Circuits are what a Host needs of client.Client.
type Circuits interface {
	drawer
	Hops() int
	Hop(netdir.Relay) circuit.Hop
	Hold(context.Context, client.Want) (*client.Held, error)
}

// Places are what a Host needs of places.Places.
type Places interface {
	Get(ctx context.Context, want client.Want, of identity.NodeID, at key.Place, twice bool) ([]byte, error)
	Put(ctx context.Context, want client.Want, of *identity.Identity, at key.Place, d *desc.Descriptor, a desc.Access) (stored int, err error)
}

// bounds are what a service may hold, or all of a node.
type bounds struct {
	streams int // of all services
	clients int // circuits of clients of one service
	queue   int // introductions that wait, and as many that were not looked at; each takes 1.4 kB
	answers int // introductions that are being answered for one; authorised clients have half as many in addition
}

var (
	ample  = bounds{streams: 8192, clients: 256, queue: pow.QueueSize, answers: 16}
	scarce = bounds{streams: 1024, clients: 64, queue: pow.QueueSize / 4, answers: 6}
)

// most returns how many introductions are being answered at once.
func (b bounds) most() int { return b.answers + b.answers/2 }

// Host offers services while Run runs.
type Host struct {
	cfg     Config
	bounds  bounds
	seconds seconds
	streams chan struct{} // a place for each

	mu      sync.Mutex
	ctx     context.Context // of Run; nil before and after
	tasks   sync.WaitGroup
	running chan struct{}
	offers  map[identity.NodeID]*offer
	order   []identity.NodeID
}

// New returns a Host without services.
func New(cfg Config) *Host {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	b := ample
	if cfg.Small {
		b = scarce
	}
	return &Host{cfg: cfg, bounds: b, streams: make(chan struct{}, b.streams), running: make(chan struct{}), offers: make(map[identity.NodeID]*offer)}
}

// Run offers the services until ctx ends, and returns when all that it started has ended.
func (h *Host) Run(ctx context.Context) error {
	h.mu.Lock()
	h.ctx = ctx
	for _, o := range h.offers {
		h.begin(o)
	}
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()
	h.ctx = nil
	h.mu.Unlock()
	h.tasks.Wait()
	return nil
}

// begin starts an offer. Called with mu held.
func (h *Host) begin(o *offer) {
	ctx, cancel := context.WithCancel(h.ctx)
	o.stop = cancel
	h.tasks.Go(func() {
		defer close(o.ended)
		o.run(ctx)
	})
}

// start runs f on a goroutine that Run waits for.
func (h *Host) start(f func(ctx context.Context)) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx == nil || h.ctx.Err() != nil {
		return false
	}
	ctx := h.ctx
	h.tasks.Go(func() { f(ctx) })
	return true
}

// Set says which services there are. Those that are as before go on, and so do those of
// which only name, ports or clients changed. Other changes begin a service anew.
func (h *Host) Set(list []service.Config) {
	h.mu.Lock()
	defer h.mu.Unlock()
	keep := make(map[identity.NodeID]bool)
	h.order = h.order[:0]
	for _, c := range list {
		id := c.Key.NodeID()
		if keep[id] {
			continue // written twice: the first counts
		}
		keep[id] = true
		h.order = append(h.order, id)
		old := h.offers[id]
		if old != nil && same(old.config, c) {
			old.setPorts(c)
			old.admit(c)
			continue
		}
		o := newOffer(h, c)
		if old != nil {
			old.end()
			o.after = old
		}
		h.offers[id] = o
		if h.ctx != nil && h.ctx.Err() == nil {
			h.begin(o)
		}
	}
	for id, o := range h.offers {
		if !keep[id] {
			o.end()
			delete(h.offers, id)
		}
	}
}

// Look has the services look at the time: mesh time may have jumped, and other periods
// have begun.
func (h *Host) Look() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.offers {
		select {
		case o.look <- struct{}{}:
		default:
		}
	}
}

// same reports whether two services differ in name, ports and clients alone.
func same(a, b service.Config) bool {
	return a.Points == b.Points && a.SingleHop == b.SingleHop && a.Work == b.Work
}

// Status returns the state of the services, in the order in which they were set.
func (h *Host) Status() []service.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]service.Status, 0, len(h.order))
	for _, id := range h.order {
		list = append(list, h.offers[id].state())
	}
	return list
}
