package babel

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"globalnet/mesh/babel/wire"
)

// bounds fails if anything that a stranger can make grow has grown too far.
func bounds(t *testing.T, s *Speaker) {
	t.Helper()
	limit := s.cfg.MaxRoutes
	if s.routes > limit || s.sources > 2*limit || len(s.order) > 4*limit+maxNeighbours || len(s.requests) > len(s.order) {
		t.Fatalf("%d routes, %d sources, %d destinations, %d requests; limit %d",
			s.routes, s.sources, len(s.order), len(s.requests), limit)
	}
	routes, sources := 0, 0
	for _, d := range s.order {
		routes += len(d.routes)
		sources += len(d.sources)
		if len(d.sources) > maxRouterIDs {
			t.Fatalf("%d router-ids of one prefix", len(d.sources))
		}
	}
	if routes != s.routes || sources != s.sources || len(s.order) != len(s.dests) {
		t.Fatalf("counted %d routes, %d sources, %d destinations; have %d, %d, %d",
			s.routes, s.sources, len(s.dests), routes, sources, len(s.order))
	}
	for _, f := range s.ifaces {
		if len(f.neighbours) > maxNeighbours {
			t.Fatalf("%d neighbours", len(f.neighbours))
		}
		for _, n := range f.neighbours {
			o := &n.out
			if len(o.flights) > maxFlights || len(o.questions) > maxQuestions || len(o.owed) > maxOwed ||
				len(o.fast.order) > maxQuestions+len(s.order) || len(o.slow.order) > 2*len(s.order)+maxQuestions {
				t.Fatalf("outbox: %d flights, %d questions, %d owed, %d fast, %d slow, of %d destinations",
					len(o.flights), len(o.questions), len(o.owed), len(o.fast.order), len(o.slow.order), len(s.order))
			}
		}
	}
}

func TestFloods(t *testing.T) {
	const limit = 500
	flood := func(name string, send func(b *bench, k int)) {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, Config{MaxRoutes: limit})
			b.both()
			b.receive("b", bob, update(0xffff, 3, 96))
			for k := range 20 * limit {
				send(b, k)
				if k%100 == 0 {
					b.events = nil
					b.pass(50 * time.Millisecond)
					b.hello("b", bob)
					bounds(t, b.s)
				}
			}
			if b.selected(0xffff) != "b" {
				t.Error("the good route is gone")
			}
			b.pass(20 * time.Minute)
			bounds(t, b.s)
			if len(b.s.order) > 1 || b.s.routes != 0 || len(b.s.requests) != 0 {
				t.Errorf("after 20 minutes: %d destinations, %d routes, %d requests", len(b.s.order), b.s.routes, len(b.s.requests))
			}
		})
	}
	flood("prefixes", func(b *bench, k int) { b.receive("a", alice, update(k+1, 1, 0)) })
	flood("prefixes that come and go", func(b *bench, k int) {
		b.receive("a", alice, update(k+1, 1, 0))
		b.receive("a", alice, retraction(k+1))
	})
	flood("router-ids", func(b *bench, k int) {
		u := update(1, 1, 0)
		binary.BigEndian.PutUint32(u.RouterID[:], uint32(k+1))
		b.receive("a", alice, u)
	})
	flood("neighbours", func(b *bench, k int) {
		a := netip.MustParseAddr(fmt.Sprintf("fe80::%x:1", k+1))
		p, _ := wire.Append(nil, wire.Hello{Seqno: 1, Interval: 400}, wire.IHU{Address: us, RxCost: 1, Interval: 400}, update(k+1, 1, 0))
		b.s.HandlePacket(b.now, "a", a, p)
		b.drain()
	})
	flood("seqno requests", func(b *bench, k int) {
		b.receive("a", alice, wire.SeqnoRequest{Prefix: prefix(k), Seqno: uint16(k), HopCount: 200, RouterID: idOf(prefix(k))},
			wire.SeqnoRequest{Prefix: prefix(0xffff), Seqno: uint16(k), HopCount: 200, RouterID: idOf(prefix(0xffff))})
	})
	flood("route requests", func(b *bench, k int) {
		b.receive("a", alice, wire.RouteRequest{}, wire.RouteRequest{Prefix: prefix(k)})
	})
	flood("acknowledgment requests", func(b *bench, k int) {
		many := make([]wire.TLV, 100)
		for i := range many {
			many[i] = wire.AckRequest{Opaque: uint16(i)}
		}
		b.receive("a", alice, many...)
	})
	flood("restarts", func(b *bench, k int) {
		b.receive("a", alice, wire.Hello{Seqno: uint16(k * 1000), Interval: 1}, wire.IHU{Address: us, RxCost: 96, Interval: 1})
	})
}

