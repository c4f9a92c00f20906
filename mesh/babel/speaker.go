package babel

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"globalnet/mesh/babel/wire"
)

// RouterID names a speaker. It must differ from all others' and be neither all
// zeros nor all ones; if it is the end of the announced address, updates are shorter.
type RouterID = wire.RouterID

const infinity = wire.Infinity

// Config is what a Speaker needs to begin.
type Config struct {
	RouterID RouterID
	Rand     *rand.Rand

	// Accept judges each announced route by the interface it came from; nil accepts all.
	Accept func(ifname string, p netip.Prefix, id RouterID) bool

	// MaxRoutes bounds the route table; the source table may be twice as long.
	// Zero means 16384.
	MaxRoutes int
}

// Interface is a network interface that the Speaker speaks on.
type Interface struct {
	Name    string
	Address netip.Addr // our link-local address on it
	MTU     int        // of the interface; zero means 1280

	// HelloInterval and UpdateInterval are announced to the neighbours; zero means
	// 4 s and 16 s. Updates become rarer than that when the table grows.
	HelloInterval, UpdateInterval time.Duration

	Cost uint16 // of receiving without any loss; zero means 96
	RTT  bool   // whether delay adds to the cost, RFC 9616
}

// Speaker is a Babel speaker.
type Speaker struct {
	cfg   Config
	rand  *rand.Rand
	epoch time.Time
	now   tick
	stamp uint32 // what our RFC 9616 clock showed at the epoch

	// seqno is that of all we originate. It begins at zero: who remembers a newer one
	// of an earlier life asks for the next, and gets it (raiseSeqno). One drawn at
	// random could be older than the first of three lives and newer than the second,
	// and then the order on which freedom from loops rests would be none.
	seqno    uint16
	seqnoCap bucket // how fast others may make us raise it
	nonce    uint16

	ifaces   []*iface
	dests    map[netip.Prefix]*destination
	order    []*destination // all of dests, sorted by prefix if !unsorted
	unsorted bool
	routes   int // entries in the route table
	sources  int // entries in the source table
	requests []*destination
	sweepAt  tick

	events []Event
	read   int // events handed out
	counts [counterCount]uint64
}

// New returns a Speaker without interfaces and routes.
func New(cfg Config) *Speaker {
	if cfg.MaxRoutes <= 0 {
		cfg.MaxRoutes = 16384
	}
	return &Speaker{
		cfg:      cfg,
		rand:     cfg.Rand,
		stamp:    cfg.Rand.Uint32(),
		seqnoCap: bucket{rate: 10, burst: 20},
		nonce:    uint16(cfg.Rand.Uint32()),
		dests:    make(map[netip.Prefix]*destination),
	}
}

// AddInterface begins to speak on an interface.
func (s *Speaker) AddInterface(now time.Time, i Interface) error {
	s.begin(now)
	if i.Name == "" || s.iface(i.Name) != nil {
		return fmt.Errorf("adding interface %q: no name or a known one", i.Name)
	}
	if !linkLocal(i.Address) {
		return fmt.Errorf("adding interface %q: address %v is not link-local IPv6", i.Name, i.Address)
	}
	s.ifaces = append(s.ifaces, newIface(i, s.now, uint16(s.rand.Uint32())))
	s.settle()
	return nil
}

// linkLocal tells whether a may be the source of a Babel packet.
func linkLocal(a netip.Addr) bool {
	return a.Is6() && !a.Is4In6() && a.IsLinkLocalUnicast() && a.Zone() == ""
}

// RemoveInterface forgets an interface and all neighbours on it.
func (s *Speaker) RemoveInterface(now time.Time, name string) {
	s.begin(now)
	for k, f := range s.ifaces {
		if f.Name != name {
			continue
		}
		for len(f.neighbours) > 0 {
			s.dropNeighbour(f.neighbours[0])
		}
		s.ifaces = append(s.ifaces[:k:k], s.ifaces[k+1:]...)
		break
	}
	s.settle()
}

// SetIntervals changes how often Hellos and the table are sent on an interface;
// zero means the defaults of Interface. Neighbours learn of it at once.
func (s *Speaker) SetIntervals(now time.Time, name string, hello, update time.Duration) {
	s.begin(now)
	if f := s.iface(name); f != nil {
		f.setIntervals(hello, update)
		for _, n := range f.neighbours {
			n.wantIHU = true // how long an IHU holds follows from the interval
		}
		s.helloSoon(f)
		f.nextDump = min(f.nextDump, s.now+f.dumpEvery)
	}
	s.settle()
}

