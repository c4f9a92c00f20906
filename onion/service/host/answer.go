package host

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/circuit"
	"globalnet/onion/client"
	"globalnet/onion/relay"
	"globalnet/onion/service/intro"
	"globalnet/onion/stream"
)

const (
	answerTime  = 20 * time.Second // until the client is reached
	connectTime = 20 * time.Second

	// Introductions a second that are answered though they took less work than is asked for.
	lazyRate, lazyBurst = 5, 10
)

// caller is the circuit of a client.
type caller struct {
	held       *client.Held
	authorised bool
	epoch      int       // of the introduction
	idle       time.Time // since when there are no streams; of run
}

// answerSome begins to answer introductions that wait, as many as go at once.
func (o *offer) answerSome(ctx context.Context) {
	for o.mayAnswer() {
		o.mu.Lock()
		full, epoch := len(o.clients) >= o.h.bounds.clients, o.epoch
		o.mu.Unlock()
		if full && !o.closeOldest() {
			return
		}
		i, ok := o.queue.Pop(time.Now())
		if !ok {
			return
		}
		o.answering++
		if !o.h.start(func(context.Context) {
			err := o.answer(ctx, i, epoch)
			if err != nil {
				o.h.cfg.Log.Debug("introduction not answered", "err", err)
			}
			o.later(ctx, func() { o.answering-- })
		}) {
			o.answering--
			return
		}
	}
}

// mayAnswer reports whether the next introduction can be answered now: there are places
// that only authorised clients have, and who works less than is asked for waits in a
// row of its own, for an answer costs much more than a lie.
func (o *offer) mayAnswer() bool {
	authorised, effort, ok := o.queue.Next()
	switch {
	case !ok || o.answering >= o.h.bounds.most():
		return false
	case authorised:
		return true
	case o.answering >= o.h.bounds.answers:
		return false
	case effort < o.effort:
		now := time.Now()
		o.lazy = min(lazyBurst, o.lazy+now.Sub(o.lazyAt).Seconds()*lazyRate)
		o.lazyAt = now
		if o.lazy < 1 {
			return false
		}
		o.lazy--
	}
	return true
}

// answer goes to where the client waits.
func (o *offer) answer(ctx context.Context, i *intro.Introduction, epoch int) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	a, err := i.Answer()
	if err != nil {
		return err
	}
	want := o.want(o.h.cfg.Client.Hops() + 1)
	want.Last = &circuit.Hop{Node: a.Meet.Node, OnionKey: a.Meet.OnionKey, Suite: a.Meet.Suite}
	held, err := o.h.cfg.Client.Hold(ctx, want)
	if err != nil {
		return err
	}
	c := &caller{held: held, authorised: i.Authorised, epoch: epoch}
	o.mu.Lock()
	late := o.epoch != epoch
	if !late {
		o.clients[c] = struct{}{}
	}
	o.mu.Unlock()
	if late { // it may be who was shut out meanwhile
		held.Close()
		return errShut
	}
	leave := func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.clients, c)
	}
	err = held.Circuit().Join(circuit.Joint{
		Session: intro.NewServiceSession(a.Suite, a.Keys), Accept: func(s *stream.Stream, m cell.Begin) { o.accept(c, s, m) }, Budget: o.h.cfg.Budget,
	}, &cell.Message{Command: cell.MsgRendezvous1, Body: a.Body})
	if err != nil || ctx.Err() != nil || !o.h.start(func(ctx context.Context) {
		defer leave()
		select {
		case <-held.Circuit().Done():
		case <-ctx.Done():
		}
	}) {
		held.Close()
		leave()
		return err
	}
	return nil
}

var errShut = errors.New("somebody was shut out meanwhile")

// accept takes a stream of a client, on the reader's goroutine.
func (o *offer) accept(c *caller, s *stream.Stream, m cell.Begin) {
	if !o.welcome(c) {
		s.CloseWith(cell.EndPolicy)
		return
	}
	select {
	case o.h.streams <- struct{}{}:
	default:
		s.CloseWith(cell.EndResource)
		return
	}
	if !o.h.start(func(ctx context.Context) {
		defer func() { <-o.h.streams }()
		o.connect(ctx, s, m.Target)
	}) {
		<-o.h.streams
		s.CloseWith(cell.EndResource)
	}
}

// connect carries a stream to what is behind its port.
func (o *offer) connect(ctx context.Context, s *stream.Stream, t cell.Target) {
	o.mu.Lock()
	port, ok := o.ports[t.Port]
	o.mu.Unlock()
	if !ok || t.Network != cell.TCP {
		s.CloseWith(cell.EndRefused)
		return
	}
	stop := context.AfterFunc(ctx, func() { s.CloseWith(cell.EndMisc) })
	defer stop()
	connectCtx, cancel := context.WithTimeout(ctx, connectTime)
	s.AfterEnd(cancel)
	conn, err := port.Connect(connectCtx)
	cancel()
	if err != nil {
		s.CloseWith(relay.EndReason(err))
		return
	}
	if s.Accepted(netip.Addr{}) != nil {
		conn.Close()
		return
	}
	relay.Carry(s, conn, func(f func()) bool { return o.h.start(func(context.Context) { f() }) })
}

// closeIdle closes circuits on which there was no stream for long.
func (o *offer) closeIdle() {
	now := time.Now()
	var over []*caller
	o.mu.Lock()
	for c := range o.clients {
		switch {
		case c.held.Circuit().Streams() > 0:
			c.idle = time.Time{}
		case c.epoch != o.epoch:
			over = append(over, c)
		case c.idle.IsZero():
			c.idle = now
		case now.Sub(c.idle) > idleClient:
			over = append(over, c)
		}
	}
	o.mu.Unlock()
	for _, c := range over {
		c.held.Close()
	}
}

// closeOldest makes room for another client: the one goes that is idle for the longest
// time. It is false if none is.
func (o *offer) closeOldest() bool {
	var oldest *caller
	o.mu.Lock()
	for c := range o.clients {
		if c.held.Circuit().Streams() == 0 && !c.idle.IsZero() && (oldest == nil || c.idle.Before(oldest.idle)) {
			oldest = c
		}
	}
	if oldest != nil {
		delete(o.clients, oldest)
	}
	o.mu.Unlock()
	if oldest == nil {
		return false
	}
	oldest.held.Close()
	return true
}