// A stranger who asks for ever higher sequence numbers of ours gets a few a second.
func TestSeqnoIsRaisedSlowly(t *testing.T) {
	b := newBench(t, Config{})
	b.both()
	before := b.s.counts[seqnoRaised]
	for range 1000 {
		b.receive("a", alice, wire.SeqnoRequest{Prefix: prefix(0), Seqno: b.s.seqno + 1, HopCount: 9, RouterID: idOf(prefix(0))})
		b.pass(time.Millisecond)
		b.take()
	}
	if n := b.s.counts[seqnoRaised] - before; n > 40 {
		t.Errorf("raised %d times in a second", n)
	}
}

// A speaker that has restarted goes to the number that is remembered of it at once;
// later nobody can make it jump.
func TestSeqnoJump(t *testing.T) {
	b := newBench(t, Config{})
	b.both()
	ask := func(seqno uint16) {
		b.receive("a", alice, wire.SeqnoRequest{Prefix: prefix(0), Seqno: seqno, HopCount: 9, RouterID: idOf(prefix(0))})
		b.take()
	}
	if ask(5000); b.s.seqno != 5000 {
		t.Errorf("seqno %d, want 5000", b.s.seqno)
	}
	if ask(0x8100); b.s.seqno != 5016 {
		t.Errorf("seqno %d, want 5016: half the circle is too far", b.s.seqno)
	}
	b.keep(4 * time.Minute)
	if ask(9000); b.s.seqno != 5032 {
		t.Errorf("seqno %d, want 5032", b.s.seqno)
	}
}

func TestRefusedUpdates(t *testing.T) {
	accept := func(ifname string, p netip.Prefix, id RouterID) bool {
		return ifname == "a" && p.Bits() == 128 && idOf(p) == id
	}
	foreign := update(7, 1, 0)
	foreign.RouterID = RouterID{9, 9, 9, 9, 9, 9, 9, 9}
	ours := update(7, 1, 0)
	ours.RouterID = idOf(prefix(0))
	theirs := update(0, 1, 0)
	theirs.RouterID = idOf(prefix(7))
	for name, c := range map[string]struct {
		ifname string
		u      wire.Update
		count  counter
	}{
		"a foreign address":     {"a", foreign, updatesNotAccepted},
		"a default route":       {"a", wire.Update{Prefix: netip.MustParsePrefix("::/0"), Interval: 400, RouterID: idOf(prefix(7))}, updatesNotAccepted},
		"a refused interface":   {"b", update(7, 1, 0), updatesNotAccepted},
		"our own router-id":     {"a", ours, updatesOwn},
		"our prefix as another": {"a", theirs, updatesNotAccepted},
	} {
		b := newBench(t, Config{Accept: accept})
		b.both()
		from := alice
		if c.ifname == "b" {
			from = bob
		}
		b.receive(c.ifname, from, c.u)
		if b.s.counts[c.count] != 1 || b.s.routes != 0 {
			t.Errorf("%s: counted %d, %d routes", name, b.s.counts[c.count], b.s.routes)
		}
	}
}

