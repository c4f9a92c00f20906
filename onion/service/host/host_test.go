package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/circuit"
	"globalnet/onion/client"
	"globalnet/onion/layer"
	"globalnet/onion/netdir"
	"globalnet/onion/service"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/intro"
	"globalnet/onion/service/key"
	"globalnet/onion/service/pow"
)

// noCircuits has relays, but no circuit comes about: it takes a while, and fails.
type noCircuits struct {
	pool
	wait time.Duration
}

func (*noCircuits) Hops() int                      { return 3 }
func (*noCircuits) Hop(r netdir.Relay) circuit.Hop { return circuit.Hop{Node: r.Node} }
func (c *noCircuits) Hold(ctx context.Context, _ client.Want) (*client.Held, error) {
	select {
	case <-ctx.Done():
	case <-time.After(c.wait):
	}
	return nil, errors.New("no circuit")
}

// closing is the circuit of an introduction point that is there.
type closing struct{ closed bool }

func (c *closing) Close() { c.closed = true }

// shelf is where descriptors are put. Times are of the test's clock.
type shelf struct {
	mu    sync.Mutex
	fail  error
	puts  []put
	value map[key.Place][]byte // as clients read it
	at    map[key.Place]uint64 // revision
}

type put struct {
	when  time.Time
	place key.Place
	d     desc.Descriptor
}

func newShelf() *shelf {
	return &shelf{value: make(map[key.Place][]byte), at: make(map[key.Place]uint64)}
}

func (s *shelf) Put(_ context.Context, _ client.Want, of *identity.Identity, at key.Place, d *desc.Descriptor, a desc.Access) (int, error) {
	time.Sleep(100 * time.Millisecond)
	value, err := desc.Seal(of, at, d, a)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return 0, s.fail
	}
	if d.Revision < s.at[at] {
		return 0, service.ErrNewer
	}
	s.puts = append(s.puts, put{time.Now(), at, *d})
	s.value[at], s.at[at] = value, d.Revision
	return 1, nil
}

func (s *shelf) Get(_ context.Context, _ client.Want, _ identity.NodeID, at key.Place, _ bool) ([]byte, error) {
	time.Sleep(50 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.value[at] == nil {
		return nil, service.ErrNotFound
	}
	return s.value[at], nil
}

// take returns what was put since the last call.
func (s *shelf) take() []put {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.puts
	s.puts = nil
	return list
}

func (s *shelf) setFail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// stand is a host with one service in a bubble, whose introduction points are there.
type stand struct {
	t     *testing.T
	shelf *shelf
	host  *Host
	offer *offer
	id    identity.NodeID
	ahead time.Duration // of mesh time
	mu    sync.Mutex
	stop  func()
}

func newIdentity(t *testing.T) *identity.Identity {
	t.Helper()
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// quietKey is the key of a service whose period does not end within three hours.
func quietKey(t *testing.T) *identity.Identity {
	t.Helper()
	for {
		id := newIdentity(t)
		now := time.Now()
		if key.PeriodAt(id.NodeID(), now.Add(3*time.Hour)) == key.PeriodAt(id.NodeID(), now) {
			return id
		}
	}
}

// open begins to offer a service; more hosts may share its key and shelf.
func open(t *testing.T, s *shelf, c service.Config, change func(*Config)) *stand {
	t.Helper()
	x := &stand{t: t, shelf: s, id: c.Key.NodeID()}
	cfg := Config{Node: newIdentity(t), Client: &noCircuits{pool{relays: 20}, 10 * time.Second}, Places: s, Now: x.now,
		Relays: func(time.Time) []netdir.Relay { return make([]netdir.Relay, 20) }}
	if change != nil {
		change(&cfg)
	}
	x.host = New(cfg)
	x.host.Set([]service.Config{c})
	x.offer = x.host.offers[x.id]
	for i := range desc.DefaultPoints {
		keys, err := intro.NewPoint(x.id)
		if err != nil {
			t.Fatal(err)
		}
		x.offer.points = append(x.offer.points, &point{keys: keys, held: new(closing), until: time.Now().Add(1000 * time.Hour),
			relay: netdir.Relay{Descriptor: &netdir.Descriptor{Node: relayNo(100 + i), Suites: []layer.Suite{layer.ChaCha}}}})
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.host.Run(ctx)
	}()
	x.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	return x
}

func (x *stand) now() time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	return time.Now().Add(x.ahead)
}

// jump moves mesh time.
func (x *stand) jump(d time.Duration) {
	x.mu.Lock()
	x.ahead += d
	x.mu.Unlock()
	x.host.Look()
}

// do has f called by the service's goroutine.
func (x *stand) do(f func(*offer)) {
	done := make(chan struct{})
	if !x.offer.later(x.t.Context(), func() { f(x.offer); close(done) }) {
		x.t.Fatal("the service has ended")
	}
	<-done
}

// places checks that puts are for this period and the next, both replicas, in a slot.
func (x *stand) places(t *testing.T, what string, puts []put, slot uint8) {
	t.Helper()
	var got, want []string
	for _, p := range puts {
		got = append(got, fmt.Sprint(p.place))
	}
	for _, period := range key.PublishPeriods(x.id, x.now()) {
		for replica := range uint8(key.Replicas) {
			want = append(want, fmt.Sprint(key.Place{Period: period, Slot: slot, Replica: replica}))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: published at %v, want %v", what, got, want)
	}
}

// A descriptor is published at once, again after an hour, when a period begins, and when
// mesh time jumps, forward and back.
func TestWhenIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := open(t, newShelf(), service.Config{Key: quietKey(t)}, nil)
		defer x.stop()
		began := time.Now()
		time.Sleep(time.Second)
		first := x.shelf.take()
		x.places(t, "at the start", first, 0)
		if n := first[0].when.Sub(began); n > time.Second {
			t.Errorf("published after %v", n)
		}
		if s := x.host.Status()[0]; s.Stored != 2 || s.Error != "" || len(first[0].d.Points) != 3 {
			t.Errorf("status %+v", s)
		}
		time.Sleep(republish - 10*time.Second)
		if again := x.shelf.take(); len(again) != 0 {
			t.Errorf("%d values before an hour is over", len(again))
		}
		time.Sleep(jitter + 2*lookAround)
		again := x.shelf.take()
		x.places(t, "after an hour", again, 0)
		if again[0].d.Revision <= first[0].d.Revision {
			t.Error("the revision does not rise")
		}
		next := key.PeriodStart(x.id, key.PeriodAt(x.id, x.now())+1)
		time.Sleep(next.Sub(x.now()) - lookAround)
		x.shelf.take()
		time.Sleep(2*lookAround + time.Second)
		x.places(t, "in the next period", x.shelf.take(), 0)
		for _, d := range []time.Duration{20 * 365 * 24 * time.Hour, -10 * 365 * 24 * time.Hour} {
			x.jump(d)
			time.Sleep(2 * time.Second)
			puts := x.shelf.take()
			x.places(t, "after a jump", puts, 0)
			if at := uint64(x.now().Unix()); len(puts) > 0 && (puts[0].d.Revision > at || puts[0].d.Revision < at-10) {
				t.Errorf("revision %d at %d", puts[0].d.Revision, at)
			}
		}
	})
}

