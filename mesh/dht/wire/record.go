package wire

import (
	"crypto/sha256"
	"encoding/binary"
)

const (
	// MaxSalt and MaxValue bound what a record carries.
	MaxSalt  = 64
	MaxValue = 4096

	minRecord = 2 + 32 + 8 + 8 + 1 + 2 + 64
	maxRecord = minRecord + MaxSalt + MaxValue

	recordContext = "globalnet dht record"
	keyContext    = "globalnet dht key"
)

// Record is a signed value.
type Record struct {
	Type      uint16
	Public    [32]byte // Ed25519, often blinded
	Seq       uint64
	Expiry    uint64 // seconds since 1970; 0: only its time to live ends it
	Salt      []byte // separates the records of one key and type
	Value     []byte
	Signature [64]byte
}

// Key is the place of the record.
func (r *Record) Key() Key { return RecordKey(r.Type, r.Public, r.Salt) }

// RecordKey is the place of the record with that type, public key and salt.
func RecordKey(typ uint16, public [32]byte, salt []byte) Key {
	b := make([]byte, 0, 1+len(keyContext)+2+32+1+MaxSalt)
	b = append(b, byte(len(keyContext)))
	b = append(b, keyContext...)
	b = binary.BigEndian.AppendUint16(b, typ)
	b = append(b, public[:]...)
	b = append(b, byte(len(salt)))
	b = append(b, salt...)
	return sha256.Sum256(b)
}

// appendFields appends all but the signature.
func (r *Record) appendFields(dst []byte) []byte {
	if len(r.Salt) > MaxSalt || len(r.Value) > MaxValue {
		panic("dht/wire: record too long")
	}
	dst = binary.BigEndian.AppendUint16(dst, r.Type)
	dst = append(dst, r.Public[:]...)
	dst = binary.BigEndian.AppendUint64(dst, r.Seq)
	dst = binary.BigEndian.AppendUint64(dst, r.Expiry)
	dst = append(dst, byte(len(r.Salt)))
	dst = append(dst, r.Salt...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Value)))
	return append(dst, r.Value...)
}

// SignedForm is what the signature covers: the length and text of a context that
// no other signature of the project has, then all fields with their lengths.
func (r *Record) SignedForm() []byte {
	b := make([]byte, 0, 1+len(recordContext)+r.Size())
	b = append(b, byte(len(recordContext)))
	b = append(b, recordContext...)
	return r.appendFields(b)
}

// Digest identifies the content. The signature is not part of it: who holds the
// key could make many for the same content.
func (r *Record) Digest() Digest {
	sum := sha256.Sum256(r.SignedForm())
	return Digest(sum[:])
}

// Size is the length of the encoding.
func (r *Record) Size() int { return minRecord + len(r.Salt) + len(r.Value) }

// AppendRecord appends the encoding of a record.
func AppendRecord(dst []byte, r *Record) []byte {
	return append(r.appendFields(dst), r.Signature[:]...)
}

// ParseRecord reads an encoded record. Its slices point into p.
func ParseRecord(p []byte) (*Record, error) {
	r := &reader{rest: p}
	rec := &Record{Type: r.uint16(), Public: r.key(), Seq: r.uint64(), Expiry: r.uint64()}
	rec.Salt = r.bytes(int(r.uint8()), MaxSalt)
	rec.Value = r.bytes(int(r.uint16()), MaxValue)
	rec.Signature = [64]byte(r.take(64))
	if r.bad || len(r.rest) != 0 {
		return nil, &Error{"dht record", "field or length"}
	}
	return rec, nil
}

// bytes reads a field of variable length; nil if it is empty.
func (r *reader) bytes(n, limit int) []byte {
	if n == 0 {
		return nil
	}
	if n > limit || n > len(r.rest) {
		r.bad = true
		return nil
	}
	return r.take(n)
}
