// Package bench measures labs. A benchmark registers itself under a name; `lab
// bench NAME` runs it inside a sandbox and prints one Report.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Report is what one benchmark found. It is printed as one JSON object.
type Report struct {
	Bench   string   `json:"bench"`
	Machine string   `json:"machine"`
	Results []Result `json:"results"`
}

// Result is one number, with what it should be.
type Result struct {
	Metric string   `json:"metric"`
	Value  float64  `json:"value"`
	Unit   string   `json:"unit"`
	Target *float64 `json:"target,omitempty"`
	Better string   `json:"better"`        // "less" or "more"
	Met    *bool    `json:"met,omitempty"` // absent without a target
}

// Env is what a benchmark works with.
type Env struct {
	Agent    []string  // command of a router's agent, for lab.Options
	N        int       // how often to repeat; 0 is the benchmark's own choice
	Only     []string  // names of parts; empty means all
	Progress io.Writer // what to tell a waiting person
}

// Logf tells a waiting person how far it is.
func (e Env) Logf(format string, args ...any) { fmt.Fprintf(e.Progress, format+"\n", args...) }

// Times is how often to repeat.
func (e Env) Times(own int) int {
	if e.N > 0 {
		return e.N
	}
	return own
}

// Bench is a registered benchmark.
type Bench struct {
	Name    string
	Summary string
	Parts   []Part                      // run in this order
	Print   func(r Report, w io.Writer) // for people; nil means Report.Table
}

// Part is what can be measured alone. Its results may be complete although it
// returns an error.
type Part struct {
	Name    string
	Summary string
	Run     func(ctx context.Context, e Env) ([]Result, error)
}

var registry []Bench

// Register adds a benchmark. It is called from init functions.
func Register(b Bench) {
	if _, taken := Find(b.Name); taken {
		panic("benchmark registered twice: " + b.Name)
	}
	registry = append(registry, b)
	slices.SortFunc(registry, func(a, b Bench) int { return strings.Compare(a.Name, b.Name) })
}

// All lists the benchmarks by name.
func All() []Bench { return slices.Clone(registry) }

// Find returns a benchmark by name.
func Find(name string) (Bench, bool) {
	for _, b := range registry {
		if b.Name == name {
			return b, true
		}
	}
	return Bench{}, false
}

// Measure runs a benchmark. A part that fails does not keep the others from
// running, and what was measured before an error is in the report too.
func Measure(ctx context.Context, b Bench, e Env) (Report, error) {
	report := Report{b.Name, Machine(), []Result{}}
	parts, err := b.choose(e.Only)
	if err != nil {
		return report, err
	}
	var errs []error
	for _, p := range parts {
		if ctx.Err() != nil {
			errs = append(errs, ctx.Err())
			break
		}
		e.Logf("%s: %s (load average %s)", p.Name, p.Summary, load())
		results, err := p.Run(ctx, e)
		report.Results = append(report.Results, results...)
		if err != nil {
			err = fmt.Errorf("%s: %w", p.Name, err)
			e.Logf("%v", err)
			errs = append(errs, err)
		}
	}
	return report, errors.Join(errs...)
}

// choose returns the named parts, or all.
func (b Bench) choose(only []string) ([]Part, error) {
	if len(only) == 0 {
		return b.Parts, nil
	}
	var parts []Part
	for _, name := range only {
		i := slices.IndexFunc(b.Parts, func(p Part) bool { return p.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("benchmark %s has no part %q", b.Name, name)
		}
		parts = append(parts, b.Parts[i])
	}
	return parts, nil
}

// Less is a result that should be at most target.
func Less(metric string, value float64, unit string, target float64) Result {
	met := value <= target
	return Result{metric, value, unit, &target, "less", &met}
}

// More is a result that should be at least target.
func More(metric string, value float64, unit string, target float64) Result {
	met := value >= target
	return Result{metric, value, unit, &target, "more", &met}
}

// Info is a result without a target; better is "less" or "more".
func Info(metric string, value float64, unit, better string) Result {
	return Result{Metric: metric, Value: value, Unit: unit, Better: better}
}

// Median of durations, in seconds.
func Median(d []time.Duration) float64 { return Quantile(d, 0.5) }

// Quantile of durations, in seconds: 0.5 is the median. No durations give 0.
func Quantile(d []time.Duration, q float64) float64 {
	seconds := make([]float64, len(d))
	for i := range d {
		seconds[i] = d[i].Seconds()
	}
	return quantile(seconds, q)
}

func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	part := at - float64(low)
	return sorted[low]*(1-part) + sorted[high]*part
}

// load is the machine's load average over 1, 5 and 15 minutes.
func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	words := strings.Fields(string(b))
	if err != nil || len(words) < 3 {
		return "unknown"
	}
	return strings.Join(words[:3], " ")
}

// Machine describes the machine in a few words.
func Machine() string {
	model := runtime.GOARCH
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for l := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	var u unix.Utsname
	unix.Uname(&u)
	return fmt.Sprintf("%s, %d CPUs, Linux %s, %s", model, runtime.NumCPU(), unix.ByteSliceToString(u.Release[:]), runtime.Version())
}

// Table prints a report for people.
func (r Report) Table(w io.Writer) {
	fmt.Fprintf(w, "%s on %s\n", r.Bench, r.Machine)
	for _, x := range r.Results {
		fmt.Fprintf(w, "  %-64s %10.3f %-8s", x.Metric, x.Value, x.Unit)
		if x.Target != nil {
			verdict := "MISSED"
			if *x.Met {
				verdict = "met"
			}
			sign := map[string]string{"less": "≤", "more": "≥"}[x.Better]
			fmt.Fprintf(w, " target %s %g: %s", sign, *x.Target, verdict)
		}
		fmt.Fprintln(w)
	}
}
