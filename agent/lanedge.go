package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"globalnet/agent/config"
	"globalnet/agent/firewall"
	"globalnet/agent/web"
	"globalnet/internal/identity"
	"globalnet/mesh/peers"
	"globalnet/onion"
	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/lan"
	"globalnet/onion/stream"
)

// Ports of the LAN edge, on all addresses of the router; the firewall keeps them for
// what it redirects.
const (
	LANDNSPort   = 18320
	LANProxyPort = 18321
)

const (
	lanRetry    = 5 * time.Second
	lanSaveTime = 10 * time.Second // between two looks at whether the names changed
	maxLANState = 1 << 20
	lanName     = "lan" // in the isolation of streams
)

// lanEdge serves the clients of LANs: firewall, DNS listener, transparent proxy.
type lanEdge struct {
	log       *slog.Logger
	onion     *overlay // nil if switched off
	self      netip.Addr
	statePath string // in RAM
	firewall  *firewall.Firewall
	pool      *lan.Pool
	dns       *lan.DNS
	server    *lan.Server
	page      *webPage // of this router; set before run
	changed   chan struct{}

	mu       sync.Mutex
	networks []config.LAN
	off      bool  // the owner has switched all off, until a reload
	failed   error // why the rules are not as they should be
}

// newLANEdge puts the rules into the kernel at once: before there is a mesh, before
// anything is forwarded that must not be.
func newLANEdge(id *identity.Identity, c config.Config, o *overlay, log *slog.Logger) *lanEdge {
	e := &lanEdge{log: log, onion: o, self: id.NodeID().Address(), statePath: filepath.Join(filepath.Dir(c.Socket), "lan.names"),
		firewall: firewall.New(log), pool: lan.NewPool(), changed: make(chan struct{}, 1)}
	text, err := readLimited(e.statePath, maxLANState)
	if err == nil {
		err = e.pool.Load(text)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		log.Warn("addresses of names of the last run are not known", "err", err)
	}
	e.dns = lan.NewDNS(lan.DNSConfig{Name: lanName, Names: lan.Names{Zone: onion.Zone, Known: e.known, Pool: e.pool}, Resolver: e, Log: log})
	e.server = lan.NewServer(lan.Config{Name: lanName, Dialer: e, Pool: e.pool, Target: e.target, Local: e.local, Limit: e.limit, Log: log})
	e.apply(c)
	return e
}

// apply takes a configuration into use.
func (e *lanEdge) apply(c config.Config) {
	e.mu.Lock()
	defer e.mu.Unlock()
	served := servedBy(e.networks)
	e.networks, e.off = c.LANs, false
	var s lan.DNSSettings
	for _, n := range c.LANs {
		s.Exits = s.Exits || n.DNS || usesAll(n)
		s.BlockDoH = s.BlockDoH || n.BlockDoH
	}
	e.dns.Apply(s)
	e.putRules()
	if servedBy(e.networks) == served && e.failed == nil {
		return // connections go on
	}
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// servedBy says which sockets the networks need.
func servedBy(networks []config.LAN) (s struct{ any, udp bool }) {
	for _, n := range networks {
		s.any, s.udp = true, s.udp || n.UDP
	}
	return s
}

func usesAll(n config.LAN) bool {
	return n.Mode == config.LANAll || slices.ContainsFunc(n.Clients, func(c config.LANClient) bool { return c.Mode == config.LANAll })
}

// putRules is called with mu held. Without a section of ours, what an earlier run left is
// removed; that this fails where there can be none is no news.
func (e *lanEdge) putRules() {
	err := e.firewall.Apply(lanRules(e.networks, e.self))
	switch {
	case err == nil:
	case len(e.networks) == 0:
		e.log.Debug("rules of a LAN are not looked for", "err", err)
		err = nil
	default:
		e.log.Error("the rules of the LAN are not in place", "err", err)
	}
	e.failed = err
}

func lanRules(networks []config.LAN, self netip.Addr) firewall.Rules {
	rules := firewall.Rules{DNSPort: LANDNSPort, ProxyPort: LANProxyPort, Virtual4: lan.Prefix4, Virtual6: lan.Prefix6,
		Mesh: identity.MeshPrefix, Self: self, Links: "gn-"}
	for _, n := range networks {
		f := firewall.Network{Name: n.Name, Interfaces: n.Interfaces, Mode: firewall.Mode(n.Mode), DNS: n.DNS, UDP: n.UDP, Mesh: n.Mesh}
		for _, c := range n.Clients {
			f.Clients = append(f.Clients, firewall.Client{MAC: c.MAC, Addr: c.Addr, Mode: firewall.Mode(c.Mode)})
		}
		rules.Networks = append(rules.Networks, f)
	}
	return rules
}

// GuardLAN puts the rules of the LANs into the kernel without an agent: what a system
// does while it starts, before its network is up.
func GuardLAN(c config.Config) error {
	var self netip.Addr
	if id, err := identity.Load(c.Identity); err == nil {
		self = id.NodeID().Address()
	}
	return firewall.New(nil).Apply(lanRules(c.LANs, self))
}

// turnOff removes the rules until the next reload or start.
func (e *lanEdge) turnOff() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.firewall.Remove(); err != nil {
		return err
	}
	e.off, e.failed = true, nil
	e.log.Warn("the LAN edge is switched off by its owner: clients' traffic leaves as it is")
	return nil
}

