// Package lab runs networks of routers on one machine: each node a namespace,
// each router a process of the real binary, radios joined by a medium of our
// own, wires, NAT boxes, and an internet with a web and a name server.
//
// A Lab owns its namespaces, processes and directory from New to Stop. It must
// run inside a sandbox of package netns; the lab command and labtest see to that.
// Its methods may be called from several goroutines.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"globalnet/internal/identity"
	"globalnet/lab/netns"
	"globalnet/lab/topology"
)

// Options of a lab. The zero value works: no agents, a temporary directory, no log.
type Options struct {
	// Agent is the command of a router's agent; "{config}" in it becomes the path
	// of its configuration file, "{node}" its name, "{dir}" its directory. Empty
	// means that no agents are run.
	Agent []string

	// Manual leaves it to the caller to start the agents, with Node.Restart.
	Manual bool

	// Dir is where configurations, states and logs go. Empty means a new temporary
	// directory that Stop removes.
	Dir string

	Log *slog.Logger
}

// Lab is a running network. See the package comment.
type Lab struct {
	Topology *topology.Topology
	Dir      string

	options Options
	log     *slog.Logger
	ownDir  bool
	air     *air
	hub     *hub
	nodes   []*Node
	byName  map[string]*Node
	boxes   []*netns.Namespace // NAT boxes
	closers []io.Closer        // of the internet's servers
	servers sync.WaitGroup
	macs    int
	ids     map[string]identity.NodeID // of routers
	hosts   string                     // every node's /etc/hosts

	stopping sync.Once
	stopErr  error
}

// New makes a lab of a topology. Nothing runs before Start.
func New(t *topology.Topology, o Options) *Lab {
	l := &Lab{Topology: t, Dir: o.Dir, options: o, log: o.Log, byName: map[string]*Node{}, ids: map[string]identity.NodeID{}}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	return l
}

// Start builds the network and starts the agents. After an error nothing is
// left. The context bounds only Start itself.
func (l *Lab) Start(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			l.Stop()
		}
	}()
	if !netns.Inside() {
		return errors.New("starting a lab: not inside a sandbox")
	}
	if l.Dir == "" {
		if l.Dir, err = os.MkdirTemp("", "gnlab-"); err != nil {
			return fmt.Errorf("making the lab's directory: %w", err)
		}
		l.ownDir = true
	}
	if err := os.MkdirAll(filepath.Join(l.Dir, "files"), 0o700); err != nil {
		return fmt.Errorf("making the lab's directory: %w", err)
	}
	if l.hub, err = newHub(l.Dir); err != nil {
		return err
	}
	if err := l.makeIdentities(); err != nil {
		return err
	}
	l.air = newAir(l.Topology)
	for _, n := range l.Topology.Nodes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.addNode(n); err != nil {
			return err
		}
	}
	for _, w := range l.Topology.Wires {
		if err := l.addWire(w); err != nil {
			return err
		}
	}
	if err := l.addLANs(); err != nil {
		return err
	}
	if err := l.addInternet(); err != nil {
		return err
	}
	if err := l.hub.settle(ctx); err != nil {
		return err
	}
	l.air.start()
	if len(l.options.Agent) == 0 || l.options.Manual {
		return nil
	}
	return l.StartAgents()
}

// StartAgents starts the agents of all routers that do not run, at once.
func (l *Lab) StartAgents() error {
	var errs []error
	for _, n := range l.nodes {
		if n.Kind == topology.Router {
			errs = append(errs, n.Restart())
		}
	}
	return errors.Join(errs...)
}

func (l *Lab) addNode(t topology.Node) error {
	n := &Node{Node: t, lab: l, dir: l.nodeDir(t.Name), id: l.ids[t.Name]}
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return fmt.Errorf("directory of node %s: %w", t.Name, err)
	}
	files := map[string]string{"/etc/hosts": l.hosts}
	if server := l.nameserver(t); server != "" {
		files["/etc/resolv.conf"] = "nameserver " + server + "\n"
	}
	ns, err := netns.New(netns.Config{Name: t.Name, Keep: []string{l.Dir}, Files: files, TmpDir: filepath.Join(l.Dir, "files")})
	if err != nil {
		return err
	}
	n.ns = ns
	l.nodes = append(l.nodes, n)
	l.byName[t.Name] = n
	for _, channel := range l.Topology.Channels(t.Name) {
		if err := l.addRadio(n, channel); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) nodeDir(name string) string { return filepath.Join(l.Dir, "nodes", name) }

// makeIdentities makes the routers' keys, so that the lab knows their addresses
// before any agent runs, and the names by which nodes know each other.
func (l *Lab) makeIdentities() error {
	hosts := "127.0.0.1 localhost\n::1 localhost\n"
	for _, name := range l.Topology.Routers() {
		if err := os.MkdirAll(l.nodeDir(name), 0o700); err != nil {
			return fmt.Errorf("directory of node %s: %w", name, err)
		}
		id, err := identity.LoadOrCreate(filepath.Join(l.nodeDir(name), "identity.key"))
		if err != nil {
			return fmt.Errorf("identity of %s: %w", name, err)
		}
		l.ids[name] = id.NodeID()
		hosts += id.NodeID().Address().String() + " " + name + "\n"
	}
	l.hosts = hosts
	return nil
}

// Node returns a node by name, or nil.
func (l *Lab) Node(name string) *Node { return l.byName[name] }

// Nodes lists the nodes in the order of the topology.
func (l *Lab) Nodes() []*Node { return slices.Clone(l.nodes) }

// Routers lists the nodes that run an agent.
func (l *Lab) Routers() []*Node {
	var routers []*Node
	for _, n := range l.nodes {
		if n.Kind == topology.Router {
			routers = append(routers, n)
		}
	}
	return routers
}

func (l *Lab) find(name string) (*Node, error) {
	if n := l.byName[name]; n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("no node %q", name)
}

// stopTime is how long agents may take to end before they are killed.
const stopTime = 6 * time.Second

// Stop ends every process in the lab and removes all of it. It may be called twice.
func (l *Lab) Stop() error {
	l.stopping.Do(func() {
		var wait sync.WaitGroup
		for _, n := range l.nodes {
			wait.Go(func() { n.stop(stopTime) })
		}
		wait.Wait()
		l.killLeftOver()
		if l.air != nil {
			l.stopErr = errors.Join(l.stopErr, l.air.stop())
		}
		for _, c := range l.closers {
			c.Close()
		}
		l.servers.Wait()
		for _, n := range l.nodes {
			n.ns.Close()
		}
		for _, b := range l.boxes {
			b.Close()
		}
		if l.hub != nil {
			l.hub.close()
		}
		if l.ownDir {
			l.stopErr = errors.Join(l.stopErr, os.RemoveAll(l.Dir))
		}
	})
	return l.stopErr
}