func TestRefusedPackets(t *testing.T) {
	b := newBench(t, Config{})
	good := []byte{42, 2, 0, 0}
	for name, c := range map[string]struct {
		ifname string
		from   string
		packet []byte
	}{
		"unknown interface": {"x", "fe80::a", good},
		"global sender":     {"a", "fd00::a", good},
		"IPv4 sender":       {"a", "169.254.0.1", good},
		"mapped sender":     {"a", "::ffff:169.254.0.1", good},
		"empty":             {"a", "fe80::a", nil},
		"bad header":        {"a", "fe80::a", []byte{42, 1, 0, 0}},
	} {
		if err := b.s.HandlePacket(b.now, c.ifname, netip.MustParseAddr(c.from), c.packet); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := b.s.HandlePacket(b.now, "a", us, good); err != nil || len(b.s.Neighbours()) != 0 {
		t.Errorf("our own packet: %v, %v", err, b.s.Neighbours())
	}
	if err := b.s.HandlePacket(b.now, "a", alice.WithZone("a"), good); err != nil || len(b.s.Neighbours()) != 1 {
		t.Errorf("with a zone: %v, %v", err, b.s.Neighbours())
	}
}

// FuzzSpeaker feeds arbitrary TLVs from several neighbours, with time passing between.
// Each step: an opcode, a length, and a body that becomes a packet.
func FuzzSpeaker(f *testing.F) {
	step := func(op byte, tlvs ...wire.TLV) []byte {
		p, _ := wire.Append(nil, tlvs...)
		body := []byte{}
		if len(p) > 4 {
			body = p[4:]
		}
		return append([]byte{op, byte(len(body))}, body...)
	}
	hello := []wire.TLV{wire.Hello{Seqno: 1, Interval: 100}, wire.IHU{RxCost: 96, Interval: 100}}
	up := append(step(0, hello...), step(1, hello...)...)
	f.Add(up)
	f.Add(append(append([]byte{}, up...), step(0, update(1, 1, 1), update(2, 1, 1), retraction(1))...))
	f.Add(append(append([]byte{}, up...), append(step(1, update(3, 1, 1)), append(step(5), step(0, update(3, 1, 9),
		wire.SeqnoRequest{Prefix: prefix(3), Seqno: 2, HopCount: 3, RouterID: idOf(prefix(3))}, wire.RouteRequest{})...)...)...))
	f.Add(append(append([]byte{}, up...), append(step(6), append(step(4), step(0, wire.Update{Metric: 0xffff}, wire.AckRequest{Opaque: 1})...)...)...))
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 64
		s := New(Config{RouterID: idOf(prefix(0)), Rand: rand.New(rand.NewPCG(1, 2)), MaxRoutes: limit})
		now := start
		s.Originate(now, prefix(0), 0)
		for k, name := range []string{"a", "b"} {
			if err := s.AddInterface(now, Interface{Name: name, Address: us, RTT: k == 0}); err != nil {
				t.Fatal(err)
			}
		}
		froms := []netip.Addr{alice, bob, netip.MustParseAddr("fe80::c")}
		for steps := 0; len(in) >= 2 && steps < 200; steps++ {
			op, n := in[0], min(int(in[1]), len(in)-2)
			body := in[2 : 2+n]
			in = in[2+n:]
			name := string('a' + rune(op>>3&1))
			switch op & 7 {
			case 0, 1, 2:
				p := append([]byte{42, 2, 0, byte(n)}, body...)
				s.HandlePacket(now, name, froms[op&7%3], p)
			case 3:
				s.SetCost(now, name, uint16(op)<<4)
			case 4:
				s.Probe(now, name)
			case 5:
				s.LinkDown(now, name)
			default:
				now = now.Add(time.Duration(op) * 20 * time.Millisecond)
				s.HandleTimeout(now)
			}
			for {
				e, ok := s.NextEvent()
				if !ok {
					break
				}
				if e, ok := e.(SendPacket); ok {
					if p, err := wire.Parse(e.Packet); err != nil || p.Malformed != 0 || len(e.Packet) > 1280-headers {
						t.Fatalf("sent %d bytes %x: %v", len(e.Packet), e.Packet, err)
					}
				}
			}
			bounds(t, s)
		}
	})
}

// TestMemory measures what one entry of the route table costs.
func TestMemory(t *testing.T) {
	const n = 10_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	b := newBench(t, Config{MaxRoutes: 2 * n})
	b.both()
	before := heap()
	for k := range n {
		b.receive("a", alice, update(k+1, 1, 96))
		b.receive("b", bob, update(k+1, 1, 96))
		b.events = b.events[:0]
		if k%50 == 0 {
			b.pass(10 * time.Millisecond)
			b.take()
		}
	}
	per := (heap() - before) / (2 * n)
	t.Logf("%d bytes an entry, with destination, source and queues", per)
	if per > 600 {
		t.Errorf("%d bytes an entry of the route table", per)
	}
	runtime.KeepAlive(b)
}
