package signal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

func (m *Hello) appendBody(dst []byte) []byte {
	dst = append(dst, m.Version, byte(m.Flags))
	dst = append(dst, m.Tag[:]...)
	dst = append(dst, m.Proof[:]...)
	return appendAddr(dst, m.Observed)
}

func (m *Hello) parseBody(r *reader) {
	m.Version = r.byte()
	m.Flags = Flags(r.byte())
	r.copy(m.Tag[:])
	r.copy(m.Proof[:])
	m.Observed = r.addr(true)
}

func (m *Offer) appendUnsigned(dst []byte) []byte {
	dst = append(dst, m.PublicKey[:]...)
	dst = appendText(dst, m.Ufrag, MaxUfrag)
	return appendText(dst, m.Pwd, MaxPwd)
}

func (m *Offer) appendBody(dst []byte) []byte {
	return append(m.appendUnsigned(dst), m.Signature[:]...)
}

func (m *Offer) parseBody(r *reader) {
	r.copy(m.PublicKey[:])
	m.Ufrag = r.text(4, MaxUfrag)
	m.Pwd = r.text(22, MaxPwd)
	r.copy(m.Signature[:])
}

func (m *Candidate) appendBody(dst []byte) []byte {
	return appendAddr(append(dst, byte(m.Kind), m.Class), m.Addr)
}

func (m *Candidate) parseBody(r *reader) {
	m.Kind = Kind(r.byte())
	m.Class = r.byte()
	m.Addr = r.addr(false)
	if r.err == nil && m.Kind != Host && m.Kind != ServerReflexive {
		r.err = fmt.Errorf("candidate of unknown kind %d", m.Kind)
	}
}

func (*EndOfCandidates) appendBody(dst []byte) []byte { return dst }
func (*EndOfCandidates) parseBody(*reader)            {}

func (m *Ready) appendBody(dst []byte) []byte {
	dst = appendAddr(dst, m.Local)
	dst = appendAddr(dst, m.Remote)
	return binary.BigEndian.AppendUint16(dst, m.MTU)
}

func (m *Ready) parseBody(r *reader) {
	m.Local = r.addr(false)
	m.Remote = r.addr(false)
	m.MTU = uint16(r.byte())<<8 | uint16(r.byte())
}

func (*Switched) appendBody(dst []byte) []byte { return dst }
func (*Switched) parseBody(*reader)            {}

func (*PeersRequest) appendBody(dst []byte) []byte { return dst }
func (*PeersRequest) parseBody(*reader)            {}

func (m *Peers) appendBody(dst []byte) []byte {
	if len(m.Peers) > MaxPeers {
		panic("signal: too many peers")
	}
	dst = append(dst, byte(len(m.Peers)))
	for _, p := range m.Peers {
		if len(p.Addrs) > MaxPeerAddrs {
			panic("signal: too many addresses of a peer")
		}
		dst = append(dst, p.Node[:]...)
		dst = append(dst, byte(len(p.Addrs)))
		for _, a := range p.Addrs {
			dst = appendAddr(dst, a)
		}
	}
	return dst
}

func (m *Peers) parseBody(r *reader) {
	n := int(r.byte())
	if n > MaxPeers {
		r.err = fmt.Errorf("%d peers, at most %d", n, MaxPeers)
	}
	for i := 0; i < n && r.err == nil; i++ {
		var p Peer
		r.copy(p.Node[:])
		addrs := int(r.byte())
		if addrs > MaxPeerAddrs {
			r.err = fmt.Errorf("%d addresses of a peer, at most %d", addrs, MaxPeerAddrs)
		}
		for j := 0; j < addrs && r.err == nil; j++ {
			p.Addrs = append(p.Addrs, r.addr(false))
		}
		m.Peers = append(m.Peers, p)
	}
}

func (m *Bye) appendBody(dst []byte) []byte { return append(dst, byte(m.Reason)) }
func (m *Bye) parseBody(r *reader)          { m.Reason = Reason(r.byte()) }

// An address is 4 or 6 and the address and the port, or a zero byte for none.
// Zones do not travel: they mean nothing on another machine.
func appendAddr(dst []byte, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return append(dst, 0)
	}
	ip := a.Addr().Unmap().WithZone("")
	family := byte(6)
	if ip.Is4() {
		family = 4
	}
	dst = append(dst, family)
	dst = append(dst, ip.AsSlice()...)
	return binary.BigEndian.AppendUint16(dst, a.Port())
}

func appendText(dst []byte, s string, limit int) []byte {
	if len(s) > limit {
		panic("signal: text too long")
	}
	return append(append(dst, byte(len(s))), s...)
}

// reader takes a body apart; after the first error all it returns is zero.
type reader struct {
	rest []byte
	err  error
}

var errTruncated = errors.New("truncated")

func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if len(r.rest) < n {
		r.err = errTruncated
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) copy(dst []byte) { copy(dst, r.take(len(dst))) }

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// text reads ICE characters (RFC 8839 section 5.4): letters, digits, + and /.
func (r *reader) text(least, most int) string {
	n := int(r.byte())
	if r.err == nil && (n < least || n > most) {
		r.err = fmt.Errorf("text of %d bytes, want %d to %d", n, least, most)
	}
	b := r.take(n)
	for _, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '+', c == '/':
		default:
			r.err = errors.New("text with a character that is not an ICE character")
			return ""
		}
	}
	return string(b)
}

func (r *reader) addr(optional bool) netip.AddrPort {
	family := r.byte()
	var ip netip.Addr
	switch {
	case r.err != nil:
		return netip.AddrPort{}
	case family == 0 && optional:
		return netip.AddrPort{}
	case family == 4:
		ip, _ = netip.AddrFromSlice(r.take(4))
	case family == 6:
		ip, _ = netip.AddrFromSlice(r.take(16))
		if ip.Is4In6() {
			r.err = errors.New("IPv4 address in IPv6 form")
		}
	default:
		r.err = fmt.Errorf("address of family %d", family)
	}
	port := r.take(2)
	if r.err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(port))
}
