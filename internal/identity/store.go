package identity

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// create writes text to a file beside path, flushes it, and then gives it its
// name, so that a power cut leaves either no file or a whole one. It never
// replaces what is there: the error is fs.ErrExist then.
func create(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".identity-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_ = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) // what is not locked is a leftover
	if err := writeOut(f, text); err != nil {
		return err
	}
	if err := place(f.Name(), path, ways); err != nil {
		return err
	}
	return syncDir(dir)
}

// ways to give a file its name without replacing one, the best first. No file
// system of a router lacks them all, but each is missing somewhere: FAT and some
// network file systems have no links, old kernels no RENAME_NOREPLACE on overlayfs.
var ways = []func(from, to string) error{renameNew, os.Link, copyNew}

// place tries the ways until one is possible.
func place(from, to string, ways []func(from, to string) error) error {
	var err error
	for _, way := range ways {
		if err = way(from, to); err == nil || errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return err
}

func renameNew(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// copyNew is not atomic: a power cut may leave a damaged key, which the owner
// then has to move away. What it could not finish, it removes.
func copyNew(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := writeOut(f, text); err != nil {
		os.Remove(to)
		return err
	}
	return nil
}

// writeOut writes text to f, flushes and closes it.
func writeOut(f *os.File, text []byte) error {
	_, err := f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // some file systems cannot
		return err
	}
	return nil
}
