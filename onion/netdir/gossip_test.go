package netdir

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"globalnet/internal/identity"
)

// loopback is an Underlay that knows where each node listens.
type loopback struct {
	mu    sync.Mutex
	where map[identity.NodeID]string
}

func (l *loopback) DialNode(ctx context.Context, id identity.NodeID) (net.Conn, error) {
	l.mu.Lock()
	addr := l.where[id]
	l.mu.Unlock()
	if addr == "" {
		return nil, errors.New("no route")
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
}

// station is a node of a test.
type station struct {
	id     *identity.Identity
	node   identity.NodeID
	dir    *Directory
	gossip *Gossip
	events chan struct{} // a vouch came or went
	stop   func()
}

// stations returns n running nodes without neighbours, rising by NodeID.
func stations(t testing.TB, n int) (*loopback, []*station) {
	t.Helper()
	l := &loopback{where: make(map[identity.NodeID]string)}
	all := make([]*station, n)
	for i := range all {
		all[i] = newStation(t, l, person(t, 1000+i))
	}
	slices.SortFunc(all, func(a, b *station) int { return slices.Compare(a.node[:], b.node[:]) })
	return l, all
}

func newStation(t testing.TB, l *loopback, id *identity.Identity) *station {
	t.Helper()
	s := &station{id: id, node: id.NodeID(), events: make(chan struct{}, 100)}
	s.dir = New(Config{Self: s.node})
	var err error
	s.gossip, err = NewGossip(GossipConfig{Identity: s.id, Directory: s.dir, Underlay: l,
		OnVouches: func() { s.events <- struct{}{} }})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	l.where[s.node] = listener.Addr().String()
	l.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.gossip.Run(ctx, listener) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *station) publish(t *testing.T, sequence uint64) {
	t.Helper()
	if err := s.dir.SetOwn(time.Now(), signed(t, s.id, simple(sequence))); err != nil {
		t.Fatal(err)
	}
}

func line(all []*station) {
	for i, s := range all {
		var ids []identity.NodeID
		if i > 0 {
			ids = append(ids, all[i-1].node)
		}
		if i+1 < len(all) {
			ids = append(ids, all[i+1].node)
		}
		s.gossip.SetNeighbours(ids)
	}
}

func (s *station) sequenceOf(node identity.NodeID) uint64 {
	r, ok := s.dir.Relay(time.Now(), node)
	if !ok {
		return 0
	}
	return r.Sequence
}

func TestLineOfFiveConverges(t *testing.T) {
	_, all := stations(t, 5)
	for _, s := range all {
		s.publish(t, 1)
	}
	line(all)
	for _, s := range all {
		eventually(t, "everybody knows everybody", func() bool { return len(s.dir.Relays(time.Now())) == 4 })
		select {
		case <-s.gossip.Synced():
		case <-time.After(20 * time.Second):
			t.Fatal("never synced")
		}
	}
	all[0].publish(t, 2) // pushed from end to end
	eventually(t, "the news arrives", func() bool { return all[4].sequenceOf(all[0].node) == 2 })
	late := signed(t, person(t, 1), simple(3)) // from the second source
	if added, err := all[2].dir.Add(time.Now(), late, 0); !added || err != nil {
		t.Fatal(added, err)
	}
	for _, i := range []int{0, 4} {
		eventually(t, "what came from elsewhere goes around", func() bool { return all[i].sequenceOf(person(t, 1).NodeID()) == 3 })
	}
}

func TestVouches(t *testing.T) {
	_, all := stations(t, 3)
	line(all)
	middle := all[1]
	eventually(t, "both vouch", func() bool { return len(middle.gossip.Vouches()) == 2 })
	for _, v := range middle.gossip.Vouches() {
		if !v.verify(middle.node) {
			t.Errorf("the vouch of %v does not verify", v.Voucher.Short())
		}
	}
	d := simple(1)
	d.Vouches = middle.gossip.Vouches()
	if _, err := Parse(signed(t, middle.id, d)); err != nil {
		t.Errorf("descriptor with these vouches: %v", err)
	}
	for len(middle.events) > 0 {
		<-middle.events
	}
	middle.gossip.SetNeighbours([]identity.NodeID{all[0].node})
	if v := middle.gossip.Vouches(); len(v) != 1 || v[0].Voucher != all[0].node {
		t.Errorf("vouches after a link went: %v", v)
	}
	select {
	case <-middle.events:
	default:
		t.Error("nobody was told of the vouch that went")
	}
}

func TestStrangersAreRefused(t *testing.T) {
	l, all := stations(t, 2)
	all[0].gossip.SetNeighbours([]identity.NodeID{all[1].node}) // who does not agree
	all[0].publish(t, 1)
	eventually(t, "the stranger is counted", func() bool {
		return all[1].dir.Counters()["directory_gossip_strangers_refused"] > 0
	})
	if n := len(all[1].dir.Relays(time.Now())); n != 0 {
		t.Errorf("%d relays came from a stranger", n)
	}
	// As soon as it is a neighbour it is let in.
	all[1].gossip.SetNeighbours([]identity.NodeID{all[0].node})
	eventually(t, "the new neighbour is heard", func() bool { return all[1].sequenceOf(all[0].node) == 1 })

	// A node with the higher NodeID does not open the connection.
	conn, err := l.DialNode(t.Context(), all[0].node)
	if err != nil {
		t.Fatal(err)
	}
	config, err := all[1].id.TLSConfig(alpn)
	if err != nil {
		t.Fatal(err)
	}
	c := tls.Client(conn, config)
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the wrong side opened a session")
	}
}

