package wire

import "encoding/binary"

// Parse reads a datagram. Slices of the result point into p.
func Parse(p []byte) (Message, error) {
	var m Message
	if len(p) > MaxPacket {
		return m, &Error{"dht packet", "length"}
	}
	r := &reader{rest: p}
	if r.uint8() != Version {
		return m, &Error{"dht packet", "version"}
	}
	kind := Kind(r.uint8())
	flags := r.flags(flagClient)
	r.zeros(1)
	m.Client = flags&flagClient != 0
	m.ID = r.uint64()
	switch kind {
	case KindPing:
		r.zeros(pingLen - headerLen)
		m.Body = Ping{}
	case KindPong:
		m.Body = Pong{Token: r.token()}
	case KindFind:
		m.Body = r.find()
	case KindFound:
		m.Body = r.found()
	case KindFetch:
		m.Body = Fetch{Token: r.token(), Key: r.key(), Digest: r.digest(), Offset: r.offset(maxRecord)}
	case KindSegment:
		m.Body = r.segment()
	case KindOffer:
		m.Body = Offer{Token: r.token(), Key: r.key(), Seq: r.uint64(), Digest: r.digest(), TTL: r.uint32()}
	case KindStore:
		m.Body = r.store()
	case KindAnswer:
		m.Body = Answer{Token: r.token(), Status: r.status(), Seq: r.uint64(), Digest: r.digest()}
	default:
		return Message{}, &Error{"dht packet", "kind"}
	}
	if r.bad || len(r.rest) != 0 {
		return Message{}, &Error{"dht " + kind.String(), "field or length"}
	}
	return m, nil
}

// reader takes fields from the front; once one was missing, all are zero.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.rest) < n {
		r.bad = true
		return make([]byte, n) // n is one of ours, at most 84
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uint8() uint8   { return r.take(1)[0] }
func (r *reader) uint16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }
func (r *reader) token() Token   { return Token(r.take(8)) }
func (r *reader) key() Key       { return Key(r.take(32)) }
func (r *reader) digest() Digest { return Digest(r.take(16)) }

func (r *reader) zeros(n int) {
	for _, b := range r.take(n) {
		r.bad = r.bad || b != 0
	}
}

// flags reads an octet in which only known bits may be set.
func (r *reader) flags(known byte) byte {
	f := r.uint8()
	r.bad = r.bad || f&^known != 0
	return f
}

func (r *reader) status() Status {
	s := Status(r.uint8())
	r.bad = r.bad || s > lastStatus
	return s
}

func (r *reader) remaining() []byte {
	b := r.rest
	r.rest = nil
	return b
}

// offset reads where a segment begins: at a multiple of SegmentSize below total.
func (r *reader) offset(total int) uint16 {
	o := r.uint16()
	r.bad = r.bad || o%SegmentSize != 0 || int(o) >= total
	return o
}

func (r *reader) find() Find {
	b := Find{Token: r.token(), Key: r.key(), Have: r.uint64(), Value: r.flags(findValue) != 0}
	r.zeros(findLen - headerLen - 8 - 32 - 8 - 1)
	return b
}

func (r *reader) found() Found {
	b := Found{Token: r.token()}
	flags := r.flags(foundMeta | foundRecord | foundCached)
	if flags&foundMeta != 0 {
		b.Meta = &Meta{Seq: r.uint64(), Digest: r.digest(), TTL: r.uint32(), Total: r.uint16(), Cached: flags&foundCached != 0}
		r.bad = r.bad || !validTotal(b.Meta.Total)
	}
	r.bad = r.bad || b.Meta == nil && flags&foundCached != 0
	n := int(r.uint8())
	if n > MaxContacts || n*contactLen > len(r.rest) {
		r.bad = true
		return b
	}
	if n > 0 {
		b.Contacts = make([]Contact, n)
		for i := range b.Contacts {
			b.Contacts[i] = Contact(r.take(contactLen))
		}
	}
	if flags&foundRecord != 0 {
		b.Record = r.remaining()
		r.bad = r.bad || b.Meta == nil || len(b.Record) != int(b.Meta.Total)
	}
	return b
}

func (r *reader) segment() Segment {
	b := Segment{Total: r.uint16()}
	if b.Total == 0 {
		r.zeros(2)
		return b
	}
	b.Offset = r.offset(int(b.Total))
	b.Data = r.remaining()
	r.bad = r.bad || !validSegment(b.Total, b.Offset, b.Data)
	return b
}

func (r *reader) store() Store {
	b := Store{Token: r.token(), Key: r.key(), Digest: r.digest(), TTL: r.uint32()}
	flags := r.flags(storeCache | storeCAS)
	b.Cache = flags&storeCache != 0
	cas := r.uint64()
	if flags&storeCAS != 0 {
		b.CAS = &cas
	} else {
		r.bad = r.bad || cas != 0
	}
	b.Total = r.uint16()
	b.Offset = r.offset(int(b.Total))
	b.Data = r.remaining()
	r.bad = r.bad || !validSegment(b.Total, b.Offset, b.Data)
	return b
}

func validTotal(total uint16) bool { return minRecord <= total && total <= maxRecord }

// validSegment tells whether a segment is full or ends the record.
func validSegment(total, offset uint16, data []byte) bool {
	return validTotal(total) && len(data) == SegmentLen(int(total), int(offset))
}

// SegmentLen is the length of the segment that begins at offset.
func SegmentLen(total, offset int) int { return max(0, min(SegmentSize, total-offset)) }
