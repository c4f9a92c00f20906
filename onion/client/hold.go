package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/circuit"
	"globalnet/onion/netdir"
	"globalnet/onion/path"
	"globalnet/onion/stream"
)

// Want says what circuit somebody needs who deals with hidden services.
type Want struct {
	Hops   int               // 0: as many as streams get; fewer, if there are no more relays
	Last   *circuit.Hop      // exactly this last hop, which need not be in the directory; nil: any relay
	Second []identity.NodeID // the second hop is one of these, if it is not the last
	Avoid  []identity.NodeID // never chosen
	Direct bool              // one hop, and no guard: who asks does not hide
	Stub   bool              // a circuit that waits may be made longer

	least int          // hops
	over  *atomic.Bool // nobody waits any more
}

// lastTries is how often a last hop is tried that did not answer: the hop before may
// be to blame.
const lastTries = 2

// leastPatience is how long a circuit may take that is held up by nothing.
const leastPatience = time.Second

// Held is a circuit that belongs to who asked for it, until Close.
type Held struct {
	c *Client
	e *entry
}

// Circuit returns the circuit.
func (h *Held) Circuit() *circuit.Circuit { return h.e.circuit }

// Last returns the last hop.
func (h *Held) Last() netdir.Relay { return h.e.relays[len(h.e.relays)-1] }

// Hops returns how many hops there are.
func (h *Held) Hops() int { return len(h.e.relays) }

// Open opens a stream, as Client.Dial does.
func (h *Held) Open(target cell.Target, early []byte) (*stream.Stream, error) {
	s, err := h.e.circuit.Open(target, early)
	if err == nil {
		h.c.opened(h.e, s)
	}
	return s, err
}

// Close destroys the circuit.
func (h *Held) Close() {
	h.e.circuit.Close()
	h.c.nudge()
}

// Epoch changes with each NewIdentity: what was made before it must take no new streams.
func (c *Client) Epoch() uint64 { return c.epoch.Load() }

// Hops returns how many relays a circuit for streams has.
func (c *Client) Hops() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settings.Hops
}

// Draw returns a relay as the last hop of a path is drawn, by weight.
func (c *Client) Draw(avoid ...identity.NodeID) (netdir.Relay, error) {
	choice, err := c.cfg.Chooser.Choose(time.Now(), path.Need{Hops: 1, Avoid: avoid, NoGuard: true})
	if err != nil {
		return netdir.Relay{}, err
	}
	return choice.Relays[0], nil
}

// Hop returns a relay as a hop of a circuit of this node's.
func (c *Client) Hop(r netdir.Relay) circuit.Hop { return c.hop(r) }

// Listed reports whether paths may be chosen with a relay.
func (c *Client) Listed(node identity.NodeID) bool { return c.listed(node) }

