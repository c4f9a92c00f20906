// Package visit opens streams to hidden services: it finds their descriptors, has
// itself introduced, meets them at a rendezvous point, and keeps the circuits for
// further streams. docs/protocols/service.md has the protocol.
//
// A Visitor owns what it knows of services, apart for each isolation. Its methods may
// be called from any goroutine.
package visit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/key"
	"globalnet/onion/service/places"
	"globalnet/onion/stream"
)

// Config is what a Visitor needs.
type Config struct {
	// Names returns what the owner calls so; nil: nothing has a name.
	Names func(name string) (identity.NodeID, bool)
	Now   func() time.Time // mesh time; nil: time.Now
	Log   *slog.Logger
}

const (
	maxKnown    = 256              // services, isolations apart
	dirtyTime   = 10 * time.Minute // a circuit takes new streams for so long
	idleTime    = 10 * time.Minute // without streams
	missingTime = 5 * time.Second  // for which a service that was not found is not looked for again
	tendTime    = 15 * time.Second
	dialTries   = 2
)

// Visitor implements client.Services.
type Visitor struct {
	cfg    Config
	client *client.Client
	places *places.Places
	keys   atomic.Pointer[map[identity.NodeID]*key.ClientKey]

	mu    sync.Mutex
	ctx   context.Context // of Run
	tasks sync.WaitGroup
	ready chan struct{}
	known map[visited]*door
}

// visited is a service, and for whom it is reached.
type visited struct {
	who     client.Isolation
	service identity.NodeID
}

// New returns a Visitor, which needs Use and Run.
func New(cfg Config) *Visitor {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	v := &Visitor{cfg: cfg, ready: make(chan struct{}), known: make(map[visited]*door)}
	v.keys.Store(new(map[identity.NodeID]*key.ClientKey))
	return v
}

// Use says by which client and places services are reached; it comes before Run.
func (v *Visitor) Use(c *client.Client, p *places.Places) { v.client, v.places = c, p }

// SetKeys says by which keys restricted services let this node in. The map must not be
// changed afterwards.
func (v *Visitor) SetKeys(keys map[identity.NodeID]*key.ClientKey) {
	v.keys.Store(&keys)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, d := range v.known {
		d.forget()
	}
}

// Run keeps circuits until ctx ends, and returns when all that was started has ended.
func (v *Visitor) Run(ctx context.Context) error {
	v.mu.Lock()
	v.ctx = ctx
	v.mu.Unlock()
	close(v.ready)
	tick := time.NewTicker(tendTime)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			v.tend(time.Now())
		}
	}
	v.mu.Lock()
	v.ctx = nil
	doors := v.known
	v.known = make(map[visited]*door)
	v.mu.Unlock()
	for _, d := range doors {
		d.close()
	}
	v.tasks.Wait()
	return nil
}

// start runs f on a goroutine that Run waits for.
func (v *Visitor) start(f func(ctx context.Context)) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ctx == nil || v.ctx.Err() != nil {
		return false
	}
	ctx := v.ctx
	v.tasks.Go(func() { f(ctx) })
	return true
}

// Error is why a service was not reached, for those who only know reasons of streams.
type Error struct {
	Service identity.NodeID
	Reason  cell.EndReason
	Err     error
}

func (e *Error) Error() string { return fmt.Sprintf("service %s: %v", e.Service.Short(), e.Err) }

// Unwrap returns a *stream.EndError of the reason, and the cause.
func (e *Error) Unwrap() []error { return []error{&stream.EndError{Reason: e.Reason}, e.Err} }

// explain says what of a service could not be reached.
func explain(id identity.NodeID, err error) error {
	reason := cell.EndUnreachable
	switch {
	case errors.Is(err, desc.ErrNeedsAuthorisation):
		reason = cell.EndNeedsKey
	case errors.Is(err, desc.ErrNotAuthorised):
		reason = cell.EndWrongKey
	case errors.Is(err, context.DeadlineExceeded):
		reason = cell.EndTimeout
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, client.ErrFull):
		reason = cell.EndResource
	}
	return &Error{id, reason, err}
}

// Dial implements client.Services.
func (v *Visitor) Dial(ctx context.Context, who client.Isolation, name string, target cell.Target, early []byte) (*stream.Stream, error) {
	id, ok := v.lookup(name)
	if !ok {
		return nil, &stream.EndError{Reason: cell.EndResolve}
	}
	if target.Network != cell.TCP {
		return nil, &stream.EndError{Reason: cell.EndPolicy}
	}
	select {
	case <-v.ready:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	// Whichever name led here is nobody's business.
	target = cell.Target{Name: ".", Port: target.Port}
	d := v.door(visited{who, id})
	for try := 1; ; try++ {
		m, err := d.meeting(ctx)
		if err != nil {
			return nil, explain(id, err)
		}
		s, err := m.held.Open(target, early)
		if err == nil {
			d.watch(m, s)
			return s, nil
		}
		d.leave(m)
		if try == dialTries {
			return nil, explain(id, err)
		}
	}
}

// lookup returns the service of a name: petnames beat all others, and what is in front
// of an address is for the service to make something of.
func (v *Visitor) lookup(name string) (identity.NodeID, bool) {
	for rest, more := name, true; more; _, rest, more = strings.Cut(rest, ".") {
		if v.cfg.Names != nil && rest != "" {
			if id, ok := v.cfg.Names(rest); ok {
				return id, true
			}
		}
	}
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		name = name[i+1:]
	}
	id, err := key.ParseAddress(name)
	return id, err == nil
}

// door returns what is known of a service. The one that was used least lately makes
// room, if there are too many.
func (v *Visitor) door(at visited) *door {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := v.known[at]
	if d == nil {
		if len(v.known) >= maxKnown {
			v.makeRoom()
		}
		d = &door{v: v, service: at.service, least: make(map[key.Place]uint64)}
		v.known[at] = d
	}
	d.touch()
	return d
}

// makeRoom forgets the service that was not used for the longest time. Its streams go
// on. Called with mu held.
func (v *Visitor) makeRoom() {
	var oldest visited
	var at time.Time
	for k, d := range v.known {
		if used := d.lastUse(); at.IsZero() || used.Before(at) {
			oldest, at = k, used
		}
	}
	if d := v.known[oldest]; d != nil {
		delete(v.known, oldest)
		d.retire()
	}
}

// tend closes circuits that served their time, and forgets services that nobody wants.
func (v *Visitor) tend(now time.Time) {
	v.mu.Lock()
	doors := make(map[visited]*door, len(v.known))
	for k, d := range v.known {
		doors[k] = d
	}
	v.mu.Unlock()
	for k, d := range doors {
		if d.tend(now) {
			v.mu.Lock()
			if v.known[k] == d && now.Sub(d.lastUse()) > idleTime {
				delete(v.known, k)
			}
			v.mu.Unlock()
		}
	}
}

// keyFor returns our key for a service; nil if there is none.
func (v *Visitor) keyFor(id identity.NodeID) *key.ClientKey { return (*v.keys.Load())[id] }

var errNoPoint = errors.New("no introduction point could be reached")

var _ client.Services = (*Visitor)(nil)
