// Package onion is the overlay: anonymous circuits through other nodes, for this
// node and for others. A Node joins the parts: channels, the relay, what is known
// of other relays, and the client. docs/protocols has what is sent (onion.md), how
// relays become known (directory.md) and how they are chosen (paths.md).
//
// The Node owns its descriptor and its onion keys; all else belongs to the parts.
package onion

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"globalnet/internal/clock"
	"globalnet/internal/identity"
	"globalnet/onion/channel"
	"globalnet/onion/client"
	"globalnet/onion/exit"
	"globalnet/onion/netdir"
	"globalnet/onion/ntor"
	"globalnet/onion/path"
	"globalnet/onion/policy"
	"globalnet/onion/relay"
	"globalnet/onion/service"
	"globalnet/onion/service/host"
	"globalnet/onion/service/visit"
	"globalnet/onion/stream"
)

// Ports of a node's mesh address.
const (
	ChannelPort   = 18246 // TCP: channels
	DirectoryPort = 18247 // TCP: descriptors, between neighbours
)

// Zone is below which names are those of hidden services (RFC 9476 reserves .alt).
const Zone = "gnet.alt"

// Underlay reaches nodes by their NodeID: the mesh.
type Underlay interface {
	DialNode(ctx context.Context, node identity.NodeID, port uint16) (net.Conn, error)
}

// Config is what a Node is made of.
type Config struct {
	Identity *identity.Identity
	Underlay Underlay
	Settings Settings
	State    []byte // what Save returned in an earlier run; may be nil
	Log      *slog.Logger

	// Memory bounds, in bytes, the cells that wait and what streams hold, each.
	// 0: 16 MiB.
	Memory int
	Small  bool // little memory: tighter bounds of what is held for others

	// Dialer makes the connections of the exit; nil: the system does.
	Dialer exit.Dialer

	// Publish is told each new descriptor of this node, on a goroutine of the Node's;
	// it must not block. It may be nil.
	Publish func(raw []byte)

	// Find is the second source of descriptors, after the neighbours; what it finds is
	// taken to be of age FindAge. It may be nil.
	Find    func(ctx context.Context, node identity.NodeID) (raw []byte, err error)
	FindAge time.Duration

	// Table serves the hash table to streams of others, until they end; nil: none does.
	Table func(ctx context.Context, conn net.Conn)
	// ServiceTable asks such a Table of another node, for the descriptors of services.
	// nil: services can neither be offered nor reached.
	ServiceTable service.Table
	// Clock reads this machine's clocks; nil: the system does.
	Clock func() clock.Reading
	// Names returns the node or service that the owner calls so; it may be nil.
	Names func(name string) (identity.NodeID, bool)
}

// Settings can be changed while the Node runs.
type Settings struct {
	Relay    bool     // carry circuits of others
	Families []string // secrets of groups of relays
	Client   client.Settings

	Rate, Burst int64 // bytes a second that are carried for others, and at once; 0: no limit
	Quota       int64 // bytes a month; 0: no limit

	Exit       *policy.Policy // nil: nothing leaves here
	Inside     bool           // streams may end at other nodes
	ServePorts []uint16       // of this node, that streams may reach
	ExitSecret []byte         // if not empty, only clients that know it leave here
	ExitLimits exit.Limits

	// Secret returns what an exit wants to hear of those it trusts; nil: none does.
	Secret func(exit identity.NodeID) []byte
}

// Node is a node of the onion. Its methods may be called from any goroutine.
type Node struct {
	cfg       Config
	log       *slog.Logger
	directory *netdir.Directory
	gossip    *netdir.Gossip
	chooser   *path.Chooser
	manager   *channel.Manager
	relay     *relay.Relay
	exit      *exit.Exit
	limiter   *exit.Limiter
	client    *client.Client
	visitor   *visit.Visitor
	host      *host.Host
	clock     *clock.Keeper

	onionKey  ntor.PrivateKey // of describe, after New
	sequence  uint64          // of the descriptor; of describe
	exitSaid  []byte          // the exit's summary in it; of describe
	relaySaid bool            // that this node relays; of describe

	settings   atomic.Pointer[Settings]
	neighbours atomic.Pointer[[]identity.NodeID]
	renew      chan struct{} // the descriptor is to be made again
	vouched    chan struct{} // the neighbours in it have changed
	reached    chan reach
	circuits   *channel.Budget
	streams    *stream.Budget
}

