package circuit_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/channel"
	"globalnet/onion/circuit"
	"globalnet/onion/layer"
	"globalnet/onion/ntor"
	"globalnet/onion/relay"
	"globalnet/onion/stream"
)

// network is relays and a client on loopback.
type network struct {
	mu    sync.Mutex
	addrs map[identity.NodeID]string
	touch func(from, to identity.NodeID, p []byte) // each write, if set
	delay time.Duration                            // of each link, one way
}

// node is one of them.
type node struct {
	*channel.Manager
	n     *network
	id    *identity.Identity
	relay *relay.Relay
	hop   circuit.Hop
	stop  context.CancelFunc
}

// DialNode implements channel.Underlay.
func (n *node) DialNode(ctx context.Context, id identity.NodeID) (net.Conn, error) {
	n.n.mu.Lock()
	addr := n.n.addrs[id]
	n.n.mu.Unlock()
	if addr == "" {
		return nil, errors.New("no such node")
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err == nil && n.n.delay > 0 {
		return slowed(conn, n.n.delay), nil
	}
	if err != nil || n.n.touch == nil {
		return conn, err
	}
	return &touched{conn, n, id}, nil
}

// touched lets a test change what is written.
type touched struct {
	net.Conn
	n  *node
	to identity.NodeID
}

func (c *touched) Write(p []byte) (int, error) {
	p = bytes.Clone(p)
	c.n.n.touch(c.n.id.NodeID(), c.to, p)
	return c.Conn.Write(p)
}

// slowed puts a delay on conn, both ways.
func slowed(conn net.Conn, delay time.Duration) net.Conn {
	near, far := net.Pipe()
	carry := func(to, from net.Conn) {
		type piece struct {
			due time.Time
			p   []byte
		}
		way := make(chan piece, 1<<16)
		go func() {
			defer to.Close()
			for x := range way {
				time.Sleep(time.Until(x.due))
				if _, err := to.Write(x.p); err != nil {
					break
				}
			}
			for range way {
			}
		}()
		defer close(way)
		for {
			p := make([]byte, 64<<10)
			n, err := from.Read(p)
			if err != nil {
				return
			}
			way <- piece{time.Now().Add(delay), p[:n]}
		}
	}
	go carry(conn, far)
	go carry(far, conn)
	return near
}

// start adds a node; exit may be nil.
func (n *network) start(t testing.TB, suite layer.Suite, exit relay.Exit) *node {
	t.Helper()
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ntor.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	x := &node{n: n, id: id, hop: circuit.Hop{Node: id.NodeID(), OnionKey: key.Public(), Suite: suite}}
	x.relay = relay.New(relay.Config{Identity: id, OnionKey: key, Dialer: x, Exit: exit})
	x.Manager = channel.NewManager(channel.Config{Identity: id, Accept: x.relay}, x, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	n.addrs[id.NodeID()] = l.Addr().String()
	n.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { x.relay.Run(ctx) })
	running.Go(func() { x.Manager.Run(ctx, l) })
	x.stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(x.stop)
	return x
}

func newNetwork() *network { return &network{addrs: make(map[identity.NodeID]string)} }

// threeHops is a client, its path, and the nodes of the path.
func threeHops(t testing.TB, n *network, suites [3]layer.Suite, exit relay.Exit) (client *node, path []circuit.Hop, relays []*node) {
	t.Helper()
	client = n.start(t, layer.ChaCha, nil)
	for i, s := range suites {
		var e relay.Exit
		if i == 2 {
			e = exit
		}
		r := n.start(t, s, e)
		relays, path = append(relays, r), append(path, r.hop)
	}
	return client, path, relays
}

func (x *node) build(ctx context.Context, path []circuit.Hop) (*circuit.Circuit, error) {
	ch, err := x.Channel(ctx, path[0].Node)
	if err != nil {
		return nil, err
	}
	return circuit.Build(ctx, ch, path)
}

func mustBuild(t testing.TB, client *node, path []circuit.Hop) *circuit.Circuit {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := client.build(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// exitFunc is an Exit.
type exitFunc func(cell.Target) (net.Conn, error)

func (f exitFunc) Connect(_ context.Context, t cell.Target) (net.Conn, error) { return f(t) }

// server listens on loopback TCP and serves connections with f.
func server(t testing.TB, f func(c *net.TCPConn)) exitFunc {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f(c.(*net.TCPConn))
		}
	}()
	return func(cell.Target) (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
}

func echo(c *net.TCPConn) {
	io.Copy(c, c)
	c.Close()
}

var target = cell.Target{Name: "example.org", Port: 80}

var mixed = [3]layer.Suite{layer.ChaCha, layer.AES, layer.ChaCha}

func TestThreeHops(t *testing.T) {
	var asked cell.Target
	dial := server(t, echo)
	exit := exitFunc(func(to cell.Target) (net.Conn, error) {
		asked = to
		return dial(to)
	})
	client, path, relays := threeHops(t, newNetwork(), mixed, exit)
	c := mustBuild(t, client, path)
	s, err := c.Open(target, []byte("early "))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("and late")); err != nil {
		t.Fatal(err)
	}
	s.CloseWrite()
	s.SetDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(s)
	if err != nil || string(got) != "early and late" {
		t.Fatalf("%q, %v", got, err)
	}
	<-s.Connected()
	if asked != target || !s.Addr().IsLoopback() {
		t.Errorf("asked for %+v, reached %v", asked, s.Addr())
	}
	<-s.Ended()
	if n := c.Streams(); n != 0 || len(c.Path()) != 3 {
		t.Errorf("%d streams are left on %d hops", n, len(c.Path()))
	}
	c.Close()
	if err := c.Err(); !errors.Is(err, circuit.ErrClosed) {
		t.Error(err)
	}
	for i, r := range relays {
		eventually(t, fmt.Sprintf("relay %d forgets the circuit", i), func() bool { return r.relay.Stats().Circuits == 0 })
	}
}

// patience bounds what hangs. The race detector on a busy machine, and an emulated one, take
// twenty times what a workstation does.
const patience = 2 * time.Minute

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("waited in vain: %s\n%s", what, buf[:runtime.Stack(buf, true)])
		}
	}
}