// SetCost changes the base cost of an interface.
func (s *Speaker) SetCost(now time.Time, name string, cost uint16) {
	s.begin(now)
	if f := s.iface(name); f != nil && cost != 0 && cost != f.Cost {
		f.Cost = cost
		for _, n := range f.neighbours {
			n.wantIHU = true
			s.refreshCost(n)
		}
	}
	s.settle()
}

// Originate announces a prefix as ours. It may be called again with another metric.
func (s *Speaker) Originate(now time.Time, p netip.Prefix, metric uint16) {
	s.begin(now)
	d := s.destination(p.Masked())
	if !d.own || d.ownMetric != metric {
		d.own, d.ownMetric = true, metric
		s.reselect(d)
		s.trigger(d, false)
	}
	s.settle()
}

// Withdraw retracts a prefix of ours.
func (s *Speaker) Withdraw(now time.Time, p netip.Prefix) {
	s.begin(now)
	if d := s.dests[p.Masked()]; d != nil && d.own {
		d.own = false
		d.holdUntil = s.now + retractionHold
		s.reselect(d)
		s.trigger(d, true)
	}
	s.settle()
}

// Farewell retracts all that we announced, on every interface: we are about to
// end, and the neighbours need not find that out. RFC 8966 section 4.6.9, AE 0.
func (s *Speaker) Farewell(now time.Time) {
	s.begin(now)
	for _, f := range s.ifaces {
		b := f.builder()
		b.Add(wire.Update{Interval: toCentis(f.dumpEvery), Metric: infinity})
		s.sendMulticast(f, b)
	}
	s.settle()
}

// LinkDown says that an interface lost its carrier or its path: nobody is reached
// through it until it is heard again.
func (s *Speaker) LinkDown(now time.Time, ifname string) {
	s.begin(now)
	if f := s.iface(ifname); f != nil {
		for _, n := range f.neighbours {
			s.lose(n)
		}
	}
	s.settle()
}

// Probe doubts an interface: traffic is sent, nothing comes back. Its neighbours
// are asked for an acknowledgment; who owes three is lost at once, or a few more
// where Hellos get lost. A neighbour that is lost already is asked whether it is back.
func (s *Speaker) Probe(now time.Time, ifname string) {
	s.begin(now)
	if f := s.iface(ifname); f != nil {
		for _, n := range f.neighbours {
			if n.up { // a link that loses much may lose three answers, too
				row, others := n.multicast.misses()
				s.probe(n, probeTries+row+others)
			} else {
				s.greet(n)
			}
		}
		if !f.anyUp() {
			s.helloSoon(f)
		}
	}
	s.settle()
}

// NextEvent returns the next thing to do; false if there is none.
func (s *Speaker) NextEvent() (Event, bool) {
	if s.read == len(s.events) {
		s.events, s.read = s.events[:0], 0
		return nil, false
	}
	e := s.events[s.read]
	s.events[s.read] = nil
	s.read++
	return e, true
}

func (s *Speaker) emit(e Event) { s.events = append(s.events, e) }

func (s *Speaker) iface(name string) *iface {
	for _, f := range s.ifaces {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// Neighbours lists the neighbours, by interface.
func (s *Speaker) Neighbours() []NeighbourInfo {
	var list []NeighbourInfo
	for _, f := range s.ifaces {
		for _, n := range f.neighbours {
			e := NeighbourInfo{
				Ifname: f.Name, Address: n.addr, RxCost: n.rxCost(), TxCost: n.txCost,
				Cost: n.cost, RTT: time.Duration(n.rtt), Reach: n.multicast.bits,
			}
			if n.lastHello != 0 {
				e.LastHello = s.time(n.lastHello)
			}
			list = append(list, e)
		}
	}
	return list
}

// Routes lists the route table, by prefix.
func (s *Speaker) Routes() []RouteInfo {
	s.sort()
	list := make([]RouteInfo, 0, s.routes)
	for _, d := range s.order {
		for _, r := range d.routes {
			list = append(list, RouteInfo{
				Prefix: d.prefix, RouterID: r.id, Seqno: r.seqno, RefMetric: r.refMetric, Metric: r.metric,
				NextHop: r.gateway(), Ifname: r.via.iface.Name, Selected: d.selected == r,
				Feasible: r.refMetric != infinity && d.feasible(r.id, r.seqno, r.refMetric),
				Age:      time.Duration(s.now - r.heard),
			})
		}
	}
	return list
}
