package channel

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"

	"globalnet/onion/cell"
	"globalnet/onion/layer"
)

// MaxQueue is how many cells may wait for one circuit and direction. A sender's
// window is never larger, so only who breaks the rules meets it.
const MaxQueue = 4096

// ErrFull means that a circuit's queue is full; the circuit should die of it.
var ErrFull = errors.New("queue of the circuit is full")

var buffers = sync.Pool{New: func() any { return new(layer.Buffer) }}

// NewBuffer returns a buffer for a cell, with anything in it.
func NewBuffer() *layer.Buffer { return buffers.Get().(*layer.Buffer) }

// Release gives a buffer back that was not sent.
func Release(b *layer.Buffer) { buffers.Put(b) }

// Leg is a circuit's place on a channel. Its methods may be called from any goroutine.
type Leg struct {
	c       *Channel
	id      uint32
	circuit atomic.Pointer[Circuit]
	touched bool // the reader's
	dropped atomic.Bool

	// Guarded by c.out.mu.
	queue  fifo
	credit int
	list   *ring
	next   *Leg
	gone   bool
}

func newLeg(c *Channel, id uint32, circuit Circuit) *Leg {
	l := &Leg{c: c, id: id}
	if circuit != nil {
		l.circuit.Store(&circuit)
	}
	return l
}

// ID returns the circuit's identifier on the channel.
func (l *Leg) ID() uint32 { return l.id }

// Channel returns the channel.
func (l *Leg) Channel() *Channel { return l.c }

// Attach says who takes the cells of a circuit that the other side makes. It must
// be called before SendCreated.
func (l *Leg) Attach(circuit Circuit) { l.circuit.Store(&circuit) }

func (l *Leg) attached() Circuit {
	if p := l.circuit.Load(); p != nil {
		return *p
	}
	return nil
}

// end drops what waits and tells the circuit. The leg has been forgotten before.
func (l *Leg) end(reason cell.Reason) {
	l.c.out.dropLeg(l, l.c.cfg.Budget)
	if circuit := l.attached(); circuit != nil {
		circuit.HandleDestroy(reason)
	}
}

// Send queues a relay cell. The body is in b, which belongs to the channel from
// now on. The cell is written after the next Flush, or earlier; it counts as
// waiting since the first Send after a Flush.
func (l *Leg) Send(b *layer.Buffer, body []byte, flags cell.Flags) error {
	flags &^= cell.Small
	if len(body) == cell.SmallBody {
		flags |= cell.Small
	}
	err := l.c.out.push(l, queued{b: b, body: body, flags: flags}, l.c.cfg.Budget)
	if err != nil {
		Release(b)
		return err
	}
	return nil
}

// Flush writes what waits as far as the connection takes it, and leaves the rest to
// the writer. It does not block, and calls no circuit.
func (l *Leg) Flush() { l.c.flush() }

// Queued returns how many cells wait.
func (l *Leg) Queued() int {
	l.c.out.mu.Lock()
	defer l.c.out.mu.Unlock()
	return l.queue.n
}

// SendCreate asks the other side to make the circuit.
func (l *Leg) SendCreate(request []byte) error { return l.c.sendControl(cell.Create, l.id, request) }

// SendCreated tells the other side that the circuit is made.
func (l *Leg) SendCreated(reply []byte) error { return l.c.sendControl(cell.Created, l.id, reply) }

// Destroy ends the circuit on this channel: what waits is dropped, the other side
// is told, and the Circuit is not called again but from a call under way.
func (l *Leg) Destroy(reason cell.Reason) {
	if !l.c.forget(l) {
		return
	}
	l.c.out.dropLeg(l, l.c.cfg.Budget)
	l.c.sendControl(cell.Destroy, l.id, []byte{byte(reason)})
}

// sendControl queues a control cell and has it written.
func (c *Channel) sendControl(command cell.Command, id uint32, payload []byte) error {
	h := cell.Header{Circ: id, Command: command}
	if 2+len(payload)+cell.TagSize <= cell.SmallBody {
		h.Flags = cell.Small
	}
	b := NewBuffer()
	body := b[:h.BodySize()]
	binary.BigEndian.PutUint16(body, uint16(len(payload)))
	clear(body[2+copy(body[2:], payload):])
	err := c.out.pushControl(control{h, b})
	if err != nil {
		Release(b)
		if err == errBacklog {
			c.close(err)
		}
		return err
	}
	c.flush()
	return nil
}
