package link

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"globalnet/mesh/link/signal"
)

// Two nodes dial each other at once, again and again: each time exactly one link
// is made, both sides agree which, and the other Dial says why it made none.
func TestSimultaneousDials(t *testing.T) {
	const rounds = 100
	low, high := newTestNode(t, 1, nil), newTestNode(t, 2, nil)
	low.serve(t, "127.0.0.1:0")
	high.serve(t, "127.0.0.1:0")
	// As a node does, whose link is new. On a busy machine one session may be over
	// before the other begins.
	linked := func(n *testNode) func(Peer) error {
		return func(Peer) error {
			if len(n.switched) > n.round {
				return ErrDuplicate
			}
			return nil
		}
	}
	low.admit, high.admit = linked(low), linked(high)
	lowWins := 0
	for round := range rounds {
		low.round, high.round = round, round
		var wg sync.WaitGroup
		dial := func(from, to *testNode, est **Established, err *error) {
			wg.Go(func() { *est, *err = from.Dial(t.Context(), to.target()) })
		}
		var est1, est2 *Established
		var err1, err2 error
		if round%2 == 0 {
			dial(low, high, &est1, &err1)
			dial(high, low, &est2, &err2)
		} else {
			dial(high, low, &est2, &err2)
			dial(low, high, &est1, &err1)
		}
		wg.Wait()
		if (err1 == nil) == (err2 == nil) {
			t.Fatalf("round %d: low: %v, high: %v: want exactly one link", round, err1, err2)
		}
		if err := errors.Join(err1, err2); !errors.Is(err, ErrDuplicate) {
			t.Fatalf("round %d: %v, want ErrDuplicate", round, err)
		}
		if err1 == nil {
			lowWins++
		}
		atLow, atHigh := low.waitSwitch(t), high.waitSwitch(t)
		if atLow.PresharedKey != atHigh.PresharedKey {
			t.Fatalf("round %d: the sides switched to different sessions", round)
		}
		waitIdle(t, low)
		waitIdle(t, high)
	}
	if len(low.made()) != rounds || len(high.made()) != rounds {
		t.Errorf("%d and %d links in %d rounds", len(low.made()), len(high.made()), rounds)
	}
	t.Logf("the lower tag's session won %d of %d rounds", lowWins, rounds)
}

// waitIdle waits until no session is left.
func waitIdle(t testing.TB, n *testNode) {
	t.Helper()
	eventually(t, "sessions are left", func() bool {
		n.Engine.mu.Lock()
		defer n.Engine.mu.Unlock()
		return len(n.sessions) == 0 && len(n.half) == 0
	})
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// The lower node's own dial does not get through; the other's session makes the link.
func TestDialThatIsNotConnectedGivesWay(t *testing.T) {
	low, high := newTestNode(t, 1, nil), newTestNode(t, 2, nil)
	low.serve(t, "127.0.0.1:0")
	first := make(chan error, 1)
	blackHole := netip.MustParseAddrPort("127.0.0.77:9")
	entered, release := make(chan struct{}, len(attempts)), make(chan struct{})
	low.enter = func(f func() error) error {
		entered <- struct{}{}
		<-release
		return f()
	}
	go func() {
		_, err := low.Dial(t.Context(), DialTarget{Addr: blackHole, Tag: high.cfg.Tag})
		first <- err
	}()
	<-entered
	second := make(chan error, 1)
	go func() {
		_, err := high.Dial(t.Context(), low.target())
		second <- err
	}()
	eventually(t, "the dial was not ended", func() bool {
		low.Engine.mu.Lock()
		defer low.Engine.mu.Unlock()
		for s := range low.sessions {
			if !s.outgoing && s.authed {
				return true
			}
		}
		return false
	})
	close(release)
	if err := <-first; !errors.Is(err, ErrDuplicate) {
		t.Errorf("Dial: %v, want ErrDuplicate", err)
	}
	if err := <-second; err != nil {
		t.Errorf("the other's Dial: %v", err)
	}
}

// tarpit accepts a connection and says nothing until release is closed; then it closes it.
func tarpit(t *testing.T, release chan struct{}) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	wg.Go(func() {
		if conn, err := l.Accept(); err == nil {
			<-release
			conn.Close()
		}
	})
	return addrPortOf(l.Addr())
}

// The lower node's own dial hangs, so the other's session is held up. When the
// dial has failed, the held session makes the link; who speaks meanwhile breaks the protocol.
func TestHeldSession(t *testing.T) {
	low, high := newTestNode(t, 1, nil), newTestNode(t, 2, nil)
	low.serve(t, "127.0.0.1:0")
	release, first := make(chan struct{}), make(chan error, 1)
	addr := tarpit(t, release)
	go func() {
		_, err := low.Dial(t.Context(), DialTarget{Addr: addr, Tag: high.cfg.Tag, Node: high.self})
		first <- err
	}()
	eventually(t, "the dial did not connect", func() bool {
		low.Engine.mu.Lock()
		defer low.Engine.mu.Unlock()
		for s := range low.sessions {
			return s.connected
		}
		return false
	})

	rude := connect(t, high, low)
	hello, _ := rude.hello()
	rude.send(hello, &signal.Switched{})
	if got := rude.bye(); got != signal.Protocol {
		t.Errorf("Bye %d to a client that did not wait", got)
	}
	fickle := connect(t, high, low)
	fickle.send(hello, &signal.Bye{}) // gives up: its proof is of another session, so it is not even held
	fickle.conn.Close()

	second := make(chan error, 1)
	go func() {
		_, err := high.Dial(t.Context(), low.target())
		second <- err
	}()
	eventually(t, "the session was not held", func() bool {
		low.Engine.mu.Lock()
		defer low.Engine.mu.Unlock()
		for s := range low.sessions {
			if !s.outgoing && s.authed {
				return true
			}
		}
		return false
	})
	select {
	case err := <-second:
		t.Fatalf("not held: %v", err)
	default:
	}
	close(release)
	if err := <-first; !errors.Is(err, ErrWrongNetwork) {
		t.Errorf("Dial: %v, want ErrWrongNetwork", err)
	}
	if err := <-second; err != nil {
		t.Errorf("the held session: %v", err)
	}
}

