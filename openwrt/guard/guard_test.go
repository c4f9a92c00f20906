package guard_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"globalnet/lab/router"
	"globalnet/openwrt/archive"
	"globalnet/openwrt/guard"
)

// TestPaths: what enables the services of a package is kept too.
func TestPaths(t *testing.T) {
	for manager, m := range map[string]router.Model{"opkg": router.AR300M, "apk": router.MT3000} {
		a, err := archive.Read(bytes.NewReader(router.Package(t, m, "1.2-r1", nil)), guard.Wanted)
		if err != nil {
			t.Fatal(err)
		}
		paths := guard.Paths(manager, a, []string{"/etc/rc.d/S99old", "relative", "/etc/globalnet/identity.key"})
		for _, want := range []string{"/etc/globalnet", "/etc/config/system", "/usr/sbin/globalnet", "/etc/rc.d/S90globalnet", "/etc/rc.d/K10globalnet", "/etc/rc.d/S18globalnet-lan", "/etc/rc.d/S99old"} {
			if !slices.Contains(paths, want) {
				t.Errorf("%s: no %s in %v", manager, want, paths)
			}
		}
		if slices.Contains(paths, "relative") || slices.Contains(paths, "/etc/globalnet/identity.key") {
			t.Errorf("%s: %v", manager, paths)
		}
	}
}

// TestTidy: only what was never armed is removed.
func TestTidy(t *testing.T) {
	for name, stays := range map[string]bool{guard.Program: false, guard.Armed: true, guard.Hook: true} {
		root := t.TempDir()
		for _, file := range []string{guard.Program, name} {
			path := filepath.Join(root, file)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		if err := guard.Tidy(root); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(root, guard.Dir)); (err == nil) != stays {
			t.Errorf("with %s: %v", name, err)
		}
	}
}
