package medium_test

import (
	"slices"
	"testing"
	"time"

	"globalnet/lab/medium"
)

// air is a medium with virtual time and radios by name.
type air struct {
	t *testing.T
	*medium.Medium
	now    time.Time
	radios map[string]medium.Radio
}

// newAir gives each node a radio on channel 1; its MAC ends with its place in the list.
func newAir(t *testing.T, nodes ...string) *air {
	a := &air{t, medium.New(1), time.Unix(1e9, 0), map[string]medium.Radio{}}
	for i, n := range nodes {
		a.radios[n] = a.Add(n, 1, medium.MAC(i))
	}
	return a
}

func (a *air) join(x, y string, q medium.Quality) {
	a.SetEdge(x, y, 1, q)
	a.SetEdge(y, x, 1, q)
}

// frame makes a frame of a size from one node to another; "" is everyone.
func (a *air) frame(from, to string, size int) []byte {
	f := make([]byte, size)
	dst, src := [6]byte{0x33, 0x33}, medium.MAC(int(a.radios[from]))
	if to != "" {
		dst = medium.MAC(int(a.radios[to]))
	}
	copy(f, dst[:])
	copy(f[6:], src[:])
	return f
}

func (a *air) send(from, to string) { a.HandleFrame(a.now, a.radios[from], a.frame(from, to, 100)) }

// heard lists who heard something by now, sorted.
func (a *air) heard() []string {
	names := []string{}
	for {
		d, ok := a.NextEvent()
		if !ok {
			slices.Sort(names)
			return names
		}
		for name, r := range a.radios {
			if r == d.To {
				names = append(names, name)
			}
		}
	}
}

func (a *air) pass(d time.Duration) {
	a.now = a.now.Add(d)
	a.HandleTimeout(a.now)
}

func (a *air) expect(what string, want ...string) {
	a.t.Helper()
	if got := a.heard(); !slices.Equal(got, want) && len(got)+len(want) > 0 {
		a.t.Errorf("%s: heard by %v, want %v", what, got, want)
	}
}

func TestWhoHears(t *testing.T) {
	a := newAir(t, "a", "b", "c", "d")
	a.join("a", "b", medium.Quality{})
	a.join("b", "c", medium.Quality{})
	a.send("b", "")
	a.expect("multicast", "a", "c")
	a.send("b", "c")
	a.expect("unicast", "c")
	a.send("a", "c")
	a.expect("unicast out of reach")

	a.Cut("b", "c")
	a.send("b", "")
	a.expect("cut one way", "a")
	a.send("c", "")
	a.expect("the other way", "b")
	a.Heal("b", "c")
	a.Partition([][]string{{"a", "b"}, {"c"}})
	a.send("b", "")
	a.expect("partition", "a")
	a.HealAll()
	a.send("b", "")
	a.expect("healed", "a", "c")

	a.Add("a", 2, medium.MAC(90)) // another channel hears nothing
	a.send("b", "")
	a.expect("channels", "a", "c")
	a.HandleFrame(a.now, a.radios["b"], make([]byte, 13))
	a.expect("runt")
}

func TestPositions(t *testing.T) {
	a := newAir(t, "a", "b", "c")
	a.SetReach(100, medium.Quality{})
	a.Place("a", 0, 0)
	a.Place("b", 60, 80) // 100 away: just in reach
	a.send("a", "")
	a.expect("in reach", "b")
	a.Place("b", 161, 80)
	a.send("a", "")
	a.expect("moved away")
	a.Place("c", 10, 0)
	a.send("a", "")
	a.expect("placed late", "c")
	if !a.Adjust("a", "c", func(q *medium.Quality) { q.Loss = 1 }) {
		t.Error("nodes with positions cannot be adjusted")
	}
	a.send("a", "")
	a.expect("adjusted")
	a.send("c", "")
	a.expect("the other way", "a")
	a.SetEdge("a", "b", 1, medium.Quality{})
	a.send("a", "")
	a.expect("an edge needs no reach", "b")
}

func TestLoss(t *testing.T) {
	a := newAir(t, "a", "b")
	a.join("a", "b", medium.Quality{})
	if !a.Adjust("a", "b", func(q *medium.Quality) { q.Loss = 0.3 }) {
		t.Fatal("no such edge")
	}
	if a.Adjust("a", "x", func(*medium.Quality) {}) {
		t.Error("adjusted an edge that is not there")
	}
	const n = 10000
	for range n {
		a.send("a", "b")
	}
	if got := len(a.heard()); got < n*67/100 || got > n*73/100 {
		t.Errorf("%d of %d frames heard at 30 %% loss", got, n)
	}
	c := a.Counters(a.radios["a"])
	if c.Sent != n || c.Lost+a.Counters(a.radios["b"]).Received != n {
		t.Errorf("counters %+v", c)
	}
	for range 100 {
		a.send("b", "a")
	}
	if got := len(a.heard()); got != 100 {
		t.Errorf("%d of 100 frames heard in the direction without loss", got)
	}
}

// The same seed and calls lose the same frames.
func TestDeterministic(t *testing.T) {
	run := func() (lost []int) {
		a := newAir(t, "a", "b")
		a.join("a", "b", medium.Quality{Loss: 0.5, Jitter: time.Millisecond})
		for i := range 200 {
			a.send("a", "")
			a.pass(10 * time.Millisecond)
			if len(a.heard()) == 0 {
				lost = append(lost, i)
			}
		}
		return lost
	}
	if first, second := run(), run(); !slices.Equal(first, second) || len(first) == 0 {
		t.Errorf("lost %v, then %v", first, second)
	}
}

