package dhtsim

import (
	"fmt"
	"io"
	"math"
	"time"
)

// Law is how long nodes stay, for a given mean.
type Law struct {
	Name string

	// survival is the chance that a node which is there at a random moment is still
	// there after t; young the same for one that has just come. Both in units of the
	// mean.
	survival, young func(t float64) float64

	draw func(u float64) float64 // a life, from a number evenly between 0 and 1
}

// Laws are the laws of the simulation. Measured peer-to-peer networks lie between
// the last two: many short sessions and a few very long ones.
var Laws = []Law{
	{"exponential", expSurvival, expSurvival, func(u float64) float64 { return -math.Log(u) }},
	{"Weibull 0.5", weibullSurvival, weibullYoung, func(u float64) float64 { return math.Pow(math.Log(u), 2) / 2 }},
	{"Pareto 1.5", paretoSurvival, paretoYoung, func(u float64) float64 { return math.Pow(u, -1/1.5) / 3 }},
}

func expSurvival(t float64) float64 { return math.Exp(-t) }

// The mean of a Weibull law of shape 1/2 is twice its scale.
func weibullSurvival(t float64) float64 { r := math.Sqrt(2 * t); return (1 + r) * math.Exp(-r) }
func weibullYoung(t float64) float64    { return math.Exp(-math.Sqrt(2 * t)) }

// The mean of a Pareto law of shape 3/2 is three times its least value.
func paretoSurvival(t float64) float64 {
	if t < 1.0/3 {
		return 1 - t
	}
	return 2 * math.Pow(1.0/3, 1.5) / math.Sqrt(t)
}

func paretoYoung(t float64) float64 { return min(1, math.Pow(3*t, -1.5)) }

var (
	lives     = []time.Duration{time.Hour, 6 * time.Hour, 24 * time.Hour}
	intervals = []time.Duration{5 * time.Minute, 10 * time.Minute, time.Hour}
	counts    = []int{3, 5, 8, 20}
)

// Missed is the chance that none of k holders has the record when it was stored an
// interval ago, each store and each question lost with probability loss.
func Missed(survival func(float64) float64, life, interval time.Duration, k int, loss float64) float64 {
	p := survival(interval.Hours()/life.Hours()) * (1 - loss) * (1 - loss)
	return math.Pow(1-p, float64(k))
}

// LostForEver is the chance that a record without a publisher is gone within span
// when its holders replace each other every interval.
func LostForEver(survival func(float64) float64, life, interval, span time.Duration, k int) float64 {
	q := math.Pow(1-survival(interval.Hours()/life.Hours()), float64(k))
	return -math.Expm1(float64(span/interval) * math.Log1p(-q))
}

// AllGone is the chance that all k holders are among the share of n nodes that goes
// at once: a power cut, a partition, colluding nodes.
func AllGone(n int, share float64, k int) float64 {
	gone, p := int(share*float64(n)), 1.0
	for i := range k {
		p *= float64(gone-i) / float64(n-i)
	}
	return max(0, p)
}

// Replication prints the tables from which docs/decisions/0010-replication.md draws
// its conclusion. It takes some minutes: the last table is of real nodes.
func Replication(w io.Writer, seed uint64) {
	tables(w)
	checkTable(w, seed)
	ChurnTable(w, Options{Nodes: 60, Records: 40, Seed: seed}, 3*time.Hour)
}

// tables prints what formulas say.
func tables(w io.Writer) {
	fmt.Fprintf(w, "## Nobody has it\n\nPublisher there; the moment before it republishes; nodes at a random point of their lives.\n\n")
	grid(w, func(l Law, life, interval time.Duration, k int) float64 {
		return Missed(l.survival, life, interval, k, 0)
	})
	fmt.Fprintf(w, "\n## The same, with 5 %% of stores and 5 %% of questions lost\n\n")
	grid(w, func(l Law, life, interval time.Duration, k int) float64 {
		return Missed(l.survival, life, interval, k, 0.05)
	})
	fmt.Fprintf(w, "\n## The same, in a network that has just been switched on\n\n")
	grid(w, func(l Law, life, interval time.Duration, k int) float64 {
		return Missed(l.young, life, interval, k, 0)
	})
	intervalTable(w)
	fmt.Fprintf(w, "\n## Publisher gone, holders re-replicate: lost for ever within 30 days\n\n")
	grid(w, func(l Law, life, interval time.Duration, k int) float64 {
		return LostForEver(l.survival, life, interval, 30*24*time.Hour, k)
	})
	fmt.Fprintf(w, "\n## Many gone at once, of 200 nodes\n\n| gone | k = 3 | k = 5 | k = 8 | k = 20 |\n|---|---|---|---|---|\n")
	for _, share := range []float64{.1, .2, .3, .5, .7, .9} {
		fmt.Fprintf(w, "| %.0f %% |", share*100)
		for _, k := range counts {
			fmt.Fprintf(w, " %s |", chance(AllGone(200, share, k)))
		}
		fmt.Fprintln(w)
	}
}

