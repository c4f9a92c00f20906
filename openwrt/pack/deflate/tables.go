package deflate

import "math/bits"

// The alphabets of RFC 1951, section 3.2.5.
const (
	endOfBlock  = 256
	firstLength = 257 // of the symbols of lengths
	litLens     = 286
	dists       = 30

	minMatch = 3
	maxMatch = 258
	window   = 1 << 15
)

// A token is a literal byte, or a match: the symbol of its distance in bits 25 to 29,
// its length in bits 16 to 24, its distance below.
type token uint32

func match(length, distance int) token {
	return token(distSymbol(distance))<<25 | token(length)<<16 | token(distance)
}

func (t token) isMatch() bool    { return t > 255 }
func (t token) length() int      { return int(t >> 16 & 511) }
func (t token) distance() int    { return int(t & 0xffff) }
func (t token) distSymbol() int  { return int(t >> 25) }
func (t token) lenSymbol() int   { return int(lengthSymbols[t.length()]) }
func (t token) lenExtra() uint64 { return uint64(t.length() - lengthBases[t.lenSymbol()]) }
func (t token) distExtra() uint64 {
	return uint64(t.distance() - distBase(t.distSymbol()))
}

// size is the number of bytes that the token stands for.
func (t token) size() int {
	if t.isMatch() {
		return t.length()
	}
	return 1
}

// distSymbol is the symbol of a distance: two of them for each power of two.
func distSymbol(distance int) int {
	d := uint(distance - 1)
	if d < 4 {
		return int(d)
	}
	n := bits.Len(d) // three or more
	return 2*n - 2 + int(d>>(n-2)&1)
}

func distExtraBits(symbol int) int { return max(symbol/2-1, 0) }

func distBase(symbol int) int {
	if symbol < 4 {
		return symbol + 1
	}
	return (2+symbol&1)<<distExtraBits(symbol) + 1
}

var (
	lengthBases, lengthExtraBits = lengths29()
	lengthSymbols                = symbolsOfLengths()
)

// lengths29 computes the table of lengths: four symbols for each power of two, and
// one for the greatest length alone.
func lengths29() (bases [29]int, extra [29]int) {
	length := minMatch
	for s := range 28 {
		bases[s], extra[s] = length, max(s/4-1, 0)
		length += 1 << extra[s]
	}
	bases[28] = maxMatch
	return bases, extra
}

func symbolsOfLengths() (symbols [512]uint8) {
	for s, base := range lengthBases {
		for l := base; l < 512; l++ {
			symbols[l] = uint8(s)
		}
	}
	return symbols
}

// counts are how often the symbols of a block occur.
type counts struct {
	litLen [litLens]uint32
	dist   [dists]uint32
	extra  uint64 // bits that follow symbols
}

func count(tokens []token) *counts {
	c := new(counts)
	for _, t := range tokens {
		c.add(t)
	}
	c.litLen[endOfBlock] = 1
	return c
}

func (c *counts) add(t token) {
	if !t.isMatch() {
		c.litLen[t]++
		return
	}
	l, d := t.lenSymbol(), t.distSymbol()
	c.litLen[firstLength+l]++
	c.dist[d]++
	c.extra += uint64(lengthExtraBits[l] + distExtraBits(d))
}
