package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/circuit"
	"globalnet/onion/layer"
	"globalnet/onion/netdir"
	"globalnet/onion/path"
	"globalnet/onion/stream"
)

// attempt is a circuit that is being made for a stream. Whoever wants the same waits.
type attempt struct {
	who   Isolation
	done  chan struct{}
	err   error  // why there is none; set before done is closed
	entry *entry // what was made

	// Guarded by Client.mu.
	last  netdir.Relay // the last hop as far as it is chosen
	stale bool         // for no new streams
}

// circuitFor returns a circuit of who that takes streams to the target: one in use,
// one that waits, or a new one.
func (c *Client) circuitFor(ctx context.Context, who Isolation, target cell.Target) (*entry, error) {
	select {
	case <-c.running:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	for {
		now := time.Now()
		c.mu.Lock()
		c.asked = now
		if e := c.find(now, who, target); e != nil {
			c.mu.Unlock()
			return e, nil
		}
		a := c.attemptFor(who, target)
		if a == nil {
			a = &attempt{who: who, done: make(chan struct{})}
			if !c.start(func(ctx context.Context) { c.attempt(ctx, a, target) }) {
				c.mu.Unlock()
				return nil, ErrStopped
			}
			c.attempts[a] = struct{}{}
		}
		c.mu.Unlock()
		select {
		case <-a.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if a.err != nil {
			return nil, a.err
		}
	}
}

// find returns a circuit that serves: the youngest in use, or a clean one, which is
// who's from now on. Called with mu held.
func (c *Client) find(now time.Time, who Isolation, target cell.Target) *entry {
	var best *entry
	for _, e := range c.entries {
		if !e.serves(now, who, target) {
			continue
		}
		if best == nil || best.used.IsZero() && !e.used.IsZero() || best.used.IsZero() == e.used.IsZero() && e.id > best.id {
			best = e
		}
	}
	if best != nil && best.used.IsZero() {
		best.who, best.used = who, now
		c.nudge() // for another one to wait
	}
	return best
}

// attemptFor returns an attempt that who may wait for. Called with mu held.
func (c *Client) attemptFor(who Isolation, target cell.Target) *attempt {
	for a := range c.attempts {
		if a.who == who && !a.stale && (a.last.Descriptor == nil || relayTakes(a.last, target)) {
			return a
		}
	}
	return nil
}

// start runs f on a goroutine of Run's. Called with mu held.
func (c *Client) start(f func(ctx context.Context)) bool {
	if c.ctx == nil || c.ctx.Err() != nil {
		return false
	}
	ctx := c.ctx
	c.tasks.Go(func() { f(ctx) })
	return true
}

// attempt makes a circuit for streams of a.who to the target.
func (c *Client) attempt(ctx context.Context, a *attempt, target cell.Target) {
	e, err := c.make(ctx, a, target)
	c.mu.Lock()
	delete(c.attempts, a)
	if e != nil {
		e.who, e.used, e.stale = a.who, time.Now(), a.stale
	}
	a.entry, a.err = e, err
	close(a.done)
	c.mu.Unlock()
	c.nudge()
}

func (c *Client) make(ctx context.Context, a *attempt, target cell.Target) (*entry, error) {
	need := path.Need{}
	if target.Node == (identity.NodeID{}) {
		need.Target = &target
	}
	if e := c.extendStub(ctx, a, need); e != nil {
		return e, nil
	}
	chosen := func(relays []netdir.Relay) {
		c.mu.Lock()
		a.last = relays[len(relays)-1]
		c.mu.Unlock()
	}
	return c.build(ctx, General, need, chosen)
}

// extendStub gives a waiting stub the last hop that is needed; nil if there is no stub,
// or none would do.
func (c *Client) extendStub(ctx context.Context, a *attempt, need path.Need) *entry {
	stub, relays := c.takeStub(a, need)
	if stub == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	err := stub.circuit.Extend(ctx, c.hop(relays[len(relays)-1]))
	c.report(ctx, relays, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	stub.held = false
	if err != nil {
		stub.stale = true
		return nil
	}
	stub.purpose, stub.relays = General, relays
	return stub
}

// takeStub holds the oldest stub that need can follow, and returns the path it will have.
func (c *Client) takeStub(a *attempt, need path.Need) (*entry, []netdir.Relay) {
	c.mu.Lock()
	defer c.mu.Unlock()
	need.Hops = c.settings.Hops
	var stubs []*entry
	for _, e := range c.entries {
		if e.purpose == Stub && !e.stale && !e.held && e.alive() {
			stubs = append(stubs, e)
		}
	}
	slices.SortFunc(stubs, func(a, b *entry) int { return cmp.Compare(a.id, b.id) })
	for _, stub := range stubs {
		need.Fixed = nodes(stub.relays)
		choice, err := c.cfg.Chooser.Choose(time.Now(), need)
		if unknown := (*path.UnknownError)(nil); errors.As(err, &unknown) {
			stub.stale = true // a relay of it is gone
		}
		if err == nil && len(choice.Relays) == len(stub.relays)+1 {
			stub.held = true // until it is known what becomes of it
			a.last = choice.Relays[len(stub.relays)]
			return stub, choice.Relays
		}
	}
	return nil, nil
}

// build makes a circuit, trying other paths if one fails. Chosen, which may be nil,
// is told each path.
func (c *Client) build(ctx context.Context, purpose Purpose, need path.Need, chosen func([]netdir.Relay)) (*entry, error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-c.slots }()
	var last error
	for range buildTries {
		relays, err := c.choose(ctx, need)
		if err != nil {
			if last != nil {
				return nil, fmt.Errorf("%w; then %w", last, err)
			}
			return nil, err
		}
		if chosen != nil {
			chosen(relays)
		}
		e, err := c.along(ctx, purpose, relays)
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrFull) {
			return e, err
		}
		last = err
	}
	return nil, last
}

// choose chooses a path: of as many hops as are wanted or, once it is clear that there
// are no more relays, fewer.
func (c *Client) choose(ctx context.Context, need path.Need) ([]netdir.Relay, error) {
	c.mu.Lock()
	s := c.settings
	c.mu.Unlock()
	if need.Hops == 0 {
		need.Hops = s.Hops
	}
	want := min(need.Hops, s.Hops)
	for {
		now := time.Now()
		choice, err := c.cfg.Chooser.Choose(now, need)
		few, ok := errors.AsType[*path.TooFewError](err)
		if !ok {
			if err == nil {
				c.chose(choice, want)
			}
			return choice.Relays, err
		}
		if wait := graceTime + time.Duration(c.news.Load()) - now.Sub(c.started); wait > 0 && few.Have < want {
			select { // the directory may still be on its way
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			case <-time.After(min(wait, 100*time.Millisecond)):
			}
			continue
		}
		if few.Have < s.MinHops || few.Have == 0 || few.Have >= need.Hops {
			return nil, err
		}
		need.Hops = few.Have
	}
}

func (c *Client) chose(choice path.Choice, want int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.short = 0
	if n := len(choice.Relays); n < want {
		c.short = n
	}
	c.relaxed = choice.Relaxed
}

// along makes a circuit along relays, and keeps it.
func (c *Client) along(ctx context.Context, purpose Purpose, relays []netdir.Relay) (*entry, error) {
	return c.alongHops(ctx, purpose, relays, c.hops(relays))
}

func (c *Client) hops(relays []netdir.Relay) []circuit.Hop {
	hops := make([]circuit.Hop, len(relays))
	for i, r := range relays {
		hops[i] = c.hop(r)
	}
	return hops
}

func (c *Client) alongHops(ctx context.Context, purpose Purpose, relays []netdir.Relay, hops []circuit.Hop) (*entry, error) {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	var made *circuit.Circuit
	ch, err := c.cfg.Channels.Channel(ctx, relays[0].Node)
	if err != nil {
		err = &circuit.HopError{Hop: 0, Node: relays[0].Node, Err: err}
	} else {
		made, err = circuit.Build(ctx, ch, hops)
	}
	c.report(ctx, relays, err)
	if err != nil {
		return nil, err
	}
	return c.keep(purpose, made, relays)
}

// keep counts a circuit among ours.
func (c *Client) keep(purpose Purpose, made *circuit.Circuit, relays []netdir.Relay) (*entry, error) {
	var over *entry
	defer func() {
		if over != nil {
			over.circuit.Close()
		}
	}()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= c.settings.Most {
		over = c.oldestUnused()
	}
	if c.ctx == nil || len(c.entries) >= c.settings.Most && over == nil {
		made.Close() // it has no streams that call back
		return nil, ErrFull
	}
	if over != nil {
		delete(c.entries, over.id)
	}
	c.last++
	e := &entry{id: c.last, circuit: made, relays: relays, purpose: purpose, held: purpose == ByHand || purpose == Service}
	if e.held {
		e.used = time.Now()
	}
	c.entries[e.id] = e
	c.tasks.Go(func() { // the pool learns at once of a circuit that is lost
		<-made.Done()
		c.nudge()
	})
	return e, nil
}

// oldestUnused returns the oldest circuit without streams; nil if all have some.
// Called with mu held.
func (c *Client) oldestUnused() *entry {
	var oldest *entry
	for _, e := range c.entries {
		if !e.held && e.streams == 0 && (oldest == nil || e.id < oldest.id) {
			oldest = e
		}
	}
	return oldest
}

// report tells guards and directory what became of a path.
func (c *Client) report(ctx context.Context, relays []netdir.Relay, err error) {
	failed := -1
	if err != nil {
		c.counters.broken.Add(1)
		var hop *circuit.HopError
		if errors.Is(err, context.Canceled) || !errors.As(err, &hop) {
			return // nobody's fault
		}
		failed = hop.Hop
		c.cfg.Log.Debug("circuit not built", "hop", hop.Hop+1, "node", hop.Node.Short(), "err", hop.Err)
	} else {
		c.counters.built.Add(1)
	}
	now, ids := time.Now(), nodes(relays)
	c.cfg.Chooser.Report(now, ids, failed)
	c.cfg.Directory.ReportCircuit(now, ids, failed)
}

// hop is the relay as the circuit needs it: with the suite that suits this CPU, if
// the relay has it; each layer costs the client as much as the relay.
func (c *Client) hop(r netdir.Relay) circuit.Hop {
	h := circuit.Hop{Node: r.Node, OnionKey: r.OnionKey, Suite: layer.ChaCha}
	if fast := layer.Fastest(); slices.Contains(r.Suites, fast) {
		h.Suite = fast
	}
	if c.cfg.Secret != nil {
		h.Secret = c.cfg.Secret(r.Node)
	}
	return h
}

// DialPath opens a stream along a path that somebody wrote, in a circuit of its own,
// which ends with the stream.
func (c *Client) DialPath(ctx context.Context, route path.Route, target cell.Target, early []byte) (*stream.Stream, error) {
	e, err := c.byHand(ctx, route, target)
	if err != nil {
		return nil, err
	}
	s, err := e.circuit.Open(target, early)
	if err == nil {
		c.opened(e, s)
	}
	c.letGo(e)
	return s, err
}

// ResolvePath has the last relay of a path look a name up.
func (c *Client) ResolvePath(ctx context.Context, route path.Route, name string) (cell.Resolved, error) {
	e, err := c.byHand(ctx, route, cell.Target{Name: name, Port: 443})
	if err != nil {
		return cell.Resolved{}, err
	}
	defer c.letGo(e)
	return e.circuit.Resolve(ctx, name)
}

// byHand makes a circuit along a path, which is there until letGo, and as long as
// it has streams.
func (c *Client) byHand(ctx context.Context, route path.Route, target cell.Target) (*entry, error) {
	select {
	case <-c.running:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	choice, err := c.cfg.Chooser.Fill(time.Now(), route, &target)
	for range route.Hops {
		if !c.found(ctx, err) {
			break
		}
		choice, err = c.cfg.Chooser.Fill(time.Now(), route, &target)
	}
	if err != nil {
		return nil, err
	}
	return c.along(ctx, ByHand, choice.Relays)
}

// found reports whether err was for want of a descriptor that is there now.
func (c *Client) found(ctx context.Context, err error) bool {
	unknown, ok := errors.AsType[*path.UnknownError](err)
	return ok && c.cfg.Find != nil && c.cfg.Find(ctx, unknown.Node) == nil
}

// letGo has a circuit that was held end with its streams.
func (c *Client) letGo(e *entry) {
	c.mu.Lock()
	e.held, e.stale = false, true
	c.mu.Unlock()
	c.nudge()
}