// While nobody stores the descriptor it is tried again, ever more rarely; somebody else's
// newer value is read and gone beyond.
func TestPublishingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.fail = errors.New("no way")
		x := open(t, s, service.Config{Key: quietKey(t)}, nil)
		defer x.stop()
		time.Sleep(10 * time.Second)
		if e := x.host.Status()[0].Error; e != "the descriptor is not published: no way" {
			t.Errorf("the owner is told %q", e)
		}
		time.Sleep(10 * time.Minute)
		s.setFail(nil)
		time.Sleep(lastRetry + time.Second)
		x.places(t, "at last", s.take(), 0)
		if st := x.host.Status()[0]; st.Error != "" || st.Stored != 2 {
			t.Errorf("status %+v", st)
		}
		// Our own of a time when the clock was ahead.
		ahead := uint64(x.now().Unix()) + 5000
		at := key.Place{Period: key.PeriodAt(x.id, x.now())}
		x.do(func(o *offer) {
			for at.Replica = range uint8(key.Replicas) {
				mine, err := desc.Seal(o.config.Key, at, &desc.Descriptor{Revision: ahead, Instance: o.publisher.instance, Slots: 1, Points: describe(o)}, desc.Access{})
				if err != nil {
					t.Error(err)
				}
				s.mu.Lock()
				s.value[at], s.at[at] = mine, ahead
				s.mu.Unlock()
			}
			o.publisher.dirty = true
		})
		time.Sleep(10 * time.Second)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.at[at] <= ahead || s.at[at] > ahead+5 {
			t.Errorf("revision %d is stored, %d was there", s.at[at], ahead)
		}
	})
}

func describe(o *offer) (list []desc.IntroPoint) {
	for _, p := range o.points {
		list = append(list, p.keys.Describe(p.relay.Node, p.relay.OnionKey, p.relay.Suites))
	}
	return list
}

// Machines of one service take a slot each, and each says how many there are.
func TestSeveralMachines(t *testing.T) {
	for _, restricted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, c := newShelf(), service.Config{Key: quietKey(t), Restricted: restricted}
			first := open(t, s, c, nil)
			defer first.stop()
			time.Sleep(time.Second)
			first.places(t, "the first machine", s.take(), 0)
			second := open(t, s, c, nil)
			defer second.stop()
			time.Sleep(2 * time.Second)
			second.places(t, "the second machine", s.take(), 1)
			time.Sleep(republish + jitter + time.Minute) // each looks around
			slots := make(map[uint8]uint8)
			for _, p := range s.take() {
				slots[p.place.Slot] = p.d.Slots
			}
			if len(slots) != 2 || slots[0] != 2 || slots[1] != 2 {
				t.Errorf("slots and what they say of their number: %v", slots)
			}
			// One that was started anew takes its own again.
			second.stop()
			node := second.host.cfg.Node
			again := open(t, s, c, func(cfg *Config) { cfg.Node = node })
			defer again.stop()
			time.Sleep(2 * time.Second)
			again.places(t, "started anew", s.take(), 1)
		})
	}
}

