// Package gate bounds the incoming connections of which nobody knows yet who is
// at the other end. A Gate owns its list; the connections stay the caller's.
package gate

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

const (
	MaxWaiting      = 64 // connections in a Gate
	MaxOfOneAddress = 8  // of them
)

// Gate holds the connections whose handshake is under way. Who stays silent holds
// a place only as long as nobody else wants it.
type Gate struct {
	mu    sync.Mutex
	conns []waiting // oldest first
}

type waiting struct {
	conn net.Conn
	from netip.Addr
}

// Enter takes a place for conn, that of the longest waiting if all are taken. One
// address gets a few places only.
func (g *Gate) Enter(conn net.Conn) bool {
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
	if same >= MaxOfOneAddress {
		return false
	}
	if len(g.conns) >= MaxWaiting {
		g.conns[0].conn.Close() // its handshake fails
		g.conns = slices.Delete(g.conns, 0, 1)
	}
	g.conns = append(g.conns, w)
	return true
}

// Leave frees the place of conn, if it still has one.
func (g *Gate) Leave(conn net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns = slices.DeleteFunc(g.conns, func(w waiting) bool { return w.conn == conn })
}
