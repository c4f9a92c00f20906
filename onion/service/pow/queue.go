package pow

import (
	"slices"
	"time"
)

const (
	// QueueSize bounds the introductions that wait: with their bodies 360 kB.
	QueueSize = 256
	// MaxWait is how long an introduction waits; after it the client has given up.
	MaxWait = 30 * time.Second

	// interval is how often the suggested effort is thought over.
	interval = 30 * time.Second
	// minEffort is the least that is worth asking for.
	minEffort = DefaultEffort / 8
)

// Queue holds introductions until the service has time for them: those of authorised
// clients first, then those that took more work, then the older ones. When it is
// full, the last of that order goes. It belongs to one goroutine.
type Queue[T any] struct {
	// Most bounds the introductions that wait; 0: QueueSize.
	Most int

	items  []item[T] // the next at the end
	number uint64

	suggested uint32
	thought   time.Time // when suggested was last thought over
	lost      int       // since then: pushed out, refused or too old
	effort    uint64    // since then: of those handled that were not authorised, together
	worked    int       // how many these are
}

type item[T any] struct {
	value      T
	authorised bool
	effort     uint32
	number     uint64
	arrived    time.Time
}

// compare is negative if a is handled after b.
func compare[T any](a, b item[T]) int {
	switch {
	case a.authorised != b.authorised:
		if a.authorised {
			return 1
		}
		return -1
	case a.effort != b.effort:
		if a.effort > b.effort {
			return 1
		}
		return -1
	case a.number < b.number:
		return 1
	case a.number > b.number:
		return -1
	}
	return 0
}

// Push adds an introduction and reports whether it has a place.
func (q *Queue[T]) Push(now time.Time, value T, authorised bool, effort uint32) bool {
	q.number++
	x := item[T]{value, authorised, effort, q.number, now}
	at, _ := slices.BinarySearchFunc(q.items, x, compare[T])
	if len(q.items) >= q.most() {
		q.lost++
		if at == 0 {
			return false
		}
		q.items = slices.Delete(q.items, 0, 1)
		at--
	}
	q.items = slices.Insert(q.items, at, x)
	return true
}

// Pop returns the introduction whose turn it is.
func (q *Queue[T]) Pop(now time.Time) (value T, ok bool) {
	for len(q.items) > 0 {
		last := len(q.items) - 1
		x := q.items[last]
		q.items = slices.Delete(q.items, last, last+1)
		if now.Sub(x.arrived) > MaxWait {
			q.lost++
			continue
		}
		if !x.authorised {
			q.worked++
			q.effort += uint64(x.effort)
		}
		return x.value, true
	}
	return value, false
}

// Next says of whom the introduction is whose turn it is; false if there is none.
func (q *Queue[T]) Next() (authorised bool, effort uint32, ok bool) {
	if len(q.items) == 0 {
		return false, 0, false
	}
	x := q.items[len(q.items)-1]
	return x.authorised, x.effort, true
}

func (q *Queue[T]) most() int {
	if q.Most == 0 {
		return QueueSize
	}
	return q.Most
}

// Clear drops the introductions that wait; what was thought of efforts stays.
func (q *Queue[T]) Clear() { q.items = nil }

// Len returns how many introductions wait.
func (q *Queue[T]) Len() int { return len(q.items) }

// NextThought returns when Suggest may change its mind.
func (q *Queue[T]) NextThought() time.Time { return q.thought.Add(interval) }

// Suggest returns the effort to ask for. It rises to what those had who got through,
// or doubles, when introductions were lost, and falls by a third in each
// interval without a queue. Every change means that the descriptors are published anew,
// so small efforts are none.
func (q *Queue[T]) Suggest(now time.Time) uint32 {
	since := now.Sub(q.thought)
	begins := q.suggested == 0 && q.lost > 0
	if since >= 0 && since < interval && !begins {
		return q.suggested
	}
	switch {
	case q.lost > 0:
		mean := uint64(0)
		if q.worked > 0 {
			mean = q.effort / uint64(q.worked)
		}
		q.suggested = uint32(min(max(uint64(q.suggested)*2, mean, DefaultEffort), MaxEffort))
	case len(q.items) < q.most()/8:
		if q.suggested = q.suggested / 3 * 2; q.suggested < minEffort {
			q.suggested = 0
		}
	}
	q.thought, q.lost, q.effort, q.worked = now, 0, 0, 0
	return q.suggested
}
