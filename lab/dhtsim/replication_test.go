package dhtsim

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
)

// The formulas agree with what can be worked out by hand.
func TestFormulas(t *testing.T) {
	near := func(name string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-3*want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	near("exponential", Missed(expSurvival, time.Hour, time.Hour, 3, 0), math.Pow(1-1/math.E, 3))
	near("with loss", Missed(expSurvival, 1000*time.Hour, time.Nanosecond, 2, 0.5), 0.75*0.75)
	near("lost", LostForEver(func(float64) float64 { return 0.5 }, time.Hour, time.Hour, 2*time.Hour, 1), 0.75)
	near("half gone", AllGone(4, 0.5, 2), 1.0/6)
	if AllGone(10, 0.1, 2) != 0 {
		t.Error("two holders among one node that is gone")
	}
}

// Each law has mean 1, and its survival of a random moment is the integral of that
// of a young node.
func TestLaws(t *testing.T) {
	for _, l := range Laws {
		const step = 1e-4
		sum := 0.0
		for x := step / 2; x < 20; x += step {
			sum += l.young(x) * step
		}
		sum += l.survival(20)
		if math.Abs(sum-1) > 0.01 {
			t.Errorf("%s: mean %v", l.Name, sum)
		}
		for _, at := range []float64{0.1, 0.5, 2} {
			rest := 0.0
			for x := at + step/2; x < 20; x += step {
				rest += l.young(x) * step
			}
			rest += l.survival(20)
			if math.Abs(rest-l.survival(at)) > 0.01 {
				t.Errorf("%s: survival at %v is %v, the integral %v", l.Name, at, l.survival(at), rest)
			}
		}
		for _, u := range []float64{0.01, 0.5, 0.99} {
			if math.Abs(l.young(l.draw(u))-u) > 1e-9 {
				t.Errorf("%s: a life drawn from %v is survived with chance %v", l.Name, u, l.young(l.draw(u)))
			}
		}
	}
}

// The simulation lies above the formula, because newcomers push holders out, and
// asking 2k nodes brings it back.
func TestPlacement(t *testing.T) {
	near, far := placement(1, Laws[0], time.Hour, time.Hour, 3)
	formula := Missed(expSurvival, time.Hour, time.Hour, 3, 0)
	if near < formula || near > 2*formula || far > near || far < formula*0.8 {
		t.Errorf("formula %v, asking k %v, asking 2k %v", formula, near, far)
	}
}

func TestTables(t *testing.T) {
	var b bytes.Buffer
	tables(&b)
	for _, line := range []string{"| 6 h | exponential | 5 min | 3e-06 |", "| 30 % | 2.6 % |"} {
		if !bytes.Contains(b.Bytes(), []byte(line)) {
			t.Errorf("%q is missing in\n%s", line, b.String())
		}
	}
}

func TestChurn(t *testing.T) {
	r := Churn(Options{Nodes: 40, Records: 30, Seed: 5}, Laws[1], 30*time.Minute, 5*time.Minute, 40*time.Minute)
	t.Logf("%+v", r)
	if r.Found*1000 < r.Gets*995 || r.Stale != 0 {
		t.Errorf("%d of %d found, %d stale", r.Found, r.Gets, r.Stale)
	}
}

// Ten minutes, to which nodes go once the contacts have been there for six hours and
// more, are rare enough a republication only for lives that long.
func TestIntervalForLongLives(t *testing.T) {
	for _, l := range Laws {
		if got := Longest(l.survival, 6*time.Hour); got < 10*time.Minute {
			t.Errorf("%s, 6 h: at most every %v", l.Name, got)
		}
		if got := Longest(l.survival, time.Hour); got >= 5*time.Minute {
			t.Errorf("%s, 1 h: %v would do", l.Name, got)
		}
	}
	var b strings.Builder
	if intervalTable(&b); strings.Count(b.String(), "\n") != 11 {
		t.Errorf("the table is\n%s", &b)
	}
}
