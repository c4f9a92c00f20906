package deflate

import "math/bits"

// Costs are counted in parts of a bit, in integers: floating point may round in another
// way on another machine, and then its packages would differ.
const (
	unitBits = 6
	unit     = 1 << unitBits
)

// log2 is the logarithm of n > 0 in 65536ths, rounded down.
func log2(n uint64) uint64 {
	whole := bits.Len64(n) - 1
	m := n << (63 - whole) >> 32 // 1 to 2, with 31 bits behind the point
	l := uint64(whole)
	for range 16 {
		m = m * m >> 31
		l <<= 1
		if m >= 1<<32 {
			l |= 1
			m >>= 1
		}
	}
	return l
}

// weighs keeps n·log2(n) of small numbers, in units.
var weighs = func() (table [1 << 13]uint32) {
	for n := range table {
		if n > 0 {
			table[n] = uint32(uint64(n) * log2(uint64(n)) >> (16 - unitBits))
		}
	}
	return table
}()

// weigh is n·log2(n) in units.
func weigh(n uint32) uint64 {
	if n < uint32(len(weighs)) {
		return uint64(weighs[n])
	}
	return uint64(n) * log2(uint64(n)) >> (16 - unitBits)
}
