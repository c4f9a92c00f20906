package onion

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/service"
	"globalnet/onion/service/key"
	"globalnet/onion/stream"
)

// table is a hash table in memory, which every node of a network serves to others.
type table struct {
	mu     sync.Mutex
	values map[string]entry
	gets   int
	seen   [][]byte // all that was stored
}

type entry struct {
	revision uint64
	value    []byte
}

func newTable() *table { return &table{values: make(map[string]entry)} }

// serve answers one question: 32 octets of key for a get; with a revision and a value
// behind for a put.
func (x *table) serve(_ context.Context, conn net.Conn) {
	q, err := readBlock(conn)
	if err != nil || len(q) < 32 {
		return
	}
	x.mu.Lock()
	at, answer := string(q[:32]), []byte{0}
	if e, ok := x.values[at]; len(q) == 32 {
		x.gets++
		if ok {
			answer = append([]byte{1}, e.value...)
		}
	} else if revision := binary.BigEndian.Uint64(q[32:]); revision >= e.revision {
		x.values[at] = entry{revision, q[40:]}
		x.seen = append(x.seen, q)
		answer[0] = 1
	}
	x.mu.Unlock()
	writeBlock(conn, answer)
}

// Get implements service.Table.
func (x *table) Get(_ context.Context, conn net.Conn, place ed25519.PublicKey) ([]byte, error) {
	writeBlock(conn, place)
	b, err := readBlock(conn)
	if err == nil && b[0] == 0 {
		err = service.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return b[1:], nil
}

// Put implements service.Table.
func (x *table) Put(_ context.Context, conn net.Conn, place service.Signer, revision uint64, value []byte) (int, error) {
	q := binary.BigEndian.AppendUint64(bytes.Clone(place.Public()), revision)
	writeBlock(conn, append(q, value...))
	b, err := readBlock(conn)
	if err == nil && b[0] == 0 {
		err = service.ErrNewer
	}
	return 1, err
}

func readBlock(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeBlock(w io.Writer, b []byte) {
	w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
}

// with has a node serve and ask the table.
func (x *table) with(c *Config) { c.Table, c.ServiceTable = x.serve, x }

// port is a port of a service that leads to l.
func port(n uint16, l net.Listener) service.Port {
	return service.Port{Port: n, Connect: func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}}
}

// published waits until the services of a node are.
func (w *network) published(n *testNode) {
	w.t.Helper()
	w.wait("published", func() bool {
		for _, s := range n.Services() {
			if s.Stored < 2 {
				return false
			}
		}
		return true
	})
}

func (n *testNode) visit(t testing.TB, service identity.NodeID, port uint16) (*stream.Stream, error) {
	return n.Client().Dial(withTimeout(t), client.Isolation{}, cell.Target{Name: service.String() + "." + Zone, Port: port}, nil)
}

// serviceNetwork is n relays that know each other and share a hash table.
func serviceNetwork(t testing.TB, n int, change func(i int, s *Settings)) (*network, *table) {
	w, x := newNetwork(t), newTable()
	for i := range n {
		s := relays()
		if change != nil {
			change(i, &s)
		}
		w.add(s, x.with)
	}
	w.meet()
	return w, x
}

// echoService is a service that answers with what it hears, at port 7.
func (w *network) echoService(id *identity.Identity) service.Config {
	return service.Config{Name: "echo", Key: id, Ports: []service.Port{port(7, w.echo())}}
}

// greet opens a stream to a service and hears an echo.
func greet(n *testNode, service identity.NodeID) error {
	s, err := n.visit(n.network.t, service, 7)
	if err != nil {
		return err
	}
	defer s.Close()
	return say(s, "hello, service")
}

// circuitsFor returns the paths of a node's circuits for services.
func circuitsFor(n *testNode) (paths [][]identity.NodeID) {
	for _, c := range n.Client().Circuits() {
		if c.Purpose == client.Service {
			paths = append(paths, c.Path)
		}
	}
	return paths
}

func lengths(paths [][]identity.NodeID) (n []int) {
	for _, p := range paths {
		n = append(n, len(p))
	}
	slices.Sort(n)
	return n
}

func TestService(t *testing.T) {
	w, x := serviceNetwork(t, 8, nil)
	host, visitor := w.nodes[0], w.nodes[1]
	id := mustIdentity(t)
	host.SetServices([]service.Config{w.echoService(id)})
	w.published(host)
	for range 3 {
		if err := greet(visitor, id.NodeID()); err != nil {
			t.Fatal(err)
		}
	}
	// Three relays and the introduction or rendezvous point from the service, two and the
	// rendezvous point from the client.
	w.wait("one circuit of the client", func() bool { return slices.Equal(lengths(circuitsFor(visitor)), []int{3}) })
	if n := lengths(circuitsFor(host)); !slices.Equal(n, []int{4, 4, 4, 4}) {
		t.Errorf("the service's circuits have %v hops", n)
	}
	seconds := make(map[identity.NodeID]bool)
	for _, path := range circuitsFor(host) {
		seconds[path[1]] = true
	}
	if len(seconds) > 4 {
		t.Errorf("%d second hops", len(seconds))
	}
	if s := host.Services(); len(s) != 1 || s[0].Clients != 1 || len(s[0].Points) != 3 || s[0].Published.IsZero() || s[0].Error != "" {
		t.Errorf("status %+v", s)
	}
	// What holders see names nobody.
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.seen) != 4 {
		t.Errorf("%d values were stored, want two periods in two places", len(x.seen))
	}
	for _, q := range x.seen {
		for _, n := range append(w.nodes, &testNode{id: id}) {
			node := n.id.NodeID()
			if bytes.Contains(q, node[:]) {
				t.Errorf("%s is in what holders see", node.Short())
			}
		}
	}
}

