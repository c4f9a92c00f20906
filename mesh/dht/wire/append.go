package wire

import "encoding/binary"

const (
	flagClient = 0x01

	findValue = 0x01

	foundMeta   = 0x01
	foundRecord = 0x02
	foundCached = 0x04

	storeCache = 0x01
	storeCAS   = 0x02
)

// Append appends the datagram of m to dst. Fields beyond their bounds are a bug
// of the caller and panic.
func Append(dst []byte, m Message) []byte {
	start := len(dst)
	var flags byte
	if m.Client {
		flags = flagClient
	}
	dst = append(dst, Version, byte(m.Body.Kind()), flags, 0)
	dst = binary.BigEndian.AppendUint64(dst, m.ID)
	dst = m.Body.append(dst)
	if len(dst)-start > MaxPacket {
		panic("dht/wire: datagram too long")
	}
	return dst
}

// pad appends zeros up to a length of the body with its header.
func pad(dst []byte, missing int) []byte {
	return append(dst, make([]byte, missing)...)
}

func (Ping) append(dst []byte) []byte { return pad(dst, pingLen-headerLen) }

func (b Pong) append(dst []byte) []byte { return append(dst, b.Token[:]...) }

func (b Find) append(dst []byte) []byte {
	dst = append(dst, b.Token[:]...)
	dst = append(dst, b.Key[:]...)
	dst = binary.BigEndian.AppendUint64(dst, b.Have)
	var flags byte
	if b.Value {
		flags = findValue
	}
	dst = append(dst, flags)
	return pad(dst, findLen-headerLen-8-32-8-1)
}

func (b Found) append(dst []byte) []byte {
	if len(b.Contacts) > MaxContacts {
		panic("dht/wire: too many contacts")
	}
	dst = append(dst, b.Token[:]...)
	var flags byte
	if b.Meta != nil {
		flags |= foundMeta
		if b.Meta.Cached {
			flags |= foundCached
		}
	}
	if len(b.Record) > 0 {
		flags |= foundRecord
	}
	dst = append(dst, flags)
	if b.Meta != nil {
		dst = binary.BigEndian.AppendUint64(dst, b.Meta.Seq)
		dst = append(dst, b.Meta.Digest[:]...)
		dst = binary.BigEndian.AppendUint32(dst, b.Meta.TTL)
		dst = binary.BigEndian.AppendUint16(dst, b.Meta.Total)
	}
	dst = append(dst, byte(len(b.Contacts)))
	for _, c := range b.Contacts {
		dst = append(dst, c[:]...)
	}
	return append(dst, b.Record...)
}

// FoundSize is the length of a Found datagram.
func FoundSize(meta bool, contacts, record int) int {
	size := headerLen + 8 + 1 + 1 + contacts*contactLen + record
	if meta {
		size += 8 + 16 + 4 + 2
	}
	return size
}

func (b Fetch) append(dst []byte) []byte {
	dst = append(dst, b.Token[:]...)
	dst = append(dst, b.Key[:]...)
	dst = append(dst, b.Digest[:]...)
	return binary.BigEndian.AppendUint16(dst, b.Offset)
}

func (b Segment) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, b.Total)
	dst = binary.BigEndian.AppendUint16(dst, b.Offset)
	return append(dst, b.Data...)
}

func (b Offer) append(dst []byte) []byte {
	dst = append(dst, b.Token[:]...)
	dst = append(dst, b.Key[:]...)
	dst = binary.BigEndian.AppendUint64(dst, b.Seq)
	dst = append(dst, b.Digest[:]...)
	return binary.BigEndian.AppendUint32(dst, b.TTL)
}

func (b Store) append(dst []byte) []byte {
	dst = append(dst, b.Token[:]...)
	dst = append(dst, b.Key[:]...)
	dst = append(dst, b.Digest[:]...)
	dst = binary.BigEndian.AppendUint32(dst, b.TTL)
	var flags byte
	var cas uint64
	if b.Cache {
		flags |= storeCache
	}
	if b.CAS != nil {
		flags |= storeCAS
		cas = *b.CAS
	}
	dst = append(dst, flags)
	dst = binary.BigEndian.AppendUint64(dst, cas)
	dst = binary.BigEndian.AppendUint16(dst, b.Total)
	dst = binary.BigEndian.AppendUint16(dst, b.Offset)
	return append(dst, b.Data...)
}

func (b Answer) append(dst []byte) []byte {
	dst = append(dst, b.Token[:]...)
	dst = append(dst, byte(b.Status))
	dst = binary.BigEndian.AppendUint64(dst, b.Seq)
	return append(dst, b.Digest[:]...)
}
