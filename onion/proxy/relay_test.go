package proxy

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/stream"
)

var _ Stream = (*stream.Stream)(nil)

func TestBytesBothWays(t *testing.T) {
	w := newWorld(t)
	w.server(7, echo)
	s, addr := w.serve(Config{})
	conn := tunnel(t, addr, 7)
	data := make([]byte, 3<<20)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	go func() {
		conn.Write(data)
		conn.CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes came back, %v", len(got), err)
	}
	within(t, "the connection to end", func() bool { return s.Stats().Open == 0 })
	if x := s.Stats(); x.Sent != uint64(len(data)) || x.Received != uint64(len(data)) || x.Streams != 1 || x.Broken != 0 {
		t.Errorf("%+v", x)
	}
}

// The answer to a question that is over when the client has closed its way.
func TestClientClosesItsWay(t *testing.T) {
	w := newWorld(t)
	w.server(7, func(conn *net.TCPConn) {
		question, _ := io.ReadAll(conn)
		conn.Write(append([]byte("you said "), question...))
	})
	_, addr := w.serve(Config{})
	conn := tunnel(t, addr, 7)
	io.WriteString(conn, "hello")
	conn.CloseWrite()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "you said hello" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestServerClosesItsWay(t *testing.T) {
	w := newWorld(t)
	heard := make(chan string, 1)
	w.server(7, func(conn *net.TCPConn) {
		io.WriteString(conn, "go on")
		conn.CloseWrite()
		b, _ := io.ReadAll(conn)
		heard <- string(b)
	})
	_, addr := w.serve(Config{})
	conn := tunnel(t, addr, 7)
	if got, err := io.ReadAll(conn); err != nil || string(got) != "go on" {
		t.Fatalf("%q, %v", got, err)
	}
	io.WriteString(conn, "still here")
	conn.CloseWrite()
	if got := <-heard; got != "still here" {
		t.Errorf("the server heard %q", got)
	}
}

func TestResets(t *testing.T) {
	t.Run("of the server", func(t *testing.T) {
		w := newWorld(t)
		w.server(7, func(conn *net.TCPConn) {
			io.ReadFull(conn, make([]byte, 1))
			conn.SetLinger(0)
		})
		s, addr := w.serve(Config{})
		conn := tunnel(t, addr, 7)
		io.WriteString(conn, "x")
		if _, err := conn.Read(make([]byte, 1)); !isReset(err) {
			t.Errorf("the client saw %v", err)
		}
		within(t, "it to be counted", func() bool { return s.Stats().Broken == 1 })
	})
	for _, closed := range []bool{false, true} {
		t.Run(map[bool]string{false: "of the client", true: "of the client after it closed its way"}[closed], func(t *testing.T) {
			w := newWorld(t)
			saw := make(chan error, 1)
			w.server(7, func(conn *net.TCPConn) {
				io.WriteString(conn, "x")
				if closed {
					io.ReadAll(conn)
					for { // the reset comes while nobody says anything
						if _, err := conn.Write([]byte("y")); err != nil {
							saw <- err
							return
						}
						time.Sleep(time.Millisecond)
					}
				}
				_, err := conn.Read(make([]byte, 1))
				saw <- err
			})
			_, addr := w.serve(Config{})
			conn := tunnel(t, addr, 7)
			exchange(t, conn, "", "x")
			if closed {
				conn.CloseWrite()
			}
			conn.SetLinger(0)
			conn.Close()
			if err := <-saw; !isReset(err) {
				t.Errorf("the server saw %v", err)
			}
		})
	}
}

// Nothing flows when the client breaks: it must be noticed all the same.
func TestSilentResetAfterClosing(t *testing.T) {
	w := newWorld(t)
	w.server(7, func(conn *net.TCPConn) { // which says nothing until the connection breaks
		if _, err := io.ReadAll(conn); err == nil {
			awaitBreak(conn)
		}
	})
	s, addr := w.serve(Config{})
	conn := tunnel(t, addr, 7)
	conn.CloseWrite()
	within(t, "the stream", func() bool { return s.Stats().Streams == 1 })
	conn.SetLinger(0)
	conn.Close()
	within(t, "the end", func() bool { return s.Stats().Open == 0 })
}

// The client gets all of it, however late it reads, and although the server has
// closed long before.
func TestSlowReaderGetsAll(t *testing.T) {
	w := newWorld(t)
	const size = 8 << 20 // more than sockets and windows hold
	w.server(7, func(conn *net.TCPConn) { conn.Write(make([]byte, size)) })
	s, addr := w.serve(Config{})
	conn := tunnel(t, addr, 7)
	total := 0
	for b := make([]byte, 1<<20); ; {
		n, err := io.ReadFull(conn, b)
		total += n
		if err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if total != size {
		t.Errorf("%d bytes of %d", total, size)
	}
	conn.Close()
	within(t, "the end", func() bool { return s.Stats().Open == 0 })
}

// The circuit breaks: the client sees a reset, at once.
func TestCircuitBreaks(t *testing.T) {
	w := newWorld(t)
	w.server(7, echo)
	_, addr := w.serve(Config{})
	conn := tunnel(t, addr, 7)
	exchange(t, conn, "x", "x")
	for _, c := range w.circuits {
		c.near.Close()
	}
	if _, err := conn.Read(make([]byte, 1)); !isReset(err) {
		t.Errorf("the client saw %v", err)
	}
}

// Idle connections hold goroutines and sockets, and no buffers.
func TestIdleConnectionsAreCheap(t *testing.T) {
	const n = 500
	w := newWorld(t)
	w.server(7, echo)
	_, addr := w.serve(Config{})
	var m0, m1 runtime.MemStats
	exchange(t, tunnel(t, addr, 7), "x", "x")
	runtime.GC()
	runtime.ReadMemStats(&m0)
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = tunnel(t, addr, 7)
		exchange(t, conns[i], "x", "x")
	}
	runtime.GC()
	runtime.GC() // and what pools hold
	runtime.ReadMemStats(&m1)
	each := (int64(m1.HeapInuse+m1.StackInuse) - int64(m0.HeapInuse+m0.StackInuse)) / n
	t.Logf("%d bytes a connection, with client, two ends of a stream, exit and server", each)
	if each > 128<<10 {
		t.Errorf("%d bytes an idle connection", each)
	}
	runtime.KeepAlive(conns)
}

func TestManyAtOnce(t *testing.T) {
	const n = 2000
	w := newWorld(t)
	w.server(7, echo)
	s, addr := w.serve(Config{MaxConns: n, MaxPerClient: n})
	var all sync.WaitGroup
	open := make(chan struct{}) // nobody leaves before all are there
	var there sync.WaitGroup
	there.Add(n)
	for range n {
		all.Go(func() {
			conn, err := net.Dial("tcp", addr)
			defer there.Done()
			if err != nil {
				t.Error(err)
				return
			}
			all.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(time.Minute))
				<-open
				say := "\x05\x01\x00" + "\x05\x01\x00" + string(appendSocksAddr(nil, cell.Target{Name: "site.test", Port: 7})) + "hello"
				want := "\x05\x00" + granted + "hello"
				io.WriteString(conn, say)
				got := make([]byte, len(want))
				if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
					t.Errorf("%q, %v", got, err)
				}
			})
		})
	}
	there.Wait()
	within(t, "all to be there", func() bool { return s.Stats().Accepted == n })
	close(open)
	all.Wait()
	if x := s.Stats(); x.Streams != n || x.Full != 0 {
		t.Errorf("%+v", x)
	}
}

// BenchmarkConnect is a connection from its beginning to the first byte of an echo.
func BenchmarkConnect(b *testing.B) {
	w := newWorld(b)
	w.server(7, echo)
	_, addr := w.serve(Config{})
	var answered time.Duration
	for b.Loop() {
		conn := connectTo(b, addr)
		begin := time.Now()
		exchange(b, conn, "\x05\x01\x00", "\x05\x00")
		exchange(b, conn, socks5To(cell.Target{Name: "site.test", Port: 7}), granted)
		answered += time.Since(begin)
		exchange(b, conn, "x", "x")
		conn.Close()
	}
	b.ReportMetric(float64(answered.Microseconds())/float64(b.N), "µs/answer")
}

func BenchmarkBytes(b *testing.B) {
	w := newWorld(b)
	w.server(7, func(conn *net.TCPConn) { io.Copy(io.Discard, conn) })
	_, addr := w.serve(Config{})
	conn := tunnel(b, addr, 7)
	p := make([]byte, 64<<10)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if _, err := conn.Write(p); err != nil {
			b.Fatal(err)
		}
	}
}
