// Package agent is the daemon: it builds the mesh from a configuration, serves
// the control socket and keeps both running.
package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/internal/identity"
	"globalnet/mesh"
)

// Options are what an Agent is made of.
type Options struct {
	ConfigPath string // read again by Reload
	Config     config.Config
	Log        *slog.Logger
	Level      *slog.LevelVar // set by Reload; may be nil
	Kernel     mesh.Kernel
}

// Agent is a node of the network.
type Agent struct {
	o       Options
	id      *identity.Identity
	started time.Time

	mu     sync.Mutex
	config config.Config
}

// New loads the identity, or makes it at the first start.
func New(o Options) (*Agent, error) {
	id, err := identity.LoadOrCreate(o.Config.Identity)
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Agent{o: o, id: id, started: time.Now(), config: o.Config}, nil
}

// Run serves until ctx ends; it returns nil then.
func (a *Agent) Run(ctx context.Context) error {
	return control.Run(ctx, a.o.Config.Socket, a, a.o.Log)
}

// Reload reads the configuration again and applies what can be applied live.
func (a *Agent) Reload(context.Context) (config.Diff, error) {
	next, _, err := config.Load(a.o.ConfigPath)
	if err != nil {
		return config.Diff{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	d := config.Compare(a.config, next)
	a.config = config.WithLive(a.config, next)
	if a.o.Level != nil {
		a.o.Level.Set(next.LogLevel)
	}
	return d, nil
}

// Status returns a copy of the state.
func (a *Agent) Status(context.Context) (mesh.Status, error) {
	id := a.id.NodeID()
	return mesh.Status{
		Node: id, Address: id.Address(), Network: a.o.Config.Network, Uptime: time.Since(a.started),
		Interfaces: []mesh.InterfaceStatus{}, Neighbours: []mesh.Neighbour{}, Routes: []mesh.RouteStatus{},
		Counters: map[string]uint64{},
	}, nil
}
