package deflate

import (
	"encoding/binary"
	"math/bits"
)

// finder finds, for each place of a text, the nearest match of every length: sorted binary trees of
// the strings in the window, one for each hash of four bytes, and a table of the last
// places of three.
type finder struct {
	trees    [1 << hashBits]int32 // place+1 of the newest string: the root
	children [2 * window]int32    // of a place in the window: the lesser and the greater
	threes   [2 << hashBits]int32 // the two newest places of each hash of three bytes
}

const (
	hashBits = 16
	// How far a search goes down a tree, and what a place keeps of what it finds: bounds
	// for texts made to be slow.
	maxDepth   = 100
	maxMatches = 32
)

func hash4(b []byte) uint32 { return binary.LittleEndian.Uint32(b) * 0x9e3779b1 >> (32 - hashBits) }

func hash3(b []byte) uint32 {
	return (uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16) * 0x9e3779b1 >> (32 - hashBits)
}

func (f *finder) reset() {
	clear(f.trees[:])
	clear(f.threes[:])
}

// find appends the matches of the place to found, shorter and nearer ones first, none
// longer than most; with most zero it only remembers the place.
func (f *finder) find(text []byte, at, most int, found []token) []token {
	rest := text[at:]
	if len(rest) < 4 {
		return found
	}
	first := len(found)
	best := minMatch - 1
	h3 := 2 * hash3(rest)
	near, far := f.threes[h3], f.threes[h3+1]
	f.threes[h3], f.threes[h3+1] = int32(at)+1, near
	if most >= minMatch {
		for _, p := range [2]int32{near, far} {
			from := int(p) - 1
			if p == 0 || at-from >= window {
				break
			}
			if text[from] == rest[0] && text[from+1] == rest[1] && text[from+2] == rest[2] {
				best = minMatch
				found = append(found, match(minMatch, at-from))
				break
			}
		}
	}
	limit := min(len(rest), maxMatch)
	h4 := hash4(rest)
	node := int(f.trees[h4]) - 1
	f.trees[h4] = int32(at) + 1
	lesser, greater := &f.children[at%window*2], &f.children[at%window*2+1]
	lesserLen, greaterLen := 0, 0
	for depth := maxDepth; node >= 0 && at-node < window && depth > 0; depth-- {
		kids := (*[2]int32)(f.children[node%window*2:])
		n := common(text[node:], rest, min(lesserLen, greaterLen), limit)
		if n > best {
			best = n
			if l := min(n, most); l >= minMatch {
				found = keep(found, first, match(l, at-node))
			}
		}
		if n == limit {
			*lesser, *greater = kids[0], kids[1]
			return found
		}
		if text[node+n] < rest[n] {
			*lesser, lesser, lesserLen = int32(node)+1, &kids[1], n
			node = int(kids[1]) - 1
		} else {
			*greater, greater, greaterLen = int32(node)+1, &kids[0], n
			node = int(kids[0]) - 1
		}
	}
	*lesser, *greater = 0, 0
	return found
}

// keep appends a match to those of a place, which begin at first. Of two of the same
// length the nearer stays; of too many the longest.
func keep(found []token, first int, m token) []token {
	last := len(found) - 1
	switch {
	case last < first:
	case found[last].length() == m.length():
		return found
	case last-first+1 == maxMatches:
		found[last] = m
		return found
	}
	return append(found, m)
}

// common is the length of what a and b begin with alike, n of which is known.
func common(a, b []byte, n, limit int) int {
	for n+8 <= limit {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
		n += 8
	}
	for n < limit && a[n] == b[n] {
		n++
	}
	return n
}
