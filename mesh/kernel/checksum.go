package kernel

import (
	"encoding/binary"
	"math/bits"
)

// checksum adds the 16-bit words of b to sum, ones' complement (RFC 1071); an odd
// last byte is the high half of a word. The result is to be folded. Words are read
// in the order of the machine, which the sum does not mind (RFC 1071 section 2B)
// until the end.
func checksum(b []byte, sum uint64) uint64 {
	var s, carry uint64
	for len(b) >= 64 {
		s, carry = bits.Add64(s, binary.NativeEndian.Uint64(b), carry)
		s, carry = bits.Add64(s, binary.NativeEndian.Uint64(b[8:]), carry)
		s, carry = bits.Add64(s, binary.NativeEndian.Uint64(b[16:]), carry)
		s, carry = bits.Add64(s, binary.NativeEndian.Uint64(b[24:]), carry)
		s, carry = bits.Add64(s, binary.NativeEndian.Uint64(b[32:]), carry)
		s, carry = bits.Add64(s, binary.NativeEndian.Uint64(b[40:]), carry)
		s, carry = bits.Add64(s, binary.NativeEndian.Uint64(b[48:]), carry)
		s, carry = bits.Add64(s, binary.NativeEndian.Uint64(b[56:]), carry)
		b = b[64:]
	}
	for len(b) >= 8 {
		s, carry = bits.Add64(s, binary.NativeEndian.Uint64(b), carry)
		b = b[8:]
	}
	var rest [8]byte
	copy(rest[:], b)
	s, carry = bits.Add64(s, binary.NativeEndian.Uint64(rest[:]), carry)
	s, carry = bits.Add64(s, carry, 0)
	native := fold(s) + uint16(carry) // a carry leaves s at zero
	if littleEndian {
		native = bits.ReverseBytes16(native)
	}
	return sum + uint64(native)
}

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// fold makes a sum 16 bits wide.
func fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum)
}
