package exit

import (
	"net"
	"sync"
	"syscall"

	"globalnet/onion/cell"
	"globalnet/onion/relay"
	"globalnet/onion/stream"
)

// errQuota ends connections when the month's bytes are used up.
var errQuota = &relay.Error{Reason: cell.EndPolicy}

// conn is a connection whose bytes are counted and paid for. It hides what else the
// socket can do, so that no byte passes by.
type conn struct {
	net.Conn
	e      *Exit
	closed chan struct{}
	once   sync.Once
	leave  func()
}

// socket is a conn that may be read without a buffer that waits.
type socket struct {
	*conn
	syscall.Conn
}

var _ stream.Metered = socket{}

// wrap makes a conn of one that is open. Its Close calls leave once.
func (e *Exit) wrap(c net.Conn, leave func()) net.Conn {
	w := &conn{Conn: c, e: e, closed: make(chan struct{}), leave: leave}
	if raw, ok := c.(syscall.Conn); ok {
		return socket{w, raw}
	}
	return w
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if merr := c.Took(n); merr != nil {
		return 0, merr
	}
	return n, err
}

// Took implements stream.Metered.
func (c *conn) Took(n int) error {
	if err := c.pay(c.e.in, n); err != nil {
		return err
	}
	c.e.stats.bytesIn.Add(uint64(n))
	return nil
}

func (c *conn) Write(p []byte) (int, error) {
	if err := c.pay(c.e.out, len(p)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	c.e.stats.bytesOut.Add(uint64(n))
	return n, err
}

// pay waits until n bytes are within the limits.
func (c *conn) pay(l *Limiter, n int) error {
	if n <= 0 {
		return nil
	}
	if !c.e.quota.Add(n) {
		return errQuota
	}
	l.Wait(n, c.closed)
	return nil
}

// CloseWrite ends what is sent, where the connection has two ends.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// SetLinger is that of net.TCPConn: 0 makes Close a reset.
func (c *conn) SetLinger(seconds int) error {
	if tcp, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return tcp.SetLinger(seconds)
	}
	return nil
}

func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		close(c.closed)
		c.leave()
	})
	return err
}
