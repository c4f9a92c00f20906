package onion

import (
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
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

// flood sends introductions to a service's points until ctx ends, as fast as it goes:
// each is good, but nobody waits where it says. It returns how many were passed on.
func flood(ctx context.Context, from *testNode, d *desc.Opened, id identity.NodeID, passed *atomic.Int64) {
	meet := from.network.nodes[len(from.network.nodes)-1]
	relay, _ := from.Directory().Relay(time.Now(), meet.id.NodeID())
	for i := 0; ctx.Err() == nil; i++ {
		point := d.Points[i%len(d.Points)]
		hop := circuit.Hop{Node: point.Node, OnionKey: point.OnionKey, Suite: layer.ChaCha}
		held, err := from.Client().Hold(ctx, client.Want{Last: &hop, Direct: true})
		if err != nil {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		acks := make(chan struct{}, 8)
		held.Circuit().Handle(func(m cell.Message) error {
			if m.Command == cell.MsgIntroduceAck && m.Body[0] == byte(cell.IntroDone) {
				passed.Add(1)
			}
			acks <- struct{}{}
			return nil
		})
		for range 4 {
			r := intro.Request{Service: id, Period: key.PeriodAt(id, time.Now()), Point: point, Suite: layer.ChaCha,
				Meet: intro.Rendezvous{Node: meet.id.NodeID(), OnionKey: relay.OnionKey, Suite: layer.ChaCha}}
			rand.Read(r.Meet.Cookie[:])
			c, err := intro.NewClient(r)
			if err != nil {
				return
			}
			held.Circuit().Say(cell.Message{Command: cell.MsgIntroduce1, Body: c.Body(pow.Solution{})})
		}
		for range 4 {
			select {
			case <-acks:
			case <-held.Circuit().Done():
			case <-ctx.Done():
			}
		}
		held.Close()
	}
}

// Under a flood of introductions authorised clients get in, and those who work.
func TestServiceUnderFlood(t *testing.T) {
	w, x := serviceNetwork(t, 8, nil)
	id, mine := mustIdentity(t), mustClientKey(t)
	c := w.echoService(id)
	c.Work, c.Clients = true, []key.ClientPublic{mine.Public()}
	host, friend, stranger, attacker := w.nodes[0], w.nodes[1], w.nodes[2], w.nodes[3]
	host.SetServices([]service.Config{c})
	w.published(host)
	friend.SetServiceKeys(map[identity.NodeID]*key.ClientKey{id.NodeID(): mine})

	at := key.Place{Period: key.PeriodAt(id.NodeID(), time.Now())}
	public, err := key.Blinded(id.NodeID(), at)
	if err != nil {
		t.Fatal(err)
	}
	x.mu.Lock()
	value := x.values[string(public)].value
	x.mu.Unlock()
	d, err := desc.Open(value, id.NodeID(), at, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	var passed atomic.Int64
	for range 4 {
		group.Go(func() { flood(ctx, attacker, d, id.NodeID(), &passed) })
	}
	defer group.Wait()
	defer cancel()
	w.wait("a flood", func() bool { return passed.Load() > 100 })
	start, before := time.Now(), passed.Load()
	for i := range 3 {
		friend.Client().NewIdentity()
		began := time.Now()
		if err := greet(friend, id.NodeID()); err != nil {
			t.Fatalf("an authorised client: %v", err)
		}
		t.Logf("authorised client %d: %v", i, time.Since(began).Round(time.Millisecond))
	}
	began := time.Now()
	if err := greet(stranger, id.NodeID()); err != nil {
		t.Errorf("a client that works: %v", err)
	}
	t.Logf("stranger: %v", time.Since(began).Round(time.Millisecond))
	t.Logf("%d introductions a second were passed on; %+v", int64(float64(passed.Load()-before)/time.Since(start).Seconds()), host.Services()[0])
}
