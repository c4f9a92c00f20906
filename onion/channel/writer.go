package channel

import (
	"math/rand/v2"
	"sync"
	"time"

	"globalnet/onion/cell"
)

const maxRecordSize = cell.RecordPrefix + cell.RecordTag + cell.MaxRecord*(cell.HeaderSize+cell.LargeBody)

var recordBuffers = sync.Pool{New: func() any { b := make([]byte, 0, maxRecordSize); return &b }}

// keepAlive returns how long the writer may be silent: 10 to 30 s.
func keepAlive() time.Duration {
	return 10*time.Second + rand.N(20*time.Second)
}

// write writes what waits until the channel ends.
func (c *Channel) write() error {
	cells := make([]taken, 0, cell.MaxRecord)
	heads := make([]cell.Header, 0, cell.MaxRecord)
	quiet := time.NewTimer(keepAlive())
	defer quiet.Stop()
	for {
		cells = c.out.take(cells[:0], c.cfg.Budget)
		if told := c.tellDoomed(); told && len(cells) == 0 {
			continue
		}
		if len(cells) == 0 {
			select {
			case <-c.closing:
				return ErrClosed
			case <-c.out.wake:
			case <-quiet.C:
				c.sendControl(cell.Padding, 0, nil)
				quiet.Reset(keepAlive())
			}
			continue
		}
		heads = heads[:0]
		for _, t := range cells {
			heads = append(heads, t.h)
		}
		p := recordBuffers.Get().(*[]byte)
		record := c.send.sealHeads((*p)[:0], heads)
		for i, t := range cells {
			if t.h.Command.Control() {
				c.send.sealControl(t.body)
			}
			record = append(record, t.body...)
			Release(t.b)
			cells[i] = taken{}
		}
		c.send.done()
		c.stats.recordsOut.Add(1)
		c.stats.cellsOut.Add(uint64(len(heads)))
		c.stats.bytesOut.Add(uint64(len(record)))
		c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, err := c.conn.Write(record)
		recordBuffers.Put(p)
		if err != nil {
			return err
		}
		quiet.Reset(keepAlive())
	}
}

func (c *Channel) tellDoomed() bool {
	doomed := c.out.takeDoomed()
	for _, l := range doomed {
		if circuit := l.attached(); circuit != nil {
			circuit.HandleDestroy(cell.ReasonResource)
		}
	}
	return len(doomed) > 0
}
