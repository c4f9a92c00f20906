package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"globalnet/openwrt/flash"
)

func start(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("SSH_AUTH_SOCK", "")
	var out, said bytes.Buffer
	status = run(context.Background(), args, &out, &terminal{stderr: &said})
	return status, out.String(), said.String()
}

func TestUsage(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"no router":           {},
		"named twice":         {"root@192.0.2.1", "192.0.2.1"},
		"is no router":        {"root@"},
		"not defined":         {"--force", "root@192.0.2.1"},
		"options come before": {"root@192.0.2.1", "--remove"},
		"no terminal to ask":  {"--passphrase", "root@192.0.2.1"},
		"no passphrase":       {"--passphrase-file", empty, "root@192.0.2.1"},
		"exclude each other":  {"--passphrase", "--passphrase-file", empty, "root@192.0.2.1"},
		"at least 1":          {"--jobs", "0", "root@192.0.2.1"},
	} {
		if status, _, stderr := start(t, args...); status != wrongUsage || !strings.Contains(stderr, want) {
			t.Errorf("%v: %d, %s", args, status, stderr)
		}
	}
	if status, stdout, _ := start(t, "--help"); status != 0 || !strings.Contains(stdout, "Exit status") || !strings.Contains(stdout, "-mesh-radio") {
		t.Errorf("--help: %d, %s", status, stdout)
	}
}

// TestUnreachable: two routers that are not there, and one report each.
func TestUnreachable(t *testing.T) {
	status, stdout, _ := start(t, "--json", "root@127.0.0.1:1", "root@127.0.0.1:2")
	var reports []struct{ Router, Result, Error, State, Advice string }
	if err := json.Unmarshal([]byte(stdout), &reports); err != nil || len(reports) != 2 || status != int(flash.NoLogin) {
		t.Fatalf("%d, %v\n%s", status, err, stdout)
	}
	for _, r := range reports {
		if r.Result != "unreachable" || r.Error == "" || !strings.Contains(r.State, "Nothing was changed") || r.Advice == "" {
			t.Errorf("%+v", r)
		}
	}
	if _, stdout, _ := start(t, "--lan", "some", "root@127.0.0.1:1", "root@127.0.0.1:2"); !strings.Contains(stdout, "0 of 2 routers done, 2 refused") {
		t.Errorf("summary: %s", stdout)
	}
}
