package onion

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/client"
)

// deaf is an Underlay on which the first relay that is dialled never answers.
type deaf struct {
	Underlay
	mu    sync.Mutex
	first identity.NodeID
}

func (d *deaf) DialNode(ctx context.Context, node identity.NodeID, port uint16) (net.Conn, error) {
	d.mu.Lock()
	if port == ChannelPort && d.first.IsZero() {
		d.first = node
	}
	silent := node == d.first
	d.mu.Unlock()
	if port == ChannelPort && silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return d.Underlay.DialNode(ctx, node, port)
}

// A circuit that is held up by a relay without a word is made along another path, long
// before the attempt fails; it has as many hops.
func TestHoldGoesRoundSilence(t *testing.T) {
	w := newNetwork(t)
	d := new(deaf)
	a := w.add(relays(), func(c *Config) { d.Underlay, c.Underlay = c.Underlay, d })
	for range 7 {
		w.add(relays(), nil)
	}
	w.meet()
	start := time.Now()
	held, err := a.Client().Hold(withTimeout(t), client.Want{})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
	if held.Hops() != 3 || held.Circuit().Path()[0].Node == d.first {
		t.Errorf("%d hops, the first %s, silent is %s", held.Hops(), held.Circuit().Path()[0].Node.Short(), d.first.Short())
	}
}

// A last hop that the directory does not have, or this node itself, is reached all the
// same, and nothing is left behind.
func TestHoldsEndAnywhere(t *testing.T) {
	w := newNetwork(t)
	for range 6 {
		w.add(relays(), nil)
	}
	w.meet()
	a, b := w.nodes[0], w.nodes[1]
	self, ok := b.Directory().Relay(time.Now(), a.id.NodeID())
	if !ok {
		t.Fatal("no descriptor of the first node")
	}
	hop := a.Client().Hop(self)
	for _, tt := range []struct {
		name string
		want client.Want
		hops int
	}{
		{"home", client.Want{Hops: 4, Last: &hop}, 4},
		{"home, without a detour", client.Want{Last: &hop, Direct: true}, 1},
		{"anywhere", client.Want{}, 3},
		{"by a second hop", client.Want{Hops: 4, Second: []identity.NodeID{b.id.NodeID()}}, 4},
	} {
		held, err := a.Client().Hold(withTimeout(t), tt.want)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if held.Hops() != tt.hops {
			t.Errorf("%s: %d hops, want %d", tt.name, held.Hops(), tt.hops)
		}
		if len(tt.want.Second) > 0 && held.Circuit().Path()[1].Node != tt.want.Second[0] {
			t.Errorf("%s: it is another", tt.name)
		}
		held.Close()
	}
	w.wait("no circuits", func() bool { return len(a.Client().Circuits()) == 0 })
}
