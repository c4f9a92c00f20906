package circuit_test

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"globalnet/onion/circuit"
	"globalnet/onion/layer"
)

// ask sends a message through a circuit and reads it back.
func ask(c *circuit.Circuit, message string) error {
	s, err := c.Open(target, []byte(message))
	if err != nil {
		return err
	}
	defer s.Close()
	s.SetDeadline(time.Now().Add(patience))
	_, err = io.ReadFull(s, make([]byte, len(message)))
	return err
}

func TestFiveHundredCircuits(t *testing.T) {
	client, path, relays := threeHops(t, newNetwork(), mixed, server(t, echo))
	mustBuild(t, client, path).Close()
	const n = 500
	circuits := make([]*circuit.Circuit, n)
	var all sync.WaitGroup
	slots := make(chan struct{}, 16)
	for i := range circuits {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			// A relay makes 200 a second for one channel, after a burst; a client tries again.
			for {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				c, err := client.build(ctx, path)
				cancel()
				if err == nil {
					circuits[i] = c
					return
				}
				if t.Context().Err() != nil {
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
		})
	}
	all.Wait()
	for i, c := range circuits {
		all.Go(func() {
			if err := ask(c, "message"); err != nil {
				t.Errorf("circuit %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if got := relays[1].relay.Stats().Circuits; got != n {
		t.Errorf("%d circuits at the middle", got)
	}
	for _, c := range circuits {
		c.Close()
	}
	for _, r := range relays {
		eventually(t, "the circuits are forgotten", func() bool { return r.relay.Stats().Circuits == 0 && r.relay.Stats().Streams == 0 })
	}
}

// One client begins streams without end; another's go through.
func TestBeginFlood(t *testing.T) {
	n := newNetwork()
	client, path, _ := threeHops(t, n, mixed, server(t, echo))
	other := n.start(t, layer.ChaCha, nil)
	flood := mustBuild(t, other, path)
	ctx, cancel := context.WithCancel(t.Context())
	var flooding sync.WaitGroup
	for range 4 {
		flooding.Go(func() {
			for ctx.Err() == nil {
				s, err := flood.Open(target, []byte("x"))
				if err != nil {
					time.Sleep(time.Millisecond)
					continue
				}
				go func() {
					s.SetDeadline(time.Now().Add(time.Second))
					s.Read(make([]byte, 1))
					s.Close()
				}()
			}
		})
	}
	defer flooding.Wait()
	defer cancel()
	c := mustBuild(t, client, path)
	for i := range 100 {
		if err := ask(c, "message"); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
}

// A stub that has carried streams can be made longer: no credit of either end
// gets between the hops.
func TestUsedStubIsExtended(t *testing.T) {
	n := newNetwork()
	client, path, _ := threeHops(t, n, mixed, server(t, echo))
	stub := n.start(t, layer.AES, server(t, echo))
	for range 20 {
		c := mustBuild(t, client, []circuit.Hop{path[0], stub.hop})
		for range 30 {
			if err := ask(c, "message"); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "the streams are over", func() bool { return c.Streams() == 0 })
		if err := c.Extend(t.Context(), path[2]); err != nil {
			t.Fatal(err)
		}
		if err := ask(c, "message"); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}
