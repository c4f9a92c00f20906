package edit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"globalnet/openwrt/uci"
)

// A change that is to be confirmed leaves the old file beside the new one, under a name
// that UCI takes for no package: after a line with the hash of the new one.
const keptHeader = "# the configuration before %x\n"

func keptPath(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".before")
}

// keepOld leaves one that is kept already: of several changes the first is undone.
func keepOld(path string, was, now []byte) error {
	if kept, _, err := readKept(path); err == nil {
		was = kept
	}
	text := append(fmt.Appendf(nil, keptHeader, sha256.Sum256(now)), was...)
	if err := uci.ReplaceFile(keptPath(path), text, 0o600); err != nil {
		return fmt.Errorf("keeping the old configuration: %w", err)
	}
	return nil
}

func readKept(path string) (was []byte, now string, err error) {
	text, err := os.ReadFile(keptPath(path))
	if err != nil {
		return nil, "", err
	}
	header, was, ok := bytes.Cut(text, []byte("\n"))
	if !ok {
		return nil, "", errors.New("the old configuration is not whole")
	}
	return was, string(header) + "\n", nil
}

// Confirm ends the wait for a confirmation: what was changed stays.
func Confirm(path string) error {
	err := os.Remove(keptPath(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Undo puts the configuration back as it was before changes that were not confirmed. It
// reports whether it did: not if there are none, or if somebody has changed the file
// since in another way.
func Undo(path string) (undone bool, err error) {
	if path == "" {
		return false, nil
	}
	was, now, err := readKept(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, errors.Join(err, Confirm(path))
	}
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	if fmt.Sprintf(keptHeader, sha256.Sum256(text)) != now {
		return false, Confirm(path)
	}
	if err := uci.ReplaceFile(path, was, info.Mode().Perm()); err != nil {
		return false, fmt.Errorf("putting the old configuration back: %w", err)
	}
	return true, Confirm(path)
}
