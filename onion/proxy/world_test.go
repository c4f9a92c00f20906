package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/channel"
	"globalnet/onion/client"
	"globalnet/onion/layer"
	"globalnet/onion/stream"
)

// wire joins two ends of a circuit in memory, one way.
type wire struct {
	to    *stream.End
	queue chan parcel
	sent  uint64
}

type parcel struct {
	b    *layer.Buffer
	size int
	tag  [cell.TagSize]byte
}

func (w *wire) Payload(b *layer.Buffer, size int) []byte { return b[:size-cell.TagSize] }
func (w *wire) Flush()                                   {}

func (w *wire) Send(b *layer.Buffer, size int, step bool) (tag [cell.TagSize]byte, err error) {
	w.sent++
	binary.BigEndian.PutUint64(tag[:], w.sent)
	w.queue <- parcel{b, size, tag}
	return tag, nil
}

func (w *wire) run(t testing.TB, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case p := <-w.queue:
			if err := w.to.HandlePayload(p.b[:p.size-cell.TagSize], p.tag, false); err != nil {
				select {
				case <-stop: // it was ended
				default:
					t.Errorf("circuit broke: %v", err)
					w.to.Close()
				}
				return
			}
			channel.Release(p.b)
			if len(w.queue) == 0 {
				w.to.HandleIdle()
			}
		}
	}
}

// dial is what a Dialer was asked.
type dial struct {
	who    client.Isolation
	target cell.Target
	early  string
}

// world is a Dialer: a circuit for each isolation, to an exit that reaches servers
// on this machine.
type world struct {
	t     testing.TB
	hosts map[string]netip.Addr     // names that there are
	ports map[uint16]uint16         // port of a target: port here
	ends  map[string]cell.EndReason // how the exit refuses a host

	mu       sync.Mutex
	err      error         // of the next calls of Dial and Resolve
	hold     chan struct{} // if set, Dial waits until it is closed
	breaks   int           // how many circuits still break before their exit answers
	dials    []dial
	circuits map[client.Isolation]*circuit
	running  sync.WaitGroup
	conns    map[io.Closer]struct{} // of exits
}

type circuit struct {
	near, far *stream.End
	stop      chan struct{}
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, hosts: map[string]netip.Addr{}, ports: map[uint16]uint16{}, ends: map[string]cell.EndReason{},
		circuits: map[client.Isolation]*circuit{}, conns: map[io.Closer]struct{}{}}
	t.Cleanup(w.stop)
	return w
}

func (w *world) stop() {
	w.mu.Lock()
	for _, c := range w.circuits {
		close(c.stop)
		c.near.Close()
		c.far.Close()
	}
	w.circuits = map[client.Isolation]*circuit{}
	for c := range w.conns {
		c.Close()
	}
	w.mu.Unlock()
	w.running.Wait()
}

func (w *world) circuit(who client.Isolation) *circuit {
	if c := w.circuits[who]; c != nil && c.near.Streams() < 1000 {
		return c
	}
	out, back := &wire{queue: make(chan parcel, 1<<14)}, &wire{queue: make(chan parcel, 1<<14)}
	c := &circuit{stop: make(chan struct{})}
	c.near = stream.New(stream.Config{Sender: out, Kill: func() {}})
	c.far = stream.New(stream.Config{Sender: back, Kill: func() {}, Accept: func(s *stream.Stream, m cell.Begin) {
		w.running.Go(func() { w.exit(s, m.Target) })
	}, Resolve: func(name string, answer func(cell.Resolved)) { answer(w.lookUp(name)) }})
	out.to, back.to = c.far, c.near
	w.running.Go(func() { out.run(w.t, c.stop) })
	w.running.Go(func() { back.run(w.t, c.stop) })
	for old := w.circuits[who]; old != nil; old = nil { // full: keep it alive under another key
		other := who
		for w.circuits[other] != nil {
			other.Listener += "'"
		}
		w.circuits[other] = old
	}
	w.circuits[who] = c
	return c
}

func (w *world) Dial(ctx context.Context, who client.Isolation, target cell.Target, early []byte) (*stream.Stream, error) {
	w.mu.Lock()
	w.dials = append(w.dials, dial{who, target, string(early)})
	hold, err := w.hold, w.err
	w.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	c := w.circuit(who)
	w.mu.Unlock()
	return c.near.Open(target, early)
}

func (w *world) Resolve(ctx context.Context, who client.Isolation, name string) (cell.Resolved, error) {
	w.mu.Lock()
	err := w.err
	c := w.circuit(who)
	w.mu.Unlock()
	if err != nil {
		return cell.Resolved{}, err
	}
	return c.near.Resolve(ctx, name)
}

