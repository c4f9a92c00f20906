// Package agent is the daemon: it builds the mesh from a configuration, serves
// the control socket and keeps both running.
package agent

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/agent/servicetable"
	"globalnet/internal/identity"
	"globalnet/mesh"
	"globalnet/mesh/dht"
	"globalnet/mesh/link"
	"globalnet/mesh/peers"
)

// Options are what an Agent is made of.
type Options struct {
	ConfigPath string // read again by Reload
	Config     config.Config
	Log        *slog.Logger
	Level      *slog.LevelVar // set by Reload; may be nil
	Kernel     mesh.Kernel

	// Adjust has the last word on a configuration that was read again; may be nil.
	Adjust func(*config.Config)

	// Saved is called when a request has changed the configuration's file; may be nil.
	Saved func()

	// SmallMemory bounds the records held for others more tightly.
	SmallMemory bool

	Version string
	Radios  func() []string // that may be given to the mesh; may be nil
}

// Agent is a node of the network.
type Agent struct {
	o     Options
	node  *mesh.Node
	book  *bookKeeper
	dht   *hashTable // nil if switched off
	onion *overlay   // nil if switched off
	lan   *lanEdge
	web   *webPage

	settings *settings
	history  *history
	logs     *logRing

	descriptors chan []byte // of this node, for the hash table

	mu     sync.Mutex // held while a configuration is taken into use
	config config.Config
}

// New loads the identity, or makes it at the first start.
func New(o Options) (*Agent, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	removeLeftovers(o.Config, o.ConfigPath, o.Log)
	logs := &logRing{}
	o.Log = slog.New(logs.tee(o.Log.Handler()))
	id, err := identity.LoadOrCreate(o.Config.Identity)
	if err != nil {
		return nil, err
	}
	c := o.Config
	a := &Agent{o: o, config: c, history: newHistory(), logs: logs}
	a.settings = newSettings(o.ConfigPath, a.Reload, o.Log)
	a.settings.saved = o.Saved
	rng := newRand()
	a.book = newBookKeeper(filepath.Join(c.StateDir, "peers.state"), o.Log)
	book := peers.New(id.NodeID(), rng)
	a.book.load(book)
	a.dht = newHashTable(id, c.DHT, o.SmallMemory, filepath.Join(c.StateDir, "records.state"), o.Log)
	a.descriptors = make(chan []byte, 1)
	a.onion, err = newOverlay(overlayOptions{
		id: id, config: c, statePath: filepath.Join(c.StateDir, "onion.state"), small: o.SmallMemory, log: o.Log,
		publish: a.publishDescriptor, find: a.findDescriptor, table: servicetable.New(a.dht.asked(), o.Log),
	})
	if err != nil {
		return nil, err
	}
	a.lan = newLANEdge(id, c, a.onion, o.Log)
	a.web = newWebPage(a, c, o.Log)
	a.lan.page = a.web
	if a.dht != nil && a.onion != nil {
		a.dht.askTable = a.onion.node.AskTable
		a.dht.meshTime = a.onion.node.Clock().Now
	}
	a.node, err = mesh.New(mesh.Config{
		Identity:   id,
		Network:    c.Network,
		NetworkKey: link.NetworkKey(c.Network, c.Passphrase.Reveal()),
		Kernel:     o.Kernel,
		Log:        o.Log,
		Rand:       rng,
		ListenPort: c.ListenPort,
		PortMin:    c.PortRange.First,
		PortMax:    c.PortRange.Last,
		Book:       book,
		Settings:   meshSettings(c),

		Destinations: destinations{a},
		LinksChanged: func(list []identity.NodeID) {
			if a.onion != nil {
				a.onion.node.SetNeighbours(list)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	return a, nil
}

// findDescriptor asks the hash table for the descriptor of a node.
func (a *Agent) findDescriptor(ctx context.Context, node identity.NodeID) ([]byte, error) {
	if a.dht == nil {
		return nil, errors.New("the hash table is switched off")
	}
	relays := len(a.onion.node.Directory().Relays(time.Now()))
	return a.dht.findDescriptor(ctx, node, relays >= fewRelays)
}

// destinations tells those who want to know which nodes the mesh reaches.
type destinations struct{ a *Agent }

// SetReachable implements mesh.Destinations.
func (d destinations) SetReachable(addr netip.Addr, via string) {
	if d.a.dht != nil {
		d.a.dht.node.SetReachable(addr, via)
	}
	if d.a.onion != nil {
		d.a.onion.node.SetReachable(addr, true)
	}
}

// SetUnreachable implements mesh.Destinations.
func (d destinations) SetUnreachable(addr netip.Addr) {
	if d.a.dht != nil {
		d.a.dht.node.SetUnreachable(addr)
	}
	if d.a.onion != nil {
		d.a.onion.node.SetReachable(addr, false)
	}
}

// fewRelays is with how many a circuit hides something.
const fewRelays = 3

// publishDescriptor hands a descriptor of ours to the hash table; a newer one takes
// the place of one that waits.
func (a *Agent) publishDescriptor(raw []byte) {
	for {
		select {
		case a.descriptors <- raw:
			return
		default:
		}
		select {
		case <-a.descriptors:
		default:
		}
	}
}

func (a *Agent) publishDescriptors(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case raw := <-a.descriptors:
			a.dht.publishDescriptor(ctx, raw)
		}
	}
}

func meshSettings(c config.Config) mesh.Settings {
	return mesh.Settings{
		UseInterface:   func(i mesh.Interface) bool { return c.UsesInterface(i.Name) },
		MaxNeighbours:  c.MaxNeighbours,
		HelloInterval:  c.HelloInterval,
		UpdateInterval: c.UpdateInterval,
	}
}

// newRand returns a generator for jitter and choices among equals, never for keys.
func newRand() *rand.Rand {
	var seed [16]byte
	crand.Read(seed[:]) // never fails
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(seed[:8]), binary.LittleEndian.Uint64(seed[8:])))
}

