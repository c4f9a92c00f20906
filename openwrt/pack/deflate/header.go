package deflate

import "slices"

// Symbols of the code of code lengths (RFC 1951, section 3.2.7) above the lengths themselves.
const (
	repeatLast  = 16 // three to six times
	repeatZero  = 17 // three to ten
	repeatZeros = 18 // eleven to 138
	lengthCodes = 19
)

// order is that in which their own lengths are written.
var order = [lengthCodes]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// run is a symbol of the code of code lengths, and how many lengths it stands for.
type run struct {
	symbol uint8
	n      uint8
}

// extra are the bits that follow the symbol: their number and value.
func (r run) extra() (bits int, value uint64) {
	switch r.symbol {
	case repeatLast:
		return 2, uint64(r.n - 3)
	case repeatZero:
		return 3, uint64(r.n - 3)
	case repeatZeros:
		return 7, uint64(r.n - 11)
	}
	return 0, 0
}

// header is what a dynamic block begins with.
type header struct {
	litLen  [litLens]uint8
	dist    [dists]uint8
	litLens int // of them, that are written
	dists   int
	runs    []run
	codes   [lengthCodes]uint8 // lengths of the code of code lengths
	size    int                // in bits, with the three of the block
}

// makeHeader codes the lengths of both codes; the more rounds, the better.
func makeHeader(litLen *[litLens]uint8, dist *[dists]uint8, rounds int) *header {
	h := &header{litLen: *litLen, dist: *dist, litLens: litLens, dists: dists}
	for h.litLens > firstLength && litLen[h.litLens-1] == 0 {
		h.litLens--
	}
	for h.dists > 1 && dist[h.dists-1] == 0 {
		h.dists--
	}
	all := slices.Concat(litLen[:h.litLens], dist[:h.dists])
	// Each round's runs are the best for the code that the last ones gave.
	cost := [lengthCodes]uint8{4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4}
	for range rounds {
		runs := cutRuns(all, &cost)
		var n [lengthCodes]uint32
		for _, r := range runs {
			n[r.symbol]++
		}
		var codes [lengthCodes]uint8
		codeLengths(n[:], 7, codes[:])
		size := 3 + 5 + 5 + 4 + 3*written(&codes)
		for _, r := range runs {
			extra, _ := r.extra()
			size += int(codes[r.symbol]) + extra
		}
		if h.size > 0 && size >= h.size {
			break
		}
		h.runs, h.codes, h.size = runs, codes, size
		for s, l := range codes {
			if cost[s] = l; l == 0 {
				cost[s] = 7
			}
		}
	}
	return h
}

// written is how many lengths of the code of code lengths are written.
func written(codes *[lengthCodes]uint8) int {
	n := lengthCodes
	for n > 4 && codes[order[n-1]] == 0 {
		n--
	}
	return n
}

// cutRuns cuts lengths into the cheapest runs, by the cost of each symbol in bits.
func cutRuns(lengths []uint8, cost *[lengthCodes]uint8) []run {
	var total [litLens + dists + 1]uint16
	var choice [litLens + dists]run
	same := 0 // how often the length stands from here on
	for at := len(lengths) - 1; at >= 0; at-- {
		l := lengths[at]
		if at+1 < len(lengths) && lengths[at+1] == l {
			same++
		} else {
			same = 1
		}
		best, with := total[at+1]+uint16(cost[l]), run{l, 1}
		try := func(symbol uint8, low, high, extra int) {
			for n := min(same, high); n >= low; n-- {
				if c := total[at+n] + uint16(cost[symbol]) + uint16(extra); c < best {
					best, with = c, run{symbol, uint8(n)}
				}
			}
		}
		if l == 0 {
			try(repeatZero, 3, 10, 3)
			try(repeatZeros, 11, 138, 7)
		}
		if at > 0 && lengths[at-1] == l {
			try(repeatLast, 3, 6, 2)
		}
		total[at], choice[at] = best, with
	}
	var runs []run
	for at := 0; at < len(lengths); at += int(choice[at].n) {
		runs = append(runs, choice[at])
	}
	return runs
}

func (h *header) write(w *bitWriter) {
	const dynamic = 2
	w.put(dynamic<<1, 3)
	w.put(uint64(h.litLens-firstLength), 5)
	w.put(uint64(h.dists-1), 5)
	n := written(&h.codes)
	w.put(uint64(n-4), 4)
	for _, s := range order[:n] {
		w.put(uint64(h.codes[s]), 3)
	}
	codes := codes(h.codes[:])
	for _, r := range h.runs {
		w.put(uint64(codes[r.symbol]), int(h.codes[r.symbol]))
		bits, value := r.extra()
		w.put(value, bits)
	}
}
