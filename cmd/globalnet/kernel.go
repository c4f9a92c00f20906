package main

import (
	"fmt"
	"io"
	"log/slog"

	"globalnet/agent/config"
	"globalnet/mesh"
	"globalnet/mesh/kernel"
)

// closer is the kernel as the command line opens and closes it.
type closer interface {
	mesh.Kernel
	io.Closer
}

func openKernel(c config.Config, smallMemory bool, log *slog.Logger) (closer, error) {
	k, err := kernel.New(kernel.Config{
		Log:            log,
		ForceUserspace: c.WireGuard == config.WireGuardUser,
		SmallMemory:    smallMemory,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the kernel's network: %w", err)
	}
	return k, nil
}
