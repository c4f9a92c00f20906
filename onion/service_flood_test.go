package onion

import (
	"bytes"
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/blake2s"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/layer"
	"globalnet/onion/ntor"
	"globalnet/onion/relay"
	"globalnet/onion/service"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/intro"
	"globalnet/onion/service/key"
	"globalnet/onion/service/pow"
)

// flooder sends introductions to all points of a service. One of eight is good, but nobody
// waits where it says; the others are as cheap as they can be for who knows the address:
// the service finds out when it opens them. The points are the attacker's own, so no
// circuit holds it up.
type flooder struct {
	t      testing.TB
	d      *desc.Opened
	id     identity.NodeID
	relays []*relay.Relay // of the points
	meet   intro.Rendezvous

	good    [][]byte   // introductions, one for each point
	context [][32]byte // of the points
	sent    atomic.Int64
	passed  atomic.Int64
}

func newFlooder(t testing.TB, w *network, id identity.NodeID, d *desc.Opened) *flooder {
	t.Helper()
	f := &flooder{t: t, d: d, id: id}
	for _, p := range d.Points {
		for _, n := range w.nodes {
			if n.id.NodeID() == p.Node {
				f.relays = append(f.relays, n.relay)
			}
		}
	}
	if len(f.relays) != len(d.Points) {
		t.Fatal("not all introduction points are nodes of the network")
	}
	last := w.nodes[len(w.nodes)-1]
	r, _ := w.nodes[0].Directory().Relay(time.Now(), last.id.NodeID())
	f.meet = intro.Rendezvous{Node: r.Node, OnionKey: r.OnionKey, Suite: layer.ChaCha}
	credential := key.CredentialFor(id, key.PeriodAt(id, time.Now()))
	for i, p := range d.Points {
		f.good = append(f.good, f.make(i))
		f.context = append(f.context, key.Hash("globalnet introduction", credential[:], p.Auth[:]))
	}
	return f
}

// forge returns an introduction with an ephemeral key that nobody has.
func (f *flooder) forge(n int) []byte {
	m, err := cell.ParseIntroduce(bytes.Clone(f.good[n]))
	if err != nil {
		f.t.Error(err)
		return nil
	}
	x, _ := ntor.EphemeralOf(m.Request)
	at := m.Request[bytes.Index(m.Request, x[:]):][:32]
	rand.Read(at)
	var block [blake2s.BlockSize]byte // service.md, section 4; the work is none
	copy(block[copy(block[:], f.context[n][:16]):], at)
	sum := blake2s.Sum256(block[:])
	m.Mark = [16]byte(sum[:])
	return cell.AppendIntroduce(nil, m)
}

// make returns a new introduction for a point.
func (f *flooder) make(n int) []byte {
	r := intro.Request{Service: f.id, Period: key.PeriodAt(f.id, time.Now()), Point: f.d.Points[n], Suite: layer.ChaCha, Meet: f.meet}
	rand.Read(r.Meet.Cookie[:])
	c, err := intro.NewClient(r)
	if err != nil {
		f.t.Error(err)
		return nil
	}
	return c.Body(pow.Solution{})
}

func (f *flooder) send(n int, body []byte) {
	f.sent.Add(1)
	if f.relays[n].Introduce(f.d.Points[n].Auth, body) == cell.IntroDone {
		f.passed.Add(1)
	}
}

// run sends perSecond until ctx ends, or as many as the machine can.
func (f *flooder) run(ctx context.Context, perSecond int) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for due := int(time.Since(began).Seconds() * float64(perSecond)); n < due && ctx.Err() == nil; n++ {
			at := n % len(f.relays)
			if n%8 == 0 {
				f.send(at, f.make(at))
			} else {
				f.send(at, f.forge(at))
			}
		}
	}
}

// attack floods a service that asks for work; end stops it.
func (w *network) attack(t testing.TB, x *table, c service.Config, perSecond int) (f *flooder, end func()) {
	host := w.nodes[0]
	host.SetServices([]service.Config{c})
	w.published(host)
	f = newFlooder(t, w, c.Key.NodeID(), x.read(t, c.Key.NodeID(), nil))
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { f.run(ctx, perSecond) })
	return f, func() {
		cancel()
		group.Wait()
	}
}

