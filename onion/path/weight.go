package path

import "slices"

// vouchers is among how many the weight is spread at least, if there are as many: no
// voucher has more than one part of it.
const vouchers = 5

// draw draws one of the relays that ok accepts by weight, after cutting what flows
// through any one voucher. It returns free if there is none.
func (c *Chooser) draw(weight []uint64, ok func(i int32) bool) int32 {
	v := c.view
	clear(c.flow)
	c.candidates = c.candidates[:0]
	for i := range v.list {
		if weight[i] > 0 && ok(int32(i)) {
			c.candidates = append(c.candidates, int32(i))
			c.flow[v.cluster[i]] += weight[i]
		}
	}
	if len(c.candidates) == 0 {
		return free
	}
	limit := limitFlow(c.flow)
	total := uint64(0)
	for _, f := range c.flow {
		total += min(f, limit)
	}
	r := c.cfg.Rand.Uint64N(total)
	cluster := int32(0)
	for k, f := range c.flow {
		if f = min(f, limit); r < f {
			cluster = int32(k)
			break
		}
		r -= f
	}
	r = c.cfg.Rand.Uint64N(c.flow[cluster])
	for _, i := range c.candidates {
		if v.cluster[i] != cluster {
			continue
		}
		if r < weight[i] {
			return i
		}
		r -= weight[i]
	}
	panic("path: weights do not add up")
}

// limitFlow returns what each flow is to be cut to so that none is more than one of
// `vouchers` parts of what remains; of fewer flows, all are cut to the smallest.
func limitFlow(flow []uint64) uint64 {
	var top [vouchers]uint64 // the largest, falling
	total, n := uint64(0), 0
	for _, f := range flow {
		if f == 0 {
			continue
		}
		n++
		total += f
		if k := slices.IndexFunc(top[:], func(t uint64) bool { return f > t }); k >= 0 {
			copy(top[k+1:], top[k:])
			top[k] = f
		}
	}
	parts := min(n, vouchers)
	// If the k largest are cut to L, then L is a part of k×L and the rest.
	rest, limit := total, total
	for k := range parts {
		limit = max(1, rest/uint64(parts-k))
		if top[k] <= limit {
			break
		}
		rest -= top[k]
	}
	return limit
}
