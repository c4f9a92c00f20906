package mesh

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"globalnet/internal/identity"
	"globalnet/mesh/babel"
	"globalnet/mesh/link"
	"globalnet/mesh/peers"
)

// Config is what a Node is made of. All fields are required except where said.
type Config struct {
	Identity   *identity.Identity
	Network    string // name of the neighbourhood, shown in Status
	NetworkKey []byte // link.NetworkKey of name and passphrase
	Kernel     Kernel
	Log        *slog.Logger
	Rand       *rand.Rand
	ListenPort uint16 // signalling (TCP) and STUN (UDP)
	PortMin    uint16 // first UDP port of links
	PortMax    uint16 // last UDP port of links
	Book       *peers.Book
	Settings   Settings

	// Destinations is told which nodes the mesh reaches; it may be nil.
	Destinations Destinations

	// LinksChanged is told the nodes to which there are working links, after each
	// change, by the loop; it must not block. It may be nil.
	LinksChanged func(neighbours []identity.NodeID)
}

// Destinations follows the destinations of the routing table. Its methods are
// called by the loop and must not block.
type Destinations interface {
	// SetReachable says that a route leads to a node, by the link via.
	SetReachable(addr netip.Addr, via string)
	// SetUnreachable says that none does any more.
	SetUnreachable(addr netip.Addr)
}

// Settings are the part of the configuration that Apply changes while the node runs.
type Settings struct {
	// UseInterface says on which interfaces neighbours are looked for.
	UseInterface   func(Interface) bool
	MaxNeighbours  int
	HelloInterval  time.Duration // idle Babel hellos; zero is the default of package babel
	UpdateInterval time.Duration // Babel updates; zero is the default of package babel
}

// ErrStopped is returned by calls to a node that has ended.
var ErrStopped = errors.New("the node has stopped")

// Node is one node of the mesh. All its state belongs to the goroutine of Run;
// everybody else asks that goroutine with do.
type Node struct {
	cfg     Config
	id      identity.NodeID
	tag     link.Tag
	log     *slog.Logger
	started time.Time

	engine  *link.Engine
	speaker *babel.Speaker
	worker  *worker

	requests  chan func(now time.Time)
	sightings chan sighting
	packets   chan packet
	ready     chan struct{} // closed when the mesh address is ours
	ended     chan struct{} // closed when the loop has ended

	settings   Settings
	interfaces []Interface
	segments   map[string]*segment
	seen       *sightingTable
	neighbours map[identity.NodeID]*neighbour
	byIfname   map[string]*neighbour
	dials      *dialTable
	counters   map[string]uint64

	addressAgain     time.Time // when to look after the mesh address again; zero: all is well
	nextHousekeeping time.Time
	watch            watch
	shortcutAt       time.Time
	shortcutPause    time.Duration

	// children are the goroutines that the loop started; they end with childCtx.
	children sync.WaitGroup
	childCtx context.Context
}

// packet is a Babel packet that a reader goroutine hands to the loop.
type packet struct {
	ifname string
	from   netip.Addr
	data   []byte
}

// New makes a node. It does nothing until Run.
func New(cfg Config) (*Node, error) {
	n := &Node{
		cfg:        cfg,
		id:         cfg.Identity.NodeID(),
		log:        cfg.Log,
		requests:   make(chan func(time.Time)),
		sightings:  make(chan sighting, 64),
		packets:    make(chan packet, 64),
		ready:      make(chan struct{}),
		ended:      make(chan struct{}),
		settings:   cfg.Settings,
		segments:   make(map[string]*segment),
		seen:       newSightingTable(),
		neighbours: make(map[identity.NodeID]*neighbour),
		byIfname:   make(map[string]*neighbour),
		dials:      newDialTable(),
		counters:   make(map[string]uint64),
		worker:     newWorker(cfg.Kernel),
	}
	crand.Read(n.tag[:]) // never fails
	n.worker.failed = func(dst netip.Prefix, err error) {
		n.log.Warn("changing a route", "destination", dst, "err", err)
	}
	var err error
	n.engine, err = link.New(link.Config{
		Identity:   cfg.Identity,
		NetworkKey: cfg.NetworkKey,
		Tag:        n.tag,
		Log:        cfg.Log,
		PortMin:    cfg.PortMin,
		PortMax:    cfg.PortMax,
		Local:      n.localAddresses,
		STUN:       n.stunServers,
		Handler:    handler{n},
	})
	if err != nil {
		return nil, fmt.Errorf("preparing links: %w", err)
	}
	n.speaker = babel.New(babel.Config{
		RouterID: routerID(n.id),
		Rand:     cfg.Rand,
		Accept:   acceptRoute,
	})
	return n, nil
}

