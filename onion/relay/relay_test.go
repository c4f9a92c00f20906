package relay

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/channel"
	"globalnet/onion/layer"
	"globalnet/onion/ntor"
)

// client is the other end of a channel to a relay, without any manners.
type client struct {
	t     testing.TB
	ch    *channel.Channel
	relay *Relay
	node  identity.NodeID
	onion ntor.PublicKey
}

// noDialer knows no other node, and waits for silent as long as it may.
type noDialer struct{}

var silent = identity.NodeID{77}

func (noDialer) Channel(ctx context.Context, node identity.NodeID) (*channel.Channel, error) {
	if node == silent {
		<-ctx.Done()
	}
	return nil, errors.New("no such node")
}

// newRelay runs a relay, and returns a client of it. The budget may be nil.
func newRelay(t testing.TB, budget *channel.Budget) *client {
	t.Helper()
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ntor.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	r := New(Config{Identity: id, OnionKey: key, Dialer: noDialer{}})
	c := &client{t: t, relay: r, node: id.NodeID(), onion: key.Public()}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	c.ch = c.connect(ctx, &running, channel.Config{Identity: id, Accept: r, Budget: budget})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return c
}

func (c *client) connect(ctx context.Context, running *sync.WaitGroup, server channel.Config) *channel.Channel {
	c.t.Helper()
	self, err := identity.Generate()
	if err != nil {
		c.t.Fatal(err)
	}
	near, far := net.Pipe()
	accepted := make(chan struct{})
	running.Go(func() {
		ch, err := channel.Accept(ctx, far, server)
		close(accepted)
		if err == nil {
			ch.Run(ctx)
		}
	})
	ch, err := channel.Dial(ctx, near, channel.Config{Identity: self}, c.node)
	<-accepted
	if err != nil {
		c.t.Fatal(err)
	}
	running.Go(func() { ch.Run(ctx) })
	return ch
}

// circ is a circuit of one hop.
type circ struct {
	leg    *channel.Leg
	events chan string
	reply  []byte
	mu     sync.Mutex
	cells  [][]byte
}

func (c *circ) HandleCell(_ cell.Flags, body []byte) {
	c.mu.Lock()
	c.cells = append(c.cells, append([]byte(nil), body...))
	c.mu.Unlock()
	c.events <- "cell"
}
func (c *circ) HandleCreated(reply []byte) {
	c.reply = append([]byte(nil), reply...)
	c.events <- "created"
}
func (c *circ) HandleIdle()                 {}
func (c *circ) HandleDestroy(r cell.Reason) { c.events <- r.String() }

// create sends a Create.
func (c *client) create(body []byte) *circ {
	c.t.Helper()
	x := &circ{events: make(chan string, 100)}
	leg, err := c.ch.Open(x)
	if err != nil {
		c.t.Fatal(err)
	}
	x.leg = leg
	if err := leg.SendCreate(body); err != nil {
		c.t.Fatal(err)
	}
	return x
}

func (x *circ) wait(t testing.TB) string {
	t.Helper()
	select {
	case e := <-x.events:
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("nothing happens")
		return ""
	}
}

// request returns a good Create and its handshake.
func (c *client) request(suite layer.Suite) (*ntor.Client, []byte) {
	c.t.Helper()
	hs, request, err := ntor.NewClient(c.node, c.onion, cell.AppendCreateParams(nil, cell.CreateParams{Suite: uint8(suite)}))
	if err != nil {
		c.t.Fatal(err)
	}
	return hs, append([]byte{cell.HandshakeHybrid}, request...)
}

// open makes a circuit of one hop with its layers.
func (c *client) open() (*circ, *layer.Forward, *layer.Backward) {
	c.t.Helper()
	hs, request := c.request(layer.ChaCha)
	x := c.create(request)
	if e := x.wait(c.t); e != "created" {
		c.t.Fatal(e)
	}
	keys, _, err := hs.Finish(x.reply[1:])
	if err != nil {
		c.t.Fatal(err)
	}
	out, in := layer.NewForward(), new(layer.Backward)
	out.Add(layer.ChaCha, keys.Forward)
	in.Add(layer.ChaCha, keys.Backward)
	return x, out, in
}

