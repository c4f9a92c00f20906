package kernel

import (
	"testing"
	"time"
)

// TestGate holds back at the limit, lets through when packets leave, and forgets
// packets that never leave.
func TestGate(t *testing.T) {
	f := newFlow(4)
	f.waitSend()
	f.sending(4)
	through := make(chan struct{})
	begin := time.Now()
	go func() {
		f.waitSend()
		close(through)
	}()
	select {
	case <-through:
		// Only patience may have let it through, as on a machine that stood still.
		if time.Since(begin) < gatePatience {
			t.Fatal("not held back at the limit")
		}
	default:
	}
	f.sent(1)
	<-through
	f.sending(100) // lost inside wireguard-go
	f.waitSend()
	if n := f.out.count.Load(); n >= 4 {
		t.Errorf("%d packets counted, lost ones are to be forgotten", n)
	}
	f.sent(1000) // more than ever entered
	if n := f.out.count.Load(); n != 0 {
		t.Errorf("count %d, 0 expected", n)
	}
}

func TestGSORun(t *testing.T) {
	sizes := func(n ...int) (bufs [][]byte) {
		for _, n := range n {
			bufs = append(bufs, make([]byte, n))
		}
		return bufs
	}
	many := make([]int, 100)
	for i := range many {
		many[i] = 100
	}
	for _, c := range []struct {
		bufs [][]byte
		want int
	}{
		{sizes(100), 1},
		{sizes(100, 100, 100), 3},
		{sizes(100, 100, 50, 50), 3},
		{sizes(100, 101), 1},
		{sizes(50, 100), 1},
		{sizes(many...), maxGSOSegments},
		{sizes(60000, 6000), 1},
	} {
		if got := gsoRun(c.bufs); got != c.want {
			t.Errorf("%d datagrams in one, %d expected", got, c.want)
		}
	}
}
