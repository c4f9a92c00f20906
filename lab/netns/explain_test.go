package netns

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		name    string
		err     error
		sysctls map[string]string
		remedy  string // empty: not explained
	}{
		{"debian", fmt.Errorf("making namespaces: %w", unix.EPERM),
			map[string]string{"kernel.unprivileged_userns_clone": "0"}, "sysctl -w kernel.unprivileged_userns_clone=1"},
		{"ubuntu", fmt.Errorf("making the mounts private: %w", unix.EACCES),
			map[string]string{"kernel.apparmor_restrict_unprivileged_userns": "1"}, "kernel.apparmor_restrict_unprivileged_userns=0"},
		{"none allowed", fmt.Errorf("making namespaces: %w", unix.ENOSPC),
			map[string]string{"user.max_user_namespaces": "0"}, "user.max_user_namespaces=10000"},
		{"limit", fmt.Errorf("making namespaces: %w", unix.ENOSPC), nil, "end other labs"},
		{"container", fmt.Errorf("making namespaces: %w", unix.EPERM), nil, "--privileged"},
		{"old kernel", fmt.Errorf("making namespaces: %w", unix.EINVAL), nil, "CONFIG_USER_NS"},
		{"no tun", fmt.Errorf("opening /dev/net/tun: %w", unix.ENOENT), nil, "modprobe tun"},
		{"tun closed", fmt.Errorf("opening /dev/net/tun: %w", unix.EACCES), nil, "chmod 0666 /dev/net/tun"},
		{"other", errors.New("disk full"), nil, ""},
	} {
		got := explain(c.err, func(name string) string { return c.sysctls[name] })
		var f *Forbidden
		if !errors.As(got, &f) {
			if c.remedy != "" {
				t.Errorf("%s: not explained", c.name)
			}
			continue
		}
		if c.remedy == "" || !strings.Contains(f.Remedy, c.remedy) {
			t.Errorf("%s: remedy %q, want %q in it", c.name, f.Remedy, c.remedy)
		}
		if !errors.Is(got, c.err) || explain(got, nil) != got {
			t.Errorf("%s: the cause is lost or explained twice", c.name)
		}
	}
	if explain(nil, nil) != nil {
		t.Error("no error was explained")
	}
}
