package web

import (
	"net"
	"sync"
	"time"
)

// maxConns bounds the connections of all doors together.
const maxConns = 48

// conns are the connections that are open. Where there are too many, the one goes that
// has been without a request for longest: who opens many and says nothing pushes out
// only his own, a browser asks at once.
type conns struct {
	mu   sync.Mutex
	open map[*conn]bool
}

type conn struct {
	net.Conn
	of     *conns
	closed sync.Once

	since time.Time // guarded by conns.mu, as what follows
	busy  bool      // a whole request is being answered
}

// listener counts what it accepts.
type listener struct {
	net.Listener
	conns *conns
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.conns.add(c, time.Now()), nil
}

func (cs *conns) add(c net.Conn, now time.Time) *conn {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if len(cs.open) >= maxConns {
		cs.evict()
	}
	if cs.open == nil {
		cs.open = make(map[*conn]bool)
	}
	added := &conn{Conn: c, of: cs, since: now}
	cs.open[added] = true
	return added
}

// evict is called with mu held. The connection's own goroutine sees that it is closed.
func (cs *conns) evict() {
	var victim *conn
	for c := range cs.open {
		if victim == nil || c.busy != victim.busy && victim.busy || c.busy == victim.busy && c.since.Before(victim.since) {
			victim = c
		}
	}
	delete(cs.open, victim)
	if tcp, ok := victim.Conn.(interface{ SetLinger(int) error }); ok {
		tcp.SetLinger(0) // what waits to be sent is dropped
	}
	victim.Conn.Close()
}

// answering says whether a whole request is there.
func (c *conn) answering(busy bool, now time.Time) {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.busy, c.since = busy, now
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.closed.Do(func() {
		c.of.mu.Lock()
		delete(c.of.open, c)
		c.of.mu.Unlock()
	})
	return c.Conn.Close()
}
