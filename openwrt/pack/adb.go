package pack

import (
	"encoding/binary"
	"math"
)

// value is a word of an ADB database: four bits of type, and a number or the
// place of what it stands for.
type value uint32

// Types of values. Arrays inside objects carry the type of objects: so does the
// program that defines the format.
const (
	typeInt    value = 0x1 << 28
	typeInt32  value = 0x2 << 28
	typeInt64  value = 0x3 << 28
	typeBlob8  value = 0x8 << 28
	typeBlob16 value = 0x9 << 28
	typeBlob32 value = 0xa << 28
	typeObject value = 0xe << 28

	null value = 0
)

const maxDatabase = 1 << 24 // far below the 28 bits of a place

// database is a payload under construction. Places count from its beginning,
// where the header is; children come before what holds them.
type database struct {
	payload []byte
}

func newDatabase() *database { return &database{make([]byte, 8)} }

func (d *database) align(n int) {
	for len(d.payload)%n != 0 {
		d.payload = append(d.payload, 0)
	}
}

func (d *database) place(t value, alignment int) value {
	d.align(alignment)
	return t | value(len(d.payload))
}

func (d *database) blob(b []byte) value {
	var v value
	switch n := len(b); {
	case n == 0:
		return null
	case n <= math.MaxUint8:
		v = d.place(typeBlob8, 1)
		d.payload = append(d.payload, byte(n))
	case n <= math.MaxUint16:
		v = d.place(typeBlob16, 2)
		d.payload = binary.LittleEndian.AppendUint16(d.payload, uint16(n))
	default:
		v = d.place(typeBlob32, 4)
		d.payload = binary.LittleEndian.AppendUint32(d.payload, uint32(n))
	}
	d.payload = append(d.payload, b...)
	return v
}

func (d *database) text(s string) value { return d.blob([]byte(s)) }

func (d *database) integer(n uint64) value {
	if n < 1<<28 {
		return typeInt | value(n)
	}
	if n <= math.MaxUint32 {
		v := d.place(typeInt32, 4)
		d.payload = binary.LittleEndian.AppendUint32(d.payload, uint32(n))
		return v
	}
	v := d.place(typeInt64, 4)
	d.payload = binary.LittleEndian.AppendUint64(d.payload, n)
	return v
}

// object writes slots 1 to len(slots); empty ones at the end are left out, and
// an object of nothing else is null. Arrays are written alike.
func (d *database) object(slots ...value) value {
	n := len(slots)
	for n > 0 && slots[n-1] == null {
		n--
	}
	if n == 0 {
		return null
	}
	v := d.place(typeObject, 4)
	d.payload = binary.LittleEndian.AppendUint32(d.payload, uint32(n+1))
	for _, s := range slots[:n] {
		d.payload = binary.LittleEndian.AppendUint32(d.payload, uint32(s))
	}
	return v
}

// finish names the root.
func (d *database) finish(root value) []byte {
	binary.LittleEndian.PutUint32(d.payload[4:], uint32(root))
	return d.payload
}

// Types of blocks.
const (
	blockADB  = 0
	blockSig  = 1
	blockData = 2
)

// appendBlock appends a block whose payload is the parts together, padded to
// eight bytes.
func appendBlock(dst []byte, kind uint32, parts ...[]byte) []byte {
	size := 4
	for _, p := range parts {
		size += len(p)
	}
	dst = binary.LittleEndian.AppendUint32(dst, kind<<30|uint32(size))
	for _, p := range parts {
		dst = append(dst, p...)
	}
	for ; size%8 != 0; size++ {
		dst = append(dst, 0)
	}
	return dst
}
