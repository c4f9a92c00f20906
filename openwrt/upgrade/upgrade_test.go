package upgrade

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"globalnet/lab/router"
	"globalnet/openwrt/guard"
	"globalnet/openwrt/pack"
	"globalnet/openwrt/usign"
)

// inside marks this program as one that a router of a test runs.
const inside = "UPGRADE_TEST_INSIDE"

func TestMain(m *testing.M) {
	if text := os.Getenv(inside); text != "" {
		os.Exit(upgradeHere(text))
	}
	os.Args = append(os.Args, "-test.parallel=8") // most of the time they wait
	os.Exit(router.Main(m.Run))
}

// upgradeHere is the command `globalnet upgrade`, in less time.
func upgradeHere(options string) int {
	var o Options
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	signal.Ignore(syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT)
	defer stop()
	o.times = times{install: 8 * time.Second, healthy: 12 * time.Second, settle: 2 * time.Second}
	fmt.Println("pid:", os.Getpid())
	o.Progress = func(n, of int, step string) { fmt.Println("step:" + step) }
	r, err := Run(ctx, o)
	text, _ := json.Marshal(r)
	fmt.Println(string(text))
	if err != nil {
		return 1
	}
	return 0
}

var models = []router.Model{
	{Board: "glinet,gl-ar300m16", Arch: "mips_24kc", Release: "24.10.6", Self: true},
	{Board: "glinet,gl-mt3000", Arch: "aarch64_cortex-a53", Release: "25.12.5", APK: true, Self: true},
}

// setting is a router with version 1.0 and a key that may sign.
type setting struct {
	*router.Router
	t   *testing.T
	key *usign.Key
}

func newSetting(t *testing.T, m router.Model) *setting {
	t.Helper()
	key, err := usign.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	s := &setting{router.New(t, m), t, key}
	s.send("first", router.Package(t, m, "1.0-r1", nil), nil)
	install := "opkg install /tmp/first"
	if m.APK {
		install = "apk add --no-network --allow-untrusted /tmp/first"
	}
	if out, err := s.Command("/bin/sh", "-c", install+" && mkdir -p /etc/globalnet && /usr/sbin/globalnet status --json").CombinedOutput(); err != nil {
		t.Fatalf("installing: %v\n%s", err, out)
	}
	s.Write("etc/globalnet/keys/release.pub", string(key.Public()))
	s.Write("etc/config/globalnet", "config globalnet 'main'\n\toption network 'street'\n")
	return s
}

