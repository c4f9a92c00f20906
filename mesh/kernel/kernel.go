// Package kernel is mesh.Kernel for Linux: addresses, routes and rules by
// netlink, WireGuard in the kernel where it has it and in this process where it
// has not, and what the radios tell by nl80211.
//
// A Kernel owns the interfaces whose names begin with mesh.LinkPrefix, one
// routing table, one rule, and the mesh address on the loopback interface. What
// it keeps in memory (the userspace devices) is guarded by its one mutex; all
// else is the operating system's, and every call only moves that towards what is
// wanted.
package kernel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"globalnet/mesh"
	"globalnet/mesh/kernel/rtnl"
)

// Alias is the interface alias (ip link show) of each WireGuard interface of ours.
const Alias = "globalnet"

// RadioAlias marks an interface as a simulated radio.
const RadioAlias = "radio"

// meshPrefix holds all mesh addresses.
var meshPrefix = netip.MustParsePrefix("fd47:4e45::/32")

// Config says how a Kernel works. The zero value is usable.
type Config struct {
	Log *slog.Logger // nil discards

	ForceUserspace bool // never ask the kernel for WireGuard
	SmallMemory    bool // userspace WireGuard for machines with less than 256 MB

	Table    int // routing table, default 18245
	Rule     int // priority of its rule, default 18245
	Protocol int // protocol number of our routes, default 71
}

// Kernel implements mesh.Kernel.
type Kernel struct {
	cfg     Config
	log     *slog.Logger
	watcher *watcher

	mu       sync.Mutex
	devices  map[string]*device // userspace WireGuard, by interface name
	native   bool               // the kernel has WireGuard
	decided  bool               // native is known
	wg       *wgControl         // kernel WireGuard, nil until used
	restores []restore          // sysctls to put back, in order of change
	closed   bool
}

var _ mesh.Kernel = (*Kernel)(nil)

// New opens the kernel's network of the current network namespace. Nothing is
// changed yet.
func New(cfg Config) (*Kernel, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Table == 0 {
		cfg.Table = 18245
	}
	if cfg.Rule == 0 {
		cfg.Rule = 18245
	}
	if cfg.Protocol == 0 {
		cfg.Protocol = 71
	}
	k := &Kernel{cfg: cfg, log: cfg.Log, devices: make(map[string]*device)}
	if cfg.ForceUserspace {
		k.decided = true
	}
	w, err := newWatcher(cfg.Log)
	if err != nil {
		return nil, err
	}
	k.watcher = w
	return k, nil
}

// Close ends everything that runs in this process: userspace WireGuard, whose
// interfaces vanish with it, and the watching of changes. It leaves what is the
// kernel's own; Cleanup removes that.
func (k *Kernel) Close() error {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return nil
	}
	k.closed = true
	for name, d := range k.devices {
		d.close()
		delete(k.devices, name)
	}
	var err error
	if k.wg != nil {
		err = k.wg.close()
	}
	k.mu.Unlock()
	k.watcher.close()
	return err
}

// Changes implements mesh.Kernel.
func (k *Kernel) Changes() <-chan mesh.Change { return k.watcher.out }

// lock takes the mutex for a call that may change something.
func (k *Kernel) lock(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return nil, errors.New("kernel is closed")
	}
	return k.mu.Unlock, nil
}

// explain adds to an error what the reader can do about it.
func explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w (needs root, CAP_NET_ADMIN, or a user namespace of its own: unshare -Urn)", err)
	case errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("%w (the kernel has no IPv6, or it is switched off by ipv6.disable=1)", err)
	}
	return err
}

// linkByName is rtnl.LinkByName, with nil for an interface that is not there.
func linkByName(name string) (*rtnl.Link, error) {
	l, err := rtnl.LinkByName(name)
	if errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	return l, err
}
