package link

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/stun"

	"globalnet/internal/identity"
)

const (
	maxLocalAddresses = 16
	// maxRemotes bounds the addresses that pion hears of: it keeps a candidate for
	// each address that a check comes from.
	maxRemotes = 64
)

// mux is the UDP sockets of one session, one for each local address and all on
// one port, behind the interface that pion's agent takes. It exists for three
// reasons: pion leaves link-local IPv6 out and knows no zones; the port
// must be the same everywhere, because WireGuard takes it over; and answers of
// STUN servers arrive on the same sockets.
//
// To pion, socket i has the made-up address of madeUpAddr. So two interfaces may
// have the same link-local address, as VLANs of one switch do.
type mux struct {
	port    uint16
	sockets []*socket

	mu      sync.Mutex
	remotes map[netip.AddrPort]*pace
	answers map[[stun.TransactionIDSize]byte]func(*stun.Message)
}

// socket is the net.PacketConn of one local address.
type socket struct {
	mux    *mux
	local  LocalAddress
	madeUp *net.UDPAddr
	conn   *net.UDPConn
}

// openMux binds all local addresses to one free port of the range. Addresses that
// cannot be bound (gone since, or not usable yet) are left out.
func (e *Engine) openMux() (*mux, error) {
	local, ports := usableLocal(e.cfg.Local()), e.ports
	if len(local) == 0 {
		return nil, fmt.Errorf("%w: no usable local address", ErrNoPath)
	}
	var last error
	for range ports.size() {
		port, ok := ports.reserve()
		if !ok {
			break
		}
		m, err := e.bindAll(local, port)
		if err == nil {
			return m, nil
		}
		ports.release(port)
		last = err
	}
	if last == nil {
		last = errors.New("all ports are in use")
	}
	return nil, fmt.Errorf("binding a port for a link: %w", last)
}

func (e *Engine) bindAll(local []LocalAddress, port uint16) (*mux, error) {
	// WireGuard will want the port on all addresses, so it must be free on all.
	all, err := e.listenUDP(netip.AddrPortFrom(netip.Addr{}, port))
	if err != nil {
		return nil, err
	}
	all.Close()
	m := &mux{
		port:    port,
		remotes: make(map[netip.AddrPort]*pace),
		answers: make(map[[stun.TransactionIDSize]byte]func(*stun.Message)),
	}
	for i, l := range local {
		conn, bindErr := e.listenUDP(netip.AddrPortFrom(l.Addr, port))
		if bindErr != nil {
			err = bindErr
			continue
		}
		m.sockets = append(m.sockets, &socket{mux: m, local: l, madeUp: madeUpAddr(i, l.Addr, port), conn: conn})
	}
	if len(m.sockets) == 0 {
		return nil, err
	}
	return m, nil
}

// usableLocal leaves out what no link may run over, and puts the best first.
func usableLocal(local []LocalAddress) []LocalAddress {
	var usable []LocalAddress
	for tier := 0; tier < tiers; tier++ {
		for _, l := range local {
			a := l.Addr
			ok := a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && l.Class != Mesh &&
				!identity.MeshPrefix.Contains(a.WithZone("")) &&
				(!linkLocal6(a) || a.Zone() != "")
			if ok && tierOf(l.Class, a) == tier && len(usable) < maxLocalAddresses {
				usable = append(usable, l)
			}
		}
	}
	return usable
}

func linkLocal6(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() }

// madeUpAddr names socket i to pion; only the family is that of addr.
func madeUpAddr(i int, addr netip.Addr, port uint16) *net.UDPAddr {
	if addr.Is4() {
		return &net.UDPAddr{IP: net.IPv4(192, 0, 2, byte(i+1)), Port: int(port)} // RFC 5737
	}
	ip := net.IP{0: 0x01, 15: byte(i + 1)} // 100::/64, RFC 6666
	return &net.UDPAddr{IP: ip, Port: int(port)}
}

// find returns the socket that pion calls by ip.
func (m *mux) find(ip net.IP) *socket {
	for _, s := range m.sockets {
		if s.madeUp.IP.Equal(ip) {
			return s
		}
	}
	return nil
}

// GetListenAddresses, GetConn and RemoveConnByUfrag implement ice.UDPMux.
func (m *mux) GetListenAddresses() []net.Addr {
	addrs := make([]net.Addr, len(m.sockets))
	for i, s := range m.sockets {
		addrs[i] = s.madeUp
	}
	return addrs
}

func (m *mux) GetConn(_ string, addr net.Addr) (net.PacketConn, error) {
	if a, ok := addr.(*net.UDPAddr); ok {
		if s := m.find(a.IP); s != nil {
			return s, nil
		}
	}
	return nil, net.ErrClosed
}

