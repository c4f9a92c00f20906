// Package circuit is the client's side of circuits: it builds them hop by hop
// and opens streams in them.
//
// A Circuit's layers belong to its lock; what arrives is handled on the reader of
// the channel to the first hop. docs/protocols/onion.md has the messages.
package circuit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// Hop is a relay as its descriptor tells it.
type Hop struct {
	Node     identity.NodeID
	OnionKey ntor.PublicKey
	Suite    layer.Suite // of those that the relay offers
	Secret   []byte      // of the exit, if it wants to hear one
}

// HopError says at which hop making a circuit failed.
type HopError struct {
	Hop  int // from 0
	Node identity.NodeID
	Err  error
}

func (e *HopError) Error() string {
	return fmt.Sprintf("hop %d (%s): %v", e.Hop+1, e.Node.Short(), e.Err)
}

// Unwrap returns the cause.
func (e *HopError) Unwrap() error { return e.Err }

// DestroyedError says why a circuit is no more, as far as the first hop told.
type DestroyedError struct{ Reason cell.Reason }

func (e *DestroyedError) Error() string { return "circuit destroyed: " + e.Reason.String() }

// ErrClosed is the reason of a circuit that was closed here.
var ErrClosed = errors.New("circuit is closed")

var errProtocol = errors.New("the relay broke the protocol")

// Circuit is a circuit of this client.
type Circuit struct {
	leg    *channel.Leg
	made   time.Time
	done   chan struct{} // closed when the circuit is no more
	answer chan answer   // to the handshake under way
	once   sync.Once
	err    error // set before done is closed

	end     atomic.Pointer[stream.End] // with the last hop, or what is behind it; nil before there is one
	handler atomic.Pointer[func(cell.Message) error]
	joined  atomic.Pointer[joint] // what is behind the last hop, once joined

	received, sent atomic.Uint64 // octets of relay cells

	building sync.Mutex // held by Extend

	mu       sync.Mutex // the layers, and what follows
	forward  *layer.Forward
	backward *layer.Backward
	path     []Hop
	binding  [32]byte // of the handshake with the last hop
	waiting  bool     // for an answer
}

// answer is what comes back on a Create or an Extend.
type answer struct {
	reply  []byte
	reason cell.Reason
}

// Build makes a circuit along path, whose first hop is the node at the other end
// of ch. The error is a *HopError.
func Build(ctx context.Context, ch *channel.Channel, path []Hop) (*Circuit, error) {
	if len(path) == 0 || path[0].Node != ch.Node() {
		return nil, errors.New("the path does not begin with the channel's node")
	}
	c := &Circuit{made: time.Now(), done: make(chan struct{}), answer: make(chan answer, 1),
		forward: layer.NewForward(), backward: new(layer.Backward)}
	leg, err := ch.Open(c)
	if err != nil {
		return nil, &HopError{0, path[0].Node, err}
	}
	c.leg = leg
	for _, hop := range path {
		if err := c.Extend(ctx, hop); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Extend makes the circuit one hop longer. No stream may be open. After an error
// of the relay the circuit is as long as it was.
func (c *Circuit) Extend(ctx context.Context, hop Hop) error {
	c.building.Lock()
	defer c.building.Unlock()
	n := len(c.path)
	if err := c.extend(ctx, hop); err != nil {
		return &HopError{n, hop.Node, err}
	}
	return nil
}

func (c *Circuit) extend(ctx context.Context, hop Hop) error {
	if c.joined.Load() != nil {
		return errJoined
	}
	if len(c.path) == cell.MaxHops {
		return fmt.Errorf("a path has at most %d hops", cell.MaxHops)
	}
	if !hop.Suite.Known() {
		return fmt.Errorf("unknown suite %d", hop.Suite)
	}
	client, request, err := ntor.NewClientProving(hop.Node, hop.OnionKey, func(x [32]byte) []byte {
		params := cell.CreateParams{Suite: uint8(hop.Suite)}
		if len(hop.Secret) > 0 {
			params.Proof = ntor.Proof(hop.Secret, hop.Node, x)
		}
		return cell.AppendCreateParams(nil, params)
	})
	if err != nil {
		return err
	}
	end := c.end.Load()
	if end != nil && end.Streams() > 0 {
		return errors.New("streams are open")
	}
	c.expectAnswer()
	if end == nil {
		err = c.leg.SendCreate(append([]byte{cell.HandshakeHybrid}, request...))
	} else {
		err = end.SendLast(cell.Message{Command: cell.MsgExtend,
			Body: cell.AppendExtend(nil, cell.Extend{Node: hop.Node, Handshake: cell.HandshakeHybrid, Request: request})})
	}
	if err != nil {
		c.destroy(cell.ReasonInternal, err)
		return err
	}
	var a answer
	select {
	case a = <-c.answer:
	case <-c.done:
		return c.err
	case <-ctx.Done():
		c.destroy(cell.ReasonTimeout, context.Cause(ctx)) // the answer may still come: start anew
		return context.Cause(ctx)
	}
	if a.reply == nil {
		if end != nil {
			end.Thaw()
		}
		return errors.New(a.reason.String())
	}
	keys, _, err := client.Finish(a.reply)
	if err != nil {
		c.destroy(cell.ReasonHandshake, err)
		return err
	}
	if end != nil {
		end.Close() // from here on nobody sends with the old last hop
	}
	c.mu.Lock()
	c.forward.Add(hop.Suite, keys.Forward)
	c.backward.Add(hop.Suite, keys.Backward)
	c.path = append(c.path, hop)
	c.binding = keys.Binding
	c.mu.Unlock()
	c.end.Store(stream.New(stream.Config{Sender: c, Message: c.handleMessage,
		Kill: func() { c.destroy(cell.ReasonResource, errors.New("the circuit cannot send")) }}))
	return nil
}

// Path returns the hops.
func (c *Circuit) Path() []Hop {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.path[:len(c.path):len(c.path)]
}

// Age returns how old the circuit is.
func (c *Circuit) Age() time.Duration { return time.Since(c.made) }

// Open begins a stream; see stream.End.Open.
func (c *Circuit) Open(target cell.Target, early []byte) (*stream.Stream, error) {
	select {
	case <-c.done:
		return nil, c.err
	default:
	}
	return c.end.Load().Open(target, early)
}

// Resolve has the last hop look a name up; see stream.End.Resolve.
func (c *Circuit) Resolve(ctx context.Context, name string) (cell.Resolved, error) {
	return c.end.Load().Resolve(ctx, name)
}

// Streams returns how many streams are open.
func (c *Circuit) Streams() int { return c.end.Load().Streams() }

// RTT returns the last and the shortest round trip measured; 0 if there was none.
func (c *Circuit) RTT() (last, shortest time.Duration) { return c.end.Load().RTT() }

// Bytes returns how many octets of cells came and went.
func (c *Circuit) Bytes() (received, sent uint64) { return c.received.Load(), c.sent.Load() }

// Done is closed when the circuit is no more; Err says why.
func (c *Circuit) Done() <-chan struct{} { return c.done }

// Err returns why the circuit is no more, nil while it lives.
func (c *Circuit) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Close destroys the circuit.
func (c *Circuit) Close() { c.destroy(cell.ReasonNone, ErrClosed) }

// destroy ends the circuit and tells the first hop.
func (c *Circuit) destroy(reason cell.Reason, err error) {
	c.leg.Destroy(reason)
	c.finish(err)
}

func (c *Circuit) finish(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.done)
		if end := c.end.Load(); end != nil {
			end.Close()
		}
	})
}

