package kernel

import (
	"encoding/binary"
	"math/bits"
)

// checksum adds the 16-bit words of b to sum, big-endian, ones' complement (RFC
// 1071); an odd last byte is the high half of a word. The result is congruent to
// the sum modulo 65535, to be folded.
func checksum(b []byte, sum uint64) uint64 {
	var carry uint64
	for len(b) >= 64 {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[8:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[16:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[24:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[32:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[40:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[48:]), carry)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b[56:]), carry)
		b = b[64:]
	}
	for len(b) >= 8 {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
		b = b[8:]
	}
	var rest [8]byte
	copy(rest[:], b)
	sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(rest[:]), carry)
	sum, carry = bits.Add64(sum, carry, 0)
	return sum + carry
}

// fold makes a sum 16 bits wide.
func fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum)
}