// Run runs the node until ctx ends; it returns nil then.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return control.Run(ctx, a.o.Config.Socket, a, a.o.Log) })
	group.Go(func() error { return a.serveConsole(ctx) })
	// The mesh outlives the hash table, which hands on what it holds when ctx ends.
	meshCtx, stopMesh := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error { return a.node.Run(meshCtx) })
	var over sync.WaitGroup // what needs the mesh to its end
	over.Add(2)
	group.Go(func() error {
		over.Wait()
		stopMesh()
		return nil
	})
	group.Go(func() error {
		defer over.Done()
		if a.dht == nil {
			<-ctx.Done()
			return nil
		}
		return a.dht.run(ctx, a.node.Ready())
	})
	group.Go(func() error {
		defer over.Done()
		if a.onion == nil {
			<-ctx.Done()
			return nil
		}
		return a.onion.run(ctx, a.node.Ready())
	})
	if a.dht != nil && a.onion != nil {
		group.Go(func() error {
			a.publishDescriptors(ctx)
			return nil
		})
	}
	group.Go(func() error { return a.lan.run(ctx) })
	group.Go(func() error { return a.web.run(ctx) })
	group.Go(func() error { return a.settings.run(ctx) })
	group.Go(func() error { return a.history.run(ctx, a.node.Neighbours) })
	group.Go(func() error { return a.book.run(ctx, a.node, a.peers) })
	return group.Wait()
}

// Reload reads the configuration again and applies what can be applied live.
func (a *Agent) Reload(ctx context.Context) (config.Diff, error) {
	next, _, err := config.Load(a.o.ConfigPath)
	if err != nil {
		return config.Diff{}, err
	}
	if a.o.Adjust != nil {
		a.o.Adjust(&next)
	}
	a.mu.Lock()
	d := config.Compare(a.config, next)
	a.config = config.WithLive(a.config, next)
	now := a.config
	a.mu.Unlock()
	if a.o.Level != nil {
		a.o.Level.Set(now.LogLevel)
	}
	if err := a.node.Apply(ctx, meshSettings(now)); err != nil {
		return d, err
	}
	a.book.refresh()
	if a.onion != nil {
		a.onion.apply(now)
	}
	a.lan.apply(now)
	a.web.apply(now)
	return d, nil
}

// peers is the configured part of the peer book.
func (a *Agent) peers() []config.Peer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.config.Peers
}

// Status returns a copy of the state.
func (a *Agent) Status(ctx context.Context) (mesh.Status, error) {
	s, err := a.node.Status(ctx)
	if err == nil && a.onion != nil {
		maps.Copy(s.Counters, a.onion.node.Counters())
		s.Clock = a.onion.clock(time.Now())
	}
	if err != nil || a.dht == nil {
		return s, err
	}
	if !a.dht.begun() {
		return s, nil
	}
	more, err := a.dht.node.Counters(ctx)
	if errors.Is(err, dht.ErrClosed) {
		return s, nil
	}
	maps.Copy(s.Counters, more)
	return s, err
}

// DHT returns the hash table as the control API asks it; nil if it is switched off.
func (a *Agent) DHT() control.DHT {
	if a.dht == nil {
		return nil
	}
	return a.dht
}

// Onion returns the onion as the control API asks it; nil if it is switched off.
func (a *Agent) Onion() control.Onion {
	if a.onion == nil {
		return nil
	}
	return a.onion
}

// Version returns the version of the program.
func (a *Agent) Version() string { return a.o.Version }

// LAN returns the LAN edge as the control API asks it.
func (a *Agent) LAN() control.LAN { return a.lan }
