package stream

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"globalnet/onion/cell"
)

// The circuit that holds most memory dies, not the one that wants a little more.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := NewBudget(300 << 10)
		var killed [3]atomic.Bool
		var circuits []*circuit
		for i := range 3 {
			c := &circuit{out: newPath(0, time.Millisecond), back: newPath(0, time.Millisecond), begun: make(chan *Stream, 100)}
			c.client = New(Config{Sender: c.out})
			c.exit = New(Config{Sender: c.back, Accept: func(s *Stream, _ cell.Begin) { c.begun <- s },
				Budget: budget, Kill: func() { killed[i].Store(true); c.exit.Close() }})
			c.out.to, c.back.to = c.exit, c.client
			stop := make(chan struct{})
			go c.out.run(stop)
			go c.back.run(stop)
			defer func() {
				c.client.Close()
				c.exit.Close()
				close(stop)
				<-c.out.done
				<-c.back.done
			}()
			circuits = append(circuits, c)
		}
		fill := func(c *circuit, streams int) (theirs []*Stream) {
			for range streams {
				a, b := c.open(t, "")
				a.SetWriteDeadline(time.Now().Add(time.Second))
				a.Write(make([]byte, acceptWindow)) // and nobody reads
				theirs = append(theirs, b)
			}
			time.Sleep(time.Second)
			return theirs
		}
		greedy := fill(circuits[0], 3)
		modest := fill(circuits[1], 1)
		if budget.Killed() != 0 || budget.Used() != 4*acceptWindow {
			t.Fatalf("%d killed, %d bytes wait", budget.Killed(), budget.Used())
		}
		last := fill(circuits[2], 1)
		if budget.Killed() != 1 || !killed[0].Load() || budget.Used() != 2*acceptWindow {
			t.Errorf("%d killed, the greedy one %v, %d bytes wait", budget.Killed(), killed[0].Load(), budget.Used())
		}
		for _, s := range append(append(greedy, modest...), last...) {
			s.Close()
		}
		if budget.Used() != 0 {
			t.Errorf("%d bytes wait after all was closed", budget.Used())
		}
	})
}
