package deflate

import (
	"math/bits"
	"slices"
)

// codeLengths writes the lengths of the best prefix code of at most limit bits for these
// counts: package-merge, the coin collector's way. Two symbols have a code at least, as
// some readers want: a code of one symbol would be incomplete.
func codeLengths(counts []uint32, limit int, lengths []uint8) {
	clear(lengths)
	var list [litLens]uint64 // count<<16 | symbol
	used := list[:0]
	for s, n := range counts {
		if n > 0 {
			used = append(used, uint64(n)<<16|uint64(s))
		}
	}
	for s := 0; len(used) < 2; s++ {
		if counts[s] == 0 {
			used = append(used, 1<<16|uint64(s))
		}
	}
	slices.Sort(used)
	collect(used, limit, func(s int) { lengths[s]++ })
}

// collect calls deeper for a symbol as often as its code has bits. A level holds the
// leaves and the pairs of the level below, by weight; the 2n-2 lightest of the last
// level are the code, and each pair among them stands for two of the level below.
func collect(leaves []uint64, limit int, deeper func(symbol int)) {
	n := len(leaves)
	const most = 2 * litLens
	var isPair [15][most]bool
	var weights, below [most]uint64
	size := 0
	for level := range limit {
		pairs, leaf, pair := size/2, 0, 0
		below, size = weights, 0
		for leaf < n || pair < pairs {
			var sum uint64
			if pair < pairs {
				sum = below[2*pair] + below[2*pair+1]
			}
			if pair == pairs || leaf < n && leaves[leaf]>>16 <= sum {
				weights[size], isPair[level][size] = leaves[leaf]>>16, false
				leaf++
			} else {
				weights[size], isPair[level][size] = sum, true
				pair++
			}
			size++
		}
	}
	take := 2*n - 2
	for level := limit - 1; level >= 0 && take > 0; level-- {
		pairs, leaf := 0, 0
		for _, p := range isPair[level][:take] {
			if p {
				pairs++
			} else {
				deeper(int(leaves[leaf] & 0xffff))
				leaf++
			}
		}
		take = 2 * pairs
	}
}

// codes returns the canonical code (RFC 1951, section 3.2.2) with its bits turned round,
// as they go into the stream.
func codes(lengths []uint8) []uint16 {
	var number [16]int
	for _, l := range lengths {
		number[l]++
	}
	number[0] = 0
	var next [16]int
	for l := 1; l < 16; l++ {
		next[l] = (next[l-1] + number[l-1]) << 1
	}
	all := make([]uint16, len(lengths))
	for s, l := range lengths {
		if l > 0 {
			all[s] = bits.Reverse16(uint16(next[l])) >> (16 - l)
			next[l]++
		}
	}
	return all
}