// New makes a Node. It does nothing until Run.
func New(cfg Config) (*Node, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Memory == 0 {
		cfg.Memory = 16 << 20
	}
	self := cfg.Identity.NodeID()
	n := &Node{cfg: cfg, log: cfg.Log, renew: make(chan struct{}, 1), vouched: make(chan struct{}, 1), reached: make(chan reach, 256), limiter: exit.NewLimiter(),
		circuits: channel.NewBudget(cfg.Memory / cellMemory), streams: stream.NewBudget(cfg.Memory)}
	n.neighbours.Store(new([]identity.NodeID))
	n.limiter.Quota = exit.NewQuota(0)
	var err error
	if n.onionKey, err = ntor.GenerateKey(); err != nil {
		return nil, fmt.Errorf("making an onion key: %w", err)
	}
	n.directory = netdir.New(netdir.Config{Self: self, Rand: newRand()})
	n.chooser = path.New(path.Config{Self: self, Rand: newRand(), Relays: n.directory.Relays,
		Neighbours: func() []identity.NodeID { return *n.neighbours.Load() }})
	s := cfg.Settings
	n.exit = exit.New(exit.Config{Self: self, Policy: s.Exit, Inside: s.Inside, ServePorts: s.ServePorts,
		Secret: s.ExitSecret, Limits: s.ExitLimits, Dialer: cfg.Dialer, Log: cfg.Log})
	n.load(cfg.State)
	accept := &acceptor{on: n.relays}
	n.manager = channel.NewManager(channel.Config{Identity: cfg.Identity, Accept: accept, Limit: n.limiter, Budget: n.circuits, Self: true},
		ported{cfg.Underlay, ChannelPort}, cfg.Log)
	n.relay = relay.New(relay.Config{Identity: cfg.Identity, OnionKey: n.onionKey, Dialer: n.manager, Exit: n.exit,
		Budget: n.streams, Table: cfg.Table, Log: cfg.Log})
	accept.relay = n.relay
	n.clock = clock.NewKeeper(cfg.Clock, n.timeChanged)
	n.gossip, err = netdir.NewGossip(netdir.GossipConfig{Identity: cfg.Identity, Directory: n.directory, Clock: n.clock,
		Underlay: ported{cfg.Underlay, DirectoryPort}, Log: cfg.Log, OnVouches: func() { signal(n.vouched) }})
	if err != nil {
		return nil, err
	}
	n.visitor = visit.New(visit.Config{Names: cfg.Names, Now: n.clock.Now, Log: cfg.Log})
	n.client = client.New(client.Config{Channels: n.manager, Chooser: n.chooser, Directory: &addressed{Directory: n.directory},
		Services: n.visitor, Zone: Zone, Self: self, Find: n.find, Log: cfg.Log, Settings: s.Client,
		Secret: func(node identity.NodeID) []byte {
			if secret := n.settings.Load().Secret; secret != nil {
				return secret(node)
			}
			return nil
		}})
	n.offerServices()
	n.set(s)
	return n, nil
}

// cellMemory is what a waiting cell takes, with its place in the queue.
const cellMemory = 1440

// newRand returns a generator that nobody can foresee.
func newRand() *rand.Rand {
	var seed [32]byte
	crand.Read(seed[:]) // never fails
	return rand.New(rand.NewChaCha8(seed))
}

// ported is the Underlay at one port.
type ported struct {
	underlay Underlay
	port     uint16
}

// DialNode implements channel.Underlay and netdir.Underlay.
func (p ported) DialNode(ctx context.Context, node identity.NodeID) (net.Conn, error) {
	return p.underlay.DialNode(ctx, node, p.port)
}

// Client returns the node's own use of the onion.
func (n *Node) Client() *client.Client { return n.client }

// Clock returns mesh time.
func (n *Node) Clock() *clock.Keeper { return n.clock }

// timeChanged has those hear of it who go by mesh time.
func (n *Node) timeChanged() {
	n.gossip.TimeChanged()
	n.host.Look()
}

// Directory returns what is known of relays.
func (n *Node) Directory() *netdir.Directory { return n.directory }

// Run takes part in the onion until ctx ends. The listeners are at the ports of this
// node's mesh address; Run closes them.
func (n *Node) Run(ctx context.Context, channels, directory net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.relay.Run(ctx) })
	group.Go(func() error { return n.manager.Run(ctx, channels) })
	group.Go(func() error { return n.gossip.Run(ctx, directory) })
	group.Go(func() error { return n.client.Run(ctx) })
	group.Go(func() error { return n.visitor.Run(ctx) })
	group.Go(func() error { return n.host.Run(ctx) })
	group.Go(func() error { return n.describe(ctx) })
	group.Go(func() error { return n.followReach(ctx) })
	return group.Wait()
}

// SetNeighbours says with which nodes there are working links.
func (n *Node) SetNeighbours(list []identity.NodeID) {
	list = slices.Clone(list)
	n.neighbours.Store(&list)
	n.gossip.SetNeighbours(list)
}

// Apply takes other settings into use.
func (n *Node) Apply(s Settings) {
	n.set(s)
	n.exit.SetSecret(s.ExitSecret) // before the policy: nobody gets out between the two
	n.exit.SetPolicy(s.Exit)
	n.exit.SetInside(s.Inside, s.ServePorts)
	n.exit.SetLimits(s.ExitLimits)
	n.client.Apply(s.Client)
	n.redescribe()
}

func (n *Node) set(s Settings) {
	n.settings.Store(&s)
	n.limiter.Set(s.Rate, s.Burst)
	n.limiter.Quota.SetLimit(s.Quota)
}

// relays reports whether circuits of others are carried: if the owner wants it, and
// as long as the month's bytes last.
func (n *Node) relays() bool { return n.settings.Load().Relay && n.limiter.Quota.Left() }

// redescribe has the descriptor made again.
func (n *Node) redescribe() { signal(n.renew) }

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// find asks the second source for the descriptor of a node that nobody handed on.
func (n *Node) find(ctx context.Context, node identity.NodeID) error {
	if n.cfg.Find == nil {
		return errors.New("there is no other source of descriptors")
	}
	raw, err := n.cfg.Find(ctx, node)
	if err != nil {
		return err
	}
	d, err := netdir.Parse(raw)
	if err != nil {
		return err
	}
	if d.Node != node {
		return fmt.Errorf("descriptor of another node, %s", d.Node.Short())
	}
	_, err = n.directory.Add(time.Now(), raw, n.cfg.FindAge)
	return err
}
