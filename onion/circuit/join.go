package circuit

import (
	"errors"

	"globalnet/onion/cell"
	"globalnet/onion/layer"
	"globalnet/onion/service/intro"
	"globalnet/onion/stream"
)

var errJoined = errors.New("the circuit is joined to another")

// Binding names the handshake with the last hop, for signatures that are to be worth
// nothing in another circuit.
func (c *Circuit) Binding() [32]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.binding
}

// Handle has f take the last hop's messages of hidden services, on the channel's
// reader: it must not block, and copies what it keeps. An error of f breaks the
// circuit, as do such messages without an f.
func (c *Circuit) Handle(f func(cell.Message) error) { c.handler.Store(&f) }

// Say sends the last hop a message of hidden services.
func (c *Circuit) Say(m cell.Message) error { return c.end.Load().Send(m) }

// SayLast sends one after which the circuit is silent until it is joined to another.
func (c *Circuit) SayLast(m cell.Message) error { return c.end.Load().SendLast(m) }

// Joint is what the far end of a joined circuit needs.
type Joint struct {
	Session *intro.Session
	Accept  func(*stream.Stream, cell.Begin) // streams that the far end opens; nil: refused
	Budget  *stream.Budget                   // of what the far end sends unasked; nil: no bound
}

// Join has the circuit carry a layer to who is behind its last hop, which has joined it
// to another circuit: streams lead there from now on. A side that joins in answer to the
// last message, which may be nil, has it sent when all is ready.
func (c *Circuit) Join(j Joint, last *cell.Message) error {
	before := c.end.Load()
	before.Freeze()
	far := &joint{c, j.Session}
	end := stream.New(stream.Config{Sender: far, Accept: j.Accept, Budget: j.Budget,
		Kill: func() { c.destroy(cell.ReasonResource, errors.New("the circuit cannot send")) }})
	err := end.Before(func() error {
		if !c.end.CompareAndSwap(before, end) {
			return errJoined
		}
		c.joined.Store(far)
		if last != nil {
			return before.SendLast(*last)
		}
		return nil
	})
	before.Close()
	if c.Err() != nil { // finish may not have seen it
		end.Close()
		return c.Err()
	}
	return err
}

// joint is the Sender of a joined circuit: what it sends is sealed for the far end, and
// then for the last hop.
type joint struct {
	c       *Circuit
	session *intro.Session
}

// inner is the size of a body of the layer between the ends, in a cell of that size.
func inner(size int) int { return cell.ForwardPayload(size) }

// Payload implements stream.Sender.
func (j *joint) Payload(b *layer.Buffer, size int) []byte {
	return layer.ClientPayload(b, size)[:inner(size)-cell.TagSize]
}

// Send implements stream.Sender.
func (j *joint) Send(b *layer.Buffer, size int, step bool) (tag [cell.TagSize]byte, err error) {
	tag = j.session.Seal(layer.ClientPayload(b, size), step)
	_, err = j.c.Send(b, size, step)
	return tag, err
}

// Flush implements stream.Sender.
func (j *joint) Flush() { j.c.Flush() }

// open takes the far end's layer off what the last hop's cell held.
func (j *joint) open(b *layer.Buffer, size int, step bool) ([]byte, [cell.TagSize]byte, error) {
	return j.session.Open(b, b[:inner(size)], step)
}
