package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// router makes the files of a router.
func router(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"etc/config/globalnet": "config globalnet 'main'\n",
		"etc/config/network":   "config interface 'lan'\n",
		"etc/config/wireless": "config wifi-device 'radio0'\n\toption band '2g'\n\toption channel 'auto'\n\n" +
			"config wifi-iface 'home'\n\toption device 'radio0'\n\toption mode 'ap'\n\toption ssid 'ho\x1bme'\n\toption key 'hunter22'\n\n" +
			"config wifi-device 'radio1'\n\toption band '2g'\n\toption channel '11'\n",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestRadioSetup(t *testing.T) {
	root := router(t)
	wireless := func() string {
		text, err := os.ReadFile(filepath.Join(root, "etc/config/wireless"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	before := wireless()
	code, stdout, stderr := globalnet(t, "radio", "list", "--root", root)
	if code != 0 || !strings.Contains(stdout, "radio1  2g    11") || !strings.Contains(stdout, "--channel 1 moves both") ||
		strings.ContainsAny(stdout, "\x1b") || strings.Contains(stdout, "hunter22") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	if code, _, stderr := globalnet(t, "radio", "setup", "radio0", "--root", root); code != exitFailed || !strings.Contains(stderr, "chooses its channel by itself") {
		t.Errorf("a conflict: exit %d, %s", code, stderr)
	}
	code, stdout, _ = globalnet(t, "radio", "setup", "radio1", "--dry-run", "--root", root)
	if code != 0 || wireless() != before || !strings.Contains(stdout, "+ wireless.globalnet_radio1.mode=\"mesh\"\n") ||
		!strings.Contains(stdout, "radio1: mesh on channel 11, interface gnmesh1\n") {
		t.Errorf("dry run: exit %d\n%s", code, stdout)
	}
	code, stdout, stderr = globalnet(t, "radio", "setup", "radio1", "--root", root)
	if code != 0 || !strings.Contains(wireless(), "config wifi-iface 'globalnet_radio1'") || !strings.Contains(stdout, "done;") {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
	var again struct {
		Applied bool
		Changes []any
		Air     []struct{ Channel int }
	}
	code, stdout, _ = globalnet(t, "setup", "--json", "--root", root)
	if err := json.Unmarshal([]byte(stdout), &again); code != 0 || err != nil || again.Applied || len(again.Changes) > 0 || len(again.Air) != 1 || again.Air[0].Channel != 11 {
		t.Errorf("again: exit %d, %v\n%s", code, err, stdout)
	}
	if code, _, stderr := globalnet(t, "radio", "keep", "--root", root); code != exitFailed || !strings.Contains(stderr, "no change is on trial") {
		t.Errorf("keep: exit %d, %s", code, stderr)
	}
	if code, _, stderr := globalnet(t, "radio", "remove", "radio1", "--root", root); code != 0 || wireless() != before {
		t.Errorf("remove: exit %d, %s\n%s", code, stderr, wireless())
	}
}

func TestRadioCommandsElsewhere(t *testing.T) {
	empty := t.TempDir()
	for args, want := range map[string]string{
		"radio list --root " + empty:            "not OpenWrt",
		"setup --dry-run --root " + empty:       "not OpenWrt",
		"radio revert --root " + empty:          "no change is on trial",
		"radio join nothing9":                   "no such interface",
		"radio join lo --mode ap":               "mode \"ap\"",
		"radio join lo --frequency 100":         "no frequency",
		"radio leave nothing9":                  "no such interface",
		"radio remove radio0 --root " + empty:   "not OpenWrt",
		"radio setup radio0 --root " + empty:    "not OpenWrt",
		"radio keep --json --root " + empty:     "no change is on trial",
		"radio setup radio9 --root " + empty:    "not OpenWrt",
		"radio list --json --root /nonexisting": "not OpenWrt",
	} {
		if code, _, stderr := globalnet(t, strings.Fields(args)...); code != exitFailed || !strings.Contains(stderr, want) {
			t.Errorf("globalnet %s: exit %d, %s", args, code, stderr)
		}
	}
}
