package babel

import "time"

// tick is a point in time: nanoseconds since a second before the first call.
// Zero is never.
type tick int64

const (
	millisecond = tick(time.Millisecond)
	second      = tick(time.Second)
	centisecond = 10 * millisecond
	never       = tick(1<<63 - 1)
)

// begin takes over the time of a call. A clock that goes backwards stands still for us.
func (s *Speaker) begin(now time.Time) {
	if s.epoch.IsZero() {
		s.epoch = now
		s.sweepAt = second + sweepInterval
	}
	s.now = max(s.now, tick(now.Sub(s.epoch))+second)
}

func (s *Speaker) time(t tick) time.Time { return s.epoch.Add(time.Duration(t - second)) }

// between draws a time between a and b: neighbours must not act in step.
func (s *Speaker) between(a, b tick) tick { return a + tick(s.rand.Int64N(int64(b-a)+1)) }

// toCentis is the form of intervals in packets; at least 1, at most 655.35 s.
func toCentis(t tick) uint16 { return uint16(max(1, min(t/centisecond, 0xFFFF))) }

// earlier returns the earlier of two points in time, of which zero is never.
func earlier(a, b tick) tick {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// bucket lets burst events pass at once and rate a second in the long run.
type bucket struct {
	rate, burst int
	filled      tick // when it was, or will be, full
}

func (b *bucket) take(now tick) bool {
	step := second / tick(b.rate)
	at := max(b.filled, now-step*tick(b.burst))
	if at+step > now {
		return false
	}
	b.filled = at + step
	return true
}

// NextTimeout returns when HandleTimeout is due; zero: never.
func (s *Speaker) NextTimeout() time.Time {
	if len(s.ifaces) == 0 && len(s.order) == 0 {
		return time.Time{}
	}
	due := s.sweepAt
	for _, f := range s.ifaces {
		due = earlier(due, f.due())
		for _, n := range f.neighbours {
			due = earlier(due, n.due())
		}
	}
	for _, d := range s.requests {
		due = earlier(due, d.request.due)
	}
	return s.time(due)
}

// HandleTimeout does all that is due.
func (s *Speaker) HandleTimeout(now time.Time) {
	s.begin(now)
	for _, f := range s.ifaces {
		for k := len(f.neighbours) - 1; k >= 0; k-- {
			s.neighbourTimeout(f.neighbours[k])
		}
		s.ifaceTimeout(f)
	}
	s.requestTimeouts()
	if s.now >= s.sweepAt {
		s.sweepAt = s.now + sweepInterval + tick(s.routes)*sweepPerRoute
		s.sweep()
	}
	s.settle()
}

// settle ends every call: what cannot wait is sent.
func (s *Speaker) settle() {
	for _, f := range s.ifaces {
		if f.nextHello <= s.now {
			s.sendHello(f)
		}
		if f.crowd.due != 0 && f.crowd.due <= s.now {
			s.flushCrowd(f)
		}
		for _, n := range f.neighbours {
			s.flush(n)
		}
	}
}
