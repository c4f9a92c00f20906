package channel

import (
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"globalnet/onion/cell"
)

const maxRecordSize = cell.RecordPrefix + cell.RecordTag + cell.MaxRecord*(cell.HeaderSize+cell.LargeBody)

// inlineRecords is how many records a Flush writes, which may be another circuit's,
// before it leaves the rest to the writer.
const inlineRecords = 4

// packer is what it takes to make a record.
type packer struct {
	cells  []taken
	heads  []cell.Header
	buffer [maxRecordSize]byte
	record []byte // what is not written yet
}

var packers = sync.Pool{New: func() any {
	return &packer{cells: make([]taken, 0, cell.MaxRecord), heads: make([]cell.Header, 0, cell.MaxRecord)}
}}

// pack makes the next record of what waits. If nothing does, the caller is no
// longer writing.
func (c *Channel) pack(p *packer) bool {
	p.cells = c.out.take(p.cells[:0], c.cfg.Budget)
	if len(p.cells) == 0 {
		return false
	}
	p.heads = p.heads[:0]
	for _, t := range p.cells {
		p.heads = append(p.heads, t.h)
	}
	p.record = c.send.sealHeads(p.buffer[:0], p.heads)
	for i, t := range p.cells {
		if t.h.Command.Control() {
			c.send.sealControl(t.body)
		}
		p.record = append(p.record, t.body...)
		Release(t.b)
		p.cells[i] = taken{}
	}
	c.send.done()
	c.stats.recordsOut.Add(1)
	c.stats.cellsOut.Add(uint64(len(p.heads)))
	c.stats.bytesOut.Add(uint64(len(p.record)))
	c.wrote.Store(clock())
	return true
}

// attempt is a write that does not wait.
type attempt struct {
	p   []byte
	n   int
	err error
	f   func(fd uintptr) bool // do, made once
}

func (a *attempt) do(fd uintptr) bool {
	for {
		a.n, a.err = syscall.Write(int(fd), a.p)
		if a.err != syscall.EINTR {
			return true
		}
	}
}

// try writes as much of p as the connection takes without waiting.
func (c *Channel) try(p []byte) (int, error) {
	a := &c.attempt
	if a.f == nil {
		a.f = a.do
	}
	a.p = p
	err := c.raw.Write(a.f)
	a.p = nil
	switch {
	case err != nil:
		return 0, err
	case a.err == syscall.EAGAIN:
		return 0, nil
	}
	return max(a.n, 0), a.err
}

// flush writes what waits without blocking, on the caller's goroutine: handing a few
// cells to another one costs more than writing them.
func (c *Channel) flush() {
	if !c.out.seize() {
		return
	}
	if c.raw == nil || c.limit() != nil { // the writer may wait, the caller not
		c.out.handOver()
		return
	}
	p := packers.Get().(*packer)
	for range inlineRecords {
		if !c.pack(p) {
			packers.Put(p)
			return
		}
		n, err := c.try(p.record)
		if err != nil {
			c.close(err)
			return
		}
		if p.record = p.record[n:]; len(p.record) > 0 {
			c.pending = p
			c.out.handOver()
			return
		}
	}
	packers.Put(p)
	c.out.handOver()
}

// writeAll writes what waits, the writer's way.
func (c *Channel) writeAll() error {
	p := c.pending
	c.pending = nil
	if p == nil {
		p = packers.Get().(*packer)
		p.record = nil
	}
	defer packers.Put(p)
	for {
		if len(p.record) > 0 {
			c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := c.conn.Write(p.record); err != nil {
				return err
			}
			c.conn.SetWriteDeadline(time.Time{})
			if l := c.limit(); l != nil {
				l.Wait(len(p.record), c.closing)
			}
		}
		if !c.pack(p) {
			return nil
		}
	}
}

// keepAlive returns how long a channel may be silent: 10 to 30 s.
func keepAlive() time.Duration {
	return 10*time.Second + rand.N(20*time.Second)
}

// write writes what Flush leaves, and keeps the channel alive, until it ends.
func (c *Channel) write() error {
	c.wrote.Store(clock())
	most := keepAlive()
	quiet := time.NewTimer(most)
	defer quiet.Stop()
	c.out.handOver() // from here on may be written
	for {
		select {
		case <-c.closing:
			return ErrClosed
		case <-quiet.C:
			if left := most - time.Duration(clock()-c.wrote.Load()); left > 0 {
				quiet.Reset(left)
				continue
			}
			c.sendControl(cell.Padding, 0, nil)
			most = keepAlive()
			quiet.Reset(most)
		case <-c.out.wake:
			c.tellDoomed()
			if c.out.takeTurn() {
				if err := c.writeAll(); err != nil {
					return err
				}
			}
		}
	}
}

func (c *Channel) tellDoomed() {
	for _, l := range c.out.takeDoomed() {
		if circuit := l.attached(); circuit != nil {
			circuit.HandleDestroy(cell.ReasonResource)
		}
	}
}
