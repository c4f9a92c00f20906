package relay

import (
	"context"
	"errors"
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

// maxExtends bounds how often a circuit may ask to be extended.
const maxExtends = 8

var errProtocol = errors.New("the client broke the protocol")

// circuit is a circuit at this relay. It is the last hop, is being extended, or
// passes cells on:
//
//	last ──Extend──► extending ──Created──► passing
//	 ▲ │                 │ no such relay
//	 │ └────Establish…───┼──► introduction point, or meeting ──Rendezvous1──► joined
//	 └───────────────────┘
//
// Whatever breaks it, on either side, destroys it on both.
type circuit struct {
	r    *Relay
	prev *channel.Leg

	binding [32]byte                // of the handshake
	joined  atomic.Pointer[circuit] // to which circuit, at a rendezvous point

	opener *layer.Opener // prev's reader alone
	end    *stream.End

	mu         sync.Mutex
	sealer     *layer.Sealer
	next       *channel.Leg
	extending  bool
	passing    bool
	dead       bool
	extends    int
	role       role
	key        [32]byte    // by which introductions find it
	cookie     cell.Cookie // with which the client waits
	introduces int         // that its client sent
	timer      *time.Timer // of the extension under way
	begins     bucket

	trusted atomic.Bool // the client has shown the exit's secret
}

func newCircuit(r *Relay, prev *channel.Leg, suite layer.Suite, keys ntor.Keys) *circuit {
	c := &circuit{r: r, prev: prev, binding: keys.Binding, opener: layer.NewOpener(suite, keys.Forward), sealer: layer.NewSealer(suite, keys.Backward)}
	c.end = stream.New(stream.Config{Sender: sender{c}, Accept: c.accept, Message: c.handleMessage, Resolve: c.resolve,
		Budget: r.cfg.Budget, Kill: func() { c.destroy(cell.ReasonResource) }, MaxWindow: 4 << 20})
	prev.Attach(prevSide{c})
	return c
}

// destroy ends the circuit on both sides that are still there.
func (c *circuit) destroy(reason cell.Reason) {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return
	}
	c.dead = true
	next, joined := c.next, c.joined.Load()
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	if reason == cell.ReasonIntegrity {
		c.r.stats.broken.Add(1)
	}
	c.r.stats.circuits.Add(-1)
	c.prev.Destroy(reason)
	if next != nil {
		next.Destroy(reason)
	}
	if joined != nil {
		joined.destroy(reason)
	}
	c.r.services.leave(c)
	c.end.Close()
}

// following returns the next leg if cells are passed on to it.
func (c *circuit) following() (leg *channel.Leg, extending bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.passing {
		return nil, c.extending
	}
	return c.next, false
}

// prevSide is the circuit as the channel towards the client sees it.
type prevSide struct{ c *circuit }

// HandleCell takes a forward cell.
func (p prevSide) HandleCell(flags cell.Flags, body []byte) {
	c := p.c
	c.r.stats.relayed.Add(1)
	next, extending := c.following()
	b := channel.NewBuffer()
	if err := c.opener.Open(b, body, flags&cell.Ratchet != 0); err != nil {
		channel.Release(b)
		c.destroy(cell.ReasonIntegrity)
		return
	}
	if to := c.joined.Load(); to != nil {
		to.carry(b, len(body), flags)
		return
	}
	switch {
	case next != nil:
		if err := next.Send(b, b[:len(body)], flags); errors.Is(err, channel.ErrFull) {
			c.destroy(cell.ReasonResource)
		}
		return
	case extending:
		c.destroy(cell.ReasonProtocol)
	default:
		tag := [cell.TagSize]byte(body[len(body)-cell.TagSize:])
		if err := c.end.HandlePayload(layer.Payload(b, len(body)), tag, flags&cell.Congested != 0); err != nil {
			c.r.cfg.Log.Debug("circuit broken", "circ", c.prev.ID(), "err", err)
			c.destroy(cell.ReasonProtocol)
		}
	}
	channel.Release(b)
}

// HandleIdle implements channel.Circuit.
func (p prevSide) HandleIdle() {
	if to := p.c.joined.Load(); to != nil {
		to.prev.Flush()
		return
	}
	if next, _ := p.c.following(); next != nil {
		next.Flush()
		return
	}
	p.c.end.HandleIdle()
}

// HandleCreated implements channel.Circuit: this side made no circuit.
func (p prevSide) HandleCreated([]byte) { p.c.destroy(cell.ReasonProtocol) }

// HandleDestroy implements channel.Circuit.
func (p prevSide) HandleDestroy(reason cell.Reason) { p.c.destroy(reason) }

// nextSide is the circuit as the channel away from the client sees it. During an
// extension there may be one that is no longer wanted.
type nextSide struct {
	c   *circuit
	leg *channel.Leg
}

