package medium

import "time"

// queued is a frame under way.
type queued struct {
	at         time.Time
	seq        uint64 // keeps the order of frames that arrive at one time
	generation uint64 // of the topology when it was sent
	from       Radio
	Delivery
}

func (q *queued) before(other *queued) bool {
	if q.at.Equal(other.at) {
		return q.seq < other.seq
	}
	return q.at.Before(other.at)
}

// queue is a binary heap, earliest first. container/heap would allocate for each frame.
type queue []queued

func (q *queue) push(x queued) {
	*q = append(*q, x)
	h := *q
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(&h[up]) {
			return
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (q *queue) pop() queued {
	h := *q
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], queued{}
	h = h[:last]
	*q = h
	for i := 0; ; {
		least := i
		for _, down := range [2]int{2*i + 1, 2*i + 2} {
			if down < last && h[down].before(&h[least]) {
				least = down
			}
		}
		if least == i {
			return first
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