// reasonOf is what an application is told.
func reasonOf(err error) cell.EndReason {
	var end *stream.EndError
	if !errors.As(err, &end) {
		return cell.EndDone
	}
	return end.Reason
}

func TestServicesThatAreNotThere(t *testing.T) {
	x := newTable()
	w := newNetwork(t)
	id := mustIdentity(t)
	names := func(name string) (identity.NodeID, bool) { return id.NodeID(), name == "cheese" }
	for range 5 {
		w.add(relays(), func(c *Config) {
			x.with(c)
			c.Names = names
		})
	}
	w.meet()
	host, visitor := w.nodes[0], w.nodes[1]
	host.SetServices([]service.Config{w.echoService(id), {Name: "second", Key: mustIdentity(t), Ports: []service.Port{port(7, w.echo())}}})
	w.published(host)
	for _, tt := range []struct {
		name string
		port uint16
		want cell.EndReason // EndDone: it is there
	}{
		{"cheese", 7, cell.EndDone},
		{"www.cheese", 7, cell.EndDone},
		{id.NodeID().String(), 7, cell.EndDone},
		{"www." + id.NodeID().String(), 7, cell.EndDone},
		{host.Services()[1].Address.String(), 7, cell.EndDone},
		{id.NodeID().String(), 8, cell.EndRefused},
		{mustIdentity(t).NodeID().String(), 7, cell.EndUnreachable},
		{"wine", 7, cell.EndResolve},
		{id.NodeID().String()[1:], 7, cell.EndResolve},
	} {
		s, err := visitor.Client().Dial(withTimeout(t), client.Isolation{}, cell.Target{Name: tt.name + "." + Zone, Port: tt.port}, nil)
		if err == nil {
			err = say(s, "are you there?")
		}
		if got := reasonOf(err); got != tt.want || (err == nil) != (tt.want == cell.EndDone) {
			t.Errorf("%s, port %d: %v", tt.name, tt.port, err)
		}
	}
	// What is taken away is gone.
	host.SetServices(nil)
	w.wait("no circuits to the service", func() bool { return len(circuitsFor(host)) == 0 })
	if err := greet(visitor, id.NodeID()); err == nil {
		t.Error("a service that was taken away answers")
	}
}

func mustClientKey(t testing.TB) *key.ClientKey {
	t.Helper()
	k, err := key.NewClientKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A service that hides nothing has circuits of one hop; one in a small network works, too.
func TestShortServices(t *testing.T) {
	for _, tt := range []struct {
		name   string
		relays int
		single bool
		client int // hops
	}{
		{"single hop", 6, true, 3},
		{"two routers", 2, false, 1},
		{"three routers", 3, false, 2},
		{"four routers", 4, false, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, _ := serviceNetwork(t, tt.relays, nil)
			id := mustIdentity(t)
			c := w.echoService(id)
			c.SingleHop = tt.single
			host, visitor := w.nodes[0], w.nodes[1]
			host.SetServices([]service.Config{c})
			w.published(host)
			if err := greet(visitor, id.NodeID()); err != nil {
				t.Fatal(err)
			}
			if n := lengths(circuitsFor(host)); tt.single && n[len(n)-1] != 1 {
				t.Errorf("circuits of %v hops", n)
			}
			if n := lengths(circuitsFor(visitor)); n[len(n)-1] != tt.client {
				t.Errorf("the client's circuits have %v hops, want %d", n, tt.client)
			}
			if err := greet(host, id.NodeID()); err != nil {
				t.Errorf("from where the service is: %v", err)
			}
		})
	}
}