// Under a flood the effort that is asked for rises, and is published; when it is over, it
// falls until none is asked for.
func TestEffortRisesAndFalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := open(t, newShelf(), service.Config{Key: quietKey(t), Work: true}, func(c *Config) { c.Small = true })
		defer x.stop()
		time.Sleep(2 * time.Second)
		if p := x.shelf.take(); p[0].d.Work.Effort != 0 {
			t.Errorf("effort %d before anything comes", p[0].d.Work.Effort)
		}
		var p *point
		x.do(func(o *offer) { p = o.points[0] })
		described := p.keys.Describe(p.relay.Node, p.relay.OnionKey, p.relay.Suites)
		body := func() []byte {
			i, err := intro.NewClient(intro.Request{Service: x.id, Period: key.PeriodAt(x.id, x.now()), Point: described, Suite: layer.ChaCha,
				Meet: intro.Rendezvous{Suite: layer.ChaCha, Cookie: [16]byte{1}}})
			if err != nil {
				t.Fatal(err)
			}
			return i.Body(pow.Solution{})
		}
		asked := uint32(0)
		for second := range 60 {
			for range 10 {
				x.offer.arrived <- arrival{p, body()}
			}
			time.Sleep(time.Second)
			s := x.host.Status()[0]
			asked = max(asked, s.Effort)
			if s.Waiting > scarce.queue || s.Answering > scarce.most() {
				t.Fatalf("after %d s %d wait, %d are answered", second, s.Waiting, s.Answering)
			}
		}
		if asked < 2*pow.DefaultEffort {
			t.Errorf("effort %d is asked for", asked)
		}
		published := uint32(0)
		for _, p := range x.shelf.take() {
			published = max(published, p.d.Work.Effort)
		}
		if published != asked {
			t.Errorf("effort %d is published of %d", published, asked)
		}
		time.Sleep(15 * time.Minute)
		puts := x.shelf.take()
		if s := x.host.Status()[0]; s.Effort != 0 || s.Waiting != 0 || len(puts) == 0 || puts[len(puts)-1].d.Work.Effort != 0 {
			t.Errorf("afterwards: %+v", s)
		}
	})
}

// Who is shut out makes new cookies and new introduction points; who comes, neither.
func TestWhoMayCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newClient(t), newClient(t)
		c := service.Config{Key: quietKey(t), Restricted: true, Clients: []key.ClientPublic{a.Public()}}
		s := newShelf()
		x := open(t, s, c, nil)
		defer x.stop()
		time.Sleep(2 * time.Second)
		cookie := func(k *key.ClientKey) desc.Cookie {
			at := key.Place{Period: key.PeriodAt(x.id, x.now())}
			value, err := s.Get(t.Context(), client.Want{}, x.id, at, false)
			if err != nil {
				t.Fatal(err)
			}
			o, err := desc.Open(value, x.id, at, k, 0)
			if errors.Is(err, desc.ErrNotAuthorised) {
				return desc.Cookie{}
			}
			if err != nil {
				t.Fatal(err)
			}
			return o.Cookie
		}
		first := cookie(a)
		c.Clients = append(c.Clients, b.Public())
		x.host.Set([]service.Config{c})
		time.Sleep(5 * time.Second)
		if cookie(a) != first || cookie(b) != first {
			t.Error("who comes changes the cookie")
		}
		x.do(func(o *offer) {
			if n := len(o.fresh(time.Now())); n != 3 {
				t.Errorf("who comes costs introduction points: %d are left", n)
			}
		})
		c.Clients = c.Clients[1:]
		x.host.Set([]service.Config{c})
		time.Sleep(5 * time.Second)
		if got := cookie(b); got == first || got == (desc.Cookie{}) || cookie(a) != (desc.Cookie{}) {
			t.Error("who leaves keeps the cookie")
		}
		x.do(func(o *offer) {
			if n := len(o.fresh(time.Now())); n != 0 {
				t.Errorf("who leaves knows %d introduction points that stay", n)
			}
			if n := len(o.points); n != 3 {
				t.Errorf("%d points serve until there are others", n)
			}
		})
		if x.host.offers[x.id] != x.offer {
			t.Error("the service began anew")
		}
	})
}

func newClient(t *testing.T) *key.ClientKey {
	t.Helper()
	k, err := key.NewClientKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}
