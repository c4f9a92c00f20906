package exit

import (
	"testing"
	"testing/synctest"
	"time"
)

const day = 24 * time.Hour

func date(t *testing.T, s string) time.Time {
	t.Helper()
	d, err := time.Parse("2006-01-02", s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Each step is what the clock shows, after how long; fresh where a month begins.
func TestMonthsWithLyingClocks(t *testing.T) {
	type step struct {
		wall  string
		later time.Duration
		fresh bool
	}
	for _, tt := range []struct {
		name  string
		month string // of the state; empty: none
		ran   time.Duration
		steps []step
	}{
		{"a year of good clocks", "2026-01", 0, []step{
			{"2026-01-20", day, false}, {"2026-01-31", 11 * day, false}, {"2026-02-01", day, true}, {"2026-02-28", 27 * day, false}, {"2026-03-01", day, true},
		}},
		{"off for a month", "2026-01", 0, []step{{"2026-03-05", time.Minute, true}, {"2026-03-06", day, false}}},
		{"no battery: years behind until the network answers", "2026-05", 0, []step{
			{"1970-01-01", time.Minute, false}, {"2026-05-20", time.Minute, false}, {"2026-05-21", day, false}, {"2026-06-01", 11 * day, true},
		}},
		{"no battery, and a month passed meanwhile", "2026-05", 0, []step{{"1970-01-01", time.Minute, false}, {"2026-06-02", time.Minute, true}}},
		{"first start without the time: the month gets its name", "", 0, []step{
			{"2024-03-01", time.Second, false}, {"2026-06-02", time.Minute, false}, {"2026-07-01", 29 * day, true},
		}},
		{"the clock lies ahead once", "2026-05", 0, []step{
			{"2038-01-01", time.Minute, true}, {"2026-05-03", time.Minute, false}, {"2026-05-04", day, false}, {"2026-06-01", 28 * day, true},
		}},
		{"for ever in 1970", "2026-05", 0, []step{
			{"1970-01-01", time.Second, false}, {"1970-01-02", day, false}, {"1970-01-20", 18 * day, false}, {"1970-02-01", 12 * day, true},
		}},
		{"restarted in 1970 again and again", "1970-01", 31 * day, []step{{"1970-01-01", time.Second, false}, {"1970-01-02", day, true}, {"1970-01-03", day, false}}},
		{"behind for less than a day", "2026-05", 0, []step{{"2026-04-30", time.Second, false}, {"2026-04-30", 20 * time.Hour, false}, {"2026-05-01", time.Hour, false}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p period
			if tt.month != "" {
				p.month, p.ran = monthOf(date(t, tt.month+"-01")), tt.ran
			}
			var up time.Duration
			for i, s := range tt.steps {
				up += s.later
				if got := p.advance(date(t, s.wall), up); got != s.fresh {
					t.Errorf("step %d, %s: new month %v, want %v", i, s.wall, got, s.fresh)
				}
			}
		})
	}
}

func TestQuotaOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // begins on 2000-01-01
		q := NewQuota(1000)
		if !q.Add(600) || !q.Left() {
			t.Error("600 of 1000 do not last")
		}
		u := q.Save()
		if u.Month != "2000-01" || u.Bytes != 600 {
			t.Errorf("saved %+v", u)
		}
		time.Sleep(time.Hour)
		q = NewQuota(1000)
		q.Add(100) // before the state was read
		if err := q.Load(u); err != nil {
			t.Fatal(err)
		}
		if got := q.Save().Bytes; got != 700 {
			t.Errorf("%d bytes after a restart, want 700", got)
		}
		if !q.Add(300) || q.Left() || q.Add(1) {
			t.Error("the quota does not end at 1000")
		}
		q.SetLimit(2000)
		if !q.Left() {
			t.Error("a higher limit does not help")
		}
		q.SetLimit(1000)
		time.Sleep(31 * day)
		if !q.Add(10) || q.Save().Bytes > 20 || q.Save().Month != "2000-02" {
			t.Errorf("after a month: %+v", q.Save())
		}
	})
}

func TestQuotaRefusesNonsense(t *testing.T) {
	q := NewQuota(0)
	for _, u := range []Usage{{"2026", 1, 1}, {"x", 1, 1}, {"2026-13", 1, 1}, {"2026-01", -1, 1}, {"2026-01", 1, -1}, {"0000-01", 0, 0}} {
		if err := q.Load(u); err == nil {
			t.Errorf("%+v is taken", u)
		}
	}
	if err := q.Load(Usage{}); err != nil || q.Save().Bytes != 0 {
		t.Errorf("nothing: %v, %+v", err, q.Save())
	}
	if !q.Add(1 << 30) {
		t.Error("a quota of 0 ends")
	}
}
