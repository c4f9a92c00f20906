package kernel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// portPatience is how long a port may still be held by the socket that chose it:
// ICE closes its socket and hands the port over.
const portPatience = 500 * time.Millisecond

// socketBuffer is the size of both UDP socket buffers.
const socketBuffer = 1 << 20

// bind is the UDP socket of one device as wireguard-go's conn.Bind: one dual-stack
// socket for IPv6 and IPv4. It keeps the zone of link-local addresses.
type bind struct {
	sent       atomic.Uint64            // bytes, as UDP payload
	handshakes atomic.Uint32            // handshake messages sent or received, true or false ones
	latest     atomic.Pointer[endpoint] // the neighbour's, at the last sending

	mu   sync.Mutex
	conn *net.UDPConn
}

var _ conn.Bind = (*bind)(nil)

func newBind(small bool) *bind { return &bind{} }

func (b *bind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil {
		return nil, 0, conn.ErrBindAlreadyOpen
	}
	c, err := listenUDP(port)
	if err != nil {
		return nil, 0, err
	}
	b.conn = c
	actual := uint16(c.LocalAddr().(*net.UDPAddr).Port)
	receive := func(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
		n, ap, err := c.ReadFromUDPAddrPort(bufs[0])
		if err != nil {
			return 0, err
		}
		if n > 0 && bufs[0][0] < 4 {
			b.handshakes.Add(1)
		}
		sizes[0] = n
		eps[0] = &endpoint{ap: ap}
		return 1, nil
	}
	return []conn.ReceiveFunc{receive}, actual, nil
}

// listenUDP opens a dual-stack socket; for a short while it waits for the port.
func listenUDP(port uint16) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		return rc.Control(func(fd uintptr) { setBuffers(int(fd)) })
	}}
	deadline := time.Now().Add(portPatience)
	for {
		pc, err := lc.ListenPacket(context.Background(), "udp", ":"+strconv.Itoa(int(port)))
		if err == nil {
			return pc.(*net.UDPConn), nil
		}
		if port == 0 || !errors.Is(err, unix.EADDRINUSE) || time.Now().After(deadline) {
			return nil, err
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// setBuffers asks for large buffers; without the right to force them, the
// administrator's limit (net.core.rmem_max) holds.
func setBuffers(fd int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, socketBuffer)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer)
	}
}

func (b *bind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == nil {
		return nil
	}
	err := b.conn.Close()
	b.conn = nil
	return err
}

func (b *bind) SetMark(uint32) error { return nil }

func (b *bind) BatchSize() int { return 1 }

func (b *bind) ParseEndpoint(s string) (conn.Endpoint, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, err
	}
	return &endpoint{ap: ap}, nil
}

func (b *bind) Send(bufs [][]byte, ep conn.Endpoint) error {
	b.mu.Lock()
	c := b.conn
	b.mu.Unlock()
	if c == nil {
		return net.ErrClosed
	}
	e := ep.(*endpoint)
	b.latest.Store(e)
	for _, p := range bufs {
		if len(p) > 0 && p[0] < 4 {
			b.handshakes.Add(1)
		}
		n, err := c.WriteToUDPAddrPort(p, e.ap)
		if err != nil {
			return err
		}
		b.sent.Add(uint64(n))
	}
	return nil
}

// endpoint is the neighbour's address. It never changes.
type endpoint struct{ ap netip.AddrPort }

func (e *endpoint) addrPort() netip.AddrPort {
	return netip.AddrPortFrom(e.ap.Addr().Unmap(), e.ap.Port())
}

func (e *endpoint) ClearSrc()           {}
func (e *endpoint) SrcToString() string { return "" }
func (e *endpoint) SrcIP() netip.Addr   { return netip.Addr{} }
func (e *endpoint) DstIP() netip.Addr   { return e.ap.Addr() }
func (e *endpoint) DstToString() string { return e.addrPort().String() }

func (e *endpoint) DstToBytes() []byte {
	b, _ := e.ap.MarshalBinary()
	return b
}
