package onionlab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"globalnet/agent/servicetable"
	"globalnet/internal/identity"
	"globalnet/mesh/dht"
	"globalnet/onion"
	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/exit"
	"globalnet/onion/path"
	"globalnet/onion/policy"
	"globalnet/onion/proxy"
)

// nodeConfig tells a process which node it is. It comes on standard input, one line.
type nodeConfig struct {
	Place      int
	Addrs      map[int]netip.Addr // of all nodes, by place
	Relay      bool
	Exit       bool
	SOCKS      netip.AddrPort // invalid: none
	Target     netip.AddrPort // of circuits that are made to be measured, and of services
	Table      bool           // take part in the hash table; there are hidden services
	Neighbours []int          // places
}

// nodeIdentity is that of a place, the same in each process.
func nodeIdentity(place int) (*identity.Identity, error) {
	seed := make([]byte, 32)
	copy(seed, "node of an onion lab")
	seed[31] = byte(place)
	return identity.FromSeed(seed)
}

// underlay reaches nodes at the addresses of their places.
type underlay map[identity.NodeID]netip.Addr

// DialNode implements onion.Underlay.
func (u underlay) DialNode(ctx context.Context, node identity.NodeID, port uint16) (net.Conn, error) {
	addr, ok := u[node]
	if !ok {
		return nil, errors.New("no such node")
	}
	return new(net.Dialer).DialContext(ctx, "tcp", netip.AddrPortFrom(addr, port).String())
}

// node is one of our nodes, with what it holds of the hash table.
type node struct {
	*onion.Node
	table *dht.Node // nil: none
}

// Main is the process of one of our nodes: it reads what it is from in, and then, until
// in ends, what it shall do, a line each. Nothing but the answers goes to out.
func Main(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	var c nodeConfig
	if !lines.Scan() {
		return errors.New("no configuration on standard input")
	}
	if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	node, err := newNode(c)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	listen := func(addr netip.AddrPort) (l net.Listener) {
		if err == nil {
			l, err = net.Listen("tcp", addr.String())
		}
		return l
	}
	self := c.Addrs[c.Place]
	channels := listen(netip.AddrPortFrom(self, onion.ChannelPort))
	directory := listen(netip.AddrPortFrom(self, onion.DirectoryPort))
	if err != nil {
		return err
	}
	group.Go(func() error { return node.Run(ctx, channels, directory) })
	if c.SOCKS.IsValid() {
		l := listen(c.SOCKS)
		if err != nil {
			return err
		}
		group.Go(func() error { return proxy.New(proxy.Config{Name: "socks", Dialer: node.Client()}).Serve(ctx, l) })
	}
	if c.Table {
		if err := node.joinTable(ctx, group, c); err != nil {
			return err
		}
	}
	for lines.Scan() {
		answer, err := node.obey(ctx, lines.Text(), c)
		if err != nil {
			answer = "error " + err.Error()
		}
		fmt.Fprintln(out, answer)
	}
	cancel()
	return group.Wait()
}

// obey does what a line says and returns the answer.
func (n *node) obey(ctx context.Context, line string, c nodeConfig) (string, error) {
	switch line {
	case "build": // a circuit
		took, err := build(ctx, n.Client(), c.Target)
		return fmt.Sprintf("built %d", took.Nanoseconds()), err
	case "offer": // a service
		name, err := n.offer(c.Target)
		return "offered " + name, err
	case "part": // from services
		for _, circuit := range n.Client().Circuits() {
			if circuit.Purpose == client.Service {
				n.Client().CloseCircuit(circuit.ID)
			}
		}
		return "parted", nil
	}
	return "", fmt.Errorf("what is %q?", line)
}

func newNode(c nodeConfig) (*node, error) {
	id, err := nodeIdentity(c.Place)
	if err != nil {
		return nil, err
	}
	under := underlay{}
	nodes := map[int]identity.NodeID{}
	for place, addr := range c.Addrs {
		other, err := nodeIdentity(place)
		if err != nil {
			return nil, err
		}
		nodes[place] = other.NodeID()
		under[other.NodeID()] = addr
	}
	s := onion.Settings{Relay: c.Relay, ExitLimits: exit.DefaultLimits}
	if c.Exit {
		if s.Exit, err = policy.Parse("none", []string{"accept *:*"}); err != nil {
			return nil, err
		}
		s.Exit.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.9.0.0/24")}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	cfg := onion.Config{Identity: id, Underlay: under, Settings: s, Log: log}
	n := &node{}
	if c.Table {
		n.table = newTable(id, log)
		services := servicetable.New(n.table, log)
		cfg.Table, cfg.ServiceTable = services.Serve, services
	}
	if n.Node, err = onion.New(cfg); err != nil {
		return nil, err
	}
	var neighbours []identity.NodeID
	for _, place := range c.Neighbours {
		neighbours = append(neighbours, nodes[place])
	}
	n.SetNeighbours(neighbours)
	return n, nil
}

// build makes a circuit of three hops as one by hand is made: no part of it is there before.
func build(ctx context.Context, c *client.Client, to netip.AddrPort) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	target := cell.Target{Addr: to.Addr(), Port: to.Port()}
	began := time.Now()
	s, err := c.DialPath(ctx, path.Route{Hops: make([]identity.NodeID, 3), Target: &target}, target, nil)
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	return took, s.Close()
}
