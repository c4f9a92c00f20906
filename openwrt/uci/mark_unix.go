//go:build unix

package uci

import (
	"os"
	"syscall"
)

// mark locks a file that is being written: what is not locked is a leftover.
func mark(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
