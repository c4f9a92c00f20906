package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/board"
	"globalnet/mesh"
	"globalnet/openwrt"
)

// healthy is a router on which all is well.
func healthy() history {
	s := working()
	s.Uptime = time.Hour
	return history{
		config: config.Default(), status: &s, root: true, openwrt: true, zone: true, drops: []string{"fw4/input"},
		dht: &control.DHTStatus{Contacts: 4}, onion: &control.OnionStatus{Relays: 5, Exits: 1, Hops: 3, Ready: 2},
		lan:      &control.LANStatus{Networks: []control.LANNetwork{{Name: "lan", Mode: "names"}}},
		services: []control.Service{{Name: "web", Published: time.Second, Stored: 3}},
		radios:   []openwrt.Radio{{Name: "radio0", Channel: "6", Uses: []openwrt.Use{{Ours: true}}, Known: board.Radio{}}},
		clockSet: true, free: 1 << 20, memory: 32 << 20, memoryFull: 64 << 20,
	}
}

func TestHealthy(t *testing.T) {
	subjects := map[string]bool{}
	for _, f := range diagnose(healthy()) {
		if f.State != fine || f.Next != "" || f.Text == "" {
			t.Errorf("%+v", f)
		}
		if subjects[f.Subject] {
			t.Errorf("%s is judged twice", f.Subject)
		}
		subjects[f.Subject] = true
	}
	if len(subjects) < 14 {
		t.Errorf("%d things are judged: %v", len(subjects), subjects)
	}
}

func TestDiagnose(t *testing.T) {
	for _, tt := range []struct {
		subject    string
		state      state
		text, next string
		change     func(h *history)
	}{
		{"configuration", bad, "line 3", "config check", func(h *history) { h.configErr = errors.New("line 3: no such option") }},
		{"kernel", warn, "no TUN", "kmod", func(h *history) { h.tun = fs.ErrNotExist }},
		{"kernel", note, "only root", "", func(h *history) { h.tun, h.root = fs.ErrPermission, false }},
		{"IPv6", bad, "switched off", "sysctl", func(h *history) { h.noIPv6 = true }},
		{"firewall", bad, "no rule", "globalnet setup", func(h *history) { h.zone = false }},
		{"firewall", warn, "fw4/input", "UDP 18245, 18250-18313, 5353", func(h *history) { h.openwrt, h.zone = false, false }},
		{"firewall", fine, "nothing is dropped", "", func(h *history) { h.drops = nil }},
		{"firewall", note, "only root", "", func(h *history) { h.root = false }},
		{"radios", warn, "radio0: taken", "radio setup radio0", func(h *history) { h.radios[0].Uses, h.conflict = nil, map[string]string{"radio0": "taken"} }},
		{"radio radio0", bad, "switched off", "wifi reload", func(h *history) { h.radios[0].Disabled = true }},
		{"flash", bad, "cannot be written", "failsafe", func(h *history) { h.readOnly = true }},
		{"flash", bad, "4.1 kB", "df -h", func(h *history) { h.free = 4096 }},
		{"flash", note, "not known", "", func(h *history) { h.spaceErr = syscall.EIO }},
		{"memory", warn, "5.2 MB", "option memory", func(h *history) { h.memory = 5 << 20 }},
		{"memory", note, "not known", "", func(h *history) { h.memoryFull = 0 }},
		{"agent", bad, "not running", "service globalnet start", func(h *history) { h.status, h.statusErr = nil, control.ErrNotRunning }},
		{"agent", bad, "does not answer: permission", "--socket", func(h *history) { h.status, h.statusErr = nil, fs.ErrPermission }},
		{"neighbours", bad, "no neighbour", "channel", func(h *history) { h.status.Neighbours = nil }},
		{"clock", warn, "nobody in reach", "NTP", func(h *history) { h.clockSet, h.status.Clock = false, &mesh.Clock{Source: "free"} }},
		{"clock", fine, "from neighbours", "", func(h *history) { h.clockSet, h.status.Clock = false, &mesh.Clock{Source: "neighbours"} }},
		{"clock", note, "nobody has set it", "", func(h *history) { h.clockSet = false }},
		{"hash table", note, "off", "", func(h *history) { h.dht = nil }},
		{"hash table", bad, "port", "ss -lunp", func(h *history) { h.dht.Problem = "the port is taken" }},
		{"hash table", warn, "no contact", "firewall", func(h *history) { h.dht.CutOff = true }},
		{"onion", note, "off", "", func(h *history) { h.onion = nil }},
		{"onion", warn, "2 relays known, 3 wanted", "hide less", func(h *history) { h.onion.Relays = 2 }},
		{"onion", warn, "no circuit", "globalnet onion", func(h *history) { h.onion.Ready = 0 }},
		{"onion", fine, "no exit", "", func(h *history) { h.onion.Exits = 0 }},
		{"service web", bad, "refused", "service list", func(h *history) { h.services[0].Error = "connection refused" }},
		{"service web", warn, "not published", "seconds", func(h *history) { h.services[0].Published = -1 }},
		{"LAN", note, "no network", "", func(h *history) { h.lan = nil }},
		{"LAN", warn, "switched it off", "reload", func(h *history) { h.lan.Off = true }},
		{"LAN", bad, "no tproxy", "lan status", func(h *history) { h.lan.Error = "no tproxy" }},
		{"names", bad, "no such host", "globalnet setup", func(h *history) { h.names = errors.New("no such host") }},
	} {
		h := healthy()
		tt.change(&h)
		found := 0
		for _, f := range diagnose(h) {
			if f.Subject != tt.subject {
				if f.State == bad {
					t.Errorf("%s %s: also broken is %+v", tt.subject, tt.text, f)
				}
				continue
			}
			found++
			if f.State != tt.state || !strings.Contains(f.Text, tt.text) || !strings.Contains(f.Next, tt.next) || (tt.next == "") != (f.Next == "") {
				t.Errorf("%+v, want %s %q %q", f, tt.state, tt.text, tt.next)
			}
		}
		if found != 1 {
			t.Errorf("%s %s: judged %d times", tt.subject, tt.text, found)
		}
	}
}

func TestDoctor(t *testing.T) {
	f := &fakeAgent{status: working()}
	f.start(t)
	code, out, errs := globalnet(t, "doctor", "--json", "--root", t.TempDir())
	var answer struct {
		Broken   int
		Findings []finding
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("%v: %s %s", err, out, errs)
	}
	// A root without /proc has no IPv6, which is broken, and no TUN.
	if code != 1 || answer.Broken != 1 || !strings.Contains(errs, "1 thing is broken") {
		t.Errorf("code %d, %d broken, %s\n%s", code, answer.Broken, errs, out)
	}
	_, out, _ = globalnet(t, "doctor", "--root", t.TempDir())
	if !strings.Contains(out, "bad   IPv6") || !strings.Contains(out, "ok    agent") {
		t.Error(out)
	}
}
