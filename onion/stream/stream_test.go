package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/channel"
	"globalnet/onion/layer"
)

// path carries the cells of one direction: a queue that a link of some rate
// empties, then a delay.
type path struct {
	to    *End
	rate  float64 // bytes a second; 0: no limit
	delay time.Duration
	limit int // cells that may queue

	mu      sync.Mutex
	queue   chan transit
	free    time.Time // when the link has sent what it has
	longest time.Duration
	cells   int
	small   int
	steps   int
	broken  error
	hold    bool // swallow everything
	done    chan struct{}
}

type transit struct {
	due     time.Time
	payload []byte
	tag     [16]byte
}

func newPath(rate float64, delay time.Duration) *path {
	return &path{rate: rate, delay: delay, limit: MostWindow + 1024, queue: make(chan transit, 1<<16), done: make(chan struct{})}
}

// Payload implements Sender.
func (p *path) Payload(b *layer.Buffer, size int) []byte { return b[:size-cell.TagSize] }

// Flush implements Sender.
func (p *path) Flush() {}

// Send implements Sender. The tag is the number of the cell.
func (p *path) Send(b *layer.Buffer, size int, step bool) (tag [16]byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer channel.Release(b)
	if p.hold {
		return tag, nil
	}
	p.cells++
	if size == cell.SmallBody {
		p.small++
	}
	if step {
		p.steps++
	}
	binary.BigEndian.PutUint64(tag[:], uint64(p.cells))
	now := time.Now()
	if p.free.Before(now) {
		p.free = now
	}
	if p.rate > 0 {
		p.free = p.free.Add(time.Duration(float64(size) / p.rate * 1e9))
	}
	p.longest = max(p.longest, p.free.Sub(now))
	p.queue <- transit{p.free.Add(p.delay), bytes.Clone(b[:size-cell.TagSize]), tag}
	return tag, nil
}

// run delivers until stop.
func (p *path) run(stop chan struct{}) {
	defer close(p.done)
	var next *transit
	for {
		if next == nil {
			select {
			case <-stop:
				return
			case x := <-p.queue:
				next = &x
			}
		}
		x := *next
		time.Sleep(time.Until(x.due))
		late := p.rate > 0 && p.waiting() > 20*time.Millisecond
		if err := p.to.HandlePayload(x.payload, x.tag, late); err != nil {
			p.mu.Lock()
			p.broken = err
			p.mu.Unlock()
			p.to.Close()
			return
		}
		select {
		case x := <-p.queue:
			next = &x
		default:
			next = nil
		}
		if next == nil || next.due.After(time.Now()) {
			p.to.HandleIdle()
		}
	}
}

func (p *path) waiting() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Until(p.free)
}

// circuit is two ends with a path each way.
type circuit struct {
	client, exit *End
	out, back    *path
	begun        chan *Stream
	stop         func()
}

func newCircuit(t testing.TB, out, back *path) *circuit {
	c := &circuit{out: out, back: back, begun: make(chan *Stream, 4096)}
	c.client = New(Config{Sender: out})
	c.exit = New(Config{Sender: back, Accept: func(s *Stream, m cell.Begin) { c.begun <- s }})
	out.to, back.to = c.exit, c.client
	stop := make(chan struct{})
	go out.run(stop)
	go back.run(stop)
	c.stop = sync.OnceFunc(func() {
		c.client.Close()
		c.exit.Close()
		close(stop)
		<-out.done
		<-back.done
	})
	t.Cleanup(c.stop)
	return c
}

func (c *circuit) open(t testing.TB, early string) (client, exit *Stream) {
	t.Helper()
	s, err := c.client.Open(cell.Target{Name: "x", Port: 1}, []byte(early))
	if err != nil {
		t.Fatal(err)
	}
	return s, <-c.begun
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCircuit(t, newPath(0, time.Millisecond), newPath(0, time.Millisecond))
		defer c.stop()
		start := time.Now()
		a, b := c.open(t, "early")
		buf := make([]byte, 100)
		n, err := b.Read(buf)
		if err != nil || string(buf[:n]) != "early" || time.Since(start) != time.Millisecond || c.out.cells != 1 || c.out.small != 1 {
			t.Errorf("%q, %v after %v in %d cells", buf[:n], err, time.Since(start), c.out.cells)
		}
		b.Accepted(b.Addr())
		<-a.Connected()
		b.Write([]byte("answer"))
		b.CloseWrite()
		if got, err := io.ReadAll(a); err != nil || string(got) != "answer" {
			t.Errorf("%q, %v", got, err)
		}
		if a.Err() != nil {
			t.Error("half closed is not over")
		}
		a.Write([]byte("more"))
		a.CloseWrite()
		if got, err := io.ReadAll(b); err != nil || string(got) != "more" {
			t.Errorf("%q, %v", got, err)
		}
		<-a.Ended()
		<-b.Ended()
		if c.client.Streams()+c.exit.Streams() != 0 {
			t.Error("streams are left")
		}
		if _, err := a.Write([]byte("x")); err == nil {
			t.Error("writing at the end")
		}
	})
}

func TestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCircuit(t, newPath(0, time.Millisecond), newPath(0, time.Millisecond))
		defer c.stop()
		a, b := c.open(t, "")
		b.Write([]byte("last words"))
		var called atomic.Int32
		a.AfterEnd(func() { called.Add(1) })
		b.CloseWith(cell.EndRefused)
		<-a.Ended()
		a.AfterEnd(func() { called.Add(1) })
		got, err := io.ReadAll(a)
		var end *EndError
		if string(got) != "last words" || !errors.As(err, &end) || end.Reason != cell.EndRefused || called.Load() != 2 {
			t.Errorf("%q, %v, %d calls", got, err, called.Load())
		}
		a, b = c.open(t, "")
		a.Write([]byte("all"))
		a.Close()
		if got, err := io.ReadAll(b); err != nil || string(got) != "all" {
			t.Errorf("after Close: %q, %v", got, err)
		}
		a, b = c.open(t, "")
		c.client.Close()
		if _, err := a.Read(make([]byte, 1)); !errors.As(err, &end) || end.Reason != cell.EndCircuit {
			t.Errorf("after the circuit's end: %v", err)
		}
		if _, err := c.client.Open(cell.Target{}, nil); err == nil {
			t.Error("a stream after the circuit's end")
		}
		b.Close()
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCircuit(t, newPath(0, time.Millisecond), newPath(0, time.Millisecond))
		defer c.stop()
		a, _ := c.open(t, "")
		start := time.Now()
		a.SetReadDeadline(start.Add(time.Second))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		go func() {
			time.Sleep(time.Second)
			a.SetReadDeadline(time.Now()) // while somebody reads
		}()
		a.SetReadDeadline(time.Time{})
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		a.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := a.Write(make([]byte, 1<<20)) // nobody reads
		if !errors.Is(err, os.ErrDeadlineExceeded) || n != acceptWindow {
			t.Errorf("%d bytes written, %v", n, err)
		}
		if err := err.(net.Error); !err.Timeout() {
			t.Error("not a timeout")
		}
	})
}

// A stream that nobody reads holds up itself alone.
func TestStreamWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCircuit(t, newPath(0, time.Millisecond), newPath(0, time.Millisecond))
		defer c.stop()
		_, stuck := c.open(t, "")
		go stuck.Write(make([]byte, 8<<20))
		a, b := c.open(t, "")
		go func() {
			b.Write(bytes.Repeat([]byte("0123456789abcdef"), 1<<19))
			b.CloseWrite()
		}()
		n, err := io.Copy(io.Discard, a)
		if n != 8<<20 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		synctest.Wait()
		s := c.client.stream(1)
		if got := s.in.n; got != openWindow {
			t.Errorf("%d bytes wait to be read", got)
		}
	})
}

func TestTooMuchDataBreaksTheCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCircuit(t, newPath(0, time.Millisecond), newPath(0, time.Millisecond))
		defer c.stop()
		a, _ := c.open(t, "")
		c.client.out.Lock()
		a.sendWindow = 1 << 30
		c.client.out.Unlock()
		a.SetWriteDeadline(time.Now().Add(time.Second))
		a.Write(make([]byte, acceptWindow+1))
		time.Sleep(time.Second)
		c.out.mu.Lock()
		defer c.out.mu.Unlock()
		if !errors.Is(c.out.broken, errProtocol) {
			t.Errorf("%v", c.out.broken)
		}
	})
}

