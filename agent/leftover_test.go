package agent

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"globalnet/agent/config"
)

// TestLeftovers: what a power cut left is gone, what is being written or has another
// name stays.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	state, etc := filepath.Join(dir, "state"), filepath.Join(dir, "etc")
	gone := []string{"state/.identity-1", "state/.state-2", "state/services/.identity-3", "etc/.globalnet-4.tmp", "keys/.identity-5"}
	stay := []string{"state/identity.key", "state/peers.state", "state/.other", "etc/globalnet", "etc/.globalnet.before", "keys/web.key", "state/.state-locked"}
	for _, name := range append(slices.Clone(gone), stay...) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writer, err := os.Open(filepath.Join(state, ".state-locked"))
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := syscall.Flock(int(writer.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	c := config.Config{StateDir: state, Identity: filepath.Join(state, "identity.key")}
	c.Services = append(c.Services, config.Service{Key: filepath.Join(dir, "keys", "web.key")})
	var log bytes.Buffer
	for range 2 {
		removeLeftovers(c, filepath.Join(etc, "globalnet"), slog.New(slog.NewTextHandler(&log, nil)))
	}
	for _, name := range gone {
		if _, err := os.Lstat(filepath.Join(dir, name)); !os.IsNotExist(err) {
			t.Errorf("%s is there: %v", name, err)
		}
	}
	for _, name := range stay {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if n := bytes.Count(log.Bytes(), []byte("\n")); n != len(gone) {
		t.Errorf("%d lines, %d expected:\n%s", n, len(gone), log.String())
	}
}
