package onion

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/exit"
	"globalnet/onion/netdir"
	"globalnet/onion/policy"
)

// network is some nodes of the onion on loopback. Every node has links with the next
// and the one before, or with all.
type network struct {
	t     testing.TB
	mu    sync.Mutex
	ports map[identity.NodeID]map[uint16]string // where a node listens instead of at its mesh address
	nodes []*testNode
}

type testNode struct {
	*Node
	id      *identity.Identity
	network *network
	stop    context.CancelFunc
	done    chan struct{}
}

func newNetwork(t testing.TB) *network {
	return &network{t: t, ports: make(map[identity.NodeID]map[uint16]string)}
}

// relays are settings of a node that relays, and nothing else.
func relays() Settings {
	return Settings{Relay: true, Inside: true, ExitLimits: exit.DefaultLimits, Client: client.Settings{Ready: -1}}
}

// exits are settings of an exit to loopback.
func exits() Settings {
	s := relays()
	p, err := policy.Parse("none", []string{"accept *:*"})
	if err != nil {
		panic(err)
	}
	p.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	s.Exit = p
	return s
}

// add starts a node; change, which may be nil, is called before.
func (w *network) add(s Settings, change func(*Config)) *testNode {
	w.t.Helper()
	id, err := identity.Generate()
	if err != nil {
		w.t.Fatal(err)
	}
	return w.start(id, s, change)
}

func (w *network) start(id *identity.Identity, s Settings, change func(*Config)) *testNode {
	w.t.Helper()
	n := &testNode{id: id, network: w, done: make(chan struct{})}
	cfg := Config{Identity: id, Underlay: n, Settings: s, Dialer: n}
	if change != nil {
		change(&cfg)
	}
	var err error
	if n.Node, err = New(cfg); err != nil {
		w.t.Fatal(err)
	}
	channels, directory := w.listen(), w.listen()
	w.mu.Lock()
	w.ports[id.NodeID()] = map[uint16]string{ChannelPort: channels.Addr().String(), DirectoryPort: directory.Addr().String()}
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(w.t.Context())
	n.stop = cancel
	go func() {
		defer close(n.done)
		if err := n.Run(ctx, channels, directory); err != nil {
			w.t.Errorf("node: %v", err)
		}
	}()
	w.t.Cleanup(n.kill)
	w.nodes = append(w.nodes, n)
	return n
}

func (w *network) listen() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// kill ends a node.
func (n *testNode) kill() {
	n.stop()
	<-n.done
}

// DialNode implements Underlay.
func (n *testNode) DialNode(ctx context.Context, node identity.NodeID, port uint16) (net.Conn, error) {
	n.network.mu.Lock()
	addr := n.network.ports[node][port]
	n.network.mu.Unlock()
	if addr == "" {
		return nil, errors.New("no route to the node")
	}
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

// DialContext implements exit.Dialer: mesh addresses are in our table, too.
func (n *testNode) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	if identity.MeshPrefix.Contains(to.Addr()) {
		n.network.mu.Lock()
		defer n.network.mu.Unlock()
		for node, ports := range n.network.ports {
			if node.Address() == to.Addr() {
				address = ports[to.Port()]
			}
		}
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// serve has a node's port of its mesh address lead to l.
func (w *network) serve(n *testNode, port uint16, l net.Listener) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ports[n.id.NodeID()][port] = l.Addr().String()
}

// meet gives all nodes links with all others, and waits until each knows all relays.
func (w *network) meet() {
	w.t.Helper()
	for _, n := range w.nodes {
		var others []identity.NodeID
		for _, o := range w.nodes {
			if o != n {
				others = append(others, o.id.NodeID())
			}
		}
		n.SetNeighbours(others)
	}
	w.wait("all relays known", func() bool {
		want := 0
		for _, n := range w.nodes {
			if n.settings.Load().Relay {
				want++
			}
		}
		for _, n := range w.nodes {
			known := want
			if n.settings.Load().Relay {
				known--
			}
			if len(n.Directory().Relays(time.Now())) != known {
				return false
			}
		}
		return true
	})
}

// patience bounds what hangs. The race detector on a busy machine, and an emulated one, take
// twenty times what a workstation does.
const patience = 2 * time.Minute

func (w *network) wait(what string, until func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !until(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// known waits until n has a descriptor that fits.
func (w *network) known(n *testNode, of *testNode, fits func(netdir.Relay) bool) {
	w.t.Helper()
	w.wait("a descriptor", func() bool {
		r, ok := n.Directory().Relay(time.Now(), of.id.NodeID())
		return ok && fits(r)
	})
}

// echo answers with what it hears, and closes its way when the other has.
func (w *network) echo() net.Listener {
	l := w.listen()
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(conn, conn)
				conn.Close()
			}()
		}
	}()
	return l
}

func target(l net.Listener) cell.Target {
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	return cell.Target{Addr: addr.Addr(), Port: addr.Port()}
}

// say sends text to an echo and checks that it comes back.
func say(conn net.Conn, text string) error {
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(conn, b); err != nil {
		return err
	}
	if string(b) != text {
		return fmt.Errorf("%q came back for %q", b, text)
	}
	return nil
}