// send sends messages in a large cell.
func (x *circ) send(t testing.TB, f *layer.Forward, payload []byte) {
	t.Helper()
	b := channel.NewBuffer()
	place := layer.ClientPayload(b, cell.LargeBody)
	clear(place[copy(place, payload):])
	body, _ := f.Seal(b, cell.LargeBody, false)
	if err := x.leg.Send(b, body, 0); err != nil {
		t.Fatal(err)
	}
	x.leg.Flush()
}

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestBadCreates(t *testing.T) {
	c := newRelay(t, nil)
	_, good := c.request(layer.AES)
	_, unknownSuite := c.request(77)
	tests := []struct {
		name string
		body []byte
		want string
	}{
		{"good", good, "created"},
		{"replayed", good, "handshake refused"},
		{"empty", nil, "handshake refused"},
		{"other type", append([]byte{9}, good[1:]...), "handshake refused"},
		{"cut", good[:500], "handshake refused"},
		{"unknown suite", unknownSuite, "handshake refused"},
	}
	for _, tt := range tests {
		if got := c.create(tt.body).wait(t); got != tt.want {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
	if s := c.relay.Stats(); s.Created != 1 || s.Refused != 5 || s.Circuits != 1 {
		t.Errorf("%+v", s)
	}
}

func TestBadCells(t *testing.T) {
	begin := cell.AppendMessage(nil, cell.Message{Command: cell.MsgBegin, Stream: 1, Body: cell.AppendBegin(nil, cell.Begin{Target: cell.Target{Name: "x"}})})
	extend := cell.AppendMessage(nil, cell.Message{Command: cell.MsgExtend, Body: cell.AppendExtend(nil, cell.Extend{Node: silent, Handshake: 1, Request: []byte("x")})})
	tests := []struct {
		name    string
		payload []byte
		want    string
	}{
		{"malformed message", []byte{99, 0, 0, 0, 1}, "protocol broken"},
		{"answer of a relay", cell.AppendMessage(nil, cell.Message{Command: cell.MsgExtended, Body: []byte{1}}), "protocol broken"},
		{"malformed extend", cell.AppendMessage(nil, cell.Message{Command: cell.MsgExtend, Body: []byte{1}}), "protocol broken"},
		{"extended twice at once", append(append([]byte(nil), extend...), extend...), "protocol broken"},
		{"begun twice", append(append([]byte(nil), begin...), begin...), "cell"}, // no exit: the first is over already
	}
	c := newRelay(t, nil)
	for _, tt := range tests {
		x, out, _ := c.open()
		x.send(t, out, tt.payload)
		if got := x.wait(t); got != tt.want && !(tt.want == "protocol broken" && got == "cell" && x.wait(t) == tt.want) {
			t.Errorf("%s: %s", tt.name, got)
		}
		x.leg.Destroy(cell.ReasonNone)
	}
	x, out, _ := c.open()
	b := channel.NewBuffer()
	body, _ := out.Seal(b, cell.SmallBody, false)
	body[100] ^= 1
	x.leg.Send(b, body, 0)
	x.leg.Flush()
	if got := x.wait(t); got != "integrity broken" {
		t.Errorf("changed cell: %s", got)
	}
	eventually(t, "all circuits are gone", func() bool { return c.relay.Stats().Circuits == 0 })
	if n := c.relay.Stats().Broken; n != 1 {
		t.Errorf("%d broken", n)
	}
}

func TestExtendToNobody(t *testing.T) {
	c := newRelay(t, nil)
	x, out, in := c.open()
	extend := cell.AppendMessage(nil, cell.Message{Command: cell.MsgExtend,
		Body: cell.AppendExtend(nil, cell.Extend{Node: [32]byte{1}, Handshake: 1, Request: []byte("x")})})
	var parts cell.Assembler
	failed := 0
	for range maxExtends {
		x.send(t, out, extend)
		for before := failed; failed == before; {
			if e := x.wait(t); e != "cell" {
				t.Fatalf("after %d failures: %s", failed, e)
			}
			var b layer.Buffer
			x.mu.Lock()
			body := x.cells[0]
			x.cells = x.cells[1:]
			x.mu.Unlock()
			if _, err := in.Open(&b, body, false); err != nil {
				t.Fatal(err)
			}
			err := parts.Feed(b[:cell.BackwardPayload(len(body))], func(m cell.Message) error {
				if m.Command == cell.MsgExtendFailed && cell.Reason(m.Body[0]) == cell.ReasonUnreachable {
					failed++
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	x.send(t, out, extend)
	e := x.wait(t)
	if e == "cell" { // a credit
		e = x.wait(t)
	}
	if e != "protocol broken" {
		t.Errorf("after %d extensions: %s", maxExtends, e)
	}
}

// One channel floods; circuits of another are made all the same.
func TestCreateFlood(t *testing.T) {
	c := newRelay(t, nil)
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer running.Wait()
	defer cancel()
	other := *c
	other.ch = c.connect(ctx, &running, channel.Config{Identity: c.relay.cfg.Identity, Accept: c.relay})
	junk := make([]byte, 1200)
	junk[0] = cell.HandshakeHybrid
	running.Go(func() {
		for ctx.Err() == nil {
			x := &circ{events: make(chan string, 100)}
			leg, err := c.ch.Open(x)
			if err != nil {
				return
			}
			if leg.SendCreate(junk) != nil {
				return
			}
			select {
			case <-x.events:
			case <-ctx.Done():
			}
		}
	})
	eventually(t, "the flood has begun", func() bool { return c.relay.Stats().Refused > createBurst+50 })
	for range 30 {
		x, _, _ := other.open()
		x.leg.Destroy(cell.ReasonNone)
	}
}

func TestTokenBucket(t *testing.T) {
	now := time.Unix(0, 0)
	b := bucket{tokens: 3, at: now}
	taken := 0
	for range 10 {
		if b.take(now, 2, 3) {
			taken++
		}
	}
	if taken != 3 {
		t.Errorf("%d of a burst of 3", taken)
	}
	for _, tt := range []struct {
		after time.Duration
		want  bool
	}{{400 * time.Millisecond, false}, {100 * time.Millisecond, true}, {time.Hour, true}, {0, true}, {0, true}, {0, false}} {
		now = now.Add(tt.after)
		if got := b.take(now, 2, 3); got != tt.want {
			t.Errorf("after %v more: %v", tt.after, got)
		}
	}
}

func TestCrowdedRelayRefusesCircuits(t *testing.T) {
	c := newRelay(t, channel.NewBudget(0))
	_, request := c.request(layer.ChaCha)
	if got := c.create(request).wait(t); got != "out of resources" {
		t.Error(got)
	}
}

// What 500 circuits cost a relay.
func TestMemoryOfCircuits(t *testing.T) {
	c := newRelay(t, nil)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, suite := range []layer.Suite{layer.ChaCha, layer.AES} {
		before := heap()
		const n = 500
		kept := make([]*circuit, 0, n)
		_, request := c.request(suite)
		x := c.create(request)
		if e := x.wait(t); e != "created" {
			t.Fatal(e)
		}
		for range n {
			var keys ntor.Keys
			rand.Read(keys.Forward[:])
			kept = append(kept, newCircuit(c.relay, x.leg, suite, keys))
		}
		per := (heap() - before) / n
		t.Logf("suite %d: %d bytes a circuit", suite, per)
		if per > 6<<10 {
			t.Errorf("suite %d: %d bytes a circuit", suite, per)
		}
		runtime.KeepAlive(kept)
	}
}

func TestEndReasons(t *testing.T) {
	for want, err := range map[cell.EndReason]error{
		cell.EndPolicy:      &Error{cell.EndPolicy},
		cell.EndResolve:     &net.OpError{Err: &net.DNSError{}},
		cell.EndRefused:     &net.OpError{Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
		cell.EndUnreachable: syscall.EHOSTUNREACH,
		cell.EndTimeout:     context.DeadlineExceeded,
		cell.EndReset:       syscall.ECONNRESET,
		cell.EndMisc:        errors.New("something"),
	} {
		if got := EndReason(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
	if s := (&Error{cell.EndPolicy}).Error(); !strings.Contains(s, "policy") {
		t.Error(s)
	}
}
