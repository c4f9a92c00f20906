package channel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
)

func newIdentity(t testing.TB) *identity.Identity {
	t.Helper()
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// pair makes a channel over two ends of a connection.
func pair(t testing.TB, a, b net.Conn, ca, cb Config) (client, server *Channel) {
	t.Helper()
	if ca.Identity == nil {
		ca.Identity = newIdentity(t)
	}
	if cb.Identity == nil {
		cb.Identity = newIdentity(t)
	}
	accepted := make(chan error, 1)
	go func() {
		var err error
		server, err = Accept(t.Context(), b, cb)
		accepted <- err
	}()
	client, err := Dial(t.Context(), a, ca, cb.Identity.NodeID())
	if err := errors.Join(err, <-accepted); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// run runs channels and ends them with the test.
func run(t testing.TB, channels ...*Channel) (ended []chan error) {
	t.Helper()
	for _, c := range channels {
		done := make(chan error, 1)
		go func() { done <- c.Run(context.Background()) }()
		ended = append(ended, done)
		t.Cleanup(func() {
			c.Close()
			done <- <-done // for whoever asks, and to be sure it has ended
		})
	}
	return ended
}

// recorder is a Circuit that writes down what happens to it.
type recorder struct {
	mu     sync.Mutex
	events []string
	bodies [][]byte
	cells  int
	change chan struct{}
	echo   *Leg
}

func newRecorder() *recorder { return &recorder{change: make(chan struct{}, 1)} }

func (r *recorder) note(e string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	r.wake()
}

func (r *recorder) wake() {
	select {
	case r.change <- struct{}{}:
	default:
	}
}

func (r *recorder) HandleCell(f cell.Flags, body []byte) {
	r.mu.Lock()
	r.cells++
	if len(r.bodies) < 100 {
		r.bodies = append(r.bodies, bytes.Clone(body))
		r.events = append(r.events, fmt.Sprintf("cell %d flags %d", len(body), f))
	}
	r.wake()
	r.mu.Unlock()
	if r.echo != nil {
		b := NewBuffer()
		r.echo.Send(b, b[:copy(b[:], body)], f)
	}
}
func (r *recorder) HandleCreated(p []byte) { r.note("created " + string(p)) }
func (r *recorder) HandleIdle() {
	if r.echo != nil {
		r.echo.Flush()
	}
}
func (r *recorder) HandleDestroy(x cell.Reason) { r.note("destroy: " + x.String()) }

// wait waits until cond holds.
func (r *recorder) wait(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		ok := cond()
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-r.change:
		case <-deadline:
			t.Fatalf("waited in vain for %s: %v", what, r.events)
		}
	}
}

// waitEvent waits for an event.
func (r *recorder) waitEvent(t testing.TB, e string) {
	t.Helper()
	r.wait(t, e, func() bool { return len(r.events) > 0 && r.events[len(r.events)-1] == e })
}

// accepter makes a recorder of each circuit; it echoes cells if asked to.
type accepter struct {
	echo bool
	legs chan *Leg
	made chan *recorder
}

func newAccepter(echo bool) *accepter {
	return &accepter{echo, make(chan *Leg, MaxCircuits), make(chan *recorder, MaxCircuits)}
}

func (a *accepter) HandleCreate(l *Leg, request []byte) {
	r := newRecorder()
	if a.echo {
		r.echo = l
	}
	l.Attach(r)
	if err := l.SendCreated(append([]byte("re: "), request...)); err == nil {
		a.legs <- l
		a.made <- r
	}
}

func sendCell(t testing.TB, l *Leg, size int, flags cell.Flags, fill byte) {
	t.Helper()
	b := NewBuffer()
	body := b[:size]
	for i := range body {
		body[i] = fill
	}
	if err := l.Send(b, body, flags); err != nil {
		t.Fatal(err)
	}
}

// circuit makes a circuit from client to server.
func circuit(t testing.TB, client *Channel, a *accepter) (r *recorder, l, theirs *Leg, their *recorder) {
	t.Helper()
	r = newRecorder()
	l, err := client.Open(r)
	if err == nil {
		err = l.SendCreate([]byte("hello"))
	}
	if err != nil {
		t.Fatal(err)
	}
	r.waitEvent(t, "created re: hello")
	return r, l, <-a.legs, <-a.made
}