// Hold makes a circuit that is the caller's. If that takes much longer than usual, some
// relay may have gone without a word: another path is tried as well.
func (c *Client) Hold(ctx context.Context, w Want) (*Held, error) {
	select {
	case <-c.running:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if w.Hops == 0 {
		w.Hops = c.Hops()
	}
	type result struct {
		held *Held
		err  error
	}
	results := make(chan result, 2)
	drain := func() { // what came too late
		for {
			select {
			case r := <-results:
				if r.err == nil {
					r.held.Close()
				}
			default:
				return
			}
		}
	}
	var on track
	w.over = new(atomic.Bool)
	begin := func(w Want, on *track) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		// An attempt goes on when another was quicker: guards have to be judged by it.
		return c.start(func(ctx context.Context) {
			began := time.Now()
			held, err := c.hold(ctx, w, on)
			if err == nil {
				c.tookToBuild(time.Since(began))
			}
			results <- result{held, err}
			if w.over.Load() {
				drain()
			}
		})
	}
	if !begin(w, &on) {
		return nil, ErrStopped
	}
	running, err := 1, error(nil)
	defer func() {
		w.over.Store(true)
		drain()
	}()
	late := time.NewTimer(c.patience())
	defer late.Stop()
	for {
		select {
		case r := <-results:
			running--
			if r.err == nil {
				return r.held, nil
			}
			if err = errors.Join(err, r.err); running == 0 {
				return nil, err
			}
		case <-late.C:
			relays := on.get()
			if w.Direct || len(relays) < 2 {
				continue
			}
			second := w
			second.Stub, second.least = false, len(relays)
			second.Avoid = slices.Clone(w.Avoid)
			for i, n := range relays {
				if i < len(relays)-1 || w.Last == nil {
					second.Avoid = append(second.Avoid, n)
				}
			}
			if begin(second, new(track)) {
				running++
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// track is the path that an attempt is on now.
type track struct {
	mu    sync.Mutex
	nodes []identity.NodeID
}

func (p *track) set(relays []netdir.Relay) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nodes = nodes(relays)
}

func (p *track) get() []identity.NodeID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nodes
}

// tookToBuild notes how long a circuit took.
func (c *Client) tookToBuild(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.usual == 0 {
		c.usual = d
	}
	c.usual += (d - c.usual) / 8
}

// patience is how long an attempt has until another one is made beside it.
func (c *Client) patience() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return min(max(4*c.usual, leastPatience), buildTimeout)
}

// hold makes a circuit along one path after the other.
func (c *Client) hold(ctx context.Context, w Want, on *track) (*Held, error) {
	if w.Stub && !w.Direct {
		c.mu.Lock()
		c.asked = time.Now() // so that others wait for the next one
		c.mu.Unlock()
		if e := c.holdStub(ctx, w, on); e != nil {
			return &Held{c, e}, nil
		}
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-c.slots }()
	var last error
	lost := 0 // attempts that ended at the last hop
	for try := 0; try < buildTries && lost < lastTries && !w.over.Load(); try++ {
		relays, err := c.chooseFor(ctx, w)
		if err != nil {
			return nil, errors.Join(last, err)
		}
		if len(relays) < w.least {
			return nil, &path.TooFewError{Want: w.least, Have: len(relays)}
		}
		on.set(relays)
		hops := c.hops(relays)
		if w.Last != nil {
			hops[len(hops)-1] = *w.Last
		}
		e, err := c.alongHops(ctx, Service, relays, hops)
		if err == nil {
			return &Held{c, e}, nil
		}
		if ctx.Err() != nil || errors.Is(err, ErrFull) {
			return nil, err
		}
		last = err
		var hop *circuit.HopError
		if w.Last != nil && errors.As(err, &hop) && hop.Hop == len(hops)-1 {
			lost++
		}
	}
	if last == nil {
		last = context.Canceled
	}
	return nil, last
}

// holdStub makes a waiting stub as long as it is wanted; nil if there is none, or it
// would not do.
func (c *Client) holdStub(ctx context.Context, w Want, on *track) *entry {
	stub := c.freeStub(func(e *entry) bool {
		on := nodes(e.relays)
		return len(on) < w.Hops && (w.Last == nil || !slices.Contains(on, w.Last.Node)) &&
			!slices.ContainsFunc(w.Avoid, func(n identity.NodeID) bool { return slices.Contains(on, n) })
	})
	if stub == nil {
		return nil
	}
	giveBack := func(stale bool) {
		c.mu.Lock()
		stub.held, stub.stale = false, stale
		c.mu.Unlock()
		c.nudge()
	}
	relays, err := c.draw(time.Now(), w, path.Need{Hops: w.Hops, Fixed: nodes(stub.relays), Avoid: w.Avoid})
	if err != nil {
		giveBack(false)
		return nil
	}
	on.set(relays)
	hops := c.hops(relays)
	if w.Last != nil {
		hops[len(hops)-1] = *w.Last
	}
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	for _, hop := range hops[len(stub.relays):] {
		if err = stub.circuit.Extend(ctx, hop); err != nil {
			break
		}
	}
	c.report(ctx, relays, err)
	if err != nil {
		giveBack(true)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	stub.purpose, stub.relays, stub.used = Service, relays, time.Now()
	c.nudge()
	return stub
}

// freeStub returns the oldest waiting stub that fits, held until it is known what
// becomes of it.
func (c *Client) freeStub(fits func(*entry) bool) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	var stub *entry
	for _, e := range c.entries {
		if e.purpose == Stub && !e.stale && !e.held && e.alive() && (stub == nil || e.id < stub.id) && fits(e) {
			stub = e
		}
	}
	if stub != nil {
		stub.held = true
	}
	return stub
}

// chooseFor chooses a path for w.
func (c *Client) chooseFor(ctx context.Context, w Want) ([]netdir.Relay, error) {
	if w.Direct {
		if w.Last != nil {
			return []netdir.Relay{c.relay(time.Now(), *w.Last)}, nil
		}
		choice, err := c.cfg.Chooser.Choose(time.Now(), path.Need{Hops: 1, Avoid: w.Avoid, NoGuard: true})
		return choice.Relays, err
	}
	need := path.Need{Hops: w.Hops, Avoid: w.Avoid, Second: c.second(w)}
	if w.Last == nil {
		return c.choose(ctx, need)
	}
	last := c.relay(time.Now(), *w.Last)
	if c.listed(last.Node) {
		need.Last = last.Node
		return c.choose(ctx, need)
	}
	// Somebody else knows this relay, or it is ourselves: we choose how to get there.
	need.Hops--
	need.Avoid = append(slices.Clone(need.Avoid), last.Node)
	relays, err := c.choose(ctx, need)
	few, tooFew := errors.AsType[*path.TooFewError](err)
	switch {
	case tooFew && few.Have == 0, last.Node == c.cfg.Self && len(relays) == 1: // no relay goes back to where a circuit comes from
		relays = nil
	case err != nil:
		return nil, err
	}
	return append(slices.Clone(relays), last), nil
}

// draw completes what is fixed in need by w's last hop.
func (c *Client) draw(now time.Time, w Want, need path.Need) ([]netdir.Relay, error) {
	if w.Last == nil {
		choice, err := c.cfg.Chooser.Choose(now, need)
		return choice.Relays, err
	}
	last := c.relay(now, *w.Last)
	if c.listed(last.Node) {
		need.Last = last.Node
		choice, err := c.cfg.Chooser.Choose(now, need)
		return choice.Relays, err
	}
	need.Hops--
	need.Avoid = append(slices.Clone(need.Avoid), last.Node)
	if need.Hops == len(need.Fixed) {
		var relays []netdir.Relay
		for _, n := range need.Fixed {
			relays = append(relays, c.relay(now, circuit.Hop{Node: n}))
		}
		return append(relays, last), nil
	}
	choice, err := c.cfg.Chooser.Choose(now, need)
	return append(slices.Clone(choice.Relays), last), err
}

// listed reports whether paths may be chosen with that relay.
func (c *Client) listed(node identity.NodeID) bool {
	r, ok := c.cfg.Directory.Relay(time.Now(), node)
	return ok && r.Flags&netdir.FlagRelay != 0 && node != c.cfg.Self
}

// second draws one of w.Second.
func (c *Client) second(w Want) identity.NodeID {
	var able []identity.NodeID
	for _, n := range w.Second {
		if c.listed(n) && (w.Last == nil || n != w.Last.Node) {
			able = append(able, n)
		}
	}
	if len(able) == 0 {
		return identity.NodeID{}
	}
	return able[rand.IntN(len(able))]
}

// relay is the hop as the directory knows it, or as far as the hop tells.
func (c *Client) relay(now time.Time, hop circuit.Hop) netdir.Relay {
	if r, ok := c.cfg.Directory.Relay(now, hop.Node); ok {
		return r
	}
	return netdir.Relay{Descriptor: &netdir.Descriptor{Node: hop.Node, OnionKey: hop.OnionKey, Flags: netdir.FlagRelay}}
}
