package babel

import (
	"time"

	"globalnet/mesh/babel/wire"
)

const (
	maxNeighbours  = 64 // on one interface
	quickHellos    = 2  // at start, so that one lost packet does not cost an interval
	helloGap       = 50 * millisecond
	hellosPerIHU   = 3
	headers        = 48   // of IPv6 and UDP
	dumpRate       = 1000 // bytes a second and interface for repeating the table
	dumpPace       = 20 * millisecond
	maxDumpSpacing = 600 * second
	crowdSize      = 4 // with more neighbours, triggered updates are multicast
)

// iface is an interface and what is to be sent on it by multicast.
type iface struct {
	Interface
	neighbours []*neighbour

	seqno     uint16 // of our next Hello
	hello     tick   // interval
	lastHello tick
	nextHello tick
	quick     int

	since tick // when it was added

	dumpEvery tick // as announced
	nextDump  tick
	dump      []*destination // what is left of the dump under way
	dumpAt    tick

	crowd crowd
}

func newIface(i Interface, now tick, seqno uint16) *iface {
	if i.MTU < 1280 {
		i.MTU = 1280
	}
	if i.Cost == 0 {
		i.Cost = 96
	}
	f := &iface{Interface: i, seqno: seqno, quick: quickHellos, nextHello: now, since: now}
	f.setIntervals(i.HelloInterval, i.UpdateInterval)
	f.nextDump = now + f.dumpEvery
	return f
}

func (f *iface) setIntervals(hello, update time.Duration) {
	if hello <= 0 {
		hello = 4 * time.Second
	}
	if update <= 0 {
		update = 16 * time.Second
	}
	f.HelloInterval, f.UpdateInterval = hello, update
	f.hello = max(tick(hello), 10*centisecond)
	f.dumpEvery = max(tick(update), 10*centisecond)
}

func (f *iface) due() tick {
	t := earlier(f.nextHello, f.crowd.due)
	if len(f.dump) > 0 {
		t = earlier(t, f.dumpAt)
	}
	return t
}

func (f *iface) anyUp() bool {
	for _, n := range f.neighbours {
		if n.up {
			return true
		}
	}
	return false
}

func (f *iface) builder() *wire.Builder { return wire.NewBuilder(f.MTU - headers) }

func (s *Speaker) ifaceTimeout(f *iface) {
	if len(f.dump) > 0 && f.dumpAt <= s.now {
		s.sendMulticast(f, s.fillDump(f, f.builder()))
	}
}

// helloSoon brings the next Hello forward: someone waits to know us.
func (s *Speaker) helloSoon(f *iface) {
	soon := max(s.now+s.between(0, 5*millisecond), f.lastHello+helloGap)
	f.nextHello = min(f.nextHello, soon)
}

// sendHello sends a Hello and what may share its packet: IHUs, and a dump of the
// table if one is due before long.
func (s *Speaker) sendHello(f *iface) {
	b := f.builder()
	h := wire.Hello{Seqno: f.seqno, Interval: toCentis(f.hello)}
	if f.RTT {
		h.HasTimestamp, h.Timestamp = true, s.clock()
	}
	f.seqno++
	f.lastHello = s.now
	switch {
	case f.quick == quickHellos:
		f.nextHello = s.now + min(200*millisecond, f.hello)
	case f.quick > 0:
		f.nextHello = s.now + min(second, f.hello)
	default:
		f.nextHello = s.now + s.between(f.hello*15/16, f.hello)
	}
	f.quick = max(0, f.quick-1)
	for _, n := range f.neighbours {
		n.sinceIHU++
		if n.ihuDue() {
			s.put(f, b, s.ihu(n))
		}
	}
	s.put(f, b, h) // after the IHUs: tshark 4.0 reads past an IHU with timestamps
	if s.now+f.hello/2 >= f.nextDump {
		s.startDump(f)
		b = s.fillDump(f, b)
	}
	s.sendMulticast(f, b)
}

// put adds a TLV to a packet, sending what is in it first if it is full.
func (s *Speaker) put(f *iface, b *wire.Builder, t wire.TLV) {
	if ok, err := b.Add(t); ok || err != nil {
		return // what we make can be expressed
	}
	s.sendMulticast(f, b)
	b.Add(t)
}

func (s *Speaker) sendMulticast(f *iface, b *wire.Builder) {
	if p := b.Packet(); p != nil {
		s.send(f, wire.Group, p)
	}
}

// startDump begins to repeat the table. The interval announced in it is the one to
// the next dump, so it is chosen here: longer for a longer table.
func (s *Speaker) startDump(f *iface) {
	const perUpdate = 26
	f.dumpEvery = max(tick(f.UpdateInterval), 10*centisecond,
		tick(len(s.order))*perUpdate*second/dumpRate)
	f.dumpEvery = min(f.dumpEvery, maxDumpSpacing)
	f.nextDump = s.now + f.dumpEvery
	f.dump = nil
	if len(f.neighbours) > 0 {
		s.sort()
		f.dump = append(f.dump, s.order...)
	}
}

// fillDump adds the next part of the dump to b: at most two packets at once.
func (s *Speaker) fillDump(f *iface, b *wire.Builder) *wire.Builder {
	for full := 0; len(f.dump) > 0; f.dump = f.dump[1:] {
		u, ok := s.announcement(f.dump[0], f)
		if !ok {
			continue
		}
		if ok, _ := b.Add(u); ok {
			s.count(updatesSent)
			continue
		}
		if full++; full == 2 {
			break
		}
		s.sendMulticast(f, b)
		b.Add(u)
		s.count(updatesSent)
	}
	f.dumpAt = s.now + dumpPace
	return b
}
