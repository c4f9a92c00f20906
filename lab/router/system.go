package router

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// system is the read-only part of all routers, made once.
var system = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "flash-rom-")
	if err != nil {
		return "", err
	}
	for _, d := range strings.Fields("bin sbin usr/bin usr/sbin usr/lib/opkg/info proc sys dev tmp overlay root etc/config etc/init.d etc/rc.d etc/apk/keys etc/dropbear lib/apk/db") {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return "", err
		}
	}
	for from, to := range map[string]string{
		"openwrt/pack/testdata/root/etc/rc.common": "etc/rc.common", "openwrt/pack/testdata/root/lib/functions.sh": "lib/functions.sh",
		"openwrt/uci/testdata/firewall": "etc/config/firewall", "lab/router/testdata/init": "sbin/init",
	} {
		text, err := os.ReadFile(source(from))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, to), text, 0o755)
		}
		if err != nil {
			return "", err
		}
	}
	for name, text := range map[string]string{
		"etc/passwd": passwd, "etc/group": "root:x:0:\nsshd:x:101:\n", "etc/shells": "/bin/sh\n",
		"etc/config/network":  "config interface 'lan'\n\toption device 'br-lan'\n\toption proto 'static'\n",
		"etc/config/wireless": Wireless, "etc/config/dhcp": "config dnsmasq\n\toption domainneeded '1'\n",
		"usr/lib/opkg/status": "Package: busybox\nVersion: 1.36.1-1\n\n", "lib/apk/db/installed": "P:busybox\nV:1.37.0-r1\n\n", "etc/apk/world": "busybox\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	for name, text := range map[string]string{
		"sbin/wifi": "", "usr/bin/logger": "", "sbin/fw4": "", "etc/init.d/network": "", "etc/init.d/firewall": "", "etc/init.d/dnsmasq": "",
		"sbin/sysupgrade": sysupgrade,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho \"${0##*/} $*\" >>/tmp/calls\n"+text), 0o755); err != nil {
			return "", err
		}
	}
	if err := programs(dir); err != nil {
		return "", err
	}
	for _, kind := range []string{"rsa", "ed25519"} { // those of OpenWrt
		key := exec.Command("dropbearkey", "-t", kind, "-f", filepath.Join(dir, "etc/dropbear", kind))
		if out, err := key.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w\n%s", err, out)
		}
	}
	return dir, nil
})

// passwd has the user that OpenSSH's server wants, who is nobody.
const passwd = "root::0:0:root:/root:/bin/sh\nsshd:x:101:101:sshd:/run/sshd:/bin/false\n"

// sysupgrade tests an image as the real one does, by its board, and instead of
// writing it takes the power away.
// What it was asked stays on the disk, beside what survives a restart.
const sysupgrade = `
echo "$*" >>/overlay/sysupgrade
case $1 in
-b) tar -czf - -C / etc/config; exit ;;
-F) echo "never" >&2; exit 1 ;;
-T) grep -q "\"$(cat /etc/board_name)\"" "$2" && ! grep -q "refuse this" "$2" || { echo "Image check failed" >&2; exit 1; }; exit ;;
esac
kill 1
`

// put copies a file of the system into a router's.
func put(dir, from, to string) error {
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(filepath.Join(dir, to)), 0o755)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, to), text, 0o755)
}

// install copies a program with its libraries.
func install(dir, from, to string) error {
	libraries, err := exec.Command("ldd", from).Output()
	if err != nil {
		libraries = nil // it needs none
	}
	for _, word := range strings.Fields(string(libraries)) {
		if strings.HasPrefix(word, "/") {
			if err := put(dir, word, word); err != nil {
				return err
			}
		}
	}
	return put(dir, from, to)
}

// programs puts busybox, dropbear with its libraries, and the stand-ins into dir.
func programs(dir string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	dropbear, err := exec.LookPath("dropbear")
	if err != nil {
		return fmt.Errorf("%w; the package dropbear-bin has it", err)
	}
	if err := errors.Join(put(dir, busybox, "bin/busybox"), install(dir, dropbear, "usr/sbin/dropbear")); err != nil {
		return err
	}
	for _, name := range strings.Fields(`sh cat mkdir rm rmdir ln mv cp cmp grep sed basename dirname sleep ls env id df tail head cut
		tr du wc sort touch chmod sync date sha256sum kill pidof tar gzip mktemp printf test start-stop-daemon setsid`) {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", name)); err != nil {
			return err
		}
	}
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "usr/bin/stand-in"), source("lab/router/testdata/router"))
	cmd.Dir = source(".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the stand-ins: %w\n%s", err, out)
	}
	for _, name := range []string{"uci", "ubus", "opkg", "apk", "gn-setup"} {
		if err := os.Symlink("stand-in", filepath.Join(dir, "usr/bin", name)); err != nil {
			return err
		}
	}
	return os.Symlink("tmp", filepath.Join(dir, "var"))
}

// source is a file of the project, which the module is found by.
func source(name string) string {
	root, err := module()
	if err != nil {
		return name
	}
	return filepath.Join(root, name)
}

var module = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	return strings.TrimSpace(string(out)), err
})
