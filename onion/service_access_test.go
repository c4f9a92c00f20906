package onion

import (
	"crypto/rand"
	"errors"
	"slices"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/circuit"
	"globalnet/onion/client"
	"globalnet/onion/layer"
	"globalnet/onion/service"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/intro"
	"globalnet/onion/service/key"
	"globalnet/onion/service/pow"
)

// A service for clients with keys: others are told why they do not get in.
func TestRestrictedService(t *testing.T) {
	w, _ := serviceNetwork(t, 5, nil)
	id := mustIdentity(t)
	mine, other := mustClientKey(t), mustClientKey(t)
	c := w.echoService(id)
	c.Restricted, c.Clients = true, []key.ClientPublic{mine.Public()}
	host, visitor := w.nodes[0], w.nodes[1]
	host.SetServices([]service.Config{c})
	w.published(host)
	for _, tt := range []struct {
		name   string
		key    *key.ClientKey
		want   error
		reason cell.EndReason
	}{
		{"no key", nil, desc.ErrNeedsAuthorisation, cell.EndNeedsKey},
		{"another key", other, desc.ErrNotAuthorised, cell.EndWrongKey},
		{"the key", mine, nil, cell.EndDone},
	} {
		visitor.Client().NewIdentity()
		visitor.SetServiceKeys(map[identity.NodeID]*key.ClientKey{id.NodeID(): tt.key})
		if err := greet(visitor, id.NodeID()); !errors.Is(err, tt.want) || reasonOf(err) != tt.reason {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// One client is shut out, another comes: those who stay keep what they have open.
func TestAClientIsShutOut(t *testing.T) {
	w, _ := serviceNetwork(t, 6, nil)
	id := mustIdentity(t)
	c := w.echoService(id)
	c.Restricted = true
	host := w.nodes[0]
	var keys []*key.ClientKey
	for i := range 3 {
		keys = append(keys, mustClientKey(t))
		w.nodes[1+i].SetServiceKeys(map[identity.NodeID]*key.ClientKey{id.NodeID(): keys[i]})
	}
	leaves, stays, comes := w.nodes[1], w.nodes[2], w.nodes[3]
	c.Clients = []key.ClientPublic{keys[0].Public(), keys[1].Public()}
	host.SetServices([]service.Config{c})
	w.published(host)
	lasting, err := stays.visit(t, id.NodeID(), 7)
	if err != nil {
		t.Fatal(err)
	}
	defer lasting.Close()
	if err := errors.Join(say(lasting, "before"), greet(leaves, id.NodeID())); err != nil {
		t.Fatal(err)
	}
	change := func(clients ...*key.ClientKey) {
		c.Clients = nil
		for _, k := range clients {
			c.Clients = append(c.Clients, k.Public())
		}
		before := host.Services()[0].Published
		host.SetServices([]service.Config{c})
		w.wait("published again", func() bool { s := host.Services()[0]; return s.Stored == 2 && s.Published.After(before) })
	}
	// Who comes changes nothing for the others, not even introduction points.
	points := host.Services()[0].Points
	change(keys...)
	if err := greet(comes, id.NodeID()); err != nil {
		t.Errorf("the client that came: %v", err)
	}
	if !slices.Equal(points, host.Services()[0].Points) {
		t.Error("other introduction points for a client that came")
	}
	// Who leaves loses a circuit without streams, and does not get in again.
	change(keys[1:]...)
	w.wait("the circuit of who left closed", func() bool { return len(circuitsFor(leaves)) == 0 })
	if err := greet(leaves, id.NodeID()); err == nil {
		t.Error("a client that was shut out gets in")
	} else if reasonOf(err) != cell.EndWrongKey {
		leaves.Client().NewIdentity() // it had an old descriptor
		if err = greet(leaves, id.NodeID()); reasonOf(err) != cell.EndWrongKey {
			t.Errorf("a client that was shut out is told %v", err)
		}
	}
	if err := say(lasting, "after"); err != nil {
		t.Errorf("a stream of who stays: %v", err)
	}
	for _, n := range []*testNode{stays, comes, stays, comes} {
		if err := greet(n, id.NodeID()); err != nil {
			t.Errorf("a client that stays: %v", err)
		}
		n.Client().NewIdentity()
	}
	if err := say(lasting, "at the end"); err != nil {
		t.Errorf("a stream of who stays: %v", err)
	}
	// The points that the one knew who was shut out are replaced.
	w.wait("other introduction points", func() bool { return len(circuitsFor(host)) > 0 && len(host.Services()[0].Points) == 3 })
}

// A service that becomes restricted lets strangers go.
func TestAServiceBecomesRestricted(t *testing.T) {
	w, _ := serviceNetwork(t, 5, nil)
	id, mine := mustIdentity(t), mustClientKey(t)
	c := w.echoService(id)
	c.Clients = []key.ClientPublic{mine.Public()}
	host, stranger, friend := w.nodes[0], w.nodes[1], w.nodes[2]
	friend.SetServiceKeys(map[identity.NodeID]*key.ClientKey{id.NodeID(): mine})
	host.SetServices([]service.Config{c})
	w.published(host)
	a, err := stranger.visit(t, id.NodeID(), 7)
	if err != nil {
		t.Fatal(err)
	}
	b, err := friend.visit(t, id.NodeID(), 7)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(say(a, "stranger"), say(b, "friend")); err != nil {
		t.Fatal(err)
	}
	c.Restricted = true
	host.SetServices([]service.Config{c})
	w.wait("the stranger's stream ended", func() bool {
		select {
		case <-a.Ended():
			return true
		default:
			return false
		}
	})
	if err := say(b, "still here"); err != nil {
		t.Errorf("a client: %v", err)
	}
	w.wait("strangers told", func() bool { return reasonOf(greet(stranger, id.NodeID())) == cell.EndNeedsKey })
	c.Restricted = false
	host.SetServices([]service.Config{c})
	w.wait("strangers let in again", func() bool {
		stranger.Client().NewIdentity()
		return greet(stranger, id.NodeID()) == nil
	})
}

// A stranger who knows where the introduction points of a restricted service are gets no
// answer from it.
func TestStrangersHearNothing(t *testing.T) {
	w, x := serviceNetwork(t, 5, nil)
	id, mine := mustIdentity(t), mustClientKey(t)
	c := w.echoService(id)
	c.Restricted, c.Clients = true, []key.ClientPublic{mine.Public()}
	host, stranger := w.nodes[0], w.nodes[1]
	host.SetServices([]service.Config{c})
	w.published(host)
	d := x.read(t, id.NodeID(), mine)
	relay, _ := stranger.Directory().Relay(time.Now(), w.nodes[4].id.NodeID())
	for name, cookie := range map[string]desc.Cookie{"no cookie": {}, "a guess": {1}} {
		before := host.Services()[0].Refused
		r := intro.Request{Service: id.NodeID(), Period: key.PeriodAt(id.NodeID(), time.Now()), Point: d.Points[0], Authorised: cookie, Suite: layer.ChaCha,
			Meet: intro.Rendezvous{Node: relay.Node, OnionKey: relay.OnionKey, Suite: layer.ChaCha}}
		rand.Read(r.Meet.Cookie[:])
		i, err := intro.NewClient(r)
		if err != nil {
			t.Fatal(err)
		}
		hop := circuit.Hop{Node: d.Points[0].Node, OnionKey: d.Points[0].OnionKey, Suite: layer.ChaCha}
		held, err := stranger.Client().Hold(withTimeout(t), client.Want{Last: &hop, Direct: true})
		if err != nil {
			t.Fatal(err)
		}
		held.Circuit().Handle(func(cell.Message) error { return nil })
		held.Circuit().Say(cell.Message{Command: cell.MsgIntroduce1, Body: i.Body(pow.Solution{})})
		w.wait("refused", func() bool { return host.Services()[0].Refused == before+1 })
		held.Close()
		if n := len(circuitsFor(host)); n != 3 || host.Services()[0].Clients != 0 {
			t.Errorf("%s: the service has %d circuits, %d clients", name, n, host.Services()[0].Clients)
		}
	}
}

// read opens the descriptor of a service that is in the table.
func (x *table) read(t testing.TB, id identity.NodeID, k *key.ClientKey) *desc.Opened {
	t.Helper()
	at := key.Place{Period: key.PeriodAt(id, time.Now())}
	public, err := key.Blinded(id, at)
	if err != nil {
		t.Fatal(err)
	}
	x.mu.Lock()
	value := x.values[string(public)].value
	x.mu.Unlock()
	d, err := desc.Open(value, id, at, k, 0)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