func TestBreakingTheRules(t *testing.T) {
	tag := [16]byte{15: 1}
	message := func(c cell.MessageCommand, stream uint16, body ...byte) []byte {
		return cell.AppendMessage(nil, cell.Message{Command: c, Stream: stream, Body: body})
	}
	begin := message(cell.MsgBegin, 5, cell.AppendBegin(nil, cell.Begin{Target: cell.Target{Name: "x"}})...)
	tests := map[string][]byte{
		"a stream begun twice": append(bytes.Clone(begin), begin...),
		"credit for nothing":   message(cell.MsgCredit, 0, cell.AppendCredit(nil, cell.Credit{Cells: 8})...),
		"extend where none is": message(cell.MsgExtend, 0, make([]byte, 40)...),
		"malformed begin":      message(cell.MsgBegin, 5, 1, 2),
		"malformed window":     append(bytes.Clone(begin), message(cell.MsgWindow, 5, 1)...),
		"malformed end":        append(bytes.Clone(begin), message(cell.MsgEnd, 5)...),
		"connected twice":      append(append(bytes.Clone(begin), message(cell.MsgConnected, 5)...), message(cell.MsgConnected, 5)...),
		"data after its end":   append(append(bytes.Clone(begin), message(cell.MsgEOF, 5)...), message(cell.MsgData, 5, 1)...),
		"unknown command":      {99, 0, 0, 0, 1},
	}
	for name, payload := range tests {
		e := New(Config{Sender: newPath(0, 0), Accept: func(*Stream, cell.Begin) {}})
		if err := e.HandlePayload(payload, tag, false); err == nil {
			t.Errorf("%s: no error", name)
		}
		e.Close()
	}
	e := New(Config{Sender: newPath(0, 0)})
	for name, payload := range map[string][]byte{
		"data for a stream that is gone": message(cell.MsgData, 9, 1),
		"begin where none is accepted":   begin,
	} {
		if err := e.HandlePayload(payload, tag, false); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStreamsAreBounded(t *testing.T) {
	p := newPath(0, 0)
	accepted := 0
	exit := New(Config{Sender: p, Accept: func(*Stream, cell.Begin) { accepted++ }})
	client := New(Config{Sender: newPath(0, 0)})
	for i := range MaxStreams + 10 {
		body := cell.AppendBegin(nil, cell.Begin{Target: cell.Target{Name: "x"}})
		if err := exit.HandlePayload(cell.AppendMessage(nil, cell.Message{Command: cell.MsgBegin, Stream: uint16(i + 1), Body: body}), [16]byte{}, false); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Open(cell.Target{Name: "x"}, nil); (err != nil) != (i >= MaxStreams) {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	if accepted != MaxStreams || exit.Streams() != MaxStreams {
		t.Errorf("%d accepted", accepted)
	}
}

// An end that acknowledges nothing cannot make the other send without end.
func TestAnswersAreBounded(t *testing.T) {
	p := newPath(0, 0)
	p.hold = true
	e := New(Config{Sender: p})
	body := cell.AppendBegin(nil, cell.Begin{Target: cell.Target{Name: "x"}})
	begin := cell.AppendMessage(nil, cell.Message{Command: cell.MsgBegin, Stream: 1, Body: body})
	for i := range mostUnanswered + 10 {
		err := e.HandlePayload(begin, [16]byte{}, false)
		e.HandleIdle()
		if err != nil {
			if i < mostUnanswered/2 {
				t.Fatalf("cell %d: %v", i, err)
			}
			return
		}
	}
	t.Error("answers without end")
}

// transfer sends n bytes down and returns how long it took.
func transfer(t *testing.T, c *circuit, n int) time.Duration {
	t.Helper()
	a, b := c.open(t, "")
	start := time.Now()
	go func() {
		b.Write(make([]byte, n))
		b.CloseWrite()
	}()
	got, err := io.Copy(io.Discard, a)
	if got != int64(n) || err != nil {
		t.Fatalf("%d bytes of %d, %v", got, n, err)
	}
	a.Close()
	return time.Since(start)
}

// A long fast path is filled: 120 ms there and back, as three links of 20 ms give.
func TestLongPathIsFilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCircuit(t, newPath(125e6, 60*time.Millisecond), newPath(125e6, 60*time.Millisecond))
		defer c.stop()
		const n = 100 << 20
		took := transfer(t, c, n)
		rate := float64(n) / took.Seconds() / 1e6
		t.Logf("%.1f MB/s", rate)
		if rate < 20 {
			t.Errorf("%.1f MB/s", rate)
		}
	})
}

// A slow path is filled, and its queue stays short.
func TestSlowPathKeepsItsQueueShort(t *testing.T) {
	for _, tt := range []struct {
		rate  float64
		delay time.Duration
	}{{1.25e6, 5 * time.Millisecond}, {1.25e6, 50 * time.Millisecond}, {12.5e6, time.Millisecond}, {12.5e6, 30 * time.Millisecond}} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCircuit(t, newPath(tt.rate, tt.delay), newPath(tt.rate, tt.delay))
				defer c.stop()
				n := int(tt.rate * 30) // half a minute
				a, b := c.open(t, "")
				start := time.Now()
				go func() {
					b.Write(make([]byte, n))
					b.CloseWrite()
				}()
				var waited []time.Duration
				for total := 0; ; {
					m, err := a.Read(make([]byte, 1<<16))
					if total += m; total > n/4 {
						waited = append(waited, c.back.waiting())
					}
					if err != nil {
						if err != io.EOF || total != n {
							t.Errorf("%d of %d bytes, %v", total, n, err)
						}
						break
					}
				}
				rate := float64(n) / time.Since(start).Seconds()
				var sum, most time.Duration
				for _, w := range waited {
					sum, most = sum+w, max(most, w)
				}
				mean := sum / time.Duration(len(waited))
				t.Logf("%.0f %% of the rate, queue %v on average, %v at most after the start, %v ever", 100*rate/tt.rate, mean, most, c.back.longest)
				// What cells cost in headers is 3 %; a window of 16 cells is 17 ms at the slowest rate.
				if rate < 0.8*tt.rate {
					t.Errorf("%.0f %% of the rate", 100*rate/tt.rate)
				}
				if mean > 3*mostDelay || most > 100*time.Millisecond {
					t.Errorf("the queue is %v long on average, %v at most", mean, most)
				}
			})
		})
	}
}

