// Package files is the web server behind a hidden service whose target is a folder:
// static files by HTTP/1.1 (RFC 9110, 9112), over connections that it is handed and
// never over a port of its own.
//
// Whoever asks is a stranger, and the node hides where it is. So answers carry neither
// a clock nor the name of a program, nothing outside of the folder is reached, and
// names that begin with a dot are not there. A Server owns its connections.
package files

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// Config is a folder to serve.
type Config struct {
	Dir     string
	Listing bool     // folders without index.html list what is in them
	Secret  [32]byte // hides times and sizes in entity tags; the same on all machines of a service
}

// Bounds of a Server. Connections come through circuits: slow is normal, but what
// does not move at all must not hold a place.
const (
	maxConnections = 64
	maxHeader      = 8 << 10
	headerTime     = 30 * time.Second
	idleTime       = 60 * time.Second
	stallTime      = 60 * time.Second // in which the other side must take something
)

// Errors of Connect.
var (
	ErrFull   = errors.New("too many connections to the folder")
	ErrClosed = errors.New("the folder is not served any more")
)

// Server serves one folder. Its methods may be called from any goroutine.
type Server struct {
	http  *http.Server
	conns chan net.Conn
	slots chan struct{}
	close sync.Once
	ended chan struct{}
	run   sync.WaitGroup
}

// New returns a Server that runs until Close. The folder is opened anew for each
// request: it may be missing now, and come with the disk that holds it.
func New(cfg Config) *Server {
	s := &Server{conns: make(chan net.Conn), slots: make(chan struct{}, maxConnections), ended: make(chan struct{})}
	s.http = &http.Server{
		Handler:           &handler{cfg},
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(io.Discard, "", 0),

		DisableGeneralOptionsHandler: true, // its answers are dated
	}
	s.run.Go(func() { s.http.Serve(acceptor{s}) })
	return s
}

// Connect opens a connection to the server.
func (s *Server) Connect(ctx context.Context) (net.Conn, error) {
	select {
	case s.slots <- struct{}{}:
	default:
		return nil, ErrFull
	}
	ours, theirs, err := pair()
	if err != nil {
		<-s.slots
		return nil, err
	}
	select {
	case s.conns <- &conn{Conn: theirs, release: sync.OnceFunc(func() { <-s.slots })}:
		return ours, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-s.ended:
		err = ErrClosed
	}
	<-s.slots
	ours.Close()
	theirs.Close()
	return nil, err
}

// Close closes all connections.
func (s *Server) Close() {
	s.close.Do(func() { close(s.ended) })
	s.run.Wait() // before, it could still accept one
	s.http.Close()
}

// acceptor is the listener of the HTTP server.
type acceptor struct{ s *Server }

func (a acceptor) Accept() (net.Conn, error) {
	select {
	case c := <-a.s.conns:
		return c, nil
	case <-a.s.ended:
		return nil, net.ErrClosed
	}
}

func (a acceptor) Close() error   { return nil }
func (a acceptor) Addr() net.Addr { return &net.UnixAddr{Name: "folder", Net: "unix"} }

// conn gives its place back when it is closed, and up when nothing moves.
type conn struct {
	net.Conn
	release func()
}

func (c *conn) Write(p []byte) (n int, err error) {
	c.Conn.SetWriteDeadline(time.Now().Add(stallTime))
	return c.Conn.Write(p)
}

func (c *conn) Close() error {
	err := c.Conn.Close()
	c.release()
	return err
}

// fileConn makes a connection of a socket, which it takes over.
func fileConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "folder")
	defer f.Close()
	return net.FileConn(f)
}
