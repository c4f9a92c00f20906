package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun"
)

const (
	maxSTUNServers = 4
	maxSTUNRequest = 256

	// A source gets this many answers at once and then one a second.
	stunBurst      = 20
	maxSTUNSources = 1024
)

// Requests carry a MESSAGE-INTEGRITY (RFC 8489 section 14.5) made with the
// network key, and no other is answered: who scans the internet finds nobody, and
// an answer is never longer than its request.
func stunIntegrity(networkKey []byte) stun.MessageIntegrity {
	return stun.MessageIntegrity(networkKey)
}

// askSTUN asks each server, from each socket through which it may be reached,
// for our address as it sees it, and sends what it learns to found until ctx
// ends. Of each socket only one address is sent.
func (m *mux) askSTUN(ctx context.Context, networkKey []byte, servers []netip.AddrPort, found chan<- netip.AddrPort) {
	if len(servers) > maxSTUNServers {
		servers = servers[:maxSTUNServers]
	}
	type question struct {
		socket *socket
		server netip.AddrPort
		raw    []byte
	}
	known := make(map[netip.AddrPort]bool)
	for _, s := range m.sockets {
		known[netip.AddrPortFrom(s.local.Addr, m.port)] = true
	}
	answers := make(chan netip.AddrPort, maxLocalAddresses*maxSTUNServers)
	var open []question
	for _, s := range m.sockets {
		for _, server := range servers {
			server = netip.AddrPortFrom(server.Addr().Unmap(), server.Port())
			if s.local.Addr.IsLinkLocalUnicast() || !reachable(s.local.Addr, server.Addr()) {
				continue
			}
			request, err := stun.Build(stun.TransactionID, stun.BindingRequest, stunIntegrity(networkKey), stun.Fingerprint)
			if err != nil {
				continue
			}
			open = append(open, question{s, server, request.Raw})
			m.expect(request.TransactionID, func(answer *stun.Message) {
				var mapped stun.XORMappedAddress
				if mapped.GetFrom(answer) == nil {
					if ip, ok := netip.AddrFromSlice(mapped.IP); ok {
						answers <- netip.AddrPortFrom(ip.Unmap(), uint16(mapped.Port))
					}
				}
			})
		}
	}
	if len(open) == 0 {
		return
	}
	wait := 100 * time.Millisecond
	for range 4 {
		for _, q := range open {
			q.socket.conn.WriteToUDPAddrPort(q.raw, q.server)
		}
		timer := time.NewTimer(wait)
		for again := false; !again; {
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case a := <-answers:
				if known[a] || !a.IsValid() || a.Port() == 0 {
					continue
				}
				known[a] = true
				select {
				case found <- a:
				case <-ctx.Done():
				}
			case <-timer.C:
				again = true
			}
		}
		wait *= 2
	}
}

// expect calls f with the answer to a request of ours, once.
func (m *mux) expect(id [stun.TransactionIDSize]byte, f func(*stun.Message)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers[id] = f
}

// answered reports whether packet answers a request of ours to a STUN server.
func (m *mux) answered(packet []byte) bool {
	if len(packet) < 20 {
		return false
	}
	id := [stun.TransactionIDSize]byte(packet[8:20])
	m.mu.Lock()
	f := m.answers[id]
	delete(m.answers, id)
	m.mu.Unlock()
	if f == nil {
		return false
	}
	msg := new(stun.Message)
	if stun.Decode(packet, msg) == nil && msg.Type == stun.BindingSuccess {
		f(msg)
	}
	return true
}

// ServeSTUN answers the binding requests (RFC 8489) of nodes of our network on
// conn until ctx ends, and closes conn. It tells them their address as seen from
// here, and is limited for each source.
func (e *Engine) ServeSTUN(ctx context.Context, conn net.PacketConn) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	sources := newBuckets(stunBurst, time.Second, maxSTUNSources)
	integrity := stunIntegrity(e.cfg.NetworkKey)
	buf := make([]byte, maxSTUNRequest+1)
	for failures := 0; ; {
		n, from, err := conn.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if failures++; errors.Is(err, net.ErrClosed) || failures > 100 {
				return fmt.Errorf("reading STUN requests: %w", err)
			}
			continue
		}
		failures = 0
		udp, ok := from.(*net.UDPAddr)
		if !ok || n > maxSTUNRequest || !stun.IsMessage(buf[:n]) {
			e.count(stunRefused)
			continue
		}
		source := udp.AddrPort()
		source = netip.AddrPortFrom(source.Addr().Unmap(), source.Port())
		answer := stunAnswer(buf[:n], source, integrity)
		if answer == nil {
			e.count(stunRefused)
			continue
		}
		if !sources.take(sourceKey(source.Addr()), time.Now()) {
			e.count(stunLimited)
			continue
		}
		if _, err := conn.WriteTo(answer, from); err == nil {
			e.count(stunAnswered)
		}
	}
}

// stunAnswer returns the answer to a request from source, or nil if it deserves none.
func stunAnswer(packet []byte, source netip.AddrPort, integrity stun.MessageIntegrity) []byte {
	request := new(stun.Message)
	if stun.Decode(packet, request) != nil || request.Type != stun.BindingRequest || integrity.Check(request) != nil {
		return nil
	}
	answer, err := stun.Build(stun.NewTransactionIDSetter(request.TransactionID), stun.BindingSuccess,
		&stun.XORMappedAddress{IP: source.Addr().AsSlice(), Port: int(source.Port())})
	if err != nil {
		return nil
	}
	return answer.Raw
}