// send puts a file into the router's memory, with its signature.
func (s *setting) send(name string, file []byte, by *usign.Key) {
	s.t.Helper()
	dir := fmt.Sprintf("/proc/%d/root/tmp/", s.Power.Process.Pid)
	if err := os.WriteFile(filepath.Join(dir, name), file, 0o644); err != nil {
		s.t.Fatal(err)
	}
	if by != nil {
		if err := os.WriteFile(filepath.Join(dir, name+".sig"), by.Sign(file), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
}

// upgrade runs the command in the router; at is called at each step.
func (s *setting) upgrade(o Options, at func(step, pid string)) Report {
	s.t.Helper()
	o.File = "/tmp/" + o.File
	text, err := json.Marshal(o)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := s.Command(router.Self)
	cmd.Env = append(os.Environ(), inside+"="+string(text), "PATH=/usr/sbin:/usr/bin:/sbin:/bin:"+os.Getenv("PATH"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	var r Report
	pid := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if p, ok := strings.CutPrefix(lines.Text(), "pid: "); ok {
			pid = p
		} else if step, ok := strings.CutPrefix(lines.Text(), "step:"); !ok {
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				s.t.Errorf("%v: %s", err, lines.Text())
			}
		} else if at != nil {
			at(step, pid)
		}
	}
	cmd.Wait()
	return r
}

func (s *setting) running(version string) {
	s.t.Helper()
	if !strings.Contains(s.Temp("procd/globalnet.running"), "# "+version) {
		s.t.Errorf("%s does not run\n%s%s", version, s.Temp("calls"), s.Temp("boot.log"))
	}
}

// TestUpgrade: packages of both kinds, twenty times; key and configuration stay.
func TestUpgrade(t *testing.T) {
	for _, m := range models {
		t.Run(m.Board, func(t *testing.T) {
			t.Parallel()
			s := newSetting(t, m)
			key, config := s.Read("etc/globalnet/identity.key"), s.Read("etc/config/globalnet")
			times := 20
			if testing.Short() {
				times = 2
			}
			for i := 1; i <= times; i++ {
				version := fmt.Sprintf("1.%d-r1", i)
				s.send("new", router.Package(t, m, version, nil), s.key)
				if r := s.upgrade(Options{File: "new"}, nil); r.Result != "upgraded" || r.Version != version || !r.Signed || r.Node == "" {
					t.Fatalf("%s: %+v\n%s", version, r, s.Temp("calls"))
				}
				s.running(version)
			}
			if s.Read("etc/globalnet/identity.key") != key || key == "" || s.Read("etc/config/globalnet") != config {
				t.Error("key or configuration changed")
			}
			if s.Read("etc/globalnet.flash/guard") != "" || s.Temp("globalnet-flash/guard") != "" {
				t.Error("the guard is still there")
			}
			before := s.Files()
			if r := s.upgrade(Options{File: "new"}, nil); r.Result != "unchanged" {
				t.Errorf("the same again: %+v", r)
			}
			router.Same(t, before, s.Files())
			s.send("old", router.Package(t, m, "1.0-r1", nil), s.key)
			if r := s.upgrade(Options{File: "old", AllowDowngrade: true}, nil); r.Result != "upgraded" {
				t.Errorf("the downgrade: %+v", r)
			}
			s.running("1.0-r1")
		})
	}
}

// TestRefused: nothing changes, and the reason is said.
func TestRefused(t *testing.T) {
	for _, m := range models {
		t.Run(m.Board, func(t *testing.T) {
			t.Parallel()
			s := newSetting(t, m)
			other := models[0]
			if !m.APK {
				other = models[1]
			}
			foreign := m
			foreign.Arch = "mipsel_24kc"
			stranger, err := usign.NewKey()
			if err != nil {
				t.Fatal(err)
			}
			good := router.Package(t, m, "1.1-r1", nil)
			s.send("good", good, s.key)
			s.send("unsigned", good, nil)
			s.send("stranger", good, stranger)
			s.send("changed", good, s.key)
			s.send("changed", append(good[:len(good):len(good)], 0), nil)
			s.send("half", good[:len(good)/2], s.key)
			s.send("nonsense", []byte("nonsense that is long enough"), s.key)
			s.send("manager", router.Package(t, other, "1.1-r1", nil), s.key)
			s.send("arch", router.Package(t, foreign, "1.1-r1", nil), s.key)
			s.send("name", router.Package(t, m, "1.1-r1", func(p *pack.Package) { p.Name = "other" }), s.key)
			s.send("older", router.Package(t, m, "0.9-r1", nil), s.key)
			s.send("large", router.Package(t, m, "1.1-r1", func(p *pack.Package) {
				p.Files = append(p.Files, pack.File{Path: "usr/share/large", Mode: 0o644, Content: make([]byte, 8<<20)})
			}), s.key)
			elf := append([]byte("\x7fELF\x02\x02\x01"), make([]byte, 100)...)
			elf[19] = 8
			s.send("program", elf, s.key)
			before := s.Files()
			for file, want := range map[string]string{
				"unsigned": "has no signature", "stranger": "signed by key", "changed": "wrong signature", "half": "EOF",
				"nonsense": "not a package", "manager": "the package is for", "arch": "is for mipsel_24kc", "name": `the package "other"`,
				"older": "--allow-downgrade", "large": "not enough flash", "program": "another architecture", "missing": "no such file",
			} {
				if r := s.upgrade(Options{File: file}, nil); r.Result != "refused" || !strings.Contains(r.Error, want) {
					t.Errorf("%s: want %q, got %+v", file, want, r)
				}
			}
			if r := s.upgrade(Options{File: "good", DryRun: true}, nil); r.Result != "planned" || len(r.Plan) == 0 || r.Installed != "1.0-r1" {
				t.Errorf("dry run: %+v", r)
			}
			router.Same(t, before, s.Files())
			if r := s.upgrade(Options{File: "unsigned", AllowUnsigned: true}, nil); r.Result != "upgraded" || r.Signed {
				t.Errorf("without a signature: %+v", r)
			}
			s.running("1.1-r1")
		})
	}
}

func sabotage(line string) func(*pack.Package) {
	return func(p *pack.Package) {
		for i, f := range p.Files {
			if f.Path == "usr/sbin/globalnet" {
				p.Files[i].Content = []byte(strings.Replace(string(f.Content), "#!/bin/sh\n", "#!/bin/sh\n"+line+"\n", 1))
			}
		}
	}
}

// TestSabotage: versions that are not healthy give way to the old one.
func TestSabotage(t *testing.T) {
	for name, spoil := range map[string]func(*pack.Package){
		"ends at once":    sabotage(`[ "$1" = status ] && exit 1`),
		"hangs":           sabotage(`[ "$1" = status ] && exec sleep 1000`),
		"speaks nonsense": sabotage(`[ "$1" = status ] && echo hello && exit`),
		"no such machine": sabotage("exit 126"),
		"new key":         sabotage(`[ "$1" = status ] && echo other >/etc/globalnet/identity.key`),
		"restarts always": sabotage(`[ "$1" = status ] && touch /tmp/procd/globalnet.running`),
		"changes config":  sabotage(`[ "$1" = status ] && echo "# new" >>/etc/config/globalnet`),
		"wrong script":    func(p *pack.Package) { p.AfterInstall = "kill -9 $$\n" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := models[len(name)%2]
			s := newSetting(t, m)
			s.send("new", router.Package(t, m, "1.1-r1", spoil), s.key)
			before := s.Files()
			if r := s.upgrade(Options{File: "new"}, nil); r.Result != "undone" || !strings.Contains(r.Error, "the old version is back") {
				t.Errorf("%+v\n%s", r, s.Temp("calls"))
			}
			router.Same(t, before, s.Files())
			s.running("1.0-r1")
		})
	}
}

// TestFaults: at every step the power fails, the command is killed, or interrupted.
func TestFaults(t *testing.T) {
	for _, step := range []string{"look", "check", "keep the old version", "install", "see it work", "confirm"} {
		for _, fault := range []string{"power", "kill", "interrupt"} {
			t.Run(step+"/"+fault, func(t *testing.T) {
				t.Parallel()
				m := models[(len(step)+len(fault))%2]
				s := newSetting(t, m)
				s.send("new", router.Package(t, m, "1.1-r1", nil), s.key)
				before := s.Files()
				r := s.upgrade(Options{File: "new"}, func(at, pid string) {
					if at != step {
						return
					}
					switch fault {
					case "power":
						s.Off()
					case "kill":
						s.Command("/bin/sh", "-c", "kill -9 "+pid).Run()
					case "interrupt":
						s.Command("/bin/sh", "-c", "kill -INT "+pid).Run()
					}
				})
				if fault == "power" {
					s.On()
					s.unarmed()
				}
				s.settled()
				if r.Result == "upgraded" { // it was done by then
					s.running("1.1-r1")
					return
				}
				if fault == "interrupt" && r.Result != "undone" && r.Result != "refused" {
					t.Errorf("%+v", r)
				}
				if step == "confirm" && strings.Contains(s.Temp("procd/globalnet.running"), "# 1.1-r1") {
					return // the guard heard it before the end, and there is nothing left of it
				}
				router.Same(t, before, s.Files())
				s.running("1.0-r1")
			})
		}
	}
}

// unarmed removes the folder of a guard that had no hook for the boot yet: it is in
// nobody's way, and the agent, of which there is none here, does so at its start.
func (s *setting) unarmed() {
	s.t.Helper()
	for _, name := range []string{guard.Armed, guard.Hook} {
		if _, err := os.Lstat(filepath.Join(s.Root, name)); err == nil {
			return
		}
	}
	if err := os.RemoveAll(filepath.Join(s.Root, guard.Dir)); err != nil {
		s.t.Fatal(err)
	}
}

// settled waits until the guard, if it is there, has ended: by itself it needs seconds.
func (s *setting) settled() {
	s.t.Helper()
	for range 600 {
		if _, err := os.Lstat(filepath.Join(s.Root, "etc/globalnet.flash")); err != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.t.Error("the guard is still there")
}