// mostAnswers is how many introductions a service answers at once, as service.md has it.
const mostAnswers = 16 + 8

// Under a flood of introductions authorised clients get in first, then those who work;
// what waits at the service has a bound, and what was there before is not heard again.
func TestServiceUnderFlood(t *testing.T) {
	w, x := serviceNetwork(t, 8, nil)
	id, mine := mustIdentity(t), mustClientKey(t)
	c := w.echoService(id)
	c.Work, c.Clients = true, []key.ClientPublic{mine.Public()}
	server, friend, stranger := w.nodes[0], w.nodes[1], w.nodes[2]
	friend.SetServiceKeys(map[identity.NodeID]*key.ClientKey{id.NodeID(): mine})
	f, end := w.attack(t, x, c, 1000)
	defer end()

	most := server.Services()[0] // of what was seen
	look := func() {
		s := server.Services()[0]
		most.Waiting, most.Answering = max(most.Waiting, s.Waiting), max(most.Answering, s.Answering)
		most.Effort, most.Clients = max(most.Effort, s.Effort), max(most.Clients, s.Clients)
	}
	w.wait("a flood that fills the queue, and work asked for", func() bool {
		look()
		return f.passed.Load() > pow.QueueSize && most.Waiting >= pow.QueueSize/2 && most.Effort >= pow.DefaultEffort
	})
	for i := range 3 {
		friend.Client().NewIdentity()
		began := time.Now()
		if err := greet(friend, id.NodeID()); err != nil {
			t.Fatalf("an authorised client: %v", err)
		}
		t.Logf("authorised client %d: %v", i, time.Since(began).Round(time.Millisecond))
		look()
	}
	began := time.Now()
	if err := greet(stranger, id.NodeID()); err != nil {
		t.Errorf("a client that works: %v", err)
	}
	t.Logf("stranger: %v", time.Since(began).Round(time.Millisecond))
	before := server.Services()[0].Replayed
	w.wait("a replay refused", func() bool {
		body := f.make(0)
		f.send(0, body)
		f.send(0, body)
		look()
		return server.Services()[0].Replayed > before
	})
	if most.Waiting > pow.QueueSize || most.Answering > mostAnswers {
		t.Errorf("%d wait, %d are answered", most.Waiting, most.Answering)
	}
	if n := len(circuitsFor(server)); n > 3+mostAnswers+most.Clients+8 {
		t.Errorf("the service has %d circuits", n)
	}
	t.Logf("%d introductions passed on of %d; %+v", f.passed.Load(), f.sent.Load(), most)
}

// BenchmarkServiceUnderFlood is how long an authorised client takes to a service that is
// flooded with 1000 introductions a second.
func BenchmarkServiceUnderFlood(b *testing.B) {
	w, x := serviceNetwork(b, 8, nil)
	id, mine := mustIdentity(b), mustClientKey(b)
	c := w.echoService(id)
	c.Work, c.Clients = true, []key.ClientPublic{mine.Public()}
	server, friend := w.nodes[0], w.nodes[1]
	friend.SetServiceKeys(map[identity.NodeID]*key.ClientKey{id.NodeID(): mine})
	f, end := w.attack(b, x, c, 1000)
	defer end()
	w.wait("work asked for", func() bool { return server.Services()[0].Effort > 0 })
	sent, passed, began := f.sent.Load(), f.passed.Load(), time.Now()
	for b.Loop() {
		friend.Client().NewIdentity()
		if err := greet(friend, id.NodeID()); err != nil {
			b.Fatal(err)
		}
	}
	seconds := time.Since(began).Seconds()
	b.ReportMetric(float64(f.sent.Load()-sent)/seconds, "sent/s")
	b.ReportMetric(float64(f.passed.Load()-passed)/seconds, "passed/s")
}