func TestCellsTravel(t *testing.T) {
	a := newAccepter(false)
	x, y := net.Pipe()
	client, server := pair(t, x, y, Config{}, Config{Accept: a})
	run(t, client, server)
	mine, out, back, theirs := circuit(t, client, a)
	for i := range 60 {
		size, flags := cell.LargeBody, cell.Ratchet
		if i%3 == 0 {
			size, flags = cell.SmallBody, 0
		}
		sendCell(t, out, size, flags, byte(i))
	}
	out.Flush()
	theirs.wait(t, "60 cells", func() bool { return theirs.cells == 60 })
	for i, body := range theirs.bodies {
		// Cells that wait long in a queue, as on a slow machine, come marked.
		want, marked := "cell 1320 flags 4", "cell 1320 flags 6"
		if i%3 == 0 {
			want, marked = "cell 232 flags 1", "cell 232 flags 3"
		}
		if e := theirs.events[i]; body[0] != byte(i) || body[len(body)-1] != byte(i) || e != want && e != marked {
			t.Fatalf("cell %d: %s, begins with %d", i, theirs.events[i], body[0])
		}
	}
	sendCell(t, back, cell.SmallBody, cell.Congested, 1)
	back.Flush()
	mine.waitEvent(t, "cell 232 flags 3")

	out.Destroy(cell.ReasonTimeout)
	theirs.waitEvent(t, "destroy: timeout")
	if client.Circuits() != 0 || server.Circuits() != 0 {
		t.Errorf("%d and %d circuits are left", client.Circuits(), server.Circuits())
	}
	if err := back.Send(NewBuffer(), make([]byte, cell.SmallBody), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("sending on a circuit that is gone: %v", err)
	}
	if s := client.Stats(); s.CellsOut != 62 || s.CellsIn != 2 || s.BytesOut < 40*cell.LargeBody {
		t.Errorf("%+v", s)
	}
}

