package babelsim

import (
	"net/netip"
	"time"
)

// event is a packet that arrives, or a node's timer.
type event struct {
	at     time.Duration
	serial uint64
	node   int32
	link   *Link
	from   netip.Addr
	life   int
	packet []byte
}

func (e *event) before(o *event) bool {
	return e.at < o.at || (e.at == o.at && e.serial < o.serial)
}

// eventHeap is a binary heap; events of the same time keep their order.
type eventHeap []event

func (h *eventHeap) push(e event) {
	*h = append(*h, e)
	q := *h
	for k := len(q) - 1; k > 0; {
		up := (k - 1) / 2
		if !q[k].before(&q[up]) {
			break
		}
		q[k], q[up] = q[up], q[k]
		k = up
	}
}

func (h *eventHeap) pop() event {
	q := *h
	first, last := q[0], len(q)-1
	q[0] = q[last]
	q[last] = event{}
	q = q[:last]
	for k := 0; ; {
		c := 2*k + 1
		if c >= last {
			break
		}
		if c+1 < last && q[c+1].before(&q[c]) {
			c++
		}
		if !q[c].before(&q[k]) {
			break
		}
		q[k], q[c] = q[c], q[k]
		k = c
	}
	*h = q
	return first
}
