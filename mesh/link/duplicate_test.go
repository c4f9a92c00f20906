package link

import (
	"errors"
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