// much is less for a machine that is only emulated.
func much(n int64) int64 {
	if testing.Short() {
		return n / 16
	}
	return n
}

func TestMuchDataBothWays(t *testing.T) {
	client, path, _ := threeHops(t, newNetwork(), mixed, server(t, echo))
	c := mustBuild(t, client, path)
	data := make([]byte, much(8<<20))
	rand.Read(data)
	var all sync.WaitGroup
	for range 4 {
		s, err := c.Open(target, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.SetDeadline(time.Now().Add(patience))
		all.Go(func() {
			if _, err := s.Write(data); err != nil {
				t.Error(err)
			}
			s.CloseWrite()
		})
		all.Go(func() {
			got, err := io.ReadAll(s)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes of %d came back, %v", len(got), len(data), err)
			}
		})
	}
	all.Wait()
	if last, shortest := c.RTT(); last <= 0 || shortest <= 0 || shortest > 5*time.Second {
		t.Errorf("round trip %v, shortest %v", last, shortest)
	}
}

func TestHopErrors(t *testing.T) {
	n := newNetwork()
	client, path, relays := threeHops(t, n, mixed, nil)
	stranger, _ := identity.Generate()
	wrongKey, _ := ntor.GenerateKey()
	n.mu.Lock()
	impostor := circuit.Hop{Node: stranger.NodeID(), OnionKey: path[2].OnionKey, Suite: layer.ChaCha}
	n.mu.Unlock()
	tests := []struct {
		name string
		path []circuit.Hop
		want string
		hop  int
	}{
		{"no such relay", []circuit.Hop{path[0], impostor}, "unreachable", 1},
		{"wrong onion key at the guard", []circuit.Hop{{Node: path[0].Node, OnionKey: wrongKey.Public(), Suite: layer.ChaCha}}, "handshake refused", 0},
		{"wrong onion key", []circuit.Hop{path[0], {Node: path[1].Node, OnionKey: wrongKey.Public(), Suite: layer.AES}}, "handshake refused", 1},
		{"there and back", []circuit.Hop{path[0], path[1], path[0]}, "protocol", 2},
		{"itself", []circuit.Hop{path[0], path[0]}, "protocol", 1},
		{"unknown suite", []circuit.Hop{path[0], {Node: path[1].Node, OnionKey: path[1].OnionKey, Suite: 9}}, "unknown suite", 1},
	}
	for _, tt := range tests {
		_, err := client.build(t.Context(), tt.path)
		var at *circuit.HopError
		if !errors.As(err, &at) || at.Hop != tt.hop || at.Node != tt.path[tt.hop].Node || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	// The address of one node, the name of another.
	n.mu.Lock()
	n.addrs[stranger.NodeID()] = n.addrs[relays[2].id.NodeID()]
	n.mu.Unlock()
	if _, err := client.build(t.Context(), []circuit.Hop{path[0], impostor}); err == nil || !strings.Contains(err.Error(), "another node") {
		t.Errorf("an impostor: %v", err)
	}
	for i, r := range relays {
		eventually(t, fmt.Sprintf("relay %d forgets the circuits", i), func() bool { return r.relay.Stats().Circuits == 0 })
	}
}

func TestExtendAfterAFailure(t *testing.T) {
	client, path, _ := threeHops(t, newNetwork(), mixed, server(t, echo))
	c := mustBuild(t, client, path[:1])
	stranger, _ := identity.Generate()
	if err := c.Extend(t.Context(), circuit.Hop{Node: stranger.NodeID(), OnionKey: path[1].OnionKey, Suite: layer.ChaCha}); err == nil {
		t.Fatal("extended to nobody")
	}
	for _, hop := range path[1:] {
		if err := c.Extend(t.Context(), hop); err != nil {
			t.Fatal(err)
		}
	}
	s, err := c.Open(target, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Extend(t.Context(), path[0]); err == nil || !strings.Contains(err.Error(), "streams are open") {
		t.Errorf("extended under a stream: %v", err)
	}
	s.SetDeadline(time.Now().Add(patience))
	if n, err := s.Read(make([]byte, 9)); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestEightHops(t *testing.T) {
	n := newNetwork()
	client := n.start(t, layer.ChaCha, nil)
	var path []circuit.Hop
	for i := range cell.MaxHops {
		var exit relay.Exit
		if i == cell.MaxHops-1 {
			exit = server(t, echo)
		}
		path = append(path, n.start(t, []layer.Suite{layer.AES, layer.ChaCha}[i%2], exit).hop)
	}
	c := mustBuild(t, client, path)
	s, err := c.Open(target, []byte("far away"))
	if err != nil {
		t.Fatal(err)
	}
	s.SetDeadline(time.Now().Add(patience))
	got := make([]byte, 8)
	if _, err := io.ReadFull(s, got); err != nil || string(got) != "far away" {
		t.Errorf("%q, %v", got, err)
	}
	if err := c.Extend(t.Context(), path[0]); err == nil {
		t.Error("a ninth hop")
	}
}

func TestStreamEnds(t *testing.T) {
	reset := server(t, func(c *net.TCPConn) {
		c.Write([]byte("half"))
		io.ReadFull(c, make([]byte, 1))
		c.SetLinger(0)
		c.Close()
	})
	exit := exitFunc(func(to cell.Target) (net.Conn, error) {
		switch to.Name {
		case "policy":
			return nil, &relay.Error{Reason: cell.EndPolicy}
		case "unknown":
			return nil, &net.DNSError{}
		case "closed":
			l, _ := net.Listen("tcp", "127.0.0.1:0")
			l.Close()
			return net.Dial("tcp", l.Addr().String())
		}
		return reset(to)
	})
	client, path, relays := threeHops(t, newNetwork(), mixed, exit)
	c := mustBuild(t, client, path)
	for name, want := range map[string]cell.EndReason{"policy": cell.EndPolicy, "unknown": cell.EndResolve, "closed": cell.EndRefused, "reset": cell.EndReset} {
		s, err := c.Open(cell.Target{Name: name}, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.SetDeadline(time.Now().Add(patience))
		if name == "reset" {
			io.ReadFull(s, make([]byte, 4))
			s.Write([]byte("x"))
		}
		var end *stream.EndError
		if _, err = s.Read(make([]byte, 9)); !errors.As(err, &end) || end.Reason != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	c2 := mustBuild(t, client, path[:2]) // the second relay is no exit
	s, err := c2.Open(target, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-s.Ended()
	if err := s.Err(); err.Error() != "stream: not allowed by the exit policy" {
		t.Error(err)
	}
	eventually(t, "no stream is left", func() bool { return relays[2].relay.Stats().Streams == 0 })
}

func TestClosingAStreamClosesTheConnection(t *testing.T) {
	closed := make(chan error, 1)
	client, path, relays := threeHops(t, newNetwork(), mixed, server(t, func(c *net.TCPConn) {
		c.Write([]byte("hello"))
		_, err := io.Copy(io.Discard, c)
		closed <- err
		c.Close()
	}))
	c := mustBuild(t, client, path)
	s, _ := c.Open(target, []byte("bye"))
	s.SetDeadline(time.Now().Add(patience))
	io.ReadFull(s, make([]byte, 5))
	s.Close()
	if err := <-closed; err != nil {
		t.Errorf("the server sees %v", err)
	}
	if _, err := s.Write([]byte("x")); err == nil {
		t.Error("writing after Close")
	}
	eventually(t, "no stream is left", func() bool { return relays[2].relay.Stats().Streams == 0 })
}

func TestRelayKilledInMidTransfer(t *testing.T) {
	client, path, relays := threeHops(t, newNetwork(), mixed, server(t, func(c *net.TCPConn) {
		for {
			if _, err := c.Write(make([]byte, 10000)); err != nil {
				c.Close()
				return
			}
		}
	}))
	for _, victim := range []int{1} {
		c := mustBuild(t, client, path)
		s, err := c.Open(target, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.SetDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(s, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		relays[victim].stop()
		_, err = io.Copy(io.Discard, s)
		var end *stream.EndError
		if !errors.As(err, &end) || end.Reason != cell.EndCircuit {
			t.Errorf("the stream ends with %v", err)
		}
		<-c.Done()
		var destroyed *circuit.DestroyedError
		if !errors.As(c.Err(), &destroyed) {
			t.Errorf("the circuit ends with %v", c.Err())
		}
		if _, err := c.Open(target, nil); err == nil {
			t.Error("a stream on a dead circuit")
		}
		eventually(t, "the exit forgets", func() bool { s := relays[2].relay.Stats(); return s.Circuits == 0 && s.Streams == 0 })
	}
}

// One bit changed on the wire, somewhere in the path, kills the circuit, and
// nothing wrong reaches the application.
func TestChangedOnTheWire(t *testing.T) {
	n := newNetwork()
	var mu sync.Mutex
	var armed func(from, to identity.NodeID, p []byte)
	n.touch = func(from, to identity.NodeID, p []byte) {
		mu.Lock()
		defer mu.Unlock()
		if armed != nil {
			armed(from, to, p)
		}
	}
	client, path, relays := threeHops(t, n, mixed, server(t, echo))
	froms := []*node{client, relays[0], relays[1]}
	for i, from := range froms {
		for _, at := range []int{0, 40, 200, -1} {
			c := mustBuild(t, client, path)
			s, err := c.Open(target, []byte("0123456789"))
			if err != nil {
				t.Fatal(err)
			}
			s.SetDeadline(time.Now().Add(patience))
			if _, err := io.ReadFull(s, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			armed = func(f, to identity.NodeID, p []byte) {
				if f == from.id.NodeID() && len(p) > 40 {
					p[(at+len(p))%len(p)] ^= 4
					armed = nil
				}
			}
			mu.Unlock()
			s.Write([]byte("abcdefghij"))
			got, err := io.ReadAll(s)
			if err == nil || len(got) > 0 {
				t.Errorf("byte %d changed after node %d: %q, %v", at, i, got, err)
			}
			mu.Lock()
			armed = nil
			mu.Unlock()
			c.Close()
		}
	}
}

func TestManyStreams(t *testing.T) {
	client, path, relays := threeHops(t, newNetwork(), mixed, server(t, echo))
	c := mustBuild(t, client, path)
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			message := fmt.Sprintf("stream %d", i)
			s, err := c.Open(target, []byte(message))
			if err != nil {
				t.Error(err)
				return
			}
			s.CloseWrite()
			s.SetDeadline(time.Now().Add(patience))
			if got, err := io.ReadAll(s); err != nil || string(got) != message {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	all.Wait()
	eventually(t, "no stream is left", func() bool { return relays[2].relay.Stats().Streams == 0 })
}

// A stream that nobody reads holds up neither the others nor fills the memory.
func TestSlowReader(t *testing.T) {
	size := much(20 << 20)
	client, path, _ := threeHops(t, newNetwork(), mixed, server(t, func(c *net.TCPConn) {
		io.Copy(c, io.LimitReader(zeros{}, size))
		c.Close()
	}))
	c := mustBuild(t, client, path)
	slow, err := c.Open(target, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-slow.Connected()
	for range 3 {
		s, err := c.Open(target, nil)
		if err != nil {
			t.Fatal(err)
		}
		s.SetDeadline(time.Now().Add(patience))
		if n, err := io.Copy(io.Discard, s); n != size || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	slow.SetDeadline(time.Now().Add(patience))
	if n, err := io.Copy(io.Discard, slow); n != size || err != nil {
		t.Errorf("the slow one: %d bytes, %v", n, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestBuildEndsWithItsContext(t *testing.T) {
	n := newNetwork()
	client, path, _ := threeHops(t, n, mixed, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dead, _ := identity.Generate()
	n.mu.Lock()
	n.addrs[dead.NodeID()] = l.Addr().String()
	n.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		if conn, err := l.Accept(); err == nil {
			t.Cleanup(func() { conn.Close() })
		}
		cancel()
	}()
	_, err = client.build(ctx, []circuit.Hop{path[0], {Node: dead.NodeID(), OnionKey: path[1].OnionKey, Suite: layer.ChaCha}})
	var at *circuit.HopError
	if !errors.As(err, &at) || at.Hop != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
