package channel

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

const (
	maxHandshakes   = 64 // incoming, under way
	maxOfOneAddress = 8  // of them
)

// gate holds the connections whose handshake is under way. Who stays silent holds
// a place only as long as nobody else wants it.
type gate struct {
	mu    sync.Mutex
	conns []waiting // oldest first
}

type waiting struct {
	conn net.Conn
	from netip.Addr
}

// enter takes a place for conn, that of the longest waiting if all are taken. One
// address gets a few places only.
func (g *gate) enter(conn net.Conn) bool {
	w := waiting{conn: conn}
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		w.from = a.AddrPort().Addr().Unmap()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	same := 0
	for _, o := range g.conns {
		if o.from == w.from {
			same++
		}
	}
	if same >= maxOfOneAddress {
		return false
	}
	if len(g.conns) >= maxHandshakes {
		g.conns[0].conn.Close() // its handshake fails
		g.conns = slices.Delete(g.conns, 0, 1)
	}
	g.conns = append(g.conns, w)
	return true
}

// leave frees the place of conn, if it still has one.
func (g *gate) leave(conn net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = slices.DeleteFunc(g.conns, func(w waiting) bool { return w.conn == conn })
}