// A client that lost its way back (its address changed, say) dials again; the
// session that it left behind makes room.
func TestAbandonedSessionIsSuperseded(t *testing.T) {
	server := newTestNode(t, 5, nil)
	server.serve(t, "127.0.0.1:0")
	client := newTestNode(t, 1, nil)
	connect(t, client, server).greet()
	if _, err := client.Dial(t.Context(), server.target()); err != nil {
		t.Error(err)
	}
}

// While a dial runs, another to the same node is refused, by whatever name the
// node is called.
func TestDialTwice(t *testing.T) {
	server := newTestNode(t, 5, nil)
	server.serve(t, "127.0.0.1:0")
	admitted, release := make(chan struct{}), make(chan struct{})
	server.admit = func(Peer) error {
		close(admitted)
		<-release
		return nil
	}
	client := newTestNode(t, 1, nil)
	first := make(chan error, 1)
	go func() {
		_, err := client.Dial(t.Context(), DialTarget{Addr: server.addr, Tag: server.cfg.Tag, Node: server.self})
		first <- err
	}()
	select {
	case <-admitted:
	case err := <-first:
		t.Fatal(err)
	}
	for _, d := range []DialTarget{
		{Addr: server.addr, Tag: server.cfg.Tag},
		{Addr: server.addr, Node: server.self},
		{Addr: server.addr, MeshAddr: server.self.Address()},
	} {
		if _, err := client.Dial(t.Context(), d); !errors.Is(err, ErrDuplicate) {
			t.Errorf("second Dial: %v, want ErrDuplicate", err)
		}
	}
	close(release)
	if err := <-first; err != nil {
		t.Errorf("first Dial: %v", err)
	}
}

// A node that was started anew has a new tag; its session takes the place of the
// one that its earlier life left behind.
func TestRestartedNodeSupersedes(t *testing.T) {
	server := newTestNode(t, 5, nil)
	server.serve(t, "127.0.0.1:0")
	firstIn, release := make(chan struct{}), make(chan struct{})
	old := newTestNode(t, 1, nil)
	old.admit = func(Peer) error { // hangs as a node does whose power was cut
		close(firstIn)
		<-release
		return nil
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(release)
	wg.Go(func() { old.Dial(t.Context(), server.target()) })
	eventually(t, "the first session did not come to Admit", func() bool {
		select {
		case <-firstIn:
			return true
		default:
			return false
		}
	})
	again := newTestNode(t, 1, func(c *Config) { c.Tag = testTag(7) })
	if _, err := again.Dial(t.Context(), server.target()); err != nil {
		t.Fatal(err)
	}
	if est := server.waitSwitch(t); est.Tag != testTag(7) {
		t.Errorf("linked with tag %v", est.Tag)
	}
}

func TestHandlerRefuses(t *testing.T) {
	for _, c := range []struct {
		name          string
		refusal, want error
	}{
		{"duplicate", ErrDuplicate, ErrDuplicate},
		{"busy", ErrBusy, ErrBusy},
		{"refused", ErrRefused, ErrRefused},
		{"any other", errors.New("not today"), ErrRefused},
	} {
		t.Run("server "+c.name, func(t *testing.T) {
			server, client := newTestNode(t, 5, nil), newTestNode(t, 1, nil)
			server.serve(t, "127.0.0.1:0")
			server.admit = func(Peer) error { return c.refusal }
			if _, err := client.Dial(t.Context(), server.target()); !errors.Is(err, c.want) {
				t.Errorf("Dial: %v, want %v", err, c.want)
			}
		})
		t.Run("client "+c.name, func(t *testing.T) {
			server, client := newTestNode(t, 5, nil), newTestNode(t, 1, nil)
			server.serve(t, "127.0.0.1:0")
			client.admit = func(Peer) error { return c.refusal }
			if _, err := client.Dial(t.Context(), server.target()); !errors.Is(err, c.want) {
				t.Errorf("Dial: %v, want %v", err, c.want)
			}
			eventually(t, "the server was not told", func() bool {
				name := counterNames[outcome(byeError{byeReason(c.want)})]
				return server.Counters()[name] == 1
			})
		})
	}
}

// Every reason says something, and the typed errors come through a Bye unchanged.
func TestByeReasons(t *testing.T) {
	for _, err := range []error{ErrDuplicate, ErrBusy, ErrRefused, ErrNoPath} {
		if got := (byeError{byeReason(err)}); !errors.Is(got, err) {
			t.Errorf("%v arrives as %v", err, got)
		}
	}
	if byeReason(errors.New("x")) != signal.Failed || byeReason(errProtocol) != signal.Protocol {
		t.Error("wrong reason for a failure")
	}
}
