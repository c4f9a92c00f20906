// Package dhttest runs many nodes of the hash table in one process on a network in
// memory, with delay, jitter, loss and partitions, in virtual time: hours pass in
// seconds, and a run with the same seed is the same run.
//
// A Network owns all of its state; nothing in it is safe for concurrent use.
package dhttest

import (
	"container/heap"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"globalnet/internal/identity"
	"globalnet/mesh/dht"
)

// Epoch is when every network begins.
var Epoch = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// Network is a network of nodes.
type Network struct {
	Delay, Jitter time.Duration // one way: Delay ± Jitter, evenly
	Loss          float64       // of each datagram
	Duplicate     float64

	// Blocked says whether datagrams between two nodes are lost; nil: none are.
	Blocked func(a, b *Node) bool

	// Tap sees every datagram that is sent; nil: nobody looks.
	Tap func(from, to *Node, p []byte)

	Nodes []*Node
	Sent  int // datagrams
	Bytes int

	rand   *rand.Rand
	now    time.Time
	queue  queue
	order  uint64
	byAddr map[netip.Addr]*Node
	seed   uint64
}

// Node is a node, or what a test puts in its place.
type Node struct {
	*dht.DHT
	Addr netip.Addr
	Key  dht.Key
	Up   bool
	Side int // for partitions

	// Serve takes requests instead of the DHT, if it returns true: a liar.
	Serve func(from netip.AddrPort, p []byte) bool

	// Events holds what the DHT told, but for packets.
	Events []dht.Event

	Sent, Received int

	net  *Network
	wake time.Time
}

// New returns an empty network.
func New(seed uint64) *Network {
	return &Network{
		Delay: 5 * time.Millisecond, Jitter: 2 * time.Millisecond, seed: seed,
		rand: rand.New(rand.NewPCG(seed, 1)), now: Epoch, byAddr: make(map[netip.Addr]*Node),
	}
}

// Rand is the source of everything random in the network.
func (n *Network) Rand() *rand.Rand { return n.rand }

// Now is the time of the network.
func (n *Network) Now() time.Time { return n.now }

// RandomAddr draws a mesh address.
func (n *Network) RandomAddr() netip.Addr {
	a := identity.MeshPrefix.Addr().As16()
	binary.BigEndian.PutUint64(a[4:], n.rand.Uint64())
	binary.BigEndian.PutUint32(a[12:], n.rand.Uint32())
	return netip.AddrFrom16(a)
}

// Add puts a node into the network. Address and source of randomness are filled in
// where cfg has none.
func (n *Network) Add(cfg dht.Config) *Node {
	if !cfg.Self.IsValid() {
		cfg.Self = n.RandomAddr()
	}
	if cfg.Rand == nil {
		var seed [32]byte
		for i := 0; i < 32; i += 8 {
			binary.BigEndian.PutUint64(seed[i:], n.rand.Uint64())
		}
		cfg.Rand = rand.New(rand.NewChaCha8(seed))
	}
	x := &Node{DHT: dht.New(cfg), Addr: cfg.Self, Key: dht.NodeKey(cfg.Self), Up: true, net: n}
	n.Nodes = append(n.Nodes, x)
	n.byAddr[x.Addr] = x
	return x
}

// Restart gives a node a new, empty DHT at the same address.
func (n *Network) Restart(x *Node, cfg dht.Config) {
	cfg.Self = x.Addr
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], n.rand.Uint64())
	cfg.Rand = rand.New(rand.NewChaCha8(seed))
	x.DHT, x.Up, x.wake = dht.New(cfg), true, time.Time{}
}

// Node returns the node with an address.
func (n *Network) Node(addr netip.Addr) *Node { return n.byAddr[addr] }

// Alive lists the nodes that are up.
func (n *Network) Alive() []*Node {
	var list []*Node
	for _, x := range n.Nodes {
		if x.Up {
			list = append(list, x)
		}
	}
	return list
}

// Do calls f for a node, then carries out what its DHT wants. Every call of a
// DHT's method that may send something belongs in a Do.
func (x *Node) Do(f func(now time.Time)) {
	f(x.net.now)
	x.flush()
}

func (x *Node) flush() {
	for {
		e, ok := x.NextEvent()
		if !ok {
			break
		}
		if p, ok := e.(dht.SendPacket); ok {
			x.SendPacket(p.To, p.Packet)
		} else {
			x.Events = append(x.Events, e)
		}
	}
	if due := x.NextTimeout(); !due.IsZero() && (x.wake.IsZero() || due.Before(x.wake)) {
		x.wake = due
		x.net.push(item{at: due, node: x})
	}
}

// SendPacket sends a datagram from the node.
func (x *Node) SendPacket(to netip.AddrPort, p []byte) {
	n := x.net
	x.Sent++
	n.Sent++
	n.Bytes += len(p)
	y := n.byAddr[to.Addr()]
	if n.Tap != nil {
		n.Tap(x, y, p)
	}
	if !x.Up || y == nil || n.Blocked != nil && n.Blocked(x, y) {
		return
	}
	copies := 1
	if n.Duplicate > 0 && n.rand.Float64() < n.Duplicate {
		copies = 2
	}
	for range copies {
		if n.Loss > 0 && n.rand.Float64() < n.Loss {
			continue
		}
		delay := n.Delay
		if n.Jitter > 0 {
			delay += time.Duration(n.rand.Int64N(int64(2*n.Jitter)+1)) - n.Jitter
		}
		n.push(item{at: n.now.Add(delay), node: y, from: netip.AddrPortFrom(x.Addr, dht.Port), packet: p})
	}
}

func (n *Network) push(i item) {
	n.order++
	i.order = n.order
	heap.Push(&n.queue, i)
}

// Run lets time pass.
func (n *Network) Run(d time.Duration) { n.RunUntil(d, func() bool { return false }) }

// RunUntil lets time pass until a condition holds, at most d. It returns whether it
// did.
func (n *Network) RunUntil(d time.Duration, done func() bool) bool {
	end := n.now.Add(d)
	for !done() {
		if len(n.queue) == 0 || n.queue[0].at.After(end) {
			n.now = end
			return done()
		}
		n.turn(heap.Pop(&n.queue).(item))
	}
	return true
}

func (n *Network) turn(i item) {
	if i.at.After(n.now) {
		n.now = i.at
	}
	x := i.node
	if i.packet == nil {
		if i.at.Equal(x.wake) {
			x.wake = time.Time{}
			if x.Up {
				x.HandleTimeout(n.now)
				x.flush()
			}
		}
		return
	}
	if !x.Up {
		return
	}
	x.Received++
	if x.Serve != nil && x.Serve(i.from, i.packet) {
		return
	}
	x.HandlePacket(n.now, i.from, i.packet)
	x.flush()
}

// item is a datagram on its way, or a node's timer.
type item struct {
	at     time.Time
	order  uint64
	node   *Node
	from   netip.AddrPort
	packet []byte // nil: the timer
}

type queue []item

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].order < q[j].order
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(item)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	(*q)[last] = item{}
	*q = (*q)[:last]
	return x
}
