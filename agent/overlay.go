package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"globalnet/agent/config"
	"globalnet/agent/servicetable"
	"globalnet/internal/clock"
	"globalnet/internal/identity"
	"globalnet/mesh"
	"globalnet/onion"
	"globalnet/onion/client"
	"globalnet/onion/exit"
	"globalnet/onion/policy"
)

// overlay runs the onion of this node, and what opens into it.
type overlay struct {
	overlayOptions
	node     *onion.Node
	doors    *doors
	services *services
	file     stateFile
	names    atomic.Pointer[map[string]identity.NodeID]
}

// overlayOptions are what an overlay is made of.
type overlayOptions struct {
	id        *identity.Identity
	config    config.Config // of the start
	statePath string
	small     bool // memory
	log       *slog.Logger
	publish   func(descriptor []byte)
	find      func(ctx context.Context, node identity.NodeID) (descriptor []byte, err error)
	table     *servicetable.Table
}

const (
	maxOnionState = 1 << 20
	stateInterval = time.Hour      // between two looks at whether guards changed
	saveAnyway    = 24 * time.Hour // how old the state on disk may get while the agent runs
	smallMemory   = 4 << 20        // bytes that may wait in queues, where memory is small
	smallCircuits = 128
	smallExit     = 512              // connections
	portRetry     = 10 * time.Second // until a port of ours that was taken is tried again
)

// newOverlay returns nil if the onion is switched off.
func newOverlay(options overlayOptions) (*overlay, error) {
	c := options.config
	if !c.Onion.Enabled {
		return nil, nil
	}
	o := &overlay{overlayOptions: options, file: stateFile{path: options.statePath, what: "guards and relays", log: options.log}}
	cfg := onion.Config{Identity: o.id, Underlay: o, Settings: o.settings(c), Log: o.log, Publish: o.publish,
		Find: o.find, FindAge: descriptorAge, Table: o.table.Serve, ServiceTable: o.table, Names: o.lookup}
	if o.small {
		cfg.Memory, cfg.Small = smallMemory, true
	}
	state, err := readLimited(o.statePath, maxOnionState)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		o.log.Warn("guards and relays of the last run are not known", "err", err)
	}
	cfg.State = state
	if o.node, err = onion.New(cfg); err != nil {
		return nil, err
	}
	o.setNames(c)
	o.doors = &doors{client: o.node.Client(), names: o.lookup, log: o.log, open: make(map[any]*door)}
	o.doors.configure(c)
	o.services = newServices(o.node, o.log)
	o.services.configure(c)
	return o, nil
}

func readLimited(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return b, err
}

// settings are what the onion takes from the configuration, which is valid.
func (o *overlay) settings(c config.Config) onion.Settings {
	rules, err := policy.Parse(c.Exit.Policy, c.Exit.Rules)
	if err != nil {
		o.log.Error("exit policy is wrong, nothing leaves here", "err", err)
		rules = nil
	} else {
		rules.AllowPrivate = c.Exit.AllowPrivate
		rules.Own = exit.OwnAddresses()
	}
	limits := exit.DefaultLimits
	limits.Connections = c.Exit.Connections
	limits.BytesPerSecond, limits.BytesBurst, limits.BytesPerMonth = c.Exit.Limits.Rate, c.Exit.Limits.Burst, c.Exit.Limits.Quota
	secrets := make(map[identity.NodeID][]byte, len(c.ExitSecrets))
	for _, s := range c.ExitSecrets {
		secrets[s.Node] = []byte(s.Secret.Reveal())
	}
	s := onion.Settings{
		Relay: c.Onion.Relay, Rate: c.Onion.Limits.Rate, Burst: c.Onion.Limits.Burst, Quota: c.Onion.Limits.Quota,
		Client: client.Settings{Hops: c.Onion.Hops, MinHops: c.Onion.MinHops},
		Exit:   rules, Inside: c.Exit.Inside, ServePorts: c.Exit.ServePorts,
		ExitSecret: []byte(c.Exit.Secret.Reveal()), ExitLimits: limits,
		Secret: func(node identity.NodeID) []byte { return secrets[node] },
	}
	for _, f := range c.Onion.Families {
		s.Families = append(s.Families, f.Reveal())
	}
	if o.small {
		s.Client.Most = smallCircuits
		if c.Exit.Connections == config.ExitConnections { // nobody chose it
			s.ExitLimits.Connections = smallExit
		}
	}
	return s
}

// apply takes a reloaded configuration into use.
func (o *overlay) apply(c config.Config) {
	o.setNames(c)
	o.node.Apply(o.settings(c))
	o.doors.configure(c)
	o.services.configure(c)
}

func (o *overlay) setNames(c config.Config) {
	names := make(map[string]identity.NodeID, len(c.Names))
	for _, n := range c.Names {
		names[n.Name] = n.Node
	}
	o.names.Store(&names)
}

// clock returns mesh time for the status.
func (o *overlay) clock(system time.Time) *mesh.Clock {
	said := o.node.Clock().Say()
	c := &mesh.Clock{Time: said.Time.UTC(), Hops: -1, Ahead: said.Time.Sub(system.Round(0))}
	switch said.Level {
	case clock.Set:
		c.Source, c.Hops = "set", 0
	case clock.Held:
		c.Source = "held"
	case clock.Free:
		c.Source = "free"
	default:
		c.Source, c.Hops = "neighbours", int(said.Level)
	}
	return c
}

// lookup returns the node or service that the owner calls so.
func (o *overlay) lookup(name string) (identity.NodeID, bool) {
	node, ok := (*o.names.Load())[name]
	return node, ok
}

// DialNode implements onion.Underlay over the mesh.
func (o *overlay) DialNode(ctx context.Context, node identity.NodeID, port uint16) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: o.id.NodeID().Address().AsSlice()}}
	return d.DialContext(ctx, "tcp6", (&net.TCPAddr{IP: node.Address().AsSlice(), Port: int(port)}).String())
}

// run runs the onion from when our mesh address is there until ctx ends.
func (o *overlay) run(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ctx.Done():
		return nil
	case <-ready:
	}
	channels, err := o.listen(ctx, onion.ChannelPort)
	if err != nil {
		return nil // ctx has ended
	}
	directory, err := o.listen(ctx, onion.DirectoryPort)
	if err != nil {
		channels.Close()
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return o.node.Run(ctx, channels, directory) })
	group.Go(func() error { return o.doors.run(ctx) })
	group.Go(func() error { return o.keepState(ctx) })
	defer o.services.close()
	return group.Wait()
}

// listen opens a port of our mesh address, and tries again while another program has
// it: the mesh goes on without the onion. The error is ctx's.
func (o *overlay) listen(ctx context.Context, port uint16) (net.Listener, error) {
	addr := &net.TCPAddr{IP: o.id.NodeID().Address().AsSlice(), Port: int(port)}
	for said := false; ; said = true {
		l, err := net.ListenTCP("tcp6", addr)
		if err == nil {
			return l, nil
		}
		if !said {
			o.log.Error("no onion until the port is free", "addr", addr.String(), "err", err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(portRetry):
		}
	}
}

// keepState saves what should survive a restart: rarely, for flash wears.
func (o *overlay) keepState(ctx context.Context) error {
	tick := time.NewTicker(stateInterval)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			o.save()
			return nil
		case <-tick.C:
		}
		if o.node.WorthSaving() || time.Since(last) > saveAnyway {
			last = time.Now()
			o.save()
		}
	}
}

func (o *overlay) save() {
	o.file.write(o.node.Save(time.Now()))
}
