package channel

import (
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"globalnet/onion/cell"
)

// tcpPair returns the two ends of a connection over loopback.
func tcpPair(t testing.TB) (x, y net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if x, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if y, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return x, y
}

// What the connection takes is written when Flush returns, and the writer has
// nothing to do with it.
func TestFlushWritesAtOnce(t *testing.T) {
	x, y := tcpPair(t)
	a := newAccepter(false)
	client, server := pair(t, x, y, Config{}, Config{Accept: a})
	run(t, client, server)
	_, out, _, theirs := circuit(t, client, a)
	writing := func() bool {
		client.out.mu.Lock()
		defer client.out.mu.Unlock()
		return client.out.writing
	}
	for i := range 20 {
		for writing() { // what the channel itself has to say: whoever says that takes the rest along
			time.Sleep(time.Millisecond)
		}
		before := client.Stats()
		for range 3 {
			sendCell(t, out, cell.LargeBody, 0, byte(i))
		}
		if s := client.Stats(); s.CellsOut != before.CellsOut {
			t.Fatalf("%d cells are written before Flush", s.CellsOut-before.CellsOut)
		}
		out.Flush()
		if s := client.Stats(); out.Queued() != 0 || s.CellsOut != before.CellsOut+3 || s.RecordsOut != before.RecordsOut+1 {
			t.Fatalf("%d cells wait, %d are written in %d records", out.Queued(), s.CellsOut-before.CellsOut, s.RecordsOut-before.RecordsOut)
		}
		theirs.wait(t, "the cells", func() bool { return theirs.cells == 3*(i+1) })
	}
}

// A Flush never waits for the other side: what the connection does not take is
// written, in order, when it does.
func TestFullConnectionIsLeftToTheWriter(t *testing.T) {
	x, y := tcpPair(t)
	x.(*net.TCPConn).SetWriteBuffer(16 << 10)
	y.(*net.TCPConn).SetReadBuffer(16 << 10)
	a := newAccepter(false)
	client, server := pair(t, x, y, Config{}, Config{Accept: a})
	run(t, client)
	out, err := client.Open(newRecorder())
	if err != nil {
		t.Fatal(err)
	}
	out.SendCreate(nil)
	sent := 0
	for ; out.Queued() < 100; sent++ { // nobody reads
		sendCell(t, out, cell.LargeBody, 0, byte(sent))
		out.Flush()
		if sent == MaxQueue {
			t.Fatal("the connection takes everything")
		}
	}
	// From here on the writer writes, and Flush leaves it to it.
	for range 50 {
		sendCell(t, out, cell.SmallBody, 0, byte(sent))
		out.Flush()
		sent++
	}
	if out.Queued() < 100 {
		t.Fatalf("%d cells wait", out.Queued())
	}
	run(t, server)
	theirs := <-a.made
	theirs.wait(t, "all cells", func() bool { return theirs.cells == sent })
	for i, b := range theirs.bodies {
		if b[0] != byte(i) {
			t.Fatalf("cell %d comes as number %d", b[0], i)
		}
	}
	if used := client.cfg.Budget.Used(); used != 0 {
		t.Errorf("%d cells of the budget are left", used)
	}
}

// Before Run nothing is written: the other side may not be listening.
func TestFlushBeforeRun(t *testing.T) {
	x, y := tcpPair(t)
	a := newAccepter(false)
	client, server := pair(t, x, y, Config{}, Config{Accept: a})
	out, _ := client.Open(newRecorder())
	out.SendCreate(nil)
	sendCell(t, out, cell.SmallBody, 0, 1)
	out.Flush()
	if s := client.Stats(); s.CellsOut != 0 || out.Queued() != 1 {
		t.Fatalf("%d cells are written, %d wait", s.CellsOut, out.Queued())
	}
	run(t, client, server)
	theirs := <-a.made
	theirs.wait(t, "the cell", func() bool { return theirs.cells == 1 })
}

func TestFifo(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var f fifo
	var want []int64
	next := int64(0)
	for range 20000 {
		switch r := rng.IntN(100); {
		case r == 0:
			for _, q := range want {
				if got := f.peek().since; got != q {
					t.Fatalf("%d is first, not %d", got, q)
				}
				Release(f.pop().b)
			}
			want = nil
		case r == 1:
			if n := f.drop(); n != len(want) {
				t.Fatalf("%d dropped of %d", n, len(want))
			}
			want = nil
		case r < 55:
			next++
			f.push(queued{b: NewBuffer(), since: next})
			want = append(want, next)
		case len(want) > 0:
			q := f.pop()
			if q.since != want[0] {
				t.Fatalf("%d comes, not %d", q.since, want[0])
			}
			Release(q.b)
			want = want[1:]
		}
		if f.n != len(want) || (f.head == nil) != (len(want) == 0) {
			t.Fatalf("%d items, not %d; chunks held: %v", f.n, len(want), f.head != nil)
		}
	}
}

// Cells that come in pieces are whole when a circuit sees them.
func TestPieces(t *testing.T) {
	x, px := tcpPair(t)
	py, y := tcpPair(t)
	go io.Copy(px, py)
	go func() {
		rng := rand.New(rand.NewPCG(3, 4))
		p := make([]byte, 3000)
		for {
			n, err := px.Read(p[:1+rng.IntN(len(p)-1)])
			if err != nil {
				py.Close()
				return
			}
			py.Write(p[:n])
		}
	}()
	a := newAccepter(false)
	client, server := pair(t, x, y, Config{}, Config{Accept: a})
	run(t, client, server)
	_, out, _, theirs := circuit(t, client, a)
	for i := range 90 {
		size := cell.LargeBody
		if i%3 == 0 {
			size = cell.SmallBody
		}
		sendCell(t, out, size, 0, byte(i))
		if i%7 == 0 {
			out.Flush()
			theirs.wait(t, "what was flushed", func() bool { return theirs.cells == i+1 })
		}
	}
	out.Flush()
	theirs.wait(t, "all cells", func() bool { return theirs.cells == 90 })
	for i, b := range theirs.bodies {
		if b[0] != byte(i) || b[len(b)-1] != byte(i) {
			t.Fatalf("cell %d is broken", i)
		}
	}
}
