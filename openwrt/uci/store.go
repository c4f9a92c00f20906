package uci

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrChanged means that somebody else wrote the file since it was opened.
var ErrChanged = errors.New("the file was changed meanwhile")

// Stored is a File and where it came from.
type Stored struct {
	*File
	path string
	text []byte // as it was read
	mode fs.FileMode
}

// Open reads the file at path; one that is missing is empty. What `uci set` has
// not committed yet is not seen.
func Open(path string) (*Stored, error) {
	text, mode, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	f, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return &Stored{f, path, text, mode}, nil
}

func read(path string) ([]byte, fs.FileMode, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0o600, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	return text, info.Mode().Perm(), err
}

// Save writes the file if it differs, whole or not at all, and reports whether it
// did. A file that somebody else changed is left alone: ErrChanged.
func (s *Stored) Save() (written bool, err error) {
	text := s.Bytes()
	now, _, err := read(s.path)
	if err != nil {
		return false, fmt.Errorf("writing configuration: %w", err)
	}
	if !bytes.Equal(now, s.text) {
		return false, fmt.Errorf("writing %s: %w", s.path, ErrChanged)
	}
	if bytes.Equal(text, s.text) {
		return false, nil
	}
	if again, err := Parse(text); err != nil || !equal(s.File, again) {
		return false, fmt.Errorf("writing %s: it would not be read back: %w", s.path, err)
	}
	if err := ReplaceFile(s.path, text, s.mode); err != nil {
		return false, fmt.Errorf("writing configuration: %w", err)
	}
	s.text = text
	return true, nil
}

// ReplaceFile writes a file so that after a power cut the old content is there or the
// new one, whole.
func ReplaceFile(path string, text []byte, mode fs.FileMode) error {
	// Not in the folder's listing under a name that UCI would take for a package.
	f, err := os.CreateTemp(filepath.Dir(path), ".globalnet-*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	mark(f)
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
