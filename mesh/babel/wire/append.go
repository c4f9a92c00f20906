package wire

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

var (
	errInvalid = errors.New("appending babel packet: TLV cannot be expressed")
	errTooLong = errors.New("appending babel packet: body too long")
)

// Append appends one packet with the TLVs to dst. It fails if one of them cannot
// be expressed, or if they need more room than a packet has.
func Append(dst []byte, tlvs ...TLV) ([]byte, error) {
	b := Builder{buf: dst, start: len(dst), max: headerLen + maxBody}
	for _, t := range tlvs {
		ok, err := b.Add(t)
		if err != nil {
			return dst, err
		}
		if !ok {
			return dst, errTooLong
		}
	}
	if len(b.buf) == b.start {
		b.header()
	}
	return b.Packet(), nil
}

// Builder fills one packet of bounded size. Prefixes and router-ids are compressed
// against the TLVs added before. Its buffer is its own: Packet hands it out.
type Builder struct {
	buf   []byte
	start int
	max   int
	st    state
}

// NewBuilder returns a builder of packets of at most max bytes.
func NewBuilder(max int) *Builder { return &Builder{max: max} }

// Len is the length of the packet so far; zero if nothing was added.
func (b *Builder) Len() int { return len(b.buf) - b.start }

// Packet returns the packet and leaves the builder empty; nil if nothing was added.
func (b *Builder) Packet() []byte {
	p := b.buf
	if len(p) > b.start {
		binary.BigEndian.PutUint16(p[b.start+2:], uint16(len(p)-b.start-headerLen))
	}
	*b = Builder{max: b.max}
	return p
}

func (b *Builder) header() {
	if b.buf == nil {
		b.buf = make([]byte, 0, min(b.max, 1500))
	}
	b.buf = append(b.buf, magic, version, 0, 0)
}

// Add adds a TLV. It returns false, and changes nothing, if the packet has no room
// for it or cannot express it after what it holds already: Packet must be called first.
func (b *Builder) Add(t TLV) (bool, error) {
	if len(b.buf) == b.start {
		b.header()
		ok, err := b.add(t)
		if !ok || err != nil {
			b.buf = b.buf[:b.start]
		}
		return ok, err
	}
	return b.add(t)
}

func (b *Builder) add(t TLV) (bool, error) {
	mark := len(b.buf)
	saved := b.st
	var err error
	switch t := t.(type) {
	case AckRequest:
		b.buf = append(b.buf, typeAckRequest, 6, 0, 0)
		b.put16(t.Opaque, t.Interval)
	case Ack:
		b.buf = append(b.buf, typeAck, 2)
		b.put16(t.Opaque)
	case Hello:
		b.hello(t)
	case IHU:
		err = b.ihu(t)
	case Update:
		if t.Metric != Infinity && !t.NextHop.IsValid() && b.st.nextHop6.IsValid() {
			return false, nil // the source is the next hop only where no Next Hop TLV went before
		}
		err = b.update(t)
	case RouteRequest:
		if !t.Prefix.IsValid() {
			b.buf = append(b.buf, typeRouteRequest, 2, aeWildcard, 0)
			break
		}
		ae, octets := encoding(t.Prefix, netip.Addr{}), whole(t.Prefix)
		b.buf = append(b.buf, typeRouteRequest, byte(2+len(octets)), ae, byte(t.Prefix.Bits()))
		b.buf = append(b.buf, octets...)
	case SeqnoRequest:
		if !t.Prefix.IsValid() || t.HopCount == 0 || !validID(t.RouterID) {
			err = errInvalid
			break
		}
		ae, octets := encoding(t.Prefix, netip.Addr{}), whole(t.Prefix)
		b.buf = append(b.buf, typeSeqnoRequest, byte(14+len(octets)), ae, byte(t.Prefix.Bits()))
		b.put16(t.Seqno)
		b.buf = append(b.buf, t.HopCount, 0)
		b.buf = append(b.buf, t.RouterID[:]...)
		b.buf = append(b.buf, octets...)
	default:
		err = errInvalid
	}
	if err != nil || len(b.buf)-b.start > b.max {
		b.buf, b.st = b.buf[:mark], saved
		return false, err
	}
	return true, nil
}

func (b *Builder) put16(vs ...uint16) {
	for _, v := range vs {
		b.buf = binary.BigEndian.AppendUint16(b.buf, v)
	}
}

func (b *Builder) put32(vs ...uint32) {
	for _, v := range vs {
		b.buf = binary.BigEndian.AppendUint32(b.buf, v)
	}
}