func TestTheEndOfAChannelIsToldOnce(t *testing.T) {
	a := newAccepter(false)
	x, y := net.Pipe()
	client, server := pair(t, x, y, Config{}, Config{Accept: a})
	ended := run(t, client, server)
	mine, l, _, theirs := circuit(t, client, a)
	client.Close()
	err := <-ended[0]
	ended[0] <- err
	if err != nil {
		t.Errorf("closed: %v", err)
	}
	err = <-ended[1]
	ended[1] <- err
	if !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), client.cfg.Identity.NodeID().Short()) {
		t.Errorf("the other side's end: %v", err)
	}
	for _, r := range []*recorder{mine, theirs} {
		if n := strings.Count(strings.Join(r.events, " "), "destroy: channel lost"); n != 1 {
			t.Errorf("told %d times: %v", n, r.events)
		}
	}
	if err := l.SendCreate(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := client.Open(mine); !errors.Is(err, ErrClosed) {
		t.Errorf("a circuit after the end: %v", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	x, y := net.Pipe()
	client, _ := pair(t, x, y, Config{}, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- client.Run(ctx) }()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNobodyAcceptsCircuits(t *testing.T) {
	x, y := net.Pipe()
	client, server := pair(t, x, y, Config{}, Config{})
	run(t, client, server)
	r := newRecorder()
	l, err := client.Open(r)
	if err != nil {
		t.Fatal(err)
	}
	l.SendCreate(nil)
	r.waitEvent(t, "destroy: out of resources")
}

func TestIdentifiersAreApart(t *testing.T) {
	x, y := net.Pipe()
	client, server := pair(t, x, y, Config{}, Config{})
	seen := make(map[uint32]bool)
	for range 100 {
		for _, c := range []*Channel{client, server} {
			l, err := c.Open(newRecorder())
			if err != nil || seen[l.ID()] || l.ID() == 0 {
				t.Fatalf("identifier %d, %v", l.ID(), err)
			}
			seen[l.ID()] = true
		}
	}
	client.nextID = 1<<31 - 1 // the numbers begin anew
	for range 100 {
		l, err := client.Open(newRecorder())
		if err != nil || seen[l.ID()] {
			t.Fatalf("identifier %d is used twice", l.ID())
		}
		seen[l.ID()] = true
	}
	for range MaxCircuits - 200 {
		client.Open(newRecorder())
	}
	if _, err := client.Open(newRecorder()); !errors.Is(err, errTooMany) {
		t.Errorf("beyond the bound: %v", err)
	}
}

func TestQueueIsBounded(t *testing.T) {
	x, y := net.Pipe()
	budget := NewBudget(1 << 20)
	client, _ := pair(t, x, y, Config{Budget: budget}, Config{}) // nobody writes
	l, _ := client.Open(newRecorder())
	for range MaxQueue {
		sendCell(t, l, cell.SmallBody, 0, 0)
	}
	b := NewBuffer()
	if err := l.Send(b, b[:cell.SmallBody], 0); !errors.Is(err, ErrFull) {
		t.Errorf("beyond the bound: %v", err)
	}
	if l.Queued() != MaxQueue || budget.Used() != MaxQueue {
		t.Errorf("%d cells wait, %d counted", l.Queued(), budget.Used())
	}
	l.Destroy(cell.ReasonResource)
	if l.Queued() != 0 || budget.Used() != 0 {
		t.Errorf("%d cells wait after all, %d counted", l.Queued(), budget.Used())
	}
}

func TestBudgetKillsTheOldestQueue(t *testing.T) {
	x, y := net.Pipe()
	budget := NewBudget(1000)
	client, server := pair(t, x, y, Config{Budget: budget}, Config{Accept: newAccepter(false)})
	var legs []*Leg
	var circuits []*recorder
	for range 3 {
		r := newRecorder()
		l, err := client.Open(r)
		if err != nil {
			t.Fatal(err)
		}
		legs, circuits = append(legs, l), append(circuits, r)
	}
	// The first fills the budget, after the second put one cell in.
	sendCell(t, legs[1], cell.SmallBody, 0, 0)
	budget.add(client)
	for range 940 {
		sendCell(t, legs[0], cell.SmallBody, 0, 0)
	}
	if !budget.Crowded() || budget.Killed() != 0 {
		t.Fatalf("%d cells wait, crowded %v", budget.Used(), budget.Crowded())
	}
	for range 20 {
		sendCell(t, legs[2], cell.SmallBody, 0, 0)
	}
	if budget.Killed() != 2 || budget.Used() > 20 || budget.Crowded() {
		t.Errorf("%d killed, %d cells wait", budget.Killed(), budget.Used())
	}
	run(t, client, server)
	for i, r := range circuits[:2] {
		r.waitEvent(t, "destroy: out of resources")
		if err := legs[i].Send(NewBuffer(), make([]byte, cell.SmallBody), 0); !errors.Is(err, ErrClosed) {
			t.Errorf("circuit %d goes on: %v", i, err)
		}
	}
	if legs[2].Channel().Circuits() != 1 {
		t.Error("the newest circuit died too")
	}
}

// order returns which circuits the writer serves, as letters.
func order(c *Channel, rounds int) (s string) {
	for range rounds {
		for _, cell := range c.out.take(nil, c.cfg.Budget) {
			s += string(rune('a' - 1 + cell.h.Circ&0xff))
		}
	}
	return s
}

func TestCircuitsTakeTurns(t *testing.T) {
	x, y := net.Pipe()
	client, _ := pair(t, x, y, Config{}, Config{})
	var legs [3]*Leg
	for i := range legs {
		legs[i], _ = client.Open(newRecorder())
	}
	for range 100 { // two bulk circuits
		sendCell(t, legs[0], cell.LargeBody, 0, 0)
		sendCell(t, legs[1], cell.LargeBody, 0, 0)
	}
	got := order(client, 1)
	if a, b := strings.Count(got, "a"), strings.Count(got, "b"); a != 24 || b != 24 {
		t.Errorf("turns: %s", got)
	}
	sendCell(t, legs[2], cell.LargeBody, 0, 0) // an interactive one
	if got = order(client, 1); !strings.HasPrefix(got, "c") || len(got) != cell.MaxRecord {
		t.Errorf("the fresh circuit waits: %s", got)
	}
	for range 10 {
		sendCell(t, legs[2], cell.LargeBody, 0, 0)
	}
	got = order(client, 10)
	if n := strings.Index(got, "c"); n < 0 || n > 8 || strings.Count(got, "c") != 10 {
		t.Errorf("turns: %s", got)
	}
	if left := client.cfg.Budget.Used(); left != 0 || client.out.n != 0 {
		t.Errorf("%d cells left", left)
	}
}

func TestLateCellsAreMarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := net.Pipe()
		client, _ := pair(t, x, y, Config{}, Config{})
		l, _ := client.Open(newRecorder())
		sendCell(t, l, cell.SmallBody, 0, 0)
		l.Flush()
		time.Sleep(slow + time.Millisecond)
		sendCell(t, l, cell.SmallBody, 0, 0)
		got := client.out.take(nil, client.cfg.Budget)
		if got[0].h.Flags != cell.Small|cell.Congested || got[1].h.Flags != cell.Small {
			t.Errorf("flags %d and %d", got[0].h.Flags, got[1].h.Flags)
		}
	})
}

func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := net.Pipe()
		client, server := pair(t, x, y, Config{}, Config{})
		ended := run(t, client, server)
		time.Sleep(10 * time.Minute)
		select {
		case err := <-ended[0]:
			t.Fatalf("an idle channel ends: %v", err)
		default:
		}
		if s := client.Stats(); s.CellsOut < 20 || s.CellsOut > 60 || s.CellsIn < 20 {
			t.Errorf("in ten minutes %d cells out, %d in", s.CellsOut, s.CellsIn)
		}
		client.Close()
		server.Close()
		synctest.Wait()
	})
}

func TestSilenceEndsAChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := net.Pipe()
		client, _ := pair(t, x, y, Config{}, Config{})
		go io.Copy(io.Discard, y) // the other node hears, and says nothing
		start := time.Now()
		err := client.Run(t.Context())
		if err == nil || time.Since(start) > 2*readTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		y.Close()
	})
}

func TestStuckReaderEndsAChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := net.Pipe()
		client, _ := pair(t, x, y, Config{}, Config{}) // nobody reads from y
		start := time.Now()
		err := client.Run(t.Context())
		if err == nil || time.Since(start) > 30*time.Second+writeTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		y.Close()
	})
}
