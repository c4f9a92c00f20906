// Package control lets a lab that runs in one process be watched and changed
// from others of the same user: a directory with a lock, an HTTP/JSON socket, and
// a socket that takes descriptors to run programs in nodes.
package control

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"golang.org/x/sys/unix"
)

// Names of what is in a lab's directory.
const (
	httpSocket   = "lab.sock"
	execSocket   = "exec.sock"
	logFile      = "lab.log"
	topologyFile = "topology.lab"
)

// ErrRunning says that a lab of this name is up already.
var ErrRunning = errors.New("a lab is up already")

// ErrNotRunning says that no lab of this name is up.
var ErrNotRunning = errors.New("no lab is up")

// Dir is the directory of one lab. It is there while the lab is up.
type Dir string

// Find returns the directory of the lab of a name, whether or not it is up.
func Find(name string) (Dir, error) {
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,19}$`).MatchString(name) {
		return "", fmt.Errorf("%q is no name for a lab: at most 20 letters, digits, hyphens", name)
	}
	base := filepath.Join(os.TempDir(), "globalnet-lab-"+strconv.Itoa(os.Getuid()))
	if run := os.Getenv("XDG_RUNTIME_DIR"); run != "" {
		if st, err := os.Stat(run); err == nil && st.IsDir() {
			base = filepath.Join(run, "globalnet-lab")
		}
	}
	if err := os.Mkdir(base, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("making the directory of labs: %w", err)
	}
	// In /tmp, another user may have been there first.
	var st unix.Stat_t
	if err := unix.Lstat(base, &st); err != nil {
		return "", fmt.Errorf("looking at %s: %w", base, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != uint32(os.Getuid()) || st.Mode&0o077 != 0 {
		return "", fmt.Errorf("%s is not a directory of this user alone (want mode 0700)", base)
	}
	return Dir(filepath.Join(base, name)), nil
}

// Claim makes the directory for a new lab and locks its name. The lab is up
// while any process holds the returned file. What a crashed lab left is removed.
func (d Dir) Claim() (*os.File, error) {
	lock, err := os.OpenFile(string(d)+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the lab: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, ErrRunning
	}
	if err := errors.Join(os.RemoveAll(string(d)), os.Mkdir(string(d), 0o700)); err != nil {
		lock.Close()
		return nil, fmt.Errorf("making the lab's directory: %w", err)
	}
	return lock, nil
}

// Running reports whether the lab is up. What a crashed one left is removed.
func (d Dir) Running() bool {
	lock, err := os.OpenFile(string(d)+".lock", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer lock.Close()
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return true
	}
	os.RemoveAll(string(d))
	os.Remove(string(d) + ".lock")
	return false
}

// Release removes what Claim made. The lab has ended.
func (d Dir) Release() error {
	err := errors.Join(os.RemoveAll(string(d)), os.RemoveAll(string(d)+".lock"))
	os.Remove(filepath.Dir(string(d))) // unless there are other labs
	return err
}

// Log is the path of what a lab in the background prints.
func (d Dir) Log() string { return filepath.Join(string(d), logFile) }

// Topology is the path of the description the lab was made of.
func (d Dir) Topology() string { return filepath.Join(string(d), topologyFile) }