// hello writes at most one sub-TLV: babeld before 1.12.2 misreads several.
func (b *Builder) hello(t Hello) {
	flags, n := uint16(0), byte(6)
	if t.Unicast {
		flags = helloUnicast
	}
	if t.HasTimestamp {
		n += 6
	}
	b.buf = append(b.buf, typeHello, n)
	b.put16(flags, t.Seqno, t.Interval)
	if t.HasTimestamp {
		b.buf = append(b.buf, subTimestamp, 4)
		b.put32(t.Timestamp)
	}
}

func (b *Builder) ihu(t IHU) error {
	mark := len(b.buf)
	ae, octets, err := address(t.Address)
	if err != nil {
		return err
	}
	b.buf = append(b.buf, typeIHU, 0, ae, 0)
	b.put16(t.RxCost, t.Interval)
	b.buf = append(b.buf, octets...)
	if t.HasTimestamp {
		b.buf = append(b.buf, subTimestamp, 8)
		b.put32(t.Origin, t.Receive)
	}
	b.buf[mark+1] = byte(len(b.buf) - mark - 2)
	return nil
}

// address picks the shortest encoding of an address.
func address(a netip.Addr) (ae byte, octets []byte, err error) {
	switch {
	case !a.IsValid():
		return aeWildcard, nil, nil
	case a.Zone() != "":
		return 0, nil, errInvalid
	case a.Is4():
		return aeIPv4, a.AsSlice(), nil
	}
	full := a.As16()
	if [8]byte(full[:8]) == [8]byte{0xfe, 0x80} {
		return aeLocal, full[8:], nil
	}
	return aeIPv6, full[:], nil
}

// encoding is the address encoding of a prefix, given the next hop of its route.
func encoding(p netip.Prefix, nextHop netip.Addr) byte {
	switch {
	case !p.Addr().Is4():
		return aeIPv6
	case nextHop.Is4():
		return aeIPv4
	}
	return aeViaV6
}

// whole is a prefix's octets, without compression.
func whole(p netip.Prefix) []byte {
	full := octetsOf(p.Masked().Addr())
	return full[:(p.Bits()+7)/8]
}

// update writes an Update with the Router-Id and Next Hop TLVs that it needs. Each
// IPv6 Update becomes the default prefix of the next: sorted prefixes share most.
func (b *Builder) update(t Update) error {
	if !t.Prefix.IsValid() {
		if t.Metric != Infinity {
			return errInvalid
		}
		b.buf = append(b.buf, typeUpdate, 10, aeWildcard, 0, 0, 0)
		b.put16(t.Interval, t.Seqno, t.Metric)
		return nil
	}
	p := t.Prefix.Masked()
	flags := byte(0)
	if t.Metric != Infinity {
		if !validID(t.RouterID) || t.NextHop.Zone() != "" || (t.NextHop.Is4() && !p.Addr().Is4()) {
			return errInvalid
		}
		flags = b.routerID(t.RouterID, p)
		b.nextHop(t.NextHop)
	} else {
		t.NextHop = netip.Addr{}
	}
	ae := encoding(p, t.NextHop)
	full := octetsOf(p.Addr())
	octets, omitted := (p.Bits()+7)/8, 0
	if ae == aeIPv6 {
		if b.st.hasPrefix[ae] {
			for omitted < octets && full[omitted] == b.st.prefix[ae][omitted] {
				omitted++
			}
		}
		flags |= updatePrefix
		b.st.prefix[ae], b.st.hasPrefix[ae] = full, true
	}
	b.buf = append(b.buf, typeUpdate, byte(10+octets-omitted), ae, flags, byte(p.Bits()), byte(omitted))
	b.put16(t.Interval, t.Seqno, t.Metric)
	b.buf = append(b.buf, full[omitted:octets]...)
	return nil
}

// routerID makes id the current router-id: nothing if it is, the flag if it is the
// end of the prefix's address, a TLV otherwise.
func (b *Builder) routerID(id RouterID, p netip.Prefix) (flags byte) {
	if b.st.hasID && b.st.id == id {
		return 0
	}
	b.st.id, b.st.hasID = id, true
	if addressID(p.Addr()) == id {
		return updateRouterID
	}
	b.buf = append(b.buf, typeRouterID, 10, 0, 0)
	b.buf = append(b.buf, id[:]...)
	return 0
}

func (b *Builder) nextHop(a netip.Addr) {
	if !a.IsValid() || a == b.st.nextHop4 || a == b.st.nextHop6 {
		return
	}
	if a.Is4() {
		b.st.nextHop4 = a
	} else {
		b.st.nextHop6 = a
	}
	ae, octets, _ := address(a)
	b.buf = append(b.buf, typeNextHop, byte(2+len(octets)), ae, 0)
	b.buf = append(b.buf, octets...)
}