// Run runs the node until ctx ends, and removes all traces of it from the
// kernel before it returns. It returns nil on cancel.
func (n *Node) Run(ctx context.Context) error {
	defer close(n.ended)
	n.started = time.Now()

	if err := n.cfg.Kernel.Cleanup(ctx); err != nil {
		return fmt.Errorf("cleaning up after an earlier run: %w", err)
	}
	if err := n.cfg.Kernel.SetAddress(ctx, n.id.Address()); err != nil {
		return fmt.Errorf("setting the mesh address: %w", err)
	}
	close(n.ready)
	listener, stun, err := n.listen(ctx)
	if err != nil {
		return err
	}

	childCtx, cancel := context.WithCancel(context.Background())
	n.childCtx = childCtx
	n.goChild(func(ctx context.Context) { n.worker.run(ctx) })
	n.goChild(func(ctx context.Context) {
		if err := n.engine.Serve(ctx, listener); err != nil {
			n.log.Error("signalling ended", "err", err)
		}
	})
	n.goChild(func(ctx context.Context) {
		if err := n.engine.ServeSTUN(ctx, stun); err != nil {
			n.log.Error("stun ended", "err", err)
		}
	})

	n.speaker.Originate(n.started, hostPrefix(n.id.Address()), 0)
	n.refreshInterfaces(n.started)
	n.log.Info("node is running", "node", n.id, "address", n.id.Address())
	n.loop(ctx)

	n.farewell(time.Now())
	cancel()
	n.drainUntilChildrenEnd()
	cleanup, stop := context.WithTimeout(context.Background(), 3*time.Second)
	defer stop()
	if err := n.cfg.Kernel.Cleanup(cleanup); err != nil {
		return fmt.Errorf("cleaning up: %w", err)
	}
	return nil
}

// Apply takes new settings into use. Links that need not change stay as they are.
func (n *Node) Apply(ctx context.Context, s Settings) error {
	return n.do(ctx, func(now time.Time) {
		n.settings = s
		for _, nb := range n.neighbours {
			n.speaker.SetIntervals(now, nb.ifname, s.HelloInterval, s.UpdateInterval)
		}
		n.refreshInterfaces(now)
	})
}

// Ready is closed once Run has made the mesh address ours: from then on sockets
// can be bound to it.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// listen opens the signalling and STUN sockets on all addresses.
func (n *Node) listen(ctx context.Context) (net.Listener, net.PacketConn, error) {
	var lc net.ListenConfig
	at := fmt.Sprintf(":%d", n.cfg.ListenPort)
	listener, err := lc.Listen(ctx, "tcp", at)
	if err != nil {
		return nil, nil, fmt.Errorf("listening for neighbours: %w (is another agent running? `globalnet status` tells)", err)
	}
	stun, err := lc.ListenPacket(ctx, "udp", at)
	if err != nil {
		listener.Close()
		return nil, nil, fmt.Errorf("listening for STUN: %w", err)
	}
	return listener, stun, nil
}

// loop is the event loop: it gives each thing that happens, with the time, to
// one core, carries out what the cores want, and arms one timer.
func (n *Node) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-n.packets:
			n.handlePacket(time.Now(), p)
		case s := <-n.sightings:
			n.handleSighting(time.Now(), s)
		case f := <-n.requests:
			f(time.Now())
		case c := <-n.cfg.Kernel.Changes():
			n.handleChange(time.Now(), c)
		case <-timer.C:
			n.handlePackets() // who has answered already is not late
			n.handleTimeout(time.Now())
		}
		now := time.Now()
		n.carryOut(now)
		timer.Reset(max(0, n.nextTimeout().Sub(now)))
	}
}

func (n *Node) handleTimeout(now time.Time) {
	if t := n.speaker.NextTimeout(); !t.IsZero() && !now.Before(t) {
		n.speaker.HandleTimeout(now)
	}
	if !now.Before(n.watch.next) {
		n.pollStats(now)
	}
	if !now.Before(n.nextHousekeeping) {
		n.nextHousekeeping = now.Add(housekeepingInterval)
		n.housekeep(now)
	}
}

func (n *Node) nextTimeout() time.Time {
	next := n.nextHousekeeping
	if n.watch.next.Before(next) {
		next = n.watch.next
	}
	if t := n.speaker.NextTimeout(); !t.IsZero() && t.Before(next) {
		next = t
	}
	return next
}

// do runs f on the loop and waits for it.
func (n *Node) do(ctx context.Context, f func(now time.Time)) error {
	done := make(chan struct{})
	select {
	case n.requests <- func(now time.Time) { f(now); close(done) }:
	case <-ctx.Done():
		return ctx.Err()
	case <-n.ended:
		return ErrStopped
	}
	<-done // the loop runs what it has taken
	return nil
}

// goChild starts a goroutine that ends with the node.
func (n *Node) goChild(f func(ctx context.Context)) {
	n.children.Go(func() { f(n.childCtx) })
}

// drainUntilChildrenEnd answers what children still ask while they end, so that
// none of them waits for a loop that has gone.
func (n *Node) drainUntilChildrenEnd() {
	done := make(chan struct{})
	go func() { n.children.Wait(); close(done) }()
	for {
		select {
		case <-done:
			return
		case f := <-n.requests:
			f(time.Now())
		case <-n.packets:
		case <-n.sightings:
		case <-n.cfg.Kernel.Changes():
		}
	}
}

func (n *Node) count(what string) { n.counters[what]++ }

// housekeepingInterval is how often what is due is looked for: dials, expiry.
const housekeepingInterval = 250 * time.Millisecond
