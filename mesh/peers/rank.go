package peers

import (
	"cmp"
	"slices"
	"time"

	"globalnet/internal/identity"
)

// worth is the class of a record when the book is full; the least goes first.
type worth int

const (
	failing    worth = iota // never answered
	untried                 // heard of
	good                    // has been connected
	connected               // is
	configured              // is wanted by the operator, and never goes
)

func (r *record) worth(now time.Time) worth {
	switch {
	case r.Configured:
		return configured
	case now.Before(r.connected):
		return connected
	case r.Good > 0:
		return good
	case r.Failures > 0:
		return failing
	}
	return untried
}

// better orders records of one source: positive if a is to be kept rather than z.
func better(now time.Time, a, z *record) int {
	return cmp.Or(
		cmp.Compare(a.worth(now), z.worth(now)),
		cmp.Compare(a.Good, z.Good),
		cmp.Compare(z.Failures, a.Failures),
		cmp.Compare(a.added, z.added), // the older goes
	)
}

// ranked returns all records, the best first.
func (b *Book) ranked(now time.Time) []*record {
	list := make([]*record, 0, len(b.records))
	for _, r := range b.records {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, z *record) int { return better(now, z, a) })
	return list
}

// room makes room for one entry that from tells of, in its share and in the book.
func (b *Book) room(now time.Time, from identity.NodeID) bool {
	told := 0
	var worst *record
	for _, r := range b.records {
		if r.source != from || r.worth(now) > untried {
			continue // what has proved good is no longer a mere saying
		}
		told++
		if worst == nil || better(now, r, worst) < 0 {
			worst = r
		}
	}
	if told >= maxPerSource {
		delete(b.records, worst.Node)
		return true
	}
	return len(b.records) < maxEntries || b.evict(now)
}

// evict forgets the worst entry. Of those that were only heard of, one of the
// source that has told us of the most goes: so many who each tell a little
// outlast few who tell a lot.
func (b *Book) evict(now time.Time) bool {
	told := make(map[identity.NodeID]int)
	for _, r := range b.records {
		if r.worth(now) == untried {
			told[r.source]++
		}
	}
	var worst *record
	for _, r := range b.records {
		if worst == nil || b.goesBefore(now, told, r, worst) {
			worst = r
		}
	}
	if worst == nil || worst.worth(now) >= connected {
		return false
	}
	delete(b.records, worst.Node)
	return true
}

func (b *Book) goesBefore(now time.Time, told map[identity.NodeID]int, a, z *record) bool {
	if a.worth(now) == untried && z.worth(now) == untried && told[a.source] != told[z.source] {
		return told[a.source] > told[z.source]
	}
	return better(now, a, z) < 0
}
