package wire

import (
	"encoding/binary"
	"net/netip"
)

// state is what earlier TLVs of the same packet mean for later ones,
// RFC 8966 section 4.5.
type state struct {
	id       RouterID
	hasID    bool
	nextHop4 netip.Addr
	nextHop6 netip.Addr
	// The default prefix of each address encoding; RFC 9229 section 3.1 gives
	// v4-via-v6 one of its own.
	prefix    [aeViaV6 + 1][16]byte
	hasPrefix [aeViaV6 + 1]bool
}

// verdict says what becomes of a TLV.
type verdict uint8

const (
	taken verdict = iota
	silent
	malformed
	mandatory
	unknown
)

// Parse reads a packet. It fails only if the header is wrong; a TLV that is wrong
// is left out and counted (RFC 8966 section 4.3), and the rest is kept. What
// follows the body, the trailer, is ignored.
func Parse(packet []byte) (Packet, error) {
	var p Packet
	if len(packet) < headerLen {
		return p, &Error{len(packet), "length"}
	}
	if packet[0] != magic {
		return p, &Error{0, "magic"}
	}
	if packet[1] != version {
		return p, &Error{1, "version"}
	}
	n := int(binary.BigEndian.Uint16(packet[2:]))
	if n > len(packet)-headerLen {
		return p, &Error{2, "body length"}
	}
	body := packet[headerLen : headerLen+n]
	p.TLVs = make([]TLV, 0, n/16+1)
	var st state
	for len(body) > 0 {
		if body[0] == typePad1 {
			body = body[1:]
			continue
		}
		if len(body) < 2 || len(body) < 2+int(body[1]) {
			p.Malformed++ // and nothing after it can be found
			break
		}
		t, v := st.parse(body[0], body[2:2+int(body[1])])
		body = body[2+int(body[1]):]
		switch v {
		case taken:
			p.TLVs = append(p.TLVs, t)
		case malformed:
			p.Malformed++
		case mandatory:
			p.Mandatory++
		case unknown:
			p.Unknown++
		}
	}
	return p, nil
}

func (st *state) parse(kind byte, b []byte) (TLV, verdict) {
	switch kind {
	case typePadN:
		return nil, silent
	case typeAckRequest:
		if len(b) < 6 {
			return nil, malformed
		}
		return AckRequest{be16(b[2:]), be16(b[4:])}, subTLVs(b[6:], nil)
	case typeAck:
		if len(b) < 2 {
			return nil, malformed
		}
		return Ack{be16(b)}, subTLVs(b[2:], nil)
	case typeHello:
		return parseHello(b)
	case typeIHU:
		return parseIHU(b)
	case typeRouterID:
		return nil, st.parseRouterID(b)
	case typeNextHop:
		return nil, st.parseNextHop(b)
	case typeUpdate:
		return st.parseUpdate(b)
	case typeRouteRequest:
		return parseRouteRequest(b)
	case typeSeqnoRequest:
		return parseSeqnoRequest(b)
	}
	return nil, unknown
}

func be16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// subTLVs walks the sub-TLVs of a TLV (RFC 8966 section 4.4). The content of a
// Timestamp is handed to stamp, if there is one; all else that is not mandatory is skipped.
func subTLVs(b []byte, stamp func([]byte)) verdict {
	for len(b) > 0 {
		if b[0] == subPad1 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return malformed
		}
		if b[0]&subMandatory != 0 { // source prefix (RFC 9079) among them: we know none
			return mandatory
		}
		if b[0] == subTimestamp && stamp != nil {
			stamp(b[2 : 2+int(b[1])])
		}
		b = b[2+int(b[1]):]
	}
	return taken
}

func parseHello(b []byte) (TLV, verdict) {
	if len(b) < 6 {
		return nil, malformed
	}
	h := Hello{Unicast: be16(b)&helloUnicast != 0, Seqno: be16(b[2:]), Interval: be16(b[4:])}
	v := subTLVs(b[6:], func(s []byte) {
		if len(s) >= 4 {
			h.HasTimestamp, h.Timestamp = true, be32(s)
		}
	})
	return h, v
}

func parseIHU(b []byte) (TLV, verdict) {
	if len(b) < 6 {
		return nil, malformed
	}
	u := IHU{RxCost: be16(b[2:]), Interval: be16(b[4:])}
	addr, n, ok := parseAddr(b[0], b[6:])
	if !ok {
		return nil, malformed
	}
	u.Address = addr
	v := subTLVs(b[6+n:], func(s []byte) {
		if len(s) >= 8 {
			u.HasTimestamp, u.Origin, u.Receive = true, be32(s), be32(s[4:])
		}
	})
	return u, v
}

// parseAddr reads an address of an IHU or Next Hop TLV. RFC 9229 section 3: v4-via-v6
// has no addresses, only prefixes.
func parseAddr(ae byte, b []byte) (a netip.Addr, n int, ok bool) {
	switch {
	case ae == aeWildcard:
		return a, 0, true
	case ae == aeIPv4 && len(b) >= 4:
		return netip.AddrFrom4([4]byte(b)), 4, true
	case ae == aeIPv6 && len(b) >= 16:
		return netip.AddrFrom16([16]byte(b)), 16, true
	case ae == aeLocal && len(b) >= 8:
		full := [16]byte{0: 0xfe, 1: 0x80}
		copy(full[8:], b[:8])
		return netip.AddrFrom16(full), 8, true
	}
	return a, 0, false
}

