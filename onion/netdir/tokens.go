package netdir

import "time"

// tokens is a token bucket that begins full.
type tokens struct {
	used float64 // tokens taken and not yet returned
	at   time.Time
}

// peek returns how many tokens there are.
func (t *tokens) peek(now time.Time, rate, burst float64) float64 {
	if dt := now.Sub(t.at); t.at.IsZero() || dt > 0 {
		t.used = max(0, t.used-dt.Seconds()*rate)
		t.at = now
	}
	return burst - t.used
}

// take takes n tokens if there are as many.
func (t *tokens) take(now time.Time, rate, burst, n float64) bool {
	if t.peek(now, rate, burst) < n {
		return false
	}
	t.used += n
	return true
}
