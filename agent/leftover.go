package agent

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"globalnet/agent/config"
)

// removeLeftovers removes what a power cut has left in the folders that the agent and
// the owner's commands write to: files that were to be renamed when they were whole.
// One that is being written now is locked, and stays.
func removeLeftovers(c config.Config, configPath string, log *slog.Logger) {
	dirs := []string{c.StateDir, filepath.Dir(c.Identity), filepath.Join(c.StateDir, "services"), filepath.Join(c.StateDir, "clients")}
	if configPath != "" {
		dirs = append(dirs, filepath.Dir(configPath))
	}
	for _, s := range c.Services {
		dirs = append(dirs, filepath.Dir(s.Key))
	}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		entries, _ := os.ReadDir(dir) // at the first start there is none
		for _, e := range entries {
			if !e.Type().IsRegular() || !isLeftover(e.Name()) {
				continue
			}
			switch removed, err := removeUnlocked(filepath.Join(dir, e.Name())); {
			case err != nil:
				log.Warn("a file that a power cut left stays", "err", err)
			case removed:
				log.Info("a file that a power cut left is removed", "path", filepath.Join(dir, e.Name()))
			}
		}
	}
}

// isLeftover knows the temporary names of identity, state and configuration.
func isLeftover(name string) bool {
	return strings.HasPrefix(name, ".identity-") || strings.HasPrefix(name, ".state-") ||
		strings.HasPrefix(name, ".globalnet-") && strings.HasSuffix(name, ".tmp")
}

func removeUnlocked(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return false, nil
	}
	return true, os.Remove(path)
}