func TestDelayAndJitterKeepOrder(t *testing.T) {
	a := newAir(t, "a", "b")
	a.join("a", "b", medium.Quality{Delay: 5 * time.Millisecond, Jitter: 20 * time.Millisecond})
	for i := range 100 {
		f := a.frame("a", "b", 100)
		f[50] = byte(i)
		a.HandleFrame(a.now, 0, f)
		a.pass(time.Millisecond)
	}
	var got []byte
	began := a.now
	for next := a.NextTimeout(); !next.IsZero(); next = a.NextTimeout() {
		a.pass(next.Sub(a.now))
	}
	for d, ok := a.NextEvent(); ok; d, ok = a.NextEvent() {
		got = append(got, d.Frame[50])
	}
	if len(got) != 100 || !slices.IsSorted(got) {
		t.Errorf("%d frames, in order %v", len(got), slices.IsSorted(got))
	}
	if late := a.now.Sub(began); late > 25*time.Millisecond {
		t.Errorf("the last frame came %v after it was sent", late)
	}
}

func TestDelayIsExact(t *testing.T) {
	a := newAir(t, "a", "b")
	a.join("a", "b", medium.Quality{Delay: 5 * time.Millisecond})
	a.send("a", "b")
	if want := a.now.Add(5 * time.Millisecond); !a.NextTimeout().Equal(want) {
		t.Errorf("due at %v, want %v", a.NextTimeout(), want)
	}
	a.pass(5*time.Millisecond - 1)
	a.expect("too early")
	a.pass(1)
	a.expect("on time", "b")

	a.send("a", "b")
	a.Cut("a", "b")
	a.pass(time.Second)
	a.expect("cut while under way")
}

// A frame of 1000 bytes at 8 Mbit/s takes 1 ms and the preamble's 0.1 ms. a and b
// hear each other, b and c too, d is far away.
func TestAirTimeIsShared(t *testing.T) {
	a := newAir(t, "a", "b", "c", "d", "e")
	slow := medium.Quality{Rate: 8e6}
	a.join("a", "b", slow)
	a.join("b", "c", slow)
	a.join("d", "e", slow)
	const frame = 1100 * time.Microsecond
	for _, from := range []string{"a", "b", "c", "d"} {
		a.HandleFrame(a.now, a.radios[from], a.frame(from, "", 1000))
	}
	a.expect("nothing at once")
	a.pass(frame)
	a.expect("first", "b", "e") // d and e do not share the air with the others
	a.pass(frame)
	a.expect("b waited for a", "a", "c")
	a.pass(frame)
	a.expect("c waited for b", "b")
}

// Two radios share what one has alone.
func TestRateBoundsThroughput(t *testing.T) {
	a := newAir(t, "a", "b", "c")
	q := medium.Quality{Rate: 8e6}
	a.join("a", "b", q)
	a.join("b", "c", q)
	a.join("a", "c", q)
	heard := 0
	for range 1000 { // a second in which both offer 1000 frames of 1000 bytes
		a.HandleFrame(a.now, 0, a.frame("a", "c", 1000))
		a.HandleFrame(a.now, 1, a.frame("b", "c", 1000))
		a.pass(time.Millisecond)
		heard += len(a.heard())
	}
	if heard < 850 || heard > 910 {
		t.Errorf("%d frames in a second, want 1/1.1 ms = 909 less the first", heard)
	}
	if a.Counters(0).Overflow == 0 || a.Counters(1).Overflow == 0 {
		t.Error("an overloaded radio dropped nothing")
	}
}

func TestAddressesBehindARadio(t *testing.T) {
	a := newAir(t, "a", "b", "c")
	a.join("a", "b", medium.Quality{})
	a.join("a", "c", medium.Quality{})
	f := a.frame("b", "a", 100)
	behind := medium.MAC(1000)
	copy(f[6:], behind[:])
	a.HandleFrame(a.now, a.radios["b"], f)
	a.expect("from behind b", "a")
	answer := a.frame("a", "", 100)
	copy(answer, behind[:])
	a.HandleFrame(a.now, a.radios["a"], answer)
	a.expect("to behind b", "b")

	// A flood of addresses forgets the learned ones, never the radio's own.
	for i := range 1000 {
		mac := medium.MAC(2000 + i)
		copy(f[6:], mac[:])
		a.HandleFrame(a.now, a.radios["b"], f)
	}
	a.heard()
	a.send("a", "b")
	a.expect("own address", "b")
	a.HandleFrame(a.now, a.radios["a"], answer)
	a.expect("forgotten: to all", "b", "c")
}

func BenchmarkFlood50(b *testing.B) {
	m := medium.New(1)
	for i := range 50 {
		m.Add(string(rune('A'+i)), 1, medium.MAC(i))
	}
	for i := range 50 {
		for j := range 50 {
			if i != j && (i-j)*(i-j) <= 4 {
				m.SetEdge(string(rune('A'+i)), string(rune('A'+j)), 1, medium.Quality{Loss: 0.02, Delay: time.Millisecond, Rate: 1e9})
			}
		}
	}
	frame := make([]byte, 200)
	frame[0] = 0x33
	now := time.Unix(0, 0)
	b.ReportAllocs()
	for i := range b.N {
		m.HandleFrame(now, medium.Radio(i%50), frame)
		now = now.Add(20 * time.Microsecond)
		m.HandleTimeout(now)
		for _, ok := m.NextEvent(); ok; _, ok = m.NextEvent() {
		}
	}
}
