package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// lockName is an abstract Unix socket: each network namespace has its own, as it
// has its own routes, and it goes with its process. Nobody ever connects to it.
const lockName = "@globalnet/agent"

// lockNamespace makes this process the only one that changes the routes of its
// network namespace, until the lock is closed.
func lockNamespace() (io.Closer, error) {
	l, err := net.Listen("unix", lockName)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, errors.New("another agent is running on this machine or in this network namespace: stop it first")
	}
	if err != nil {
		return nil, fmt.Errorf("locking the network namespace: %w", err)
	}
	return l, nil
}