// Many streams share the circuit evenly.
func TestStreamsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCircuit(t, newPath(12.5e6, 5*time.Millisecond), newPath(12.5e6, 5*time.Millisecond))
		defer c.stop()
		var all sync.WaitGroup
		var mu sync.Mutex
		got := make(map[int]int)
		ctx := time.Now().Add(3 * time.Second)
		for i := range 20 {
			a, b := c.open(t, "")
			b.SetWriteDeadline(ctx)
			a.SetReadDeadline(ctx)
			all.Go(func() { b.Write(make([]byte, 64<<20)) })
			all.Go(func() {
				n, _ := io.Copy(io.Discard, a)
				mu.Lock()
				got[i] = int(n)
				mu.Unlock()
			})
		}
		all.Wait()
		least, most := 1<<30, 0
		for _, n := range got {
			least, most = min(least, n), max(most, n)
		}
		if least < most/2 {
			t.Errorf("one stream got %d bytes, another %d", least, most)
		}
	})
}

func TestRatchetsOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCircuit(t, newPath(0, time.Millisecond), newPath(0, time.Millisecond))
		defer c.stop()
		a, _ := c.open(t, "")
		for range 50 {
			time.Sleep(10 * time.Second)
			a.Write([]byte("x"))
		}
		c.out.mu.Lock()
		defer c.out.mu.Unlock()
		if c.out.steps < 6 || c.out.steps > 8 {
			t.Errorf("%d steps in 500 s", c.out.steps)
		}
	})
}

func FuzzHandlePayload(f *testing.F) {
	begin := cell.AppendMessage(nil, cell.Message{Command: cell.MsgBegin, Stream: 5, Body: cell.AppendBegin(nil, cell.Begin{Window: 10, Target: cell.Target{Name: "x"}})})
	f.Add(begin)
	f.Add(cell.AppendMessage(bytes.Clone(begin), cell.Message{Command: cell.MsgData, Stream: 5, Body: []byte("data")}))
	f.Add(cell.AppendMessage(nil, cell.Message{Command: cell.MsgCredit, Body: make([]byte, 26)}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		p := newPath(0, 0)
		e := New(Config{Sender: p, Accept: func(s *Stream, _ cell.Begin) { s.Accepted(s.Addr()) }, Message: func(cell.Message) error { return nil }})
		for len(payload) > 0 {
			n := min(len(payload), cell.BackwardPayload(cell.LargeBody))
			if e.HandlePayload(payload[:n], [16]byte{}, false) != nil {
				break
			}
			payload = payload[n:]
		}
		e.HandleIdle()
		e.Close()
		if e.Streams() != 0 {
			t.Fatalf("%d streams are left", e.Streams())
		}
	})
}

// After SendLast whatever an End says would belong to another hop.
func TestSilenceAfterSendLast(t *testing.T) {
	p := newPath(0, 0)
	e := New(Config{Sender: p})
	if err := e.SendLast(cell.Message{Command: cell.MsgExtend, Body: make([]byte, 40)}); err != nil {
		t.Fatal(err)
	}
	for range 3 * creditSoon {
		if err := e.HandlePayload(nil, [16]byte{}, false); err != nil {
			t.Fatal(err)
		}
	}
	e.HandleIdle()
	if _, err := e.Open(cell.Target{Name: "x"}, nil); !errors.Is(err, errFrozen) || p.cells != 1 {
		t.Errorf("%d cells, a stream: %v", p.cells, err)
	}
	e.Thaw()
	e.HandleIdle()
	if _, err := e.Open(cell.Target{Name: "x"}, nil); err != nil || p.cells != 3 {
		t.Errorf("%d cells after Thaw, a stream: %v", p.cells, err)
	}
}
