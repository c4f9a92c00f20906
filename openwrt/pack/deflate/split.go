package deflate

import "slices"

// A block may end at every splitStep-th token, and has at most splitMost steps.
const (
	splitStep = 512
	splitMost = 96
)

// split cuts tokens where blocks of codes of their own are least in sum, by estimate:
// for each place the cheapest last block is found.
func split(tokens []token) (ends []int) {
	steps := (len(tokens) + splitStep - 1) / splitStep
	until := make([]counts, steps+1) // of all tokens before a place
	for i := range steps {
		until[i+1] = until[i]
		for _, t := range tokens[i*splitStep : min((i+1)*splitStep, len(tokens))] {
			until[i+1].add(t)
		}
	}
	total := make([]uint64, steps+1)
	last := make([]int, steps+1)
	for to := 1; to <= steps; to++ {
		total[to] = 1<<64 - 1
		for from := max(to-splitMost, 0); from < to; from++ {
			if c := total[from] + estimate(&until[from], &until[to]); c < total[to] {
				total[to], last[to] = c, from
			}
		}
	}
	for at := steps; at > 0; at = last[at] {
		ends = append(ends, min(at*splitStep, len(tokens)))
	}
	slices.Reverse(ends)
	return ends
}

// What a header takes, about: in all, and for each symbol that occurs.
const (
	headerBase = 150 * unit
	headerEach = 3 * unit
)

// estimate is what a block costs in units, without the bits that cost the same in any block.
func estimate(before, after *counts) uint64 {
	return headerBase + spread(before.litLen[:], after.litLen[:]) + spread(before.dist[:], after.dist[:])
}

// spread is the entropy of the counts between two places, and what naming the
// symbols takes in a header.
func spread(before, after []uint32) uint64 {
	var total uint32
	var parts, header uint64
	after = after[:len(before)]
	for s, b := range before {
		if n := after[s] - b; n > 0 {
			total += n
			parts += weigh(n)
			header += headerEach
		}
	}
	return weigh(total) - parts + header
}