// run serves clients until ctx ends. The rules stay in the kernel.
func (e *lanEdge) run(ctx context.Context) error {
	for {
		e.mu.Lock()
		wanted, broken := len(e.networks) > 0, e.failed != nil
		e.mu.Unlock()
		var retry <-chan time.Time
		if wanted {
			serving, cancel := context.WithCancel(ctx)
			stopped := make(chan error, 1)
			go func() { stopped <- e.serve(serving) }()
			err, again := error(nil), false
			if broken {
				retry = time.After(lanRetry)
			}
			select {
			case <-ctx.Done():
			case <-e.changed:
				again = true
			case <-retry:
				e.mu.Lock()
				e.putRules()
				e.mu.Unlock()
				again = true
			case err = <-stopped:
				stopped <- nil
			}
			cancel()
			<-stopped
			if err != nil && ctx.Err() == nil {
				e.log.Error("the LAN is not served; it is tried again", "err", err)
				retry = time.After(lanRetry)
			}
			if again {
				continue
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-e.changed:
		case <-retry:
		}
	}
}

// serve opens the ports and serves until ctx ends.
func (e *lanEdge) serve(ctx context.Context) error {
	packets, streams, err := lan.ListenDNS(ctx, LANDNSPort)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return e.dns.Run(ctx, packets, streams) })
	group.Go(func() error {
		listeners, err := lan.ListenTCP(ctx, LANProxyPort)
		if err != nil {
			return err
		}
		return e.server.Run(ctx, listeners)
	})
	group.Go(func() error { return e.serveDatagrams(ctx) })
	group.Go(func() error { return e.firewall.Run(ctx) })
	group.Go(func() error { return e.keepNames(ctx) })
	return group.Wait()
}

// serveDatagrams serves where a network wants it and the kernel can.
func (e *lanEdge) serveDatagrams(ctx context.Context) error {
	e.mu.Lock()
	wanted := slices.ContainsFunc(e.networks, func(n config.LAN) bool { return n.UDP })
	e.mu.Unlock()
	if !wanted || !e.firewall.TProxy() {
		return nil
	}
	sockets, err := lan.ListenUDP(ctx, LANProxyPort)
	if err != nil {
		e.log.Warn("UDP of the LAN is not served", "err", err)
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range sockets {
		group.Go(func() error { return e.server.RunUDP(ctx, s) })
	}
	return group.Wait()
}

// keepNames writes the mapping of names to RAM, where the next run finds it.
func (e *lanEdge) keepNames(ctx context.Context) error {
	tick := time.NewTicker(lanSaveTime)
	defer tick.Stop()
	said := false
	for {
		over := false
		select {
		case <-ctx.Done():
			over = true
		case <-tick.C:
		}
		if text, changed := e.pool.Save(); changed {
			if err := peers.WriteFile(e.statePath, text); err != nil && !said {
				e.log.Warn("addresses of names are not kept for the next run", "err", err)
				said = true
			}
		}
		if over {
			return nil
		}
	}
}

// nodeOf finds the node or service of a name, which is cut off the zone. Names before it
// are the service's own business: www.cheesy is cheesy.
func (e *lanEdge) nodeOf(name string) (identity.NodeID, bool) {
	for {
		if len(name) == 56 {
			id, err := identity.ParseNodeID(name)
			return id, err == nil
		}
		if e.onion != nil {
			if id, ok := e.onion.lookup(name); ok {
				return id, true
			}
		}
		_, rest, more := strings.Cut(name, ".")
		if !more {
			return identity.NodeID{}, false
		}
		name = rest
	}
}

// local serves connections to the router's own name.
func (e *lanEdge) local(ctx context.Context, name string, port uint16, conn net.Conn) bool {
	return name == web.Host && port == 80 && e.page.take(ctx, conn)
}

func (e *lanEdge) known(name string) bool {
	if name+"."+onion.Zone == web.Host && e.page.view().On {
		return true
	}
	_, ok := e.nodeOf(name)
	return ok
}

// target is what a stream asks for to reach a name of the pool.
func (e *lanEdge) target(name string) (cell.Target, bool) {
	rest, inside := strings.CutSuffix(name, "."+onion.Zone)
	if !inside {
		return cell.Target{Name: name}, true
	}
	id, ok := e.nodeOf(rest)
	if !ok || e.onion == nil {
		return cell.Target{}, false
	}
	if _, node := e.onion.node.Directory().Relay(time.Now(), id); node {
		return cell.Target{Node: id}, true
	}
	return cell.Target{Name: id.String() + "." + onion.Zone}, true
}

// Dial implements lan.Dialer.
func (e *lanEdge) Dial(ctx context.Context, who client.Isolation, target cell.Target, early []byte) (lan.Stream, error) {
	if e.onion == nil {
		return nil, &stream.EndError{Reason: cell.EndCircuit}
	}
	st, err := e.onion.node.Client().Dial(ctx, who, target, early)
	if err != nil {
		return nil, err
	}
	return st, nil
}

// Resolve implements lan.Resolver.
func (e *lanEdge) Resolve(ctx context.Context, who client.Isolation, name string) (cell.Resolved, error) {
	if e.onion == nil {
		return cell.Resolved{}, &stream.EndError{Reason: cell.EndCircuit}
	}
	return e.onion.node.Client().Resolve(ctx, who, name)
}

// limit is the rate of a client of the network that local is in.
func (e *lanEdge) limit(local netip.Addr) int64 {
	e.mu.Lock()
	networks := e.networks
	e.mu.Unlock()
	for _, n := range networks {
		if n.ClientRate == 0 {
			continue
		}
		for _, name := range n.Interfaces {
			i, err := net.InterfaceByName(name)
			if err != nil {
				continue
			}
			addrs, _ := i.Addrs()
			if slices.ContainsFunc(addrs, func(a net.Addr) bool {
				p, ok := a.(*net.IPNet)
				return ok && p.IP.Equal(local.AsSlice())
			}) {
				return n.ClientRate
			}
		}
	}
	return 0
}