// HandleCell implements channel.Circuit.
func (c *Circuit) HandleCell(flags cell.Flags, body []byte) {
	end := c.end.Load()
	if end == nil {
		c.destroy(cell.ReasonProtocol, errProtocol)
		return
	}
	c.received.Add(uint64(len(body)))
	b := channel.NewBuffer()
	defer channel.Release(b)
	c.mu.Lock()
	tag, err := c.backward.Open(b, body, flags&cell.Ratchet != 0)
	c.mu.Unlock()
	if err != nil {
		c.destroy(cell.ReasonIntegrity, err)
		return
	}
	payload := b[:cell.BackwardPayload(len(body))]
	if j := c.joined.Load(); j != nil {
		if payload, tag, err = j.open(b, len(body), flags&cell.Ratchet != 0); err != nil {
			c.destroy(cell.ReasonIntegrity, err)
			return
		}
		end = c.end.Load()
	}
	err = end.HandlePayload(payload, tag, flags&cell.Congested != 0)
	if err != nil {
		c.destroy(cell.ReasonProtocol, err)
	}
}

// HandleIdle implements channel.Circuit.
func (c *Circuit) HandleIdle() {
	if end := c.end.Load(); end != nil {
		end.HandleIdle()
	}
}

// HandleCreated implements channel.Circuit.
func (c *Circuit) HandleCreated(body []byte) {
	if len(body) == 0 || body[0] != cell.HandshakeHybrid || c.end.Load() != nil || !c.answered(answer{reply: bytes.Clone(body[1:])}) {
		c.destroy(cell.ReasonProtocol, errProtocol)
	}
}

// HandleDestroy implements channel.Circuit.
func (c *Circuit) HandleDestroy(reason cell.Reason) { c.finish(&DestroyedError{reason}) }

// handleMessage takes the answer to an Extend, and hands on what concerns services.
func (c *Circuit) handleMessage(m cell.Message) error {
	var a answer
	switch m.Command {
	case cell.MsgIntroEstablished, cell.MsgIntroduce2, cell.MsgIntroduceAck, cell.MsgRendezvousEstablished, cell.MsgRendezvous2:
		f := c.handler.Load()
		if f == nil {
			return errProtocol
		}
		return (*f)(m)
	case cell.MsgExtended:
		if len(m.Body) == 0 || m.Body[0] != cell.HandshakeHybrid {
			return errProtocol
		}
		a.reply = bytes.Clone(m.Body[1:])
	case cell.MsgExtendFailed:
		reason, err := cell.ParseReason(m.Body)
		if err != nil {
			return err
		}
		a.reason = reason
	default:
		return errProtocol
	}
	if !c.answered(a) {
		return errProtocol
	}
	return nil
}

// expectAnswer says that an answer is due.
func (c *Circuit) expectAnswer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = true
}

// answered hands an answer to Extend, if that waits for one.
func (c *Circuit) answered(a answer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.waiting {
		return false
	}
	c.waiting = false
	c.answer <- a
	return true
}

// Payload implements stream.Sender.
func (c *Circuit) Payload(b *layer.Buffer, size int) []byte { return layer.ClientPayload(b, size) }

// Send implements stream.Sender.
func (c *Circuit) Send(b *layer.Buffer, size int, step bool) (tag [cell.TagSize]byte, err error) {
	body, tag := c.forward.Seal(b, size, step)
	var flags cell.Flags
	if step {
		flags = cell.Ratchet
	}
	c.sent.Add(uint64(len(body)))
	return tag, c.leg.Send(b, body, flags)
}

// Flush implements stream.Sender.
func (c *Circuit) Flush() { c.leg.Flush() }
