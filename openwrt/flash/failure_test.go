package flash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"globalnet/lab/router"
	"globalnet/openwrt/guard"
	"time"

	"globalnet/openwrt/pack"
)

// at runs a fault once, when a step begins.
func at(step string, fault func()) func(Event) {
	var once sync.Once
	return func(e Event) {
		if e.Step == step && e.Note == "" {
			once.Do(fault)
		}
	}
}

// undone checks an error that must have left the router as it was.
func undone(t *testing.T, r *router.Router, report *Report, err error, before map[string]string) {
	t.Helper()
	f, ok := errors.AsType[*Failure](err)
	if !ok {
		t.Fatalf("no failure: %v, %+v", err, report)
	}
	if f.Kind != Undone || !strings.Contains(f.State, "as it was") || f.Advice == "" || f.Step == "" {
		t.Errorf("%v: %v\n%s\n%s\n%s%s", f.Kind, f, f.State, f.Advice, r.Temp("calls"), r.Temp("boot.log"))
	}
	router.Same(t, before, r.Files())
}

var installSteps = []string{"back up", "send", "arm", "install", "configure", "apply", "verify", "confirm"}

// settled waits until nothing is left of the guard: by itself it needs seconds.
func settled(t *testing.T, r *router.Router) {
	t.Helper()
	for range 600 {
		if _, err := os.Lstat(filepath.Join(r.Root, guard.Dir)); err != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("the guard is still there")
}

// TestFaults: at every step of an installation and of an upgrade the connection is
// cut, the power fails, or the person gives up.
func TestFaults(t *testing.T) {
	faults := map[string]func(r *router.Router, cancel func()){
		"cut": func(r *router.Router, _ func()) {
			r.Wire.Set(true)
			time.AfterFunc(time.Second, func() { r.Wire.Set(false) })
		},
		"power": func(r *router.Router, _ func()) {
			r.Off()
			time.AfterFunc(300*time.Millisecond, r.On)
		},
		"interrupt": func(_ *router.Router, cancel func()) { cancel() },
	}
	for name, fault := range faults {
		for _, upgrade := range []bool{false, true} {
			for i, step := range installSteps {
				m := []router.Model{router.AR300M, router.MT3000}[(i+len(name))%2]
				if upgrade {
					m = []router.Model{router.One, router.Archer}[(i+len(name))%2]
				}
				t.Run(fmt.Sprintf("%s/upgrade=%v/%s", name, upgrade, step), func(t *testing.T) {
					t.Parallel()
					r := router.New(t, m)
					if upgrade {
						mustFlash(t, r, "1.0-r1", nil)
					}
					before := r.Files()
					r.Offer("1.1-r1", nil)
					o := options(r)
					o.MeshRadio, o.LAN, o.Passphrase = "auto", "names", []byte("a long secret")
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					o.Progress = at(step, func() { fault(r, cancel) })
					report, err := Run(ctx, target(r), o)
					if err == nil && step == "confirm" && name == "cut" || err == nil && step == "verify" && name == "cut" {
						return // it worked all the same, which is as good
					}
					undone(t, r, report, err, before)
					if upgrade && !strings.Contains(r.Temp("procd/globalnet.running"), "# 1.0-r1") {
						t.Error("the old agent does not run")
					}
				})
			}
		}
	}
}

// TestAlone: the workstation never comes back; the router puts itself back.
func TestAlone(t *testing.T) {
	for _, m := range []router.Model{router.Archer, router.One} {
		for _, step := range []string{"install", "configure", "verify"} {
			t.Run(m.Board+"/"+step, func(t *testing.T) {
				t.Parallel()
				r := router.New(t, m)
				mustFlash(t, r, "1.0-r1", nil)
				before := r.Files()
				r.Offer("1.1-r1", nil)
				o := options(r)
				o.LAN = "all"
				o.times.install, o.times.apply, o.times.upgrade = 6*time.Second, 3*time.Second, 3*time.Second
				o.Progress = at(step, func() { r.Wire.Set(true) })
				_, err := run(t, r, o)
				f, ok := errors.AsType[*Failure](err)
				if !ok || f.Kind != Pending || !strings.Contains(f.State, "puts itself back") || f.Advice == "" {
					t.Errorf("%v", err)
				}
				settled(t, r)
				router.Same(t, before, r.Files())
				if !strings.Contains(r.Temp("procd/globalnet.running"), "# 1.0-r1") {
					t.Error("the old agent does not run")
				}
			})
		}
	}
}

// change puts one more line before the agent's, or a script's, own.
func inProgram(line string) func(*pack.Package) {
	return func(p *pack.Package) {
		for i, f := range p.Files {
			if f.Path == "usr/sbin/globalnet" {
				p.Files[i].Content = []byte(strings.Replace(string(f.Content), "#!/bin/sh\n", "#!/bin/sh\n"+line+"\n", 1))
			}
		}
	}
}

func inService(line string) func(*pack.Package) {
	return func(p *pack.Package) {
		for i, f := range p.Files {
			if f.Path == "etc/init.d/globalnet" {
				p.Files[i].Content = append(f.Content, "\n"+line+"\n"...)
			}
		}
	}
}

// TestSabotage: versions that are not healthy, each in its own way, give way to the
// old router.One, with its key.
func TestSabotage(t *testing.T) {
	for name, sabotage := range map[string]func(*pack.Package){
		"ends at once":     inProgram(`[ "$1" = status ] && exit 1`),
		"hangs":            inProgram(`[ "$1" = status ] && exec sleep 1000`),
		"speaks nonsense":  inProgram(`[ "$1" = status ] && echo hello && exit`),
		"no such machine":  inProgram("exit 126"),
		"new key":          inProgram(`[ "$1" = status ] && echo other >/etc/globalnet/identity.key`),
		"lost key":         inProgram("rm -rf /etc/globalnet"),
		"restarts always":  inProgram(`[ "$1" = status ] && touch /tmp/procd/globalnet.running`),
		"refuses config":   inProgram(`[ "$1" = config ] && echo "line 3: what?" >&2 && exit 1`),
		"does not start":   inService("start_service() { return 0; }"),
		"does not stop":    inService("service_stopped() { sleep 1000; }"),
		"cuts the network": inService("service_started() { kill 1; }"),
		"wrong script":     func(p *pack.Package) { p.AfterInstall = "kill -9 $$\n" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := router.Models[len(name)%2]
			r := router.New(t, m)
			mustFlash(t, r, "1.0-r1", func(o *Options) { o.LAN = "names" })
			before := r.Files()
			r.Offer("1.1-r1", sabotage)
			o := options(r)
			if name == "cuts the network" { // and the power with it
				done := make(chan struct{})
				defer func() { <-done }()
				go func() {
					defer close(done)
					r.Power.Wait()
					r.On()
				}()
			}
			report, err := run(t, r, o)
			undone(t, r, report, err, before)
			if !strings.Contains(r.Temp("procd/globalnet.running"), "# 1.0-r1") {
				t.Error("the old agent does not run")
			}
		})
	}
}

// TestFull: the flash has less room than the system says, or the memory has.
func TestFull(t *testing.T) {
	for _, m := range []router.Model{router.AR300M, router.MT3000} {
		for _, left := range []int{0, 100 << 10, 400 << 10} {
			t.Run(fmt.Sprintf("%s/%d", m.Board, left), func(t *testing.T) {
				t.Parallel()
				r := router.New(t, m)
				mustFlash(t, r, "1.0-r1", nil)
				r.Offer("1.1-r1", nil)
				o := options(r)
				filler := filepath.Join(r.Disk, "filler")
				before := r.Files()
				o.Progress = at("arm", func() {
					var fs syscall.Statfs_t
					if err := syscall.Statfs(r.Disk, &fs); err != nil {
						t.Error(err)
					}
					if err := os.WriteFile(filler, make([]byte, max(0, int(fs.Bfree)*int(fs.Bsize)-left)), 0o600); err != nil {
						t.Error(err)
					}
				})
				report, err := run(t, r, o)
				undone(t, r, report, err, before)
				if err := os.Remove(filler); err != nil {
					t.Fatal(err)
				}
				mustFlash(t, r, "1.2-r1", nil)
			})
		}
	}
}