// HandleCell takes a backward cell.
func (n *nextSide) HandleCell(flags cell.Flags, body []byte) {
	c := n.c
	c.r.stats.relayed.Add(1)
	b := channel.NewBuffer()
	c.mu.Lock()
	if !c.passing || c.dead {
		c.mu.Unlock()
		channel.Release(b)
		c.destroy(cell.ReasonProtocol)
		return
	}
	c.sealer.Wrap(b, body, flags&cell.Ratchet != 0)
	c.mu.Unlock()
	if err := c.prev.Send(b, b[:len(body)], flags); errors.Is(err, channel.ErrFull) {
		c.destroy(cell.ReasonResource)
	}
}

// HandleIdle implements channel.Circuit.
func (n *nextSide) HandleIdle() { n.c.prev.Flush() }

// HandleCreated implements channel.Circuit: the circuit is longer now.
func (n *nextSide) HandleCreated(reply []byte) {
	c := n.c
	c.mu.Lock()
	if !c.extending || c.next != n.leg || c.dead {
		c.mu.Unlock()
		n.leg.Destroy(cell.ReasonProtocol)
		return
	}
	// From here on: what the client sends after it has seen Extended is for others.
	c.extending, c.passing = false, true
	c.timer.Stop()
	c.mu.Unlock()
	c.r.stats.extended.Add(1)
	c.end.SendLast(cell.Message{Command: cell.MsgExtended, Body: reply})
	c.end.Close() // a relay that passes cells on says nothing of its own
}

// HandleDestroy implements channel.Circuit.
func (n *nextSide) HandleDestroy(reason cell.Reason) {
	if !n.c.extendFailed(n.leg, reason) {
		n.c.destroy(reason)
	}
}

// extendFailed tells the client that the extension under way failed. It reports
// false if that leg is not being made.
func (c *circuit) extendFailed(leg *channel.Leg, reason cell.Reason) bool {
	c.mu.Lock()
	if !c.extending || c.next != leg || c.dead {
		c.mu.Unlock()
		return false
	}
	c.extending, c.next = false, nil
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	c.end.Send(cell.Message{Command: cell.MsgExtendFailed, Body: []byte{byte(reason)}})
	return true
}

// handleMessage takes the messages of the circuit, on prev's reader.
func (c *circuit) handleMessage(m cell.Message) error {
	if m.Command != cell.MsgExtend {
		return c.handleService(m)
	}
	e, err := cell.ParseExtend(m.Body)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.extending || c.passing || c.role != plain || c.extends == maxExtends || c.end.Streams() > 0 {
		return errProtocol
	}
	c.extends++
	c.extending = true
	node := identity.NodeID(e.Node)
	request := append([]byte{e.Handshake}, e.Request...)
	ok := c.r.start(func(ctx context.Context) { c.extend(ctx, node, request) })
	if !ok {
		return errProtocol
	}
	return nil
}

// extend makes the leg to the next relay.
func (c *circuit) extend(ctx context.Context, node identity.NodeID, request []byte) {
	select {
	case c.r.slots <- struct{}{}:
		defer func() { <-c.r.slots }()
	default:
		c.extendFailed(nil, cell.ReasonResource)
		return
	}
	if node == c.r.cfg.Identity.NodeID() || node == c.prev.Channel().Node() {
		c.extendFailed(nil, cell.ReasonProtocol) // a path that turns round hides nothing
		return
	}
	ctx, cancel := context.WithTimeout(ctx, extendTimeout)
	defer cancel()
	ch, err := c.r.cfg.Dialer.Channel(ctx, node)
	if err != nil {
		reason := cell.ReasonUnreachable
		if errors.Is(err, channel.ErrWrongNode) {
			reason = cell.ReasonIdentity
		}
		c.extendFailed(nil, reason)
		return
	}
	side := &nextSide{c: c}
	leg, err := ch.Open(side)
	if err != nil {
		c.extendFailed(nil, cell.ReasonResource)
		return
	}
	side.leg = leg
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		leg.Destroy(cell.ReasonNone)
		return
	}
	c.next = leg
	c.timer = time.AfterFunc(extendTimeout, func() {
		if c.extendFailed(leg, cell.ReasonTimeout) {
			leg.Destroy(cell.ReasonTimeout)
		}
	})
	c.mu.Unlock()
	if leg.SendCreate(request) != nil {
		c.extendFailed(leg, cell.ReasonClosed)
	}
}

// sender is how the end of a circuit at this relay sends.
type sender struct{ c *circuit }

// Payload implements stream.Sender.
func (s sender) Payload(b *layer.Buffer, size int) []byte { return b[:cell.BackwardPayload(size)] }

// Send implements stream.Sender.
func (s sender) Send(b *layer.Buffer, size int, step bool) (tag [cell.TagSize]byte, err error) {
	s.c.mu.Lock()
	tag = s.c.sealer.Seal(b, size, step)
	s.c.mu.Unlock()
	var flags cell.Flags
	if step {
		flags = cell.Ratchet
	}
	return tag, s.c.prev.Send(b, b[:size], flags)
}

// Flush implements stream.Sender.
func (s sender) Flush() { s.c.prev.Flush() }
