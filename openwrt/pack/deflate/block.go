package deflate

// codeFor is the best code found for counts: of the counts themselves, and of ones made
// a little smoother, whose code costs more and whose header less.
func codeFor(n *counts) (h *header, size int) {
	for strength := range 4 {
		smoother := *n
		smooth(smoother.litLen[:], strength)
		smooth(smoother.dist[:], strength)
		litLen, dist := lengthsOf(&smoother)
		g := makeHeader(litLen, dist, 4)
		if s := g.size + n.cost(litLen, dist); h == nil || s < size {
			h, size = g, s
		}
	}
	return h, size
}

func lengthsOf(n *counts) (litLen *[litLens]uint8, dist *[dists]uint8) {
	litLen, dist = new([litLens]uint8), new([dists]uint8)
	codeLengths(n.litLen[:], 15, litLen[:])
	codeLengths(n.dist[:], 15, dist[:])
	return litLen, dist
}

// cost is what the tokens take with that code, in bits.
func (n *counts) cost(litLen *[litLens]uint8, dist *[dists]uint8) int {
	size := int(n.extra)
	for s, c := range n.litLen {
		size += int(c) * int(litLen[s])
	}
	for s, c := range n.dist {
		size += int(c) * int(dist[s])
	}
	return size
}

// smooth makes counts that are nearly those of their neighbours the same, so that their
// lengths make runs. Strength zero leaves all as they are.
func smooth(n []uint32, strength int) {
	if strength == 0 {
		return
	}
	for from := 0; from < len(n); {
		// A stretch goes on while the next is near the mean of it.
		sum, to := n[from], from+1
		for to < len(n) && (n[to] == 0) == (n[from] == 0) {
			mean := sum / uint32(to-from)
			apart := max(n[to], mean) - min(n[to], mean)
			if apart > mean*uint32(strength)/8+uint32(strength) {
				break
			}
			sum += n[to]
			to++
		}
		if size := uint32(to - from); size >= 3 && sum > 0 {
			for i := from; i < to; i++ {
				n[i] = max((sum+size/2)/size, 1)
			}
		}
		from = to
	}
}

// fixedCode is that of RFC 1951, section 3.2.6. Its two last symbols, which nothing
// uses, have lengths too: they are needed to number the codes.
func fixedCode() (litLen [litLens + 2]uint8, dist [dists + 2]uint8) {
	for s := range litLen {
		switch {
		case s < 144, s >= 280:
			litLen[s] = 8
		case s < 256:
			litLen[s] = 9
		default:
			litLen[s] = 7
		}
	}
	for s := range dist {
		dist[s] = 5
	}
	return litLen, dist
}

// write writes the block in the shortest of its three forms.
func (b *block) write(out *output) {
	n := count(b.tokens)
	h, size := codeFor(n)
	fixedLitLen, fixedDist := fixedCode()
	fixedSize := 3 + n.cost((*[litLens]uint8)(fixedLitLen[:]), (*[dists]uint8)(fixedDist[:]))
	if storedBits(len(b.text)) <= min(size, fixedSize) {
		out.store(b.text)
		return
	}
	w := out.bits()
	if fixedSize <= size {
		const fixed = 1
		w.put(fixed<<1, 3)
		writeTokens(w, b.tokens, fixedLitLen[:], fixedDist[:])
		return
	}
	h.write(w)
	writeTokens(w, b.tokens, h.litLen[:], h.dist[:])
}

func writeTokens(w *bitWriter, tokens []token, litLen, dist []uint8) {
	litLenCodes, distCodes := codes(litLen), codes(dist)
	for _, t := range tokens {
		if !t.isMatch() {
			w.put(uint64(litLenCodes[t]), int(litLen[t]))
			continue
		}
		l, d := t.lenSymbol(), t.distSymbol()
		w.put(uint64(litLenCodes[firstLength+l]), int(litLen[firstLength+l]))
		w.put(t.lenExtra(), lengthExtraBits[l])
		w.put(uint64(distCodes[d]), int(dist[d]))
		w.put(t.distExtra(), distExtraBits(d))
	}
	w.put(uint64(litLenCodes[endOfBlock]), int(litLen[endOfBlock]))
}
