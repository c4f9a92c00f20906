package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// sysctlDir holds the IPv6 switches of the process's network namespace, whichever
// namespace /proc was mounted in.
const sysctlDir = "/proc/sys/net/ipv6/conf/"

// restore is a switch to be put back to what it was.
type restore struct{ path, value string }

// setSysctl sets a switch and, if remember is wished, notes what it was.
func (k *Kernel) setSysctl(path, value string, remember bool) error {
	old, err := readSysctl(path)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if old == value {
		return nil
	}
	if err := os.WriteFile(path, []byte(value), 0); err != nil {
		if errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("writing %s to %s: %w (mount /proc/sys writable, or set it before the start)", value, path, err)
		}
		return fmt.Errorf("writing %s to %s: %w", value, path, err)
	}
	if remember {
		k.restores = append(k.restores, restore{path, old})
	}
	return nil
}

func readSysctl(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}

// enableIPv6 allows IPv6 on one interface, whatever the default is.
func (k *Kernel) enableIPv6(ifname string) error {
	err := k.setSysctl(sysctlDir+ifname+"/disable_ipv6", "0", ifname == "lo")
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w (the kernel has no IPv6, or it is switched off by ipv6.disable=1)", err)
	}
	return err
}

// enableForwarding makes this machine a router. A router ignores router
// advertisements unless accept_ra is 2, so interfaces that heed them are told to
// go on: a laptop must not lose its own uplink by joining a mesh.
func (k *Kernel) enableForwarding() error {
	all := sysctlDir + "all/forwarding"
	if v, err := readSysctl(all); err == nil && v == "1" {
		return nil
	}
	entries, err := os.ReadDir(sysctlDir)
	if err != nil {
		return fmt.Errorf("listing %s: %w", sysctlDir, err)
	}
	for _, e := range entries {
		ra := sysctlDir + e.Name() + "/accept_ra"
		if v, err := readSysctl(ra); err == nil && v == "1" && e.Name() != "all" {
			if err := k.setSysctl(ra, "2", true); err != nil {
				return err
			}
		}
	}
	return k.setSysctl(all, "1", true)
}

// restoreSysctls puts back what was changed, last first.
func (k *Kernel) restoreSysctls() error {
	var errs []error
	for i := len(k.restores) - 1; i >= 0; i-- {
		r := k.restores[i]
		if err := os.WriteFile(r.path, []byte(r.value), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("restoring %s: %w", r.path, err))
		}
	}
	k.restores = nil
	return errors.Join(errs...)
}
