package netdir

import (
	"errors"
	"testing"
	"time"

	"globalnet/internal/clock"
)

// timed is an exchange of a node with a clock.
type timed struct {
	x    *exchange
	now  time.Time
	wall time.Time
	set  bool
	up   time.Duration
	k    *clock.Keeper
}

func newTimed(t *testing.T, wall time.Time, set bool) *timed {
	m := &timed{now: start, wall: wall, set: set, up: time.Hour}
	m.k = clock.NewKeeper(func() clock.Reading { return clock.Reading{Running: m.up, Wall: m.wall, Set: m.set} }, nil)
	m.x = newExchange(m.now, directory(t, 1, 4), person(t, 2).NodeID(), newBook(), newQuota(4))
	m.x.clock = m.k
	return m
}

func (m *timed) pass(d time.Duration) {
	m.now, m.wall, m.up = m.now.Add(d), m.wall.Add(d), m.up+d
	m.k.Tick()
}

// says returns the times that are sent now.
func (m *timed) says(t *testing.T) (list []clock.Said) {
	t.Helper()
	for {
		message, more := m.x.next(m.now, nil)
		if !more {
			return list
		}
		if message[0] == kindTime {
			s, err := parseTime(message[messageHeader:])
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, s)
		}
	}
}

func TestWhenTheTimeIsSaid(t *testing.T) {
	today := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	m := newTimed(t, time.Unix(100, 0), false)
	message, _ := m.x.next(m.now, nil)
	if s, err := parseTime(message[messageHeader:]); message[0] != kindTime || err != nil || s.Level != clock.Free || s.Time.Unix() != 100 {
		t.Errorf("first of all: % x", message)
	}
	if s := m.says(t); len(s) != 0 {
		t.Errorf("said twice: %v", s)
	}
	m.pass(timeInterval - time.Second)
	if s := m.says(t); len(s) != 0 {
		t.Errorf("said though it goes as it did: %v", s)
	}
	m.pass(time.Second)
	if s := m.says(t); len(s) != 1 {
		t.Errorf("not said again: %v", s)
	}
	m.wall, m.set = today, true
	m.pass(time.Second)
	if s := m.says(t); len(s) != 1 || s[0].Level != clock.Set || s[0].Time.Sub(today) != time.Second {
		t.Errorf("the clock was set: %v", s)
	}
	for range 3 * sayBurst { // a clock that jumps all the time
		m.wall = m.wall.Add(time.Hour)
		m.k.Tick()
		if s := m.says(t); len(s) > 1 {
			t.Errorf("%v", s)
		}
	}
	m.wall = m.wall.Add(time.Hour)
	if s := m.says(t); len(s) != 0 {
		t.Errorf("a neighbour is told without end: %v", s)
	}
	m.pass(time.Minute)
	if s := m.says(t); len(s) != 1 {
		t.Errorf("never said again: %v", s)
	}
}

func TestTheTimeIsHeard(t *testing.T) {
	today := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	m := newTimed(t, time.Unix(100, 0), false)
	good := appendTime(nil, clock.Said{Level: clock.Set, Time: today})
	if err := m.x.handle(m.now, kindTime, good); err != nil || !m.k.Now().Equal(today) {
		t.Errorf("%v, it is %v", err, m.k.Now())
	}
	for name, bad := range map[string][]byte{
		"empty": nil, "short": good[:8], "long": append(good[:9:9], 0), "no such level": append([]byte{18}, good[1:]...),
		"set in 1970": {0, 0, 0, 0, 0, 0, 0, 0, 1}, "beyond all years": {17, 255, 255, 255, 255, 255, 255, 255, 255},
		"in 2100": appendTime(nil, clock.Said{Level: clock.Free, Time: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}),
	} {
		if err := m.x.handle(m.now, kindTime, bad); !errors.Is(err, errMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var err error
	for range 2 * timeBurst {
		if err = m.x.handle(m.now, kindTime, good); err != nil {
			break
		}
	}
	if !errors.Is(err, errTooMuch) {
		t.Errorf("a neighbour that says the time without end: %v", err)
	}
	// Who speaks as often as it may, is not too much.
	m = newTimed(t, time.Unix(100, 0), false)
	for i := range 100 {
		if err := m.x.handle(m.now, kindTime, good); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if i >= sayBurst {
			m.pass(time.Duration(float64(time.Second) / sayRate))
		}
	}
	m.x.clock = nil // a node that does not go by it
	if err := m.x.handle(m.now, kindTime, good); err != nil {
		t.Error(err)
	}
}
