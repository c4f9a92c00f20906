package agent

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStateFile: a file system that takes nothing is told of once, and once more
// when it takes something again. A file where the folder should be stands in for it,
// since root may write anywhere.
func TestStateFile(t *testing.T) {
	var log bytes.Buffer
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := stateFile{path: filepath.Join(dir, "peers.state"), what: "peers", log: slog.New(slog.NewTextHandler(&log, nil))}
	for range 100 {
		if f.write([]byte("x")) {
			t.Fatal("written into a file")
		}
	}
	if n := strings.Count(log.String(), "not kept"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if !f.write([]byte("x")) {
			t.Fatal("not written")
		}
	}
	if n := strings.Count(log.String(), "kept again"); n != 1 || strings.Count(log.String(), "\n") != 2 {
		t.Errorf("said:\n%s", log.String())
	}
}
