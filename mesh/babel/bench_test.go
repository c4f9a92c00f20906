package babel

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"globalnet/mesh/babel/wire"
)

var (
	start = time.Unix(1_000_000_000, 0)
	us    = netip.MustParseAddr("fe80::1")
	alice = netip.MustParseAddr("fe80::a")
	bob   = netip.MustParseAddr("fe80::b")
)

func prefix(k int) netip.Prefix {
	a := [16]byte{0: 0xfd, 1: 0x47, 2: 0x4e, 3: 0x45, 13: byte(k >> 16), 14: byte(k >> 8), 15: byte(k)}
	a[8] = 1
	return netip.PrefixFrom(netip.AddrFrom16(a), 128)
}

func idOf(p netip.Prefix) RouterID {
	a := p.Addr().As16()
	return RouterID(a[8:])
}

// bench is one speaker on interfaces of which the test plays the other ends.
type bench struct {
	t      *testing.T
	s      *Speaker
	now    time.Time
	seqno  map[netip.Addr]uint16
	events []Event
}

// newBench returns a speaker that originates prefix(0), with interfaces "a" and "b".
func newBench(t *testing.T, cfg Config) *bench {
	t.Helper()
	if cfg.RouterID == (RouterID{}) {
		cfg.RouterID = idOf(prefix(0))
	}
	cfg.Rand = rand.New(rand.NewPCG(1, 2))
	b := &bench{t: t, s: New(cfg), now: start, seqno: make(map[netip.Addr]uint16)}
	b.s.Originate(b.now, prefix(0), 0)
	for _, name := range []string{"a", "b"} {
		if err := b.s.AddInterface(b.now, Interface{Name: name, Address: us}); err != nil {
			t.Fatal(err)
		}
	}
	b.drain()
	return b
}

func (b *bench) drain() {
	for {
		e, ok := b.s.NextEvent()
		if !ok {
			return
		}
		b.events = append(b.events, e)
	}
}

// receive lets a packet arrive.
func (b *bench) receive(ifname string, from netip.Addr, tlvs ...wire.TLV) {
	b.t.Helper()
	p, err := wire.Append(nil, tlvs...)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.s.HandlePacket(b.now, ifname, from, p); err != nil {
		b.t.Fatal(err)
	}
	b.drain()
}

// hello lets a neighbour say that it is there and hears us.
func (b *bench) hello(ifname string, from netip.Addr) {
	b.t.Helper()
	b.seqno[from]++
	b.receive(ifname, from, wire.Hello{Seqno: b.seqno[from], Interval: 400},
		wire.IHU{Address: us, RxCost: 96, Interval: 1200})
}

// pass lets time go by.
func (b *bench) pass(d time.Duration) {
	end := b.now.Add(d)
	for {
		next := b.s.NextTimeout()
		if next.IsZero() || next.After(end) {
			break
		}
		if next.After(b.now) {
			b.now = next
		}
		b.s.HandleTimeout(b.now)
		b.drain()
	}
	b.now = end
}

// take returns what has happened since it was called last; acknowledgments that we
// asked for are given at once.
func (b *bench) take() []Event {
	events := b.events
	b.events = nil
	for _, e := range events {
		if e, ok := e.(SendPacket); ok && e.To != wire.Group {
			for _, t := range tlvs(b.t, e) {
				if t, ok := t.(wire.AckRequest); ok {
					b.receive(e.Ifname, e.To, wire.Ack{Opaque: t.Opaque})
				}
			}
		}
	}
	return events
}

func tlvs(t *testing.T, e SendPacket) []wire.TLV {
	t.Helper()
	p, err := wire.Parse(e.Packet)
	if err != nil || p.Malformed+p.Unknown+p.Mandatory != 0 {
		t.Fatalf("we sent %x: %v %+v", e.Packet, err, p)
	}
	return p.TLVs
}

// sent filters the TLVs of a type that were sent on an interface.
func sent[T wire.TLV](t *testing.T, events []Event, ifname string) (list []T) {
	t.Helper()
	for _, e := range events {
		if e, ok := e.(SendPacket); ok && e.Ifname == ifname {
			for _, v := range tlvs(t, e) {
				if v, ok := v.(T); ok {
					list = append(list, v)
				}
			}
		}
	}
	return list
}

func happened[E Event](events []Event) (list []E) {
	for _, e := range events {
		if e, ok := e.(E); ok {
			list = append(list, e)
		}
	}
	return list
}

// both makes alice on "a" and bob on "b" neighbours and forgets what that caused.
func (b *bench) both() {
	b.t.Helper()
	b.hello("a", alice)
	b.hello("b", bob)
	for range 5 {
		b.pass(100 * time.Millisecond)
		b.take()
	}
}

// keep lets both neighbours go on saying hello for a while.
func (b *bench) keep(d time.Duration) {
	for end := b.now.Add(d); b.now.Before(end); {
		b.pass(min(4*time.Second, end.Sub(b.now)))
		b.hello("a", alice)
		b.hello("b", bob)
	}
}

func update(k int, seqno, metric uint16) wire.Update {
	return wire.Update{Prefix: prefix(k), Interval: 1600, Seqno: seqno, Metric: metric, RouterID: idOf(prefix(k))}
}

func retraction(k int) wire.Update {
	return wire.Update{Prefix: prefix(k), Interval: 1600, Metric: wire.Infinity}
}

// selected says by which interface a prefix is reached; "" if not at all.
func (b *bench) selected(k int) string {
	for _, r := range b.s.Routes() {
		if r.Selected && r.Prefix == prefix(k) {
			return r.Ifname
		}
	}
	return ""
}
