package flash

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"globalnet/lab/router"
)

// refused checks that nothing was changed, and why.
func refused(t *testing.T, r *router.Router, o Options, kind Kind, why string) {
	t.Helper()
	before := r.Files()
	_, err := run(t, r, o)
	f, ok := errors.AsType[*Failure](err)
	if !ok || f.Kind != kind || !strings.Contains(f.Error(), why) || f.Advice == "" {
		t.Errorf("want %v, %q, got %v", kind, why, err)
	}
	router.Same(t, before, r.Files())
}

func TestRouterRefusals(t *testing.T) {
	r := router.New(t, router.RaspberryPi)
	o := options(r)
	refused(t, r, o, Refused, "there is no package for aarch64_cortex-a72")
	r.Offer("1.0-r1", nil)
	o.MeshRadio = "auto"
	refused(t, r, o, Refused, `no radio "auto"`) // the built-in one does not mesh
	mustFlash(t, r, "1.1-r1", nil)
	r.Offer("1.0-r1", nil)
	refused(t, r, options(r), Refused, "newer")
	if report := mustFlash(t, r, "", func(o *Options) { o.Downgrade = true }); report.What != "upgraded" || !strings.Contains(r.Temp("procd/globalnet.running"), "# 1.0-r1") {
		t.Errorf("downgrade: %+v", report)
	}
	mustFlash(t, r, "2.0-r1", func(o *Options) { o.DryRun = true })
	if !strings.Contains(r.Temp("procd/globalnet.running"), "# 1.0-r1") {
		t.Error("a dry run changed something")
	}
}

// TestHostKey: a pinned router that shows another key is not touched.
func TestHostKey(t *testing.T) {
	r := router.New(t, router.AR300M)
	r.Offer("1.0-r1", nil)
	o := options(r)
	o.DryRun = true
	o.Login.Trust = nil
	refused(t, r, o, NoLogin, "was not accepted")
	asked := 0
	o.Login.Trust = func(string, string) bool { asked++; return true }
	for range 2 {
		if _, err := run(t, r, o); err != nil {
			t.Fatal(err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	pins, err := os.ReadFile(o.Login.Hosts.File)
	if err != nil {
		t.Fatal(err)
	}
	// The same key of all routers of the tests, spoilt.
	_, key, _ := strings.Cut(string(pins), "ssh-ed25519 ")
	if key == "" {
		_, key, _ = strings.Cut(string(pins), " ssh-rsa ")
	}
	spoilt := strings.Replace(string(pins), key[len(key)-12:len(key)-6], "AAAAAA", 1)
	if err := os.WriteFile(o.Login.Hosts.File, []byte(spoilt), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, r, o, NoLogin, "is pinned")
	o.Login.Hosts.Replace = true
	if _, err := run(t, r, o); err != nil || asked != 2 {
		t.Errorf("replacing the pin: %v, asked %d times", err, asked)
	}
}

// TestImage: an image is tested by the router before it is written, and the router
// comes back from it; those of other boards, and what sysupgrade refuses, change nothing.
func TestImage(t *testing.T) {
	r := router.New(t, router.One)
	file := filepath.Join(r.Packages, "sysupgrade.bin")
	write := func(devices string) {
		if err := os.WriteFile(file, image(devices), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	o := options(r)
	o.Image = file
	write(`"glinet,gl-mt3000"`)
	refused(t, r, o, Refused, "is for glinet,gl-mt3000, the router is openwrt,one")
	if strings.Contains(r.Temp("calls"), "sysupgrade -T") {
		t.Error("it was sent all the same")
	}
	write(`"openwrt,one","refuse this"`)
	before := r.Files()
	report, err := run(t, r, o)
	undone(t, r, report, err, before)
	if r.Temp("globalnet-flash/image.bin") != "" || strings.Contains(r.Temp("calls"), "sysupgrade /tmp") {
		t.Errorf("after a refusal by sysupgrade:\n%s", r.Temp("calls"))
	}

	write(`"openwrt,one"`)
	asked := filepath.Join(r.Disk, "sysupgrade")
	if err := os.Remove(asked); err != nil {
		t.Fatal(err)
	}
	o.Progress = at("verify", func() {
		r.Power.Wait() // the stand-in takes the power, as sysupgrade restarts
		r.On()
	})
	report, err = run(t, r, o)
	if err != nil || report.Result != Done || report.What != "written" || report.Version != "25.12.6" {
		t.Fatalf("%+v, %v", report, err)
	}
	if calls, err := os.ReadFile(asked); string(calls) != "-b -\n-T /tmp/globalnet-flash/image.bin\n/tmp/globalnet-flash/image.bin\n" {
		t.Errorf("sysupgrade was asked: %v\n%s", err, calls)
	}

	// Where the power does not come back, it says what to do.
	o.Progress = at("verify", func() { r.Power.Wait() })
	report, err = run(t, r, o)
	if f, ok := errors.AsType[*Failure](err); !ok || f.Kind != Pending || !strings.Contains(f.Advice, "failsafe") || report.What != "written" {
		t.Errorf("%+v, %v", report, err)
	}
}
