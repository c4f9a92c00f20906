// Package babelsim runs many Babel speakers on one machine in virtual time: the
// real core of mesh/babel over links made up here, with delay, loss, duplicates and
// reordering. It measures convergence, control traffic and tables, and it watches
// every change of a route for loops. A Network is used by one goroutine.
package babelsim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"globalnet/mesh/babel"
)

// headers is what IPv6 and UDP add to each packet.
const headers = 48

// Node is one speaker and its table of next hops.
type Node struct {
	Speaker *babel.Speaker
	Prefix  netip.Prefix
	Address netip.Addr // link-local, on all its links

	index   int
	links   map[string]*Link
	nextHop []int32 // by destination; -1: none
	timer   time.Duration
	life    int // how often it was started
	bytes   uint64
	packets uint64
}

// Link joins two nodes. Its fields may be changed while the network runs.
type Link struct {
	A, B      int
	Name      string        // of the interface, at both ends
	Delay     time.Duration // one way
	Jitter    time.Duration // at most that much is added: packets may overtake each other
	LossAB    float64
	LossBA    float64
	Duplicate float64
	Down      bool // drops everything; nobody is told
	removed   bool
}

// Network is a set of nodes and links, and the time in it.
type Network struct {
	Nodes []*Node
	Links []*Link

	// Template is the interface that each end of each new link becomes.
	Template babel.Interface

	// Observe, if set, sees each packet that is sent.
	Observe func(at time.Duration, from int, l *Link, to netip.Addr, packet []byte)

	rand   *rand.Rand
	start  time.Time
	now    time.Duration
	queue  eventHeap
	serial uint64
	byAddr map[netip.Prefix]int
	routes int // entries of all next-hop tables, own addresses not counted
	loop   error
	grace  time.Duration // until when loops are excused
}

// restartGrace is how long a restart may cause loops: a speaker that has lost its
// feasibility distances is safe only when its neighbours know that.
const restartGrace = 3 * time.Second

// New returns a network of n nodes without links.
func New(n int, seed uint64) *Network {
	w := &Network{
		rand:   rand.New(rand.NewPCG(seed, 1)),
		start:  time.Unix(1_000_000_000, 0),
		byAddr: make(map[netip.Prefix]int),
	}
	for i := range n {
		v := &Node{index: i, nextHop: make([]int32, n)}
		for d := range v.nextHop {
			v.nextHop[d] = -1
		}
		w.Nodes = append(w.Nodes, v)
		w.boot(i)
	}
	return w
}

// boot gives a node a fresh speaker. Its address stays if it had one.
func (w *Network) boot(i int) {
	v := w.Nodes[i]
	if !v.Prefix.IsValid() {
		a := [16]byte{0xfd, 0x47, 0x4e, 0x45}
		for k := 4; k < 16; k++ {
			a[k] = byte(w.rand.Uint32())
		}
		v.Prefix = netip.PrefixFrom(netip.AddrFrom16(a), 128)
		ll := [16]byte{0: 0xfe, 1: 0x80}
		copy(ll[8:], a[8:])
		ll[8] = byte(i >> 8)
		ll[9] = byte(i)
		v.Address = netip.AddrFrom16(ll)
		w.byAddr[v.Prefix] = i
	}
	a := v.Prefix.Addr().As16()
	v.Speaker = babel.New(babel.Config{
		RouterID: babel.RouterID(a[8:]),
		Rand:     rand.New(rand.NewPCG(w.rand.Uint64(), w.rand.Uint64())),
	})
	v.links = make(map[string]*Link)
	for d := range v.nextHop {
		if v.nextHop[d] >= 0 {
			v.nextHop[d] = -1
			w.routes--
		}
	}
	v.timer = 0
	v.Speaker.Originate(w.Time(), v.Prefix, 0)
	w.settle(v)
}

// Restart replaces a node's speaker by a fresh one, as if its process had been
// killed. Its links stay.
func (w *Network) Restart(i int) {
	v := w.Nodes[i]
	var links []*Link
	for _, l := range w.Links {
		if !l.removed && (l.A == i || l.B == i) {
			links = append(links, l)
		}
	}
	w.boot(i)
	v.life++ // what its earlier life has sent and has not arrived is lost: the keys are others
	w.grace = w.now + restartGrace
	for _, l := range links {
		w.attach(v, l)
	}
}

// Attached tells whether a link is still in place, up or not.
func (w *Network) Attached(l *Link) bool { return !l.removed }

// Connect adds a link. Delay is 5 ms; the caller may change that.
func (w *Network) Connect(a, b int) *Link {
	l := &Link{A: a, B: b, Name: fmt.Sprintf("l%d", len(w.Links)), Delay: 5 * time.Millisecond}
	w.Links = append(w.Links, l)
	w.attach(w.Nodes[a], l)
	w.attach(w.Nodes[b], l)
	return l
}

func (w *Network) attach(v *Node, l *Link) {
	i := w.Template
	i.Name, i.Address = l.Name, v.Address
	v.links[l.Name] = l
	if err := v.Speaker.AddInterface(w.Time(), i); err != nil {
		panic(err) // a bug of the simulation
	}
	w.settle(v)
}

// Disconnect removes a link; both ends learn of it.
func (w *Network) Disconnect(l *Link) {
	l.removed, l.Down = true, true
	for _, v := range []*Node{w.Nodes[l.A], w.Nodes[l.B]} {
		delete(v.links, l.Name)
		v.Speaker.RemoveInterface(w.Time(), l.Name)
		w.settle(v)
	}
}

// LinkDown cuts a link; both ends notice by the carrier.
func (w *Network) LinkDown(l *Link) {
	l.Down = true
	for _, v := range []*Node{w.Nodes[l.A], w.Nodes[l.B]} {
		v.Speaker.LinkDown(w.Time(), l.Name)
		w.settle(v)
	}
}