// parseRouterID holds for later Updates even where a mandatory sub-TLV makes us
// ignore the TLV otherwise, RFC 8966 section 4.6.7.
func (st *state) parseRouterID(b []byte) verdict {
	if len(b) < 10 {
		return malformed
	}
	st.id = RouterID(b[2:10])
	st.hasID = validID(st.id)
	if !st.hasID {
		return malformed
	}
	return quiet(subTLVs(b[10:], nil))
}

func (st *state) parseNextHop(b []byte) verdict {
	if len(b) < 2 || b[0] == aeWildcard {
		return malformed
	}
	a, n, ok := parseAddr(b[0], b[2:])
	if !ok {
		return malformed
	}
	if a.Is4() {
		st.nextHop4 = a
	} else {
		st.nextHop6 = a
	}
	return quiet(subTLVs(b[2+n:], nil))
}

// quiet is the verdict on a TLV that only changes the state.
func quiet(v verdict) verdict {
	if v == taken {
		return silent
	}
	return v
}

// parseUpdate follows RFC 8966 section 4.6.9. What an Update means for later ones,
// by its flags, holds even if a mandatory sub-TLV makes us ignore it.
func (st *state) parseUpdate(b []byte) (TLV, verdict) {
	if len(b) < 10 {
		return nil, malformed
	}
	ae, flags, plen, omitted := b[0], b[1], int(b[2]), int(b[3])
	u := Update{Interval: be16(b[4:]), Seqno: be16(b[6:]), Metric: be16(b[8:])}
	b = b[10:]
	if ae == aeWildcard {
		if u.Metric != Infinity || plen != 0 || omitted != 0 {
			return nil, malformed
		}
		return u, subTLVs(b, nil)
	}
	octets := (plen + 7) / 8
	var full [16]byte
	switch {
	case plen > maxLen(ae), omitted > octets, len(b) < octets-omitted:
		return nil, malformed
	case omitted > 0 && !st.hasPrefix[ae]:
		return nil, malformed
	case omitted > 0:
		copy(full[:omitted], st.prefix[ae][:])
	}
	copy(full[omitted:], b[:octets-omitted])
	b = b[octets-omitted:]
	u.Prefix = makePrefix(ae, full, plen)
	if flags&updatePrefix != 0 {
		st.prefix[ae], st.hasPrefix[ae] = octetsOf(u.Prefix.Addr()), true
	}
	if flags&updateRouterID != 0 {
		st.id = addressID(u.Prefix.Addr())
		st.hasID = validID(st.id)
	}
	v := subTLVs(b, nil)
	if u.Metric == Infinity || v != taken {
		return u, v
	}
	if !st.hasID {
		return nil, malformed
	}
	u.RouterID = st.id
	if ae == aeIPv4 {
		if !st.nextHop4.IsValid() {
			return nil, malformed
		}
		u.NextHop = st.nextHop4
	} else {
		u.NextHop = st.nextHop6
	}
	return u, taken
}

// maxLen is the longest prefix of an address encoding; -1 where it has no prefixes.
func maxLen(ae byte) int {
	switch ae {
	case aeIPv4, aeViaV6:
		return 32
	case aeIPv6:
		return 128
	}
	return -1
}

// makePrefix needs plen within maxLen. Bits beyond it mean nothing.
func makePrefix(ae byte, full [16]byte, plen int) netip.Prefix {
	a := netip.AddrFrom16(full)
	if ae != aeIPv6 {
		a = netip.AddrFrom4([4]byte(full[:4]))
	}
	return netip.PrefixFrom(a, plen).Masked()
}

// octetsOf is the address left-aligned in 16 octets.
func octetsOf(a netip.Addr) (full [16]byte) {
	if a.Is4() {
		b := a.As4()
		copy(full[:], b[:])
		return full
	}
	return a.As16()
}

// parseWhole reads the uncompressed prefix of a request.
func parseWhole(ae byte, plen int, b []byte) (p netip.Prefix, n int, ok bool) {
	n = (plen + 7) / 8
	if plen > maxLen(ae) || len(b) < n {
		return p, 0, false
	}
	var full [16]byte
	copy(full[:], b[:n])
	return makePrefix(ae, full, plen), n, true
}

func parseRouteRequest(b []byte) (TLV, verdict) {
	if len(b) < 2 {
		return nil, malformed
	}
	if b[0] == aeWildcard {
		if b[1] != 0 {
			return nil, malformed
		}
		return RouteRequest{}, subTLVs(b[2:], nil)
	}
	p, n, ok := parseWhole(b[0], int(b[1]), b[2:])
	if !ok {
		return nil, malformed
	}
	return RouteRequest{p}, subTLVs(b[2+n:], nil)
}

// parseSeqnoRequest follows RFC 8966 section 4.6.11: no wildcard, no hop count of zero.
func parseSeqnoRequest(b []byte) (TLV, verdict) {
	if len(b) < 14 {
		return nil, malformed
	}
	p, n, ok := parseWhole(b[0], int(b[1]), b[14:])
	r := SeqnoRequest{Prefix: p, Seqno: be16(b[2:]), HopCount: b[4], RouterID: RouterID(b[6:14])}
	if !ok || r.HopCount == 0 || !validID(r.RouterID) {
		return nil, malformed
	}
	return r, subTLVs(b[14+n:], nil)
}
