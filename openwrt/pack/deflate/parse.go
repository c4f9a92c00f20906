package deflate

// costs are what tokens cost in units, with the bits that follow their symbols.
type costs struct {
	literal [256]uint32
	length  [512]uint32 // by length; rounded up to a power of two
	dist    [32]uint32  // by symbol
}

// guess is for a text of which nothing is known.
func guess() *costs {
	c := new(costs)
	for b := range c.literal {
		c.literal[b] = 8 * unit
	}
	for l := minMatch; l <= maxMatch; l++ {
		c.length[l] = uint32(6+lengthExtraBits[lengthSymbols[l]]) * unit
	}
	for s := range dists {
		c.dist[s] = uint32(4+distExtraBits(s)) * unit
	}
	return c
}

// entropy is what symbols cost by their counts, were parts of bits possible. A symbol
// that does not occur costs as much as if it did once.
func entropy(n *counts) *costs {
	return price(information(n.litLen[:]), information(n.dist[:]))
}

func information(n []uint32) func(symbol int) uint32 {
	var total uint64
	for _, x := range n {
		total += uint64(x)
	}
	whole := log2(max(total, 1))
	return func(s int) uint32 {
		return uint32((whole - log2(uint64(max(n[s], 1)))) >> (16 - unitBits))
	}
}

// price fills in costs by the functions that give those of symbols.
func price(litLen, dist func(symbol int) uint32) *costs {
	c := new(costs)
	for b := range c.literal {
		c.literal[b] = litLen(b)
	}
	for l := minMatch; l <= maxMatch; l++ {
		s := int(lengthSymbols[l])
		c.length[l] = litLen(firstLength+s) + uint32(lengthExtraBits[s])*unit
	}
	for s := range dists {
		c.dist[s] = dist(s) + uint32(distExtraBits(s))*unit
	}
	return c
}

// parser finds the cheapest way through a text, from its end: what the rest costs after
// each place is known by then.
type parser struct {
	cost   []uint32
	choice []token
}

// parse appends the cheapest tokens for text, whose places' matches end in m at ends.
func (p *parser) parse(text []byte, m []token, ends []int32, c *costs, tokens []token) []token {
	n := len(text)
	if len(p.cost) < n+512 {
		p.cost, p.choice = make([]uint32, n+512), make([]token, n+512)
	}
	p.cost[n] = 0
	ends = ends[:n+1]
	for at := n - 1; at >= 0; at-- {
		after := (*[512]uint32)(p.cost[at:])
		best, choice := c.literal[text[at]]+after[1], token(text[at])
		// From the longest match down: a far one serves for a lesser length too, if its
		// distance is the cheaper.
		offset, with := uint32(1<<31), token(0)
		found := m[ends[at]:ends[at+1]]
		for i := len(found) - 1; i >= 0; i-- {
			if cost := c.dist[found[i].distSymbol()&31]; cost <= offset {
				offset, with = cost, found[i]
			}
			low, high := minMatch, min(found[i].length(), n-at)
			if i > 0 {
				low = found[i-1].length() + 1
			}
			if high == maxMatch {
				low = maxMatch // a run: trying all lengths everywhere would be slow
			}
			for l := high; l >= low; l-- {
				if cost := after[l&511] + c.length[l&511] + offset; cost < best {
					best, choice = cost, with&^(511<<16)|token(l)<<16
				}
			}
		}
		after[0], p.choice[at] = best, choice
	}
	for at := 0; at < n; {
		t := p.choice[at]
		tokens = append(tokens, t)
		at += t.size()
	}
	return tokens
}
