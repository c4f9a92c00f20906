package channel

import (
	"fmt"
	"io"
	"time"

	"globalnet/onion/cell"
)

const (
	minRead = 4 << 10
	maxRead = 64 << 10
)

// inbox is the reader's buffer. It grows while the other side fills it.
type inbox struct {
	c          *Channel
	buf        []byte
	start, end int
	deadline   time.Time // that the connection has now
}

// need returns the next n bytes, which stay until the next call, and takes them.
// Before it waits it calls idle.
func (b *inbox) need(n int, idle func()) ([]byte, error) {
	for b.end-b.start < n {
		// What is left is less than a cell, and is moved lest the next read be short.
		if b.start > 0 {
			b.end = copy(b.buf, b.buf[b.start:b.end])
			b.start = 0
		}
		idle()
		if now := time.Now(); b.deadline.Sub(now) < readTimeout-time.Second {
			b.deadline = now.Add(readTimeout)
			b.c.conn.SetReadDeadline(b.deadline)
		}
		free := b.buf[b.end:]
		m, err := b.c.in.Read(free)
		b.end += m
		b.c.stats.bytesIn.Add(uint64(m))
		if err != nil {
			return nil, err
		}
		if m == len(free) && len(b.buf) < maxRead {
			b.buf = append(b.buf, make([]byte, len(b.buf))...)
		}
	}
	p := b.buf[b.start : b.start+n]
	b.start += n
	return p, nil
}

// read hands the cells to the circuits until the channel ends.
func (c *Channel) read() error {
	in := inbox{c: c, buf: make([]byte, minRead)}
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