func (m *mux) RemoveConnByUfrag(string) {}

// Close closes all sockets, those that pion never took as well.
func (m *mux) Close() error {
	for _, s := range m.sockets {
		s.conn.Close()
	}
	return nil
}

// ReadFrom returns the next STUN message that is pion's, without zone.
func (s *socket) ReadFrom(b []byte) (int, net.Addr, error) {
	for failures := 0; ; {
		n, from, err := s.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			// Errors of earlier sends surface here, as when an interface goes down.
			if failures++; errors.Is(err, net.ErrClosed) || failures > 100 {
				return 0, nil, io.EOF
			}
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())
		if stun.IsMessage(b[:n]) && !s.mux.answered(b[:n]) && s.mux.heard(from) {
			return n, net.UDPAddrFromAddrPort(from), nil
		}
	}
}

// WriteTo sends a check of pion's. What cannot arrive, or would come too fast to
// an address that never answered, is dropped.
func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, net.ErrClosed
	}
	remote := udp.AddrPort()
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	if !reachable(s.local.Addr, remote.Addr()) || !s.mux.mayCheck(s, remote, time.Now()) {
		return len(b), nil
	}
	return s.conn.WriteToUDPAddrPort(b, remote) // a link-local socket is bound to its interface
}

// zoned gives a link-local address the zone of the socket.
func (s *socket) zoned(a netip.AddrPort) netip.AddrPort {
	if linkLocal6(a.Addr()) {
		return netip.AddrPortFrom(a.Addr().WithZone(s.local.Addr.Zone()), a.Port())
	}
	return a
}

// Close closes the socket. It never fails, or pion would not wait for its reader,
// and only when that has returned is the port free.
func (s *socket) Close() error {
	s.conn.Close()
	return nil
}

// LocalAddr and the rest implement net.PacketConn; pion needs no deadlines.
func (s *socket) LocalAddr() net.Addr              { return s.madeUp }
func (s *socket) SetDeadline(time.Time) error      { return nil }
func (s *socket) SetReadDeadline(time.Time) error  { return nil }
func (s *socket) SetWriteDeadline(time.Time) error { return nil }

// reachable reports whether a packet from local can arrive at remote at all:
// both are link-local, both are loopback, or neither, and nothing goes into the mesh.
func reachable(local, remote netip.Addr) bool {
	return local.Is4() == remote.Is4() &&
		linkLocal6(local) == linkLocal6(remote) &&
		local.IsLoopback() == remote.IsLoopback() &&
		!remote.IsUnspecified() && !remote.IsMulticast() &&
		!identity.MeshPrefix.Contains(remote)
}

// pace is what is known of a remote address.
type pace struct {
	heard bool
	sent  map[*socket]*sends
}

type sends struct {
	count int
	next  time.Time
}

// mayCheck paces the checks from s to an address that has not been heard from:
// four at once as pion wishes, then twice as far apart each time. Candidates come
// from the neighbour, and may be the addresses of someone who never asked for them.
func (m *mux) mayCheck(s *socket, to netip.AddrPort, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.remote(to)
	if p == nil {
		return false
	}
	if p.heard {
		return true
	}
	w := p.sent[s]
	if w == nil {
		w = &sends{}
		p.sent[s] = w
	}
	if now.Before(w.next) {
		return false
	}
	w.count++
	if w.count >= 4 {
		w.next = now.Add(checkInterval << min(w.count-3, 5))
	}
	return true
}

// heard notes a packet from an address, and reports whether pion may see it.
func (m *mux) heard(from netip.AddrPort) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.remote(from)
	if p != nil {
		p.heard = true
	}
	return p != nil
}

func (m *mux) remote(a netip.AddrPort) *pace {
	p := m.remotes[a]
	if p == nil && len(m.remotes) < maxRemotes {
		p = &pace{sent: make(map[*socket]*sends)}
		m.remotes[a] = p
	}
	return p
}

// portRange hands out the UDP ports of links.
type portRange struct {
	min, max uint16
	mu       sync.Mutex
	used     map[uint16]bool
	next     int
}

func newPortRange(low, high uint16) *portRange {
	r := &portRange{min: low, max: high, used: make(map[uint16]bool)}
	r.next = rand.IntN(r.size())
	return r
}

func (r *portRange) size() int { return int(r.max) - int(r.min) + 1 }

func (r *portRange) reserve() (uint16, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range r.size() {
		port := r.min + uint16(r.next)
		r.next = (r.next + 1) % r.size()
		if !r.used[port] {
			r.used[port] = true
			return port, true
		}
	}
	return 0, false
}

func (r *portRange) release(port uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.used, port)
}
