package onion

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/netdir"
	"globalnet/onion/path"
	"globalnet/onion/policy"
	"globalnet/onion/stream"
)

func withTimeout(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// used are the circuits that carry, or carried, streams.
func used(n *testNode) (ids []uint32) {
	for _, c := range n.Client().Circuits() {
		if c.Used && !c.Closing {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// reach opens a stream of who to an echo, and hears it.
func (n *testNode) reach(who client.Isolation, to cell.Target) {
	n.network.t.Helper()
	s, err := n.Client().Dial(withTimeout(n.network.t), who, to, nil)
	if err == nil {
		err = say(s, "x")
	}
	if err != nil {
		n.network.t.Fatal(err)
	}
}

func TestStreamThroughExit(t *testing.T) {
	w := newNetwork(t)
	a := w.add(relays(), nil)
	for range 3 {
		w.add(relays(), nil)
	}
	out := w.add(exits(), nil)
	w.meet()
	s, err := a.Client().Dial(withTimeout(t), client.Isolation{}, target(w.echo()), []byte("early "))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := make([]byte, 6)
	if _, err := s.Read(b); err != nil || string(b) != "early " {
		t.Fatalf("%q, %v", b, err)
	}
	if err := say(s, "hello"); err != nil {
		t.Fatal(err)
	}
	list := a.Client().Circuits()
	if len(list) != 1 || len(list[0].Path) != 3 || list[0].Path[2] != out.id.NodeID() || list[0].Streams != 1 {
		t.Errorf("circuits %+v", list)
	}
	if slices.Contains(list[0].Path, a.id.NodeID()) {
		t.Error("the node itself is on its path")
	}
	in, sent := list[0].Received, list[0].Sent
	if in == 0 || sent == 0 {
		t.Errorf("%d octets received, %d sent", in, sent)
	}
}

func TestIsolation(t *testing.T) {
	w := newNetwork(t)
	a := w.add(relays(), nil)
	for range 3 {
		w.add(exits(), nil)
	}
	w.meet()
	to := target(w.echo())
	dial := func(who client.Isolation) {
		t.Helper()
		a.reach(who, to)
	}
	for i, tt := range []struct {
		name string
		who  client.Isolation
		want int // circuits in use afterwards
	}{
		{"first", client.Isolation{}, 1},
		{"the same", client.Isolation{}, 1},
		{"another listener", client.Isolation{Listener: "b"}, 2},
		{"another client", client.Isolation{Client: netip.MustParseAddr("192.0.2.1")}, 3},
		{"another user", client.Isolation{Credentials: [32]byte{1}}, 4},
		{"another destination", client.Isolation{Destination: "a.example"}, 5},
		{"that user again", client.Isolation{Credentials: [32]byte{1}}, 5},
	} {
		if dial(tt.who); len(used(a)) != tt.want {
			t.Errorf("%d, %s: %d circuits in use, want %d", i, tt.name, len(used(a)), tt.want)
		}
	}
	before := used(a)
	a.Client().NewIdentity()
	dial(client.Isolation{})
	if now := used(a); len(now) != 1 || slices.Contains(before, now[0]) {
		t.Errorf("after a new identity %v are in use, before %v", now, before)
	}
}

// Streams that are asked for at once share one circuit, which is made once.
func TestTogether(t *testing.T) {
	w := newNetwork(t)
	a := w.add(relays(), nil)
	for range 3 {
		w.add(exits(), nil)
	}
	w.meet()
	to := target(w.echo())
	errs := make(chan error, 30)
	for range cap(errs) {
		go func() {
			s, err := a.Client().Dial(withTimeout(t), client.Isolation{}, to, nil)
			if err == nil {
				err = say(s, "together")
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	if n := len(a.Client().Circuits()); n != 1 {
		t.Errorf("%d circuits were made", n)
	}
}

// With fewer relays circuits are shorter, but never than the owner wants.
func TestShortNetwork(t *testing.T) {
	w := newNetwork(t)
	s := relays()
	a := w.add(s, nil)
	out := w.add(exits(), nil)
	w.meet()
	to := target(w.echo())
	conn, err := a.Client().Dial(withTimeout(t), client.Isolation{}, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := say(conn, "x"); err != nil {
		t.Fatal(err)
	}
	if c := a.Client().Circuits()[0]; len(c.Path) != 1 || c.Path[0] != out.id.NodeID() {
		t.Errorf("path %v", c.Path)
	}
	if state := a.Status(time.Now()).Client; state.Short != 1 || state.Hops != 3 {
		t.Errorf("state %+v does not say that it is short", state)
	}
	s.Client.MinHops = 2
	a.Apply(s)
	a.Client().NewIdentity()
	var few *path.TooFewError
	if _, err := a.Client().Dial(withTimeout(t), client.Isolation{}, to, nil); !errors.As(err, &few) {
		t.Errorf("with two hops wanted at least: %v", err)
	}
}

func TestByHand(t *testing.T) {
	w := newNetwork(t)
	a, b, c := w.add(relays(), nil), w.add(relays(), nil), w.add(relays(), nil)
	out := w.add(exits(), nil)
	w.meet()
	to := target(w.echo())
	route := path.Route{Hops: []identity.NodeID{c.id.NodeID(), {}, out.id.NodeID()}, Target: &to}
	for range 2 {
		s, err := a.Client().DialPath(withTimeout(t), route, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := say(s, "by hand"); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
	}
	list := a.Client().Circuits()
	if len(list) != 2 {
		t.Fatalf("%d circuits for two connections", len(list))
	}
	want := []identity.NodeID{c.id.NodeID(), b.id.NodeID(), out.id.NodeID()}
	for _, circuit := range list {
		if !slices.Equal(circuit.Path, want) || circuit.Purpose != client.ByHand {
			t.Errorf("%s along %v, want %v", circuit.Purpose, circuit.Path, want)
		}
	}
	for _, circuit := range list {
		a.Client().CloseCircuit(circuit.ID)
	}
	// A hop that is gone is named.
	b.kill()
	route.Hops[1] = b.id.NodeID()
	_, err := a.Client().DialPath(withTimeout(t), route, to, nil)
	if err == nil || !strings.Contains(err.Error(), "hop 2 ("+b.id.NodeID().Short()) {
		t.Errorf("a dead second hop: %v", err)
	}
	// As is one that nobody knows.
	stranger, _ := identity.Generate()
	route.Hops[1] = stranger.NodeID()
	var unknown *path.UnknownError
	if _, err = a.Client().DialPath(withTimeout(t), route, to, nil); !errors.As(err, &unknown) || unknown.Hop != 1 {
		t.Errorf("an unknown second hop: %v", err)
	}
}

// What neighbours do not know is looked for elsewhere.
func TestFind(t *testing.T) {
	w := newNetwork(t)
	published := make(chan []byte, 100)
	hidden := w.add(exits(), func(c *Config) { c.Publish = func(raw []byte) { published <- raw } })
	asked := 0
	a := w.start(mustIdentity(t), relays(), func(c *Config) {
		c.FindAge = time.Minute
		c.Find = func(_ context.Context, node identity.NodeID) ([]byte, error) {
			asked++
			if node != hidden.id.NodeID() {
				return nil, errors.New("no such node")
			}
			return <-published, nil
		}
	})
	to := target(w.echo())
	s, err := a.Client().DialPath(withTimeout(t), path.Route{Hops: []identity.NodeID{hidden.id.NodeID()}, Target: &to}, to, nil)
	if err != nil || asked != 1 {
		t.Fatalf("asked %d times: %v", asked, err)
	}
	if err := say(s, "found"); err != nil {
		t.Error(err)
	}
}

func mustIdentity(t testing.TB) *identity.Identity {
	t.Helper()
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A node that does not relay is known to nobody, and carries nothing.
func TestInvisible(t *testing.T) {
	w := newNetwork(t)
	a, b := w.add(relays(), nil), w.add(exits(), nil)
	s := exits()
	s.Relay = false
	hidden := w.add(s, nil)
	w.meet()
	if _, ok := a.Directory().Relay(time.Now(), hidden.id.NodeID()); ok {
		t.Error("it has a descriptor")
	}
	// It becomes a relay, and stops being one.
	s.Relay = true
	hidden.Apply(s)
	w.known(a, hidden, func(r netdir.Relay) bool { return r.Flags&netdir.FlagRelay != 0 })
	to := target(w.echo())
	route := path.Route{Hops: []identity.NodeID{hidden.id.NodeID(), b.id.NodeID()}, Target: &to}
	conn, err := a.Client().DialPath(withTimeout(t), route, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := say(conn, "x"); err != nil {
		t.Error(err)
	}
	before, _ := a.Directory().Relay(time.Now(), hidden.id.NodeID())
	s.Relay = false
	hidden.Apply(s)
	if _, err := a.Client().DialPath(withTimeout(t), route, to, nil); err == nil {
		t.Error("it takes circuits although it does not relay")
	}
	w.known(a, hidden, func(r netdir.Relay) bool { return r.Flags == 0 && r.Sequence > before.Sequence })
}

func TestExitSecret(t *testing.T) {
	w := newNetwork(t)
	secret := []byte("0123456789abcdef")
	s := exits()
	s.ExitSecret = secret
	out := w.add(s, nil)
	friend := relays()
	friend.Secret = func(node identity.NodeID) []byte {
		if node == out.id.NodeID() {
			return secret
		}
		return nil
	}
	a, b := w.add(relays(), nil), w.add(friend, nil)
	w.meet()
	to := target(w.echo())
	route := path.Route{Hops: []identity.NodeID{out.id.NodeID()}, Target: &to}
	for _, tt := range []struct {
		name string
		from *testNode
		ok   bool
	}{{"stranger", a, false}, {"friend", b, true}} {
		conn, err := tt.from.Client().DialPath(withTimeout(t), route, to, nil)
		if err == nil {
			err = say(conn, "x")
		}
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// A stream to a mesh address goes to the node, through any relay, and never to the
// agent itself.
func TestNodeTarget(t *testing.T) {
	w := newNetwork(t)
	a, b := w.add(relays(), nil), w.add(relays(), nil)
	far := w.add(relays(), nil)
	w.serve(far, 7777, w.echo())
	w.meet()
	to := cell.Target{Addr: far.id.NodeID().Address(), Port: 7777}
	s, err := a.Client().Dial(withTimeout(t), client.Isolation{}, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The last relay may be the node itself, whose ports are closed unless served.
	err = say(s, "x")
	path := a.Client().Circuits()[0].Path
	if last := path[len(path)-1]; (err == nil) != (last == b.id.NodeID()) {
		t.Errorf("through %s, far is %s: %v", last.Short(), far.id.NodeID().Short(), err)
	}
	stranger := mustIdentity(t)
	to.Addr = stranger.NodeID().Address()
	var end *stream.EndError
	if _, err := a.Client().Dial(withTimeout(t), client.Isolation{}, to, nil); !errors.As(err, &end) || end.Reason != cell.EndUnreachable {
		t.Errorf("an address of nobody: %v", err)
	}
}

// A relay that dies in the middle of a transfer ends the stream; the next one works.
func TestRelayDies(t *testing.T) {
	w := newNetwork(t)
	a := w.add(relays(), nil)
	for range 3 {
		w.add(relays(), nil)
	}
	w.add(exits(), nil)
	w.meet()
	to := target(w.echo())
	s, err := a.Client().Dial(withTimeout(t), client.Isolation{}, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := say(s, "alive"); err != nil {
		t.Fatal(err)
	}
	middle := a.Client().Circuits()[0].Path[1]
	for _, n := range w.nodes {
		if n.id.NodeID() == middle {
			n.kill()
		}
	}
	s.SetDeadline(time.Now().Add(10 * time.Second))
	var end *stream.EndError
	if _, err := s.Read(make([]byte, 1)); !errors.As(err, &end) {
		t.Errorf("reading from a stream whose relay died: %v", err)
	}
	s, err = a.Client().Dial(withTimeout(t), client.Isolation{}, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := say(s, "alive again"); err != nil {
		t.Error(err)
	}
}

// Guards survive a restart, and a clock that went back; descriptors of this life beat
// those of an earlier one.
func TestRestart(t *testing.T) {
	w := newNetwork(t)
	a := w.add(relays(), nil)
	b := w.add(relays(), nil)
	for range 3 {
		w.add(exits(), nil)
	}
	w.meet()
	to := target(w.echo())
	dial := func(n *testNode) identity.NodeID {
		t.Helper()
		n.Client().NewIdentity()
		n.reach(client.Isolation{}, to)
		for _, c := range n.Client().Circuits() {
			if !c.Closing {
				return c.Path[0]
			}
		}
		t.Fatal("no circuit")
		return identity.NodeID{}
	}
	guard := dial(a)
	before, ok := b.Directory().Relay(time.Now(), a.id.NodeID())
	if !ok {
		t.Fatal("no descriptor")
	}
	state := a.Save(time.Now())
	a.kill()
	w.nodes = slices.DeleteFunc(w.nodes, func(n *testNode) bool { return n == a })
	a = w.start(a.id, relays(), func(c *Config) { c.State = state })
	w.meet()
	w.known(b, a, func(r netdir.Relay) bool { return r.Sequence > before.Sequence && r.OnionKey != before.OnionKey })
	if now := dial(a); now != guard {
		t.Errorf("the guard was %s and is %s", guard.Short(), now.Short())
	}
	// A damaged state is no reason not to start.
	for _, bad := range [][]byte{{1}, state[:len(state)-1], append([]byte("x"), state...)} {
		if _, err := New(Config{Identity: a.id, Underlay: a, Settings: relays(), State: bad}); err != nil {
			t.Errorf("damaged state: %v", err)
		}
	}
}

// Once somebody has asked for a circuit, others wait ready: whole ones, and stubs that
// only lack an exit which takes the target.
func TestReady(t *testing.T) {
	w := newNetwork(t)
	s := relays()
	s.Client.Ready = 1
	a := w.add(s, nil)
	for range 3 {
		w.add(relays(), nil)
	}
	web := exits()
	var err error
	if web.Exit, err = policy.Parse("none", []string{"accept *:443"}); err != nil {
		t.Fatal(err)
	}
	web.Exit.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	w.add(web, nil)
	other := exits()
	to := target(w.echo())
	if other.Exit, err = policy.Parse("none", []string{fmt.Sprintf("accept *:%d", to.Port)}); err != nil {
		t.Fatal(err)
	}
	other.Exit.AllowPrivate = web.Exit.AllowPrivate
	outs := []identity.NodeID{w.add(other, nil).id.NodeID(), w.add(other, nil).id.NodeID(), w.add(other, nil).id.NodeID()}
	w.meet()
	if n := len(a.Client().Circuits()); n != 0 {
		t.Errorf("%d circuits before anybody asked", n)
	}
	dial := func(user byte) {
		t.Helper()
		a.reach(client.Isolation{Credentials: [32]byte{user}}, to)
	}
	dial(1)
	kinds := func() (stubs, clean []client.Info) {
		for _, c := range a.Client().Circuits() {
			switch {
			case c.Purpose == client.Stub:
				stubs = append(stubs, c)
			case !c.Used:
				clean = append(clean, c)
			}
		}
		return stubs, clean
	}
	w.wait("a stub and a circuit to the web", func() bool {
		stubs, clean := kinds()
		return len(stubs) == 1 && len(clean) == 1
	})
	stubs, clean := kinds()
	if len(stubs[0].Path) != 2 || len(clean[0].Path) != 3 {
		t.Errorf("paths of %d and %d hops wait", len(stubs[0].Path), len(clean[0].Path))
	}
	// The circuit to the web does not take the target, so the stub gets its exit.
	dial(2)
	for _, c := range a.Client().Circuits() {
		if c.ID == stubs[0].ID && (c.Purpose != client.General || len(c.Path) != 3 || !slices.Contains(outs, c.Path[2])) {
			t.Errorf("the stub has become %+v", c)
		}
		if c.ID == clean[0].ID && c.Used {
			t.Error("a circuit was used whose exit does not take the target")
		}
	}
	w.wait("another stub", func() bool {
		again, _ := kinds()
		return len(again) == 1 && again[0].ID != stubs[0].ID
	})
}

// What is carried for others has a rate; what this node wants for itself has none.
func TestRate(t *testing.T) {
	w := newNetwork(t)
	slow := relays()
	slow.Rate, slow.Burst = 1<<20, 64<<10
	a, b := w.add(relays(), nil), w.add(slow, nil)
	out := w.add(exits(), nil)
	w.meet()
	to := target(w.echo())
	// Carry moves a MiB there and back, and returns how long that took and what b charged.
	carry := func(from *testNode, hops ...identity.NodeID) (time.Duration, int64) {
		t.Helper()
		before := b.limiter.Quota.Save().Bytes
		s, err := from.Client().DialPath(withTimeout(t), path.Route{Hops: hops, Target: &to}, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := say(s, strings.Repeat("x", 1<<20)); err != nil {
			t.Fatal(err)
		}
		return time.Since(begun), b.limiter.Quota.Save().Bytes - before
	}
	// Of 2 MiB a burst may pass at once; the rest cannot be faster than the rate.
	if took, charged := carry(a, b.id.NodeID(), out.id.NodeID()); took < 1500*time.Millisecond || charged < 2<<20 {
		t.Errorf("2 MiB passed a relay of 1 MiB/s in %v, which charged %d bytes", took, charged)
	}
	if _, charged := carry(b, a.id.NodeID(), out.id.NodeID()); charged > 64<<10 {
		t.Errorf("a relay charged itself %d bytes for 2 MiB of its own", charged)
	}
}

// A relay that has carried its month's bytes takes no more circuits, and says so.
func TestQuota(t *testing.T) {
	w := newNetwork(t)
	s := relays()
	s.Quota = 100 << 10
	a, b := w.add(relays(), nil), w.add(s, nil)
	out := w.add(exits(), nil)
	w.meet()
	to := target(w.echo())
	route := path.Route{Hops: []identity.NodeID{b.id.NodeID(), out.id.NodeID()}, Target: &to}
	conn, err := a.Client().DialPath(withTimeout(t), route, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := say(conn, strings.Repeat("x", 100<<10)); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Client().DialPath(withTimeout(t), route, to, nil); err == nil {
		t.Error("a circuit was made after the month's bytes were carried")
	}
	state := b.Save(time.Now())
	again, err := New(Config{Identity: b.id, Underlay: b, Settings: s, State: state})
	if err != nil {
		t.Fatal(err)
	}
	if again.Status(time.Now()).Relay {
		t.Error("a restart gives back the month's bytes")
	}
}

// When the mesh has lost a relay, circuits through it end, although nothing is sent and
// TCP notices nothing; a route that comes back in time changes nothing.
func TestUnreachable(t *testing.T) {
	w := newNetwork(t)
	a, b := w.add(relays(), nil), w.add(relays(), nil)
	out := w.add(exits(), nil)
	w.meet()
	to := target(w.echo())
	s, err := a.Client().DialPath(withTimeout(t), path.Route{Hops: []identity.NodeID{b.id.NodeID(), out.id.NodeID()}, Target: &to}, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := say(s, "here"); err != nil {
		t.Fatal(err)
	}
	gone := b.id.NodeID().Address()
	a.SetReachable(gone, false)
	a.SetReachable(gone, true)
	a.SetReachable(out.id.NodeID().Address(), false) // no channel leads there
	select {
	case <-s.Ended():
		t.Fatal("the stream ended although the route came back")
	case <-time.After(unreachableTime * 3 / 2):
	}
	a.SetReachable(gone, false)
	select {
	case <-s.Ended():
	case <-time.After(10 * time.Second):
		t.Error("the stream goes on although its first relay cannot be reached")
	}
}
