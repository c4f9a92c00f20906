package openwrt

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRevert(t *testing.T) {
	d := newDevice(t, nil)
	before := d.configuration()
	d.apply(d.setup(Give{Radio: "radio0"}))
	if !d.OnTrial() {
		t.Fatal("not on trial")
	}
	if _, err := d.Setup(); err != nil {
		t.Errorf("a plan during a trial: %v", err)
	}
	p, _ := d.Cleanup()
	if err := d.Apply(t.Context(), p); !errors.Is(err, ErrTrial) {
		t.Errorf("a change on top of one on trial: %v", err)
	}
	d.calls = nil
	if err := d.Revert(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(d.configuration(), before) || d.OnTrial() {
		t.Errorf("not as it was: %v", d.configuration())
	}
	if got := strings.Join(d.calls, "; "); got != "/etc/init.d/network reload; /etc/init.d/firewall reload" {
		t.Errorf("ran %s", got)
	}
	if err := d.Revert(t.Context()); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

// TestFailureGoesBack: at each step that fails, all is put back.
func TestFailureGoesBack(t *testing.T) {
	for _, call := range []string{"fw4 check", "/etc/init.d/network reload", "/etc/init.d/firewall reload"} {
		d := newDevice(t, nil)
		before := d.configuration()
		d.fail[call] = true
		err := d.Apply(t.Context(), d.setup(Give{Radio: "radio0"}))
		if err == nil || !strings.Contains(err.Error(), call) {
			t.Errorf("%s: %v", call, err)
		}
		if !maps.Equal(d.configuration(), before) || d.OnTrial() {
			t.Errorf("%s: not as it was", call)
		}
	}
}

// TestSomebodyElse: a file that was edited since the plan, or since the change, is
// not overwritten.
func TestSomebodyElse(t *testing.T) {
	d := newDevice(t, nil)
	p := d.setup(Give{Radio: "radio0"})
	d.write("etc/config/wireless", wirelessHome+"\nconfig wifi-iface 'new'\n")
	before := d.configuration()
	if err := d.Apply(t.Context(), p); err == nil || !maps.Equal(d.configuration(), before) {
		t.Errorf("%v: %v", err, d.configuration())
	}

	d.apply(d.setup(Give{Radio: "radio0"}))
	edited := d.read("etc/config/wireless") + "\n# mine\n"
	d.write("etc/config/wireless", edited)
	if err := d.Revert(t.Context()); err == nil || !strings.Contains(err.Error(), "wireless was changed by somebody else") {
		t.Errorf("%v", err)
	}
	if d.read("etc/config/wireless") != edited || d.read("etc/config/network") != before["network"] {
		t.Error("the owner's file was overwritten, or the others not put back")
	}
}

// TestSwitchedOffAndOn: a router that was cut off goes back at the next boot, and
// only then.
func TestSwitchedOffAndOn(t *testing.T) {
	d := newDevice(t, nil)
	before := d.configuration()
	d.apply(d.setup(Give{Radio: "radio0"}))
	if back, err := d.Recover(t.Context()); back || err != nil {
		t.Fatalf("the agent's restart ended the trial: %v", err)
	}
	d.write("proc/sys/kernel/random/boot_id", "second\n")
	if back, err := d.Recover(t.Context()); !back || err != nil || !maps.Equal(d.configuration(), before) {
		t.Fatalf("%v %v", back, err)
	}
	if back, err := d.Recover(t.Context()); back || err != nil {
		t.Errorf("again: %v %v", back, err)
	}
	d.write(trialFile, "{")
	if _, err := d.Recover(t.Context()); err == nil || d.OnTrial() {
		t.Errorf("a damaged note: %v", err)
	}
}

// TestPowerCut cuts the power after each file that is written: a boot brings back
// what was.
func TestPowerCut(t *testing.T) {
	for cut := range len(packages) + 1 {
		d := newDevice(t, map[string]string{"etc/config/globalnet": globalnet + lanSection})
		before := d.configuration()
		p := d.setup(Give{Radio: "radio0"})
		if err := d.beginTrial(p, p.packages()); err != nil {
			t.Fatal(err)
		}
		for _, name := range packages[:cut] {
			if _, err := p.files[name].Save(); err != nil {
				t.Fatal(err)
			}
		}
		d.write("proc/sys/kernel/random/boot_id", "second\n")
		if _, err := d.Recover(t.Context()); err != nil || !maps.Equal(d.configuration(), before) {
			t.Errorf("cut after %d files: %v", cut, err)
		}
	}
}

func TestAwaitKeep(t *testing.T) {
	d := newDevice(t, nil)
	before := d.configuration()
	d.apply(d.setup(Give{Radio: "radio0"}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if kept, err := d.AwaitKeep(ctx); kept || err != nil || !maps.Equal(d.configuration(), before) {
		t.Errorf("%v %v", kept, err)
	}
	d.apply(d.setup(Give{Radio: "radio0"}))
	go func() { time.Sleep(10 * time.Millisecond); _ = d.Keep() }()
	if kept, err := d.AwaitKeep(t.Context()); !kept || err != nil {
		t.Errorf("%v %v", kept, err)
	}
}

func TestAwait(t *testing.T) {
	const status = "ubus -S call network.wireless status"
	for says, want := range map[string]string{
		`{"radio0":{"up":true,"interfaces":[{"section":"globalnet_radio0","ifname":"gnmesh0"}]}}`: "",
		`{"radio0":{"up":false,"retry_setup_failed":true}}`:                                       "netifd gave up",
		`{"radio0":{"up":false,"pending":true}}`:                                                  "pending true",
		`{"radio1":{}}`:                                                                           "does not know",
		`{`:                                                                                       "reading",
	} {
		d := newDevice(t, nil)
		d.says[status] = says
		plan := d.setup(Give{Radio: "radio0"})
		var err error
		synctest.Test(t, func(t *testing.T) { // where no machine is too slow to ask once
			ctx, cancel := context.WithTimeout(t.Context(), time.Second+time.Millisecond)
			defer cancel()
			err = d.Await(ctx, plan)
		})
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrSilent) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", says, err, want)
		}
	}
}
