package flash

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"globalnet/lab/router"
)

func TestMain(m *testing.M) {
	os.Args = append(os.Args, "-test.parallel=8") // most of the time they wait
	os.Exit(router.Main(m.Run))
}

func target(r *router.Router) Target {
	host, port := r.Wire.Address()
	return Target{"root", host, port}
}

// options are short of time, so that tests are.
func options(r *router.Router) Options {
	return Options{
		Login:    &Login{Hosts: &Hosts{File: filepath.Join(r.Packages, "known_hosts")}, Trust: func(string, string) bool { return true }},
		Packages: r.Packages, Backups: filepath.Join(r.Packages, "backups"),
		times: times{
			install: 40 * time.Second, apply: 24 * time.Second, upgrade: 24 * time.Second,
			settle: 2 * time.Second, poll: 100 * time.Millisecond, reboot: 5 * time.Second,
		},
	}
}

func run(t *testing.T, r *router.Router, o Options) (*Report, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	return Run(ctx, target(r), o)
}

// mustFlash installs or upgrades, and expects it to go well.
func mustFlash(t *testing.T, r *router.Router, version string, change func(*Options)) *Report {
	t.Helper()
	if version != "" {
		r.Offer(version, nil)
	}
	o := options(r)
	if change != nil {
		change(&o)
	}
	report, err := run(t, r, o)
	if err != nil {
		f := err.(*Failure)
		t.Fatalf("%v\n%s\n%s\ncalls:\n%s%s%s", err, f.State, f.Advice, r.Temp("calls"), r.Temp("dropbear.log"), r.Temp("boot.log"))
	}
	return report
}
