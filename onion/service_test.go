package onion

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/client"
	"globalnet/onion/service"
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

func (n *testNode) visit(t *testing.T, service identity.NodeID, port uint16) (*stream.Stream, error) {
	return n.Client().Dial(withTimeout(t), client.Isolation{}, cell.Target{Name: service.String() + "." + Zone, Port: port}, nil)
}

func TestService(t *testing.T) {
	w, x := newNetwork(t), newTable()
	var nodes []*testNode
	for range 8 {
		nodes = append(nodes, w.add(relays(), x.with))
	}
	w.meet()
	host, visitor := nodes[0], nodes[1]
	id := mustIdentity(t)
	start := time.Now()
	host.SetServices([]service.Config{{Name: "echo", Key: id, Ports: []service.Port{port(7, w.echo())}}})
	w.published(host)
	t.Logf("published after %v: %+v", time.Since(start), host.Services())
	for i := range 3 {
		start = time.Now()
		s, err := visitor.visit(t, id.NodeID(), 7)
		if err != nil {
			t.Fatal(err)
		}
		if err := say(s, "hello, service"); err != nil {
			t.Fatal(err)
		}
		t.Logf("stream %d after %v", i, time.Since(start))
		s.Close()
	}
}