// Probe lets both ends of a link doubt it, as they do under traffic without answer.
func (w *Network) Probe(l *Link) {
	for _, v := range []*Node{w.Nodes[l.A], w.Nodes[l.B]} {
		v.Speaker.Probe(w.Time(), l.Name)
		w.settle(v)
	}
}

// Now is the virtual time since the start.
func (w *Network) Now() time.Duration { return w.now }

// Time is the virtual time as the speakers see it.
func (w *Network) Time() time.Time { return w.start.Add(w.now) }

// Loop returns what was wrong when a loop was first seen; nil if there never was one.
func (w *Network) Loop() error { return w.loop }

// Bytes and packets sent by all nodes, with headers.
func (w *Network) Sent() (bytes, packets uint64) {
	for _, v := range w.Nodes {
		bytes += v.bytes
		packets += v.packets
	}
	return bytes, packets
}

// settle carries out what a speaker wants, and sets its timer.
func (w *Network) settle(v *Node) {
	for {
		e, ok := v.Speaker.NextEvent()
		if !ok {
			break
		}
		switch e := e.(type) {
		case babel.SendPacket:
			w.transmit(v, e)
		case babel.RouteSelected:
			w.setRoute(v, e)
		case babel.RouteRetracted:
			w.clearRoute(v, e.Prefix)
		}
	}
	next := v.Speaker.NextTimeout()
	if next.IsZero() {
		return
	}
	at := max(next.Sub(w.start), w.now)
	if v.timer == 0 || at < v.timer {
		v.timer = at
		w.push(event{at: at, node: int32(v.index)})
	}
}

func (w *Network) setRoute(v *Node, e babel.RouteSelected) {
	d, ok := w.byAddr[e.Prefix]
	if !ok || v.links[e.Ifname] == nil {
		return
	}
	if v.nextHop[d] < 0 {
		w.routes++
	}
	v.nextHop[d] = int32(v.links[e.Ifname].other(v.index))
	w.watch(v.index, d)
}

func (w *Network) clearRoute(v *Node, p netip.Prefix) {
	if d, ok := w.byAddr[p]; ok && v.nextHop[d] >= 0 {
		v.nextHop[d] = -1
		w.routes--
	}
}

// watch looks for a loop through a node that has just changed its next hop: a new
// loop can only go through that.
func (w *Network) watch(from, dst int) {
	if w.loop == nil && w.now >= w.grace {
		w.loop = w.follow(from, dst)
	}
}

func (w *Network) follow(from, dst int) error {
	at := from
	for range w.Nodes {
		if at = int(w.Nodes[at].nextHop[dst]); at < 0 || at == dst {
			return nil
		}
		if at == from {
			return fmt.Errorf("at %v: loop through node %d towards %d", w.now, from, dst)
		}
	}
	return nil
}

// CheckLoops looks at all routes for loops that are there now.
func (w *Network) CheckLoops() error {
	for from := range w.Nodes {
		for dst := range w.Nodes {
			if err := w.follow(from, dst); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Link) other(i int) int {
	if l.A == i {
		return l.B
	}
	return l.A
}

// transmit puts a packet on a link, or loses it.
func (w *Network) transmit(v *Node, e babel.SendPacket) {
	v.bytes += uint64(len(e.Packet)) + headers
	v.packets++
	l := v.links[e.Ifname]
	if l == nil {
		return
	}
	if w.Observe != nil {
		w.Observe(w.now, v.index, l, e.To, e.Packet)
	}
	loss := l.LossAB
	if v.index == l.B {
		loss = l.LossBA
	}
	copies := 1
	if l.Duplicate > 0 && w.rand.Float64() < l.Duplicate {
		copies = 2
	}
	for range copies {
		if l.Down || (loss > 0 && w.rand.Float64() < loss) {
			continue
		}
		at := w.now + l.Delay
		if l.Jitter > 0 {
			at += time.Duration(w.rand.Int64N(int64(l.Jitter)))
		}
		w.push(event{at: at, node: int32(l.other(v.index)), link: l, from: v.Address, life: v.life, packet: e.Packet})
	}
}

// Step lets the next thing happen; false if nothing ever will.
func (w *Network) Step() bool {
	if len(w.queue) == 0 {
		return false
	}
	e := w.queue.pop()
	w.now = max(w.now, e.at)
	v := w.Nodes[e.node]
	if e.packet != nil {
		sender := w.Nodes[e.link.other(v.index)]
		if !e.link.Down && v.links[e.link.Name] == e.link && sender.life == e.life {
			v.Speaker.HandlePacket(w.Time(), e.link.Name, e.from, e.packet) // refused ones are counted there
			w.settle(v)
		}
		return true
	}
	if e.at != v.timer {
		return true // replaced by an earlier one
	}
	v.timer = 0
	if next := v.Speaker.NextTimeout(); !next.IsZero() && !next.After(w.Time()) {
		v.Speaker.HandleTimeout(w.Time())
	}
	w.settle(v)
	return true
}

// Run lets time pass.
func (w *Network) Run(d time.Duration) {
	end := w.now + d
	for len(w.queue) > 0 && w.queue[0].at <= end {
		w.Step()
	}
	w.now = end
}

// RunUntil lets time pass until cond holds, looking every so often, or until limit
// has passed. It returns the time it took, and whether cond holds.
func (w *Network) RunUntil(cond func() bool, every, limit time.Duration) (time.Duration, bool) {
	begin := w.now
	for w.now-begin < limit {
		if cond() {
			return w.now - begin, true
		}
		w.Run(every)
	}
	return w.now - begin, cond()
}

func (w *Network) push(e event) {
	w.serial++
	e.serial = w.serial
	w.queue.push(e)
}
