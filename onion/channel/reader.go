package channel

import (
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"

	"globalnet/onion/cell"
)

// maxRead is how much is read at once: as much as a record has.
const maxRead = 64 << 10

var readBuffers = sync.Pool{New: func() any { return new([maxRead]byte) }}

// inbox is what the reader has read. While it waits on a socket it holds no more
// than a part of a cell: a channel at rest costs no buffer.
type inbox struct {
	c          *Channel
	buf        *[maxRead]byte // nil while there is nothing to read
	start, end int
	rest       []byte    // what was in buf, while that is nil
	deadline   time.Time // that the connection has now

	// Of the read under way.
	n   int
	err error
	try func(fd uintptr) bool // b.attempt, made once
}

// need returns the next n bytes, which stay until the next call, and takes them.
// Before it waits it calls idle.
func (b *inbox) need(n int, idle func()) ([]byte, error) {
	for b.end-b.start < n {
		idle()
		if now := time.Now(); b.deadline.Sub(now) < readTimeout-time.Second {
			b.deadline = now.Add(readTimeout)
			b.c.conn.SetReadDeadline(b.deadline)
		}
		m, err := b.read()
		b.end += m
		b.c.stats.bytesIn.Add(uint64(m))
		if l := b.c.limit(); l != nil {
			l.Wait(m, b.c.closing)
		}
		if err != nil {
			return nil, err
		}
	}
	p := b.buf[b.start : b.start+n]
	b.start += n
	return p, nil
}

// read reads something behind what is there, which is less than a cell.
func (b *inbox) read() (int, error) {
	if b.start > 0 {
		b.end = copy(b.buf[:], b.buf[b.start:b.end])
		b.start = 0
	}
	if b.c.raw == nil || b.c.in.Buffered() > 0 {
		b.take()
		return b.c.in.Read(b.buf[b.end:])
	}
	if b.try == nil {
		b.try = b.attempt
	}
	b.n, b.err = 0, nil
	if err := b.c.raw.Read(b.try); err != nil {
		return 0, err
	}
	switch {
	case b.err != nil:
		return 0, b.err
	case b.n == 0:
		return 0, io.EOF
	}
	return b.n, nil
}

func (b *inbox) attempt(fd uintptr) bool {
	b.take()
	for {
		b.n, b.err = syscall.Read(int(fd), b.buf[b.end:])
		switch b.err {
		case syscall.EINTR:
		case syscall.EAGAIN:
			b.leave()
			return false
		default:
			return true
		}
	}
}

// take takes a buffer, if there is none.
func (b *inbox) take() {
	if b.buf == nil {
		b.buf = readBuffers.Get().(*[maxRead]byte)
		copy(b.buf[:], b.rest)
	}
}

// leave gives the buffer back.
func (b *inbox) leave() {
	if b.buf != nil {
		b.rest = append(b.rest[:0], b.buf[b.start:b.end]...)
		readBuffers.Put(b.buf)
		b.buf = nil
	}
}

// read hands the cells to the circuits until the channel ends.
func (c *Channel) read() error {
	in := inbox{c: c}
	defer in.leave()
	var touched []*Leg
	idle := func() {
		for i, l := range touched {
			l.touched = false
			if circuit := l.attached(); circuit != nil {
				circuit.HandleIdle()
			}
			touched[i] = nil
		}
		touched = touched[:0]
	}
	var heads []cell.Header
	var l *Leg // of the last cell
	for {
		prefix, err := in.need(cell.RecordPrefix, idle)
		if err != nil {
			return eof(err)
		}
		n, err := recordCells(prefix)
		if err != nil {
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
		in.start -= cell.RecordPrefix
		sealed, err := in.need(headSize(n), idle)
		if err != nil {
			return eof(err)
		}
		if heads, err = c.get.openHeads(heads[:0], sealed, n); err != nil {
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
		c.stats.recordsIn.Add(1)
		c.stats.cellsIn.Add(uint64(n))
		for _, h := range heads {
			body, err := in.need(h.BodySize(), idle)
			if err != nil {
				return eof(err)
			}
			if h.Command.Control() {
				if err := c.control(h, body); err != nil {
					return fmt.Errorf("%w: %w", errProtocol, err)
				}
				continue
			}
			if l == nil || l.id != h.Circ || l.dropped.Load() {
				l = c.leg(h.Circ)
			}
			if l == nil {
				c.stats.unknown.Add(1) // destroyed while the cell was under way
				continue
			}
			circuit := l.attached()
			if circuit == nil {
				return fmt.Errorf("%w: cell on a circuit that is not made yet", errProtocol)
			}
			circuit.HandleCell(h.Flags, body)
			if !l.touched {
				l.touched = true
				touched = append(touched, l)
			}
		}
		c.get.done()
	}
}

func eof(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF // a channel has no polite end
	}
	return err
}

// control takes a control cell.
func (c *Channel) control(h cell.Header, body []byte) error {
	payload, err := c.get.openControl(body)
	if err != nil {
		return err
	}
	switch h.Command {
	case cell.Padding:
	case cell.Create:
		return c.created(h.Circ, payload)
	case cell.Created:
		if l := c.leg(h.Circ); l != nil {
			if circuit := l.attached(); circuit != nil {
				circuit.HandleCreated(payload)
			}
		}
	case cell.Destroy:
		reason, err := cell.ParseReason(payload)
		if err != nil {
			return err
		}
		if l := c.leg(h.Circ); l != nil && c.forget(l) {
			l.end(reason)
		}
	}
	return nil
}

// created takes a Create of the other side.
func (c *Channel) created(id uint32, request []byte) error {
	if fromClient := id>>31 == 1; fromClient == c.client {
		return fmt.Errorf("circuit %d is not theirs to make", id)
	}
	c.mu.Lock()
	_, used := c.legs[id]
	full := len(c.legs) >= MaxCircuits
	var l *Leg
	if !used && !c.closed {
		l = newLeg(c, id, nil)
		c.legs[id] = l
	}
	c.mu.Unlock()
	switch {
	case used:
		return fmt.Errorf("circuit %d made twice", id)
	case l == nil:
		return ErrClosed
	case full || c.cfg.Accept == nil || c.cfg.Budget.Crowded():
		l.Destroy(cell.ReasonResource)
	default:
		c.cfg.Accept.HandleCreate(l, request)
	}
	return nil
}