// lookUp answers for the exit. Addresses have the names of hosts, both ways.
func (w *world) lookUp(name string) cell.Resolved {
	if a, ok := w.hosts[name]; ok {
		return cell.Resolved{TTL: time.Minute, Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::1"), a}}
	}
	for host, a := range w.hosts {
		if reverseName(a) == name {
			return cell.Resolved{TTL: time.Minute, Names: []string{host}}
		}
	}
	return cell.Resolved{Reason: cell.EndResolve}
}

// exit reaches a target as an exit does.
func (w *world) exit(s *stream.Stream, t cell.Target) {
	host := (&request{target: t}).host()
	w.mu.Lock()
	broken := w.breaks > 0
	if broken {
		w.breaks--
	}
	w.mu.Unlock()
	if broken {
		s.CloseWith(cell.EndCircuit)
		return
	}
	if reason, ok := w.ends[host]; ok {
		s.CloseWith(reason)
		return
	}
	addr, port := t.Addr, t.Port
	if t.Name != "" {
		if addr = w.hosts[t.Name]; !addr.IsValid() {
			s.CloseWith(cell.EndResolve)
			return
		}
	}
	if p, ok := w.ports[port]; ok {
		addr, port = netip.MustParseAddr("127.0.0.1"), p
	}
	network := [...]string{cell.TCP: "tcp", cell.UDP: "udp"}[t.Network]
	conn, err := net.Dial(network, netip.AddrPortFrom(addr, port).String())
	if err != nil {
		s.CloseWith(cell.EndRefused)
		return
	}
	w.mu.Lock()
	w.conns[conn] = struct{}{}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.conns, conn)
	}()
	s.Accepted(addr)
	if socket, ok := conn.(*net.TCPConn); ok {
		Relay(socket, s)
		return
	}
	w.running.Go(func() {
		<-s.Ended()
		conn.Close()
	})
	w.running.Go(func() {
		for b := make([]byte, 2048); ; {
			n, err := s.Read(b)
			if err != nil {
				return
			}
			conn.Write(b[:n])
		}
	})
	for b := make([]byte, 2048); ; {
		n, err := conn.Read(b)
		if err != nil {
			s.Close()
			return
		}
		s.Write(b[:n])
	}
}

// asked returns what Dial was asked.
func (w *world) asked() []dial {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]dial(nil), w.dials...)
}

func (w *world) set(err error, hold chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err, w.hold = err, hold
}

// serve starts a proxy, and sees that nothing of it is left behind.
func (w *world) serve(cfg Config) (*Server, string) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	return w.serveOn(cfg, l)
}

func (w *world) serveOn(cfg Config, l net.Listener) (*Server, string) {
	cfg.Dialer = w
	s := New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx, l) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Serve: %v", err)
		}
		if x := s.Stats(); x.Open != 0 || x.Associations != 0 {
			w.t.Errorf("after Serve: %d connections, %d associations", x.Open, x.Associations)
		}
	})
	return s, l.Addr().String()
}

// TestMain also sees that no test leaves a goroutine of a Server behind.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leftGoroutine(); code == 0 && left != "" {
		fmt.Fprintln(os.Stderr, "a goroutine is left:", left)
		code = 1
	}
	os.Exit(code)
}

// leftGoroutine returns a goroutine of a Server that does not end.
func leftGoroutine() (left string) {
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		b := make([]byte, 4<<20)
		left = ""
		for g := range strings.SplitSeq(string(b[:runtime.Stack(b, true)]), "\n\n") {
			if strings.Contains(g, "proxy.(*Server)") || strings.Contains(g, "proxy.(*association)") || strings.Contains(g, "proxy.(*upload)") {
				left = g
			}
		}
		if left == "" {
			break
		}
	}
	return left
}

// within waits until a condition holds.
func within(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("waited in vain for %s", what)
			return
		}
	}
}

// server runs f for each connection to a port that the world knows under that number.
func (w *world) server(port uint16, f func(conn *net.TCPConn)) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.ports[port] = addrPort(l.Addr()).Port()
	w.hosts["site.test"] = netip.MustParseAddr("203.0.113.5")
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				f(conn.(*net.TCPConn))
			})
		}
	})
	w.t.Cleanup(func() {
		l.Close()
		w.stop()
		running.Wait()
	})
}

func echo(conn *net.TCPConn) {
	io.Copy(conn, conn)
	conn.CloseWrite()
}

func connectTo(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// exchange writes what is said and reads as many bytes as are wanted.
func exchange(t testing.TB, conn net.Conn, say, want string) {
	t.Helper()
	if _, err := io.WriteString(conn, say); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(want))
	if n, err := io.ReadFull(conn, b); err != nil || string(b) != want {
		t.Fatalf("said %q, got %q, %v; want %q", say, b[:n], err, want)
	}
}

// tunnel is a SOCKS5 connection to site.test.
func tunnel(t testing.TB, addr string, port uint16) *net.TCPConn {
	t.Helper()
	conn := connectTo(t, addr)
	exchange(t, conn, "\x05\x01\x00", "\x05\x00")
	exchange(t, conn, "\x05\x01\x00"+string(appendSocksAddr(nil, cell.Target{Name: "site.test", Port: port})), granted)
	return conn
}

const granted = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