func TestSessionComesBack(t *testing.T) {
	l, all := stations(t, 2)
	line(all)
	for _, s := range all {
		s.publish(t, 1)
	}
	eventually(t, "they meet", func() bool { return all[1].sequenceOf(all[0].node) == 1 && all[0].sequenceOf(all[1].node) == 1 })
	for _, i := range []int{0, 1} { // each restarts, without memory
		other := all[1-i]
		all[i].stop()
		all[i] = newStation(t, l, all[i].id)
		all[i].gossip.SetNeighbours([]identity.NodeID{other.node})
		eventually(t, "the earlier life is found", func() bool { return all[i].dir.OwnSequence() > 0 })
		seen := all[i].dir.OwnSequence()
		if err := all[i].dir.SetOwn(time.Now(), signed(t, all[i].id, simple(seen))); !errors.Is(err, ErrOwnSequence) {
			t.Errorf("a sequence of the earlier life: %v", err)
		}
		all[i].publish(t, seen+1)
		eventually(t, "the new life is seen", func() bool { return other.sequenceOf(all[i].node) == seen+1 })
	}
}

// hostile is a neighbour of a station that says what the test wants.
func hostile(t *testing.T, l *loopback, s *station, number int) (net.Conn, *identity.Identity) {
	t.Helper()
	var id *identity.Identity
	for ; ; number++ { // it has to be the one that dials
		if id = person(t, number); slices.Compare(nodeOf(id), nodeOf(s.id)) < 0 {
			break
		}
	}
	s.gossip.SetNeighbours([]identity.NodeID{id.NodeID()})
	config, err := id.TLSConfig(alpn)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := l.DialNode(t.Context(), s.node)
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, config)
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn, id
}

func nodeOf(id *identity.Identity) []byte {
	node := id.NodeID()
	return node[:]
}

func TestHostileNeighbourIsCutOff(t *testing.T) {
	other := person(t, 3)
	forged := signed(t, other, simple(1))
	forged[50] ^= 1
	for _, tt := range []struct {
		name string
		send []byte
	}{
		{"unknown kind", frame(nil, 99)},
		{"too long", []byte{kindHave, 0xff, 0xff}},
		{"short digest", frame(nil, kindRoot, []byte{1})},
		{"unasked descriptor", frame(nil, kindDescriptor, make([]byte, 4), signed(t, other, simple(1)))},
		{"unasked forged one", frame(nil, kindDescriptor, make([]byte, 4), forged)},
		{"vouch of another", frame(nil, kindVouch, make([]byte, 64))},
		{"gone unasked", frame(nil, kindGone, make([]byte, 32))},
		{"wants without end", slices.Repeat(frame(nil, kindWant, make([]byte, 64*32)), 200)},
		{"questions without end", slices.Repeat(frame(nil, kindBuckets, make([]byte, 4096)), 20)},
		{"digests without end", slices.Repeat(frame(nil, kindRoot, make([]byte, 16)), 20)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, all := stations(t, 1)
			conn, _ := hostile(t, l, all[0], 5000)
			conn.Write(tt.send)
			for { // until the other side ends it
				if _, err := conn.Read(make([]byte, 4096)); err != nil {
					break
				}
			}
			eventually(t, "it is counted", func() bool {
				return all[0].dir.Counters()["directory_gossip_protocol_errors"] == 1
			})
			if n := len(all[0].dir.Relays(time.Now())); n != 0 {
				t.Errorf("%d relays", n)
			}
		})
	}
}

func TestTwentyFiveNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a second")
	}
	_, all := stations(t, 25)
	for i, s := range all { // a grid of 5 by 5
		var ids []identity.NodeID
		for j, o := range all {
			dx, dy := i%5-j%5, i/5-j/5
			if dx*dx+dy*dy == 1 {
				ids = append(ids, o.node)
			}
		}
		s.publish(t, 1)
		s.gossip.SetNeighbours(ids)
	}
	for _, s := range all {
		eventually(t, "the grid is known", func() bool { return len(s.dir.Relays(time.Now())) == 24 })
	}
	before := uint64(0)
	for _, s := range all {
		before += s.dir.Counters()["directory_gossip_bytes_sent"]
	}
	began := time.Now()
	all[0].publish(t, 2)
	for _, s := range all {
		eventually(t, "the news is everywhere", func() bool { return s.sequenceOf(all[0].node) == 2 })
	}
	took := time.Since(began)
	after := uint64(0)
	for _, s := range all {
		after += s.dir.Counters()["directory_gossip_bytes_sent"]
	}
	t.Logf("news in 25 nodes after %v, %d bytes in all", took.Round(time.Millisecond), after-before)
	if once := uint64(24 * 200); after-before > 8*once {
		t.Errorf("%d bytes for one descriptor in 25 nodes", after-before)
	}
}
