package client

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/path"
)

const (
	tendInterval = 5 * time.Second
	rateLeast    = 256 << 10 // bytes in an interval below which a rate says nothing of the relays
	retryLeast   = time.Second
	retryMost    = 5 * time.Minute
)

// Run keeps circuits ready until ctx ends; then it closes all, and returns when all
// that the Client started has ended.
func (c *Client) Run(ctx context.Context) error {
	c.mu.Lock()
	c.ctx = ctx
	c.mu.Unlock()
	c.news.Store(int64(time.Since(c.started)))
	c.tasks.Go(func() { c.follow(ctx) })
	close(c.running)
	ticker := time.NewTicker(tendInterval)
	defer ticker.Stop()
	var pool pool
	for ctx.Err() == nil {
		c.tend(time.Now())
		c.fill(&pool)
		select {
		case <-ctx.Done():
		case <-c.wake:
		case <-ticker.C:
			c.measure(time.Now())
		}
	}
	c.mu.Lock()
	c.ctx = nil
	all := slices.Collect(maps.Values(c.entries))
	clear(c.entries)
	c.mu.Unlock()
	closeAll(all)
	c.tasks.Wait()
	return nil
}

// follow remembers when there was news of relays.
func (c *Client) follow(ctx context.Context) {
	for {
		changed := c.cfg.Directory.Changed()
		select {
		case <-ctx.Done():
			return
		case <-changed:
			c.news.Store(int64(time.Since(c.started)))
			select { // news comes in crowds
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// closeAll closes circuits. Their streams call back, so mu must not be held.
func closeAll(list []*entry) {
	for _, e := range list {
		e.circuit.Close()
	}
}

// tend closes what has served its time.
func (c *Client) tend(now time.Time) {
	var over []*entry
	defer func() { closeAll(over) }()
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, e := range c.entries {
		age := e.circuit.Age()
		switch {
		case !e.alive():
			delete(c.entries, id)
			continue
		case e.held:
			continue
		case e.used.IsZero() && age > cleanTime, !e.used.IsZero() && now.Sub(e.used) > dirtyTime, age > lifeTime:
			e.stale = true
		}
		if e.stale && e.streams == 0 || age > lifeTime {
			over = append(over, e)
			delete(c.entries, id)
		}
	}
}

// measure takes the rates of the circuits: what a circuit carries, each of its relays
// can carry.
func (c *Client) measure(now time.Time) {
	type rate struct {
		e    *entry
		rate int64
	}
	var rates []rate
	c.mu.Lock()
	for _, e := range c.entries {
		in, out := e.circuit.Bytes()
		if elapsed := now.Sub(e.bytesTime); !e.bytesTime.IsZero() && in+out-e.bytes >= rateLeast && elapsed > 0 {
			rates = append(rates, rate{e, int64(float64(in+out-e.bytes) / elapsed.Seconds())})
		}
		e.bytes, e.bytesTime = in+out, now
	}
	c.mu.Unlock()
	for _, r := range rates {
		for _, relay := range r.e.relays {
			c.cfg.Directory.ReportBandwidth(now, relay.Node, r.rate)
		}
	}
}

// pool remembers what was tried to fill it.
type pool struct {
	retry time.Duration // pause after a failure, doubled each time
	at    time.Time     // not before
}

// fill begins to make what should wait ready: stubs, and circuits to the web. Only
// Run calls it.
func (c *Client) fill(p *pool) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.settings.Ready < 0 || c.asked.IsZero() || now.Sub(c.asked) > activeTime || now.Before(p.at) || c.ctx == nil {
		return
	}
	stubs, clean := 0, 0
	for _, e := range c.entries {
		switch {
		case !e.alive() || e.stale || e.held:
		case e.purpose == Stub:
			stubs++
		case e.purpose == General && e.used.IsZero() && e.takes(anyExit):
			clean++
		}
	}
	if len(c.entries) > c.settings.Most/2 {
		return
	}
	var need path.Need
	purpose := General
	switch {
	case c.filling > 0: // one after the other: nobody waits for these
		return
	case clean < c.settings.Ready && now.After(c.noExit):
		need.Target = &anyExit
	case stubs < c.settings.Ready && c.settings.Hops > 1 && c.short == 0:
		purpose, need.Hops = Stub, c.settings.Hops-1
	default:
		return
	}
	c.filling++
	c.start(func(ctx context.Context) {
		_, err := c.build(ctx, purpose, need, nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.filling--
		switch {
		case err == nil:
			p.retry = 0
		case need.Target != nil && errors.Is(err, path.ErrNoExit):
			c.noExit = time.Now().Add(time.Minute)
		default:
			p.retry = min(max(2*p.retry, retryLeast), retryMost)
			p.at = time.Now().Add(p.retry)
		}
		c.nudge()
	})
}

// anyExit stands for what a circuit that waits for its first stream should take.
var anyExit = cell.Target{Name: "a.example", Port: 443}