// enough is how rarely a reader may find nothing, at the worst moment.
const enough = 1e-7

// Longest is the longest interval, in steps of a minute, at which k = 8 holders of
// which 5 % of stores and questions are lost miss a record rarely enough; zero if a
// minute is too long.
func Longest(survival func(float64) float64, life time.Duration) time.Duration {
	interval := time.Duration(0)
	for interval < 24*time.Hour && Missed(survival, life, interval+time.Minute, 8, 0.05) <= enough {
		interval += time.Minute
	}
	return interval
}

// intervalTable prints how rarely one may republish as nodes stay longer.
func intervalTable(w io.Writer) {
	fmt.Fprintf(w, "\n## The longest interval at k = 8 that misses less than %s, 5 %% of stores and questions lost\n\n| life |", chance(enough))
	for _, l := range Laws {
		fmt.Fprintf(w, " %s |", l.Name)
	}
	fmt.Fprintf(w, "\n|---|---|---|---|\n")
	for _, life := range []time.Duration{time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 72 * time.Hour} {
		fmt.Fprintf(w, "| %s |", hours(life))
		for _, l := range Laws {
			fmt.Fprintf(w, " %s |", minutes(Longest(l.survival, life)))
		}
		fmt.Fprintln(w)
	}
}

// checkTable prints what a simulation says of some of the same cases.
func checkTable(w io.Writer, seed uint64) {
	fmt.Fprintf(w, "\n## Check by simulation: 200 nodes that come and go, 60 records\n\nA dead node is replaced by a newcomer at another place, so holders are also pushed out of the k closest; asked are the k, or 2k, closest of the moment.\n\n| life | law | interval | k | formula | asking k | asking 2k |\n|---|---|---|---|---|---|---|\n")
	for _, c := range []struct {
		life, interval time.Duration
		law, k         int
	}{
		{time.Hour, 5 * time.Minute, 0, 3}, {time.Hour, 10 * time.Minute, 1, 3}, {time.Hour, time.Hour, 0, 3},
		{time.Hour, time.Hour, 1, 5}, {time.Hour, time.Hour, 2, 5}, {time.Hour, time.Hour, 0, 8}, {6 * time.Hour, time.Hour, 0, 3},
	} {
		l := Laws[c.law]
		near, far := placement(seed, l, c.life, c.interval, c.k)
		fmt.Fprintf(w, "| %v | %s | %v | %d | %s | %s | %s |\n", hours(c.life), l.Name, minutes(c.interval), c.k,
			chance(Missed(l.survival, c.life, c.interval, c.k, 0)), chance(near), chance(far))
	}
}

func grid(w io.Writer, f func(l Law, life, interval time.Duration, k int) float64) {
	fmt.Fprintf(w, "| life | law | interval | k = 3 | k = 5 | k = 8 | k = 20 |\n|---|---|---|---|---|---|---|\n")
	for _, life := range lives {
		for _, l := range Laws {
			for _, interval := range intervals {
				fmt.Fprintf(w, "| %s | %s | %s |", hours(life), l.Name, minutes(interval))
				for _, k := range counts {
					fmt.Fprintf(w, " %s |", chance(f(l, life, interval, k)))
				}
				fmt.Fprintln(w)
			}
		}
	}
}

func hours(d time.Duration) string   { return fmt.Sprintf("%.0f h", d.Hours()) }
func minutes(d time.Duration) string { return fmt.Sprintf("%.0f min", d.Minutes()) }

func chance(p float64) string {
	switch {
	case p < 1e-15:
		return "< 1e-15"
	case p > 0.995:
		return "> 99 %"
	case p < 1e-3:
		return fmt.Sprintf("%.0e", p)
	}
	return fmt.Sprintf("%.2g %%", p*100)
}
