package agent

import (
	"log/slog"
	"os"
	"path/filepath"

	"globalnet/mesh/peers"
)

// stateFile is a file that the agent writes now and then, owned by one goroutine.
// The flash of a router may be full or read-only: that is said once, and once more
// when it has passed, and the agent runs on.
type stateFile struct {
	path    string
	what    string // is not kept, in the log
	log     *slog.Logger
	failing bool
}

// write replaces the file, and reports whether it could.
func (f *stateFile) write(text []byte) bool {
	os.MkdirAll(filepath.Dir(f.path), 0o700) // if it cannot be made, that shows now
	err := peers.WriteFile(f.path, text)
	switch {
	case err != nil && !f.failing:
		f.log.Warn("state is not kept for the next start", "state", f.what, "err", err)
	case err == nil && f.failing:
		f.log.Info("state is kept again", "state", f.what)
	}
	f.failing = err != nil
	return err == nil
}
