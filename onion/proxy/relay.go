package proxy

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"globalnet/onion/cell"
)

const (
	// drainTime is how long a client has to take what came before its stream ended.
	drainTime = 30 * time.Second
	// afterTime is how long what a client still says is read after an orderly end, so
	// that its system does not throw away what it has not read yet.
	afterTime = 2 * time.Second
)

// Stream is what Relay needs of a *stream.Stream.
type Stream interface {
	io.ReaderFrom // returns nil when the reader is at its end
	io.WriterTo   // returns nil when the other side has closed its way
	CloseWrite() error
	Close() error
	CloseWith(reason cell.EndReason) error
	Connected() <-chan struct{}
	Ended() <-chan struct{}
	Err() error
	AfterEnd(f func()) // does not wait for f
	Addr() netip.Addr
}

// Socket is the client's side: a *net.TCPConn or *net.UnixConn.
type Socket interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// Relay carries bytes both ways until both are closed or either breaks, and closes
// conn and s. The end of one way is passed on and leaves the other open; a reset is
// passed on as a reset. It returns how many bytes went to and came from the stream,
// and why it ended early.
//
// Who closes conn has Relay return.
func Relay(conn Socket, s Stream) (sent, received int64, err error) {
	return relay(conn, s, forever)
}

// forever is a body that only the client's end ends.
const forever = -1

// relay is Relay; if body is not forever, no more than that may pass to the stream,
// the rest is read and forgotten, and the stream is not told the client's end.
func relay(conn Socket, s Stream, body int64) (sent, received int64, err error) {
	// What waits for the client must not outlast the stream.
	s.AfterEnd(func() {
		now := time.Now()
		conn.SetWriteDeadline(now.Add(drainTime))
		if reasonOf(s.Err()) == cell.EndDone {
			now = now.Add(afterTime)
		}
		conn.SetReadDeadline(now)
	})
	u := &upload{conn: conn, s: s, body: body}
	up := make(chan struct{})
	go func() {
		defer close(up)
		u.run()
	}()
	received, err = s.WriteTo(drain{conn, s})
	if err == nil {
		err = closeWrite(conn)
	}
	switch {
	case err != nil:
		s.CloseWith(cell.EndReset)
		reset(conn)
	case body != forever:
		s.Close() // it was one request
	}
	if u.received.Store(true); u.eof.Load() {
		conn.Close() // wakes awaitBreak
	}
	<-up
	s.Close()
	if err == nil {
		err = u.err
	}
	if err != nil {
		reset(conn)
	}
	conn.Close()
	return u.sent, received, err
}

// drain is a client to whom is written. While its stream goes on it may take its
// time; afterwards it must take a block every drainTime.
type drain struct {
	conn net.Conn
	s    Stream
}

func (d drain) Write(p []byte) (int, error) {
	select {
	case <-d.s.Ended():
		d.conn.SetWriteDeadline(time.Now().Add(drainTime))
	default:
	}
	return d.conn.Write(p)
}

// ReadFrom is for a stream that is a socket itself: the kernel moves what comes.
func (d drain) ReadFrom(r io.Reader) (int64, error) {
	if c, ok := d.conn.(*net.TCPConn); ok {
		return c.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{d}, r)
}

// upload is the way from the client to the stream.
type upload struct {
	conn Socket
	s    Stream
	body int64

	sent int64
	err  error

	// Whichever of the two comes second ends the connection.
	eof      atomic.Bool // the client has closed its way
	received atomic.Bool // the stream has
}

// run carries until the client closes, and then waits until all is over. If the
// client breaks, the stream does.
func (u *upload) run() {
	err := u.carry()
	if err == nil {
		u.eof.Store(true)
		if u.received.Load() {
			return
		}
		if err = awaitBreak(u.conn); u.received.Load() {
			return
		}
	}
	if over(u.s) {
		// The client may still say something. If that were left unread, closing would
		// reset the connection.
		io.Copy(io.Discard, u.conn)
		return
	}
	u.err = err
	u.s.CloseWith(cell.EndReset)
}

func (u *upload) carry() (err error) {
	if u.body == forever {
		if u.sent, err = u.s.ReadFrom(u.conn); err == nil {
			err = u.s.CloseWrite()
		}
		return err
	}
	if u.body > 0 {
		u.sent, err = u.s.ReadFrom(io.LimitReader(u.conn, u.body))
	}
	if err == nil {
		_, err = io.Copy(io.Discard, u.conn)
	}
	return err
}

// over reports whether s has ended in order.
func over(s Stream) bool {
	select {
	case <-s.Ended():
	default:
		return false
	}
	return reasonOf(s.Err()) == cell.EndDone
}

// awaitBreak waits, after the end of what the client says, until the connection
// breaks or is closed by us, and says why.
func awaitBreak(conn Socket) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var broken error
	err = raw.Read(func(fd uintptr) bool {
		code, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
		if err == nil && code != 0 {
			err = syscall.Errno(code)
		}
		broken = err
		return err != nil
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("read", broken)
}

// closeWrite says that nothing more will come.
func closeWrite(conn Socket) error {
	if err := conn.CloseWrite(); !errors.Is(err, syscall.ENOTCONN) {
		return err
	}
	return nil // the client has closed both ways
}

// reset closes conn so that the other side sees an error.
func reset(conn net.Conn) {
	if c, ok := conn.(*net.TCPConn); ok {
		c.SetLinger(0)
	}
	conn.Close()
}

// hangUp says a last thing. What the client still sends is read for a moment:
// closing over unread bytes would reset the connection and lose the answer.
func hangUp(conn Socket, last []byte) {
	conn.SetDeadline(time.Now().Add(lingerTime))
	if _, err := conn.Write(last); err == nil && closeWrite(conn) == nil {
		io.CopyN(io.Discard, conn, 64<<10)
	}
	conn.Close()
}
