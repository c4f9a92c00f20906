package stream

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"globalnet/onion/cell"
)

// A stream on a long path does not crawl until it has filled it.
func TestLongPathIsFilledSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCircuit(t, newPath(125e6, 60*time.Millisecond), newPath(125e6, 60*time.Millisecond))
		defer c.stop()
		// Doubling from 32 cells, 10 MB are there after eight round trips.
		if took := transfer(t, c, 10<<20); took > 12*120*time.Millisecond {
			t.Errorf("10 MiB took %v", took)
		}
	})
}

// wire is a path of one rate and delay for a congestion alone.
type wire struct {
	c    congestion
	now  time.Time
	rtt  time.Duration
	free time.Time
	due  []time.Time // of the credits under way
	late func() time.Duration
}

func (w *wire) run(rate float64, rounds int) {
	for range rounds {
		for w.c.room() > 0 {
			var tag [cell.TagSize]byte
			binary.BigEndian.PutUint32(tag[:], w.c.sent+1)
			w.c.onSent(w.now, tag)
			if w.free.Before(w.now) {
				w.free = w.now
			}
			w.free = w.free.Add(time.Duration(float64(time.Second) / rate))
			if w.c.sent%creditEvery == 0 {
				at := w.free.Add(w.rtt)
				if w.late != nil {
					at = at.Add(w.late())
				}
				if n := len(w.due); n > 0 && at.Before(w.due[n-1]) {
					at = w.due[n-1]
				}
				w.due = append(w.due, at)
			}
		}
		w.now = w.due[0]
		w.due = w.due[1:]
		m := cell.Credit{Cells: w.c.acked + creditEvery}
		binary.BigEndian.PutUint32(m.Tag[:], m.Cells)
		if err := w.c.onCredit(w.now, m); err != nil {
			panic(err)
		}
	}
}

// Slow start doubles the window every round trip, also where all credits of a round
// come before anything can be sent.
func TestSlowStartDoubles(t *testing.T) {
	c := newCongestion()
	now := time.Now()
	for range 6 {
		before := c.window
		for c.room() > 0 {
			var tag [cell.TagSize]byte
			binary.BigEndian.PutUint32(tag[:], c.sent+1)
			c.onSent(now, tag)
		}
		now = now.Add(120 * time.Millisecond)
		for c.acked < c.sent {
			m := cell.Credit{Cells: c.acked + 32}
			binary.BigEndian.PutUint32(m.Tag[:], m.Cells)
			if err := c.onCredit(now, m); err != nil {
				t.Fatal(err)
			}
		}
		if c.window < 2*before {
			t.Errorf("window %.0f after %.0f", c.window, before)
		}
	}
}

// A path that was slow for a while is filled again soon.
func TestWindowRecovers(t *testing.T) {
	w := &wire{c: newCongestion(), now: time.Now(), rtt: 120 * time.Millisecond}
	w.run(20000, 5000)
	full := w.c.window
	w.run(2000, 3000)
	least := w.c.window
	start := w.now
	for w.c.window < full/2 && w.now.Sub(start) < time.Minute {
		w.run(20000, 1)
	}
	if took := w.now.Sub(start); full < 2000 || least > full/5 || took > 1500*time.Millisecond {
		t.Errorf("window %.0f, then %.0f; half of the first after %v", full, least, took)
	}
}

func TestClump(t *testing.T) {
	for _, test := range []struct {
		name   string
		window float64
		rtt    time.Duration
		want   int
	}{
		{"nothing measured", 32, 0, 1},
		{"no delay", 200, time.Millisecond, burst},
		{"no delay, small window", leastWindow, 100 * time.Microsecond, leastWindow / 4},
		{"slow link", 90, 100 * time.Millisecond, 2},
		{"long fast link", MostWindow, 120 * time.Millisecond, burst},
	} {
		c := newCongestion()
		c.window = test.window
		if test.rtt > 0 {
			c.measure(time.Now(), test.rtt)
		}
		if got := c.clump(); got != test.want {
			t.Errorf("%s: %d cells, not %d", test.name, got, test.want)
		}
		// All that is under way being acknowledged but what no credit names, the stream is let.
		if got := c.clump(); got > int(c.window)-(creditEvery-1) {
			t.Errorf("%s: %d cells of a window of %.0f would be waited for in vain", test.name, got, c.window)
		}
	}
}

// Who reads is woken once for all that came at once, or when there is much.
func TestReadersWakeOnceABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New(Config{Sender: newPath(0, 0), Accept: func(*Stream, cell.Begin) {}})
		defer e.Close()
		s, err := e.Open(cell.Target{Name: "x"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		reads := make(chan int, 100)
		go func() {
			p := make([]byte, 1<<20)
			for {
				n, err := s.Read(p)
				if err == io.EOF {
					close(reads)
					return
				}
				reads <- n
			}
		}()
		data := func(cells int) {
			for range cells {
				e.HandlePayload(cell.AppendMessage(nil, cell.Message{Command: cell.MsgData, Stream: s.ID(), Body: make([]byte, 1000)}), [16]byte{}, false)
			}
			synctest.Wait()
		}
		synctest.Wait()
		data(3)
		if len(reads) != 0 {
			t.Error("woken before the batch is over")
		}
		e.HandleIdle()
		if n := <-reads; n != 3000 {
			t.Errorf("%d bytes", n)
		}
		e.HandleIdle() // nothing new
		synctest.Wait()
		data(wakeEarly/1000 + 1)
		if len(reads) != 1 || <-reads < wakeEarly {
			t.Error("not woken though there is much")
		}
		data(1)
		e.HandlePayload(cell.AppendMessage(nil, cell.Message{Command: cell.MsgEOF, Stream: s.ID()}), [16]byte{}, false)
		if n := <-reads; n != 1000 {
			t.Errorf("%d bytes before the end", n)
		}
		<-reads
	})
}

// Hops whose processors are busy are late by chance. That is no queue: the window stays
// near what the path takes.
func TestBusyHopsAreNoQueue(t *testing.T) {
	const rate, hops = 10000, 14
	rng := rand.New(rand.NewPCG(1, 2))
	w := &wire{c: newCongestion(), now: time.Unix(1, 0), rtt: 700 * time.Microsecond, late: func() (sum time.Duration) {
		for range hops {
			if rng.Float64() < 0.3 { // 2 ms in the mean
				sum += time.Duration(rng.ExpFloat64() * float64(2*time.Millisecond) / hops / 0.3)
			}
		}
		return sum
	}}
	w.run(rate, 20000)
	began, acked := w.now, w.c.acked
	w.run(rate, 5000)
	if got := float64(w.c.acked-acked) / w.now.Sub(began).Seconds(); got < 0.9*rate {
		t.Errorf("%.0f cells a second on a path of %d; the window is %.0f", got, rate, w.c.window)
	}
}
