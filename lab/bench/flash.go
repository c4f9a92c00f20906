package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"globalnet/lab/router"
	"globalnet/openwrt/flash"
)

func init() {
	Register(Bench{
		Name: "flash", Summary: "from the first packet to a router that was seen to work, and back",
		Parts: []Part{{"flash", "a package with radio and names, and a newer one, on a stand-in for a router", flashed}},
	})
}

// flashTarget is what a flash may take beside what the router itself works, in
// seconds. A stand-in's work is short; a real router unpacks for half a minute.
const flashTarget = 60

// settled is how long an agent must have run before it is taken for healthy: time
// that is waited, which no better program makes shorter.
const settled = 10 * time.Second

func flashed(ctx context.Context, e Env) (results []Result, err error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	defer os.Setenv("TMPDIR", os.Getenv("TMPDIR"))
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return nil, err
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return nil, fmt.Errorf("setting up loopback: %w", err)
	}
	t := &standIn{}
	defer t.end()
	defer func() {
		if p := recover(); p == errStandIn {
			err = errors.Join(t.errs...)
		} else if p != nil {
			panic(p)
		}
	}()
	all := make(map[string][]time.Duration) // by what was done, and by its steps
	var order []string
	for range e.Times(3) {
		r := router.New(t, router.MT3000)
		host, port := r.Wire.Address()
		for _, version := range []string{"1.0-r1", "1.1-r1"} {
			r.Offer(version, nil)
			o := flash.Options{
				Packages: r.Packages, Backups: r.Packages + "/backups", MeshRadio: "auto", LAN: "names",
				Login: &flash.Login{Hosts: &flash.Hosts{File: r.Packages + "/known_hosts"}, Trust: func(string, string) bool { return true }},
			}
			took := stepTimes(&o)
			report, err := flash.Run(ctx, flash.Target{User: "root", Host: host, Port: port}, o)
			if err != nil {
				return nil, err
			}
			e.Logf("%s in %.1f s", report.What, report.Seconds)
			for _, s := range took() {
				name := report.What + ", " + s.name
				if all[name] == nil {
					order = append(order, name)
				}
				all[name] = append(all[name], s.took)
			}
		}
	}
	for _, name := range order {
		if strings.HasSuffix(name, "start to verified") {
			results = append(results, Less(name, Median(all[name]), "s", flashTarget))
		} else {
			results = append(results, Info(name, Median(all[name]), "s", "less"))
		}
	}
	return append(results, Info("of it the time that the agent must have run", settled.Seconds(), "s", "less")), nil
}

type stepTime struct {
	name string
	took time.Duration
}

// stepTimes measures a flash by its progress; the function it returns ends that.
func stepTimes(o *flash.Options) func() []stepTime {
	began := time.Now()
	var steps []stepTime
	since := began
	next := func(name string) {
		if n := len(steps); n > 0 {
			steps[n-1].took = time.Since(since)
		}
		if name != "" {
			steps = append(steps, stepTime{name: "step " + name})
		}
		since = time.Now()
	}
	step := ""
	o.Progress = func(ev flash.Event) {
		if ev.Step != step {
			step = ev.Step
			next(step)
		}
	}
	return func() []stepTime {
		next("")
		return append([]stepTime{{"start to verified", time.Since(began)}}, steps...)
	}
}

// standIn is what a router of tests wants of a test.
type standIn struct {
	mu       sync.Mutex
	errs     []error
	cleanups []func()
}

var errStandIn = errors.New("the stand-in for a router does not run here")

func (t *standIn) Helper() {}

func (t *standIn) Error(args ...any) { t.Errorf("%s", fmt.Sprint(args...)) }

func (t *standIn) Errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errs = append(t.errs, fmt.Errorf(format, args...))
}

func (t *standIn) Fatal(args ...any) {
	t.Error(args...)
	panic(errStandIn)
}

func (t *standIn) Skip(args ...any) { t.Fatal(args...) }

func (t *standIn) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// end undoes what the routers began, the last first.
func (t *standIn) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
	if len(t.errs) > 0 {
		fmt.Fprintln(os.Stderr, errors.Join(t.errs...))
	}
}
