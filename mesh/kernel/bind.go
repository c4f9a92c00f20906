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
// socket for IPv6 and IPv4. It keeps the zone of link-local addresses, and lets the
// kernel cut and put together datagrams (UDP_SEGMENT, UDP_GRO) where it can.
type bind struct {
	batch      int
	flow       *flow
	sent       atomic.Uint64            // bytes, as UDP payload
	handshakes atomic.Uint32            // handshake messages sent or received, true or false ones
	latest     atomic.Pointer[endpoint] // the neighbour's, at the last sending

	mu     sync.Mutex
	conn   *net.UDPConn
	sender *datagram
	gso    bool
}

var _ conn.Bind = (*bind)(nil)

func newBind(batch int, f *flow) *bind { return &bind{batch: batch, flow: f} }

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
	raw, err := c.SyscallConn()
	if err != nil {
		c.Close()
		return nil, 0, err
	}
	b.conn, b.sender, b.gso = c, newSender(raw), true
	r := newBindReader(b, raw)
	return []conn.ReceiveFunc{r.receive}, uint16(c.LocalAddr().(*net.UDPAddr).Port), nil
}

// listenUDP opens a dual-stack socket; for a short while it waits for the port.
func listenUDP(port uint16) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		return rc.Control(func(fd uintptr) { setSocketOptions(int(fd)) })
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

// setSocketOptions asks for what makes the socket fast; it works without. Where
// buffers may not be forced, the administrator's limit (net.core.rmem_max) holds.
func setSocketOptions(fd int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, socketBuffer)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1)
}

func (b *bind) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == nil {
		return nil
	}
	err := b.conn.Close()
	b.conn, b.sender = nil, nil
	return err
}

// SetMark is not used: no route of ours leads a WireGuard packet into WireGuard.
func (b *bind) SetMark(uint32) error { return nil }

func (b *bind) BatchSize() int { return b.batch }

func (b *bind) ParseEndpoint(s string) (conn.Endpoint, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, err
	}
	return newEndpoint(ap)
}

// maxGSO bounds one sending to 64 segments and to the size of a UDP datagram, the
// kernel's limits.
const (
	maxGSOSegments = 64
	maxGSOBytes    = 65535 - 8 - 20
)

func (b *bind) Send(bufs [][]byte, ep conn.Endpoint) error {
	b.flow.sent(len(bufs))
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == nil {
		return net.ErrClosed
	}
	e, ok := ep.(*endpoint)
	if !ok {
		return conn.ErrWrongEndpointType
	}
	b.latest.Store(e)
	b.sender.name = e.raw
	var first error
	for len(bufs) > 0 {
		n := 1
		if b.gso {
			n = gsoRun(bufs)
		}
		if err := b.sendRun(bufs[:n]); err != nil && first == nil {
			first = err
		}
		bufs = bufs[n:]
	}
	return first
}

// gsoRun tells how many of the datagrams can be sent as one: equal sizes, the last
// may be smaller.
func gsoRun(bufs [][]byte) int {
	size, total := len(bufs[0]), len(bufs[0])
	n := 1
	for n < len(bufs) && n < maxGSOSegments && len(bufs[n]) <= size && total+len(bufs[n]) <= maxGSOBytes {
		total += len(bufs[n])
		n++
		if len(bufs[n-1]) < size {
			break
		}
	}
	return n
}

func (b *bind) sendRun(bufs [][]byte) error {
	total, segment := 0, 0
	for _, p := range bufs {
		if len(p) > 0 && p[0] < 4 {
			b.handshakes.Add(1)
		}
		b.sender.add(p)
		total += len(p)
	}
	if len(bufs) > 1 {
		segment = len(bufs[0])
	}
	err := b.sender.send(segment)
	if err == nil {
		b.sent.Add(uint64(total))
		return nil
	}
	if len(bufs) == 1 {
		return err
	}
	// EIO: the card cannot compute checksums, so the kernel will not segment for it.
	// Other errors concern this packet, such as one longer than the path's MTU, which
	// is fragmented when it is sent by itself.
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.ENOPROTOOPT) {
		b.gso = false
	}
	var first error
	for _, p := range bufs {
		b.sender.add(p)
		if err := b.sender.send(0); err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		b.sent.Add(uint64(len(p)))
	}
	return first
}

// bindReader receives from one socket.
type bindReader struct {
	b       *bind
	d       *datagram
	scratch [maxIPPacket]byte
	pending []byte // received, not yet delivered
	segment int
	from    *endpoint
}

func newBindReader(b *bind, raw syscall.RawConn) *bindReader {
	r := &bindReader{b: b, d: newReceiver(raw)}
	r.d.add(r.scratch[:])
	return r
}

func (r *bindReader) receive(bufs [][]byte, sizes []int, eps []conn.Endpoint) (int, error) {
	if len(r.pending) == 0 {
		r.b.flow.waitReceive()
		n, segment, err := r.d.receive()
		if err != nil {
			return 0, err
		}
		if n == 0 {
			return 0, nil
		}
		if r.from == nil || r.from.raw != r.d.name {
			r.from = endpointFrom(r.d.name)
		}
		if segment == 0 {
			segment = n
		}
		r.pending, r.segment = r.scratch[:n], segment
	}
	n := 0
	for n < len(bufs) && len(r.pending) > 0 {
		p := r.pending[:min(r.segment, len(r.pending))]
		if p[0] < 4 {
			r.b.handshakes.Add(1)
		}
		sizes[n] = copy(bufs[n], p)
		eps[n] = r.from
		r.pending = r.pending[len(p):]
		n++
	}
	r.b.flow.received(n)
	return n, nil
}
