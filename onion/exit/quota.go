package exit

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// longestMonth ends a period that a wrong clock would never end.
	longestMonth = 32 * 24 * time.Hour
	// patience is how long a clock that is behind must run on before it is believed.
	patience = 24 * time.Hour
	// stepped is how much the clock must gain on the time that passed to have been set.
	stepped = time.Hour
)

// Usage is what a Quota must remember over a restart.
type Usage struct {
	Month string `json:"month"` // of UTC, 2026-11; empty: nothing to remember
	Bytes int64  `json:"bytes"` // counted in it
	Ran   int64  `json:"ran"`   // seconds for which it was counted
}

// Quota bounds the bytes of a calendar month (UTC). It lives with clocks that are years
// off until somebody sets them:
//
//   - a month begins when the clock shows a later one;
//   - a clock that shows an earlier one, as after a start without a battery, begins nothing; if
//     it does so for a day it is believed, but what was used stays used;
//   - a clock that is set for the first time after a first start changes the name of
//     the month and no more;
//   - after 32 days of running a month is over whatever the clock shows.
type Quota struct {
	limit atomic.Int64 // 0: none
	bytes atomic.Int64

	mu     sync.Mutex
	base   time.Time // monotonic
	period period
}

// period is the month, and what tells its end.
type period struct {
	month  int // year × 12 + month - 1; 0: none yet
	ran    time.Duration
	behind time.Duration // for how long the clock has been showing an earlier month
	young  bool          // named by this run's clock, which may not have been set yet

	wall time.Time // when it was looked at last
	up   time.Duration
}

// NewQuota returns a quota of limit bytes a month, 0 for none.
func NewQuota(limit int64) *Quota {
	q := &Quota{base: time.Now()}
	q.SetLimit(limit)
	return q
}

// Limited reports whether there is a limit.
func (q *Quota) Limited() bool { return q.limit.Load() > 0 }

// SetLimit changes the limit.
func (q *Quota) SetLimit(limit int64) { q.limit.Store(max(limit, 0)) }

// Add counts n bytes, and reports whether the quota lasts.
func (q *Quota) Add(n int) bool {
	bytes := q.bytes.Add(int64(n))
	if limit := q.limit.Load(); limit > 0 && bytes > limit {
		return q.Left()
	}
	if bytes>>20 != (bytes-int64(n))>>20 {
		q.look(time.Now()) // now and then, so that a month ends within a connection
	}
	return true
}

// Left reports whether something is left of the quota now.
func (q *Quota) Left() bool {
	q.look(time.Now())
	limit := q.limit.Load()
	return limit == 0 || q.bytes.Load() < limit
}

// look ends the month if it is over.
func (q *Quota) look(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.period.advance(now.Round(0), now.Sub(q.base)) {
		q.bytes.Store(0)
	}
}

// Save returns what to remember.
func (q *Quota) Save() Usage {
	q.look(time.Now())
	q.mu.Lock()
	defer q.mu.Unlock()
	m := q.period.month
	return Usage{fmt.Sprintf("%04d-%02d", m/12, m%12+1), q.bytes.Load(), int64(q.period.ran / time.Second)}
}

// Load takes what Save returned in an earlier run. It is for a Quota that is new;
// what that counted already is added.
func (q *Quota) Load(u Usage) error {
	if u.Month == "" {
		return nil
	}
	month, err := time.Parse("2006-01", u.Month)
	if err != nil || u.Bytes < 0 || u.Ran < 0 || month.Year() < 1 {
		return fmt.Errorf("usage of the month %q: %d bytes in %d s make no sense", u.Month, u.Bytes, u.Ran)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.period.month, q.period.young = monthOf(month), false
	q.period.ran += time.Duration(min(u.Ran, int64(longestMonth/time.Second))) * time.Second
	q.bytes.Add(u.Bytes)
	return nil
}

func monthOf(t time.Time) int { return t.UTC().Year()*12 + int(t.UTC().Month()) - 1 }

// advance takes what the clock shows and how long the process has been up, and
// reports whether a new month began.
func (p *period) advance(wall time.Time, up time.Duration) bool {
	month, passed := monthOf(wall), up-p.up
	set := !p.wall.IsZero() && wall.Sub(p.wall)-passed > stepped
	p.wall, p.up = wall, up
	p.ran += passed
	switch {
	case p.month == 0:
		p.month, p.young = month, true
	case p.ran >= longestMonth:
		*p = period{month: month, wall: wall, up: up}
		return true
	case month > p.month && p.young && set && p.ran < patience:
		p.month = month
	case month > p.month:
		*p = period{month: month, wall: wall, up: up}
		return true
	case month < p.month:
		if p.behind += passed; p.behind >= patience {
			p.month, p.behind = month, 0
		}
	default:
		p.behind = 0
	}
	return false
}
