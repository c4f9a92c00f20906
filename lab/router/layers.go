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

// Layers are laid over the system of those routers that have them; each is made once.

// openSSH is OpenSSH's server in place of dropbear.
var openSSH = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "flash-sshd-")
	if err != nil {
		return "", err
	}
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		if sshd, err = exec.LookPath("/usr/sbin/sshd"); err != nil {
			return "", fmt.Errorf("%w; the package openssh-server has it", err)
		}
	}
	if err := install(dir, sshd, "usr/sbin/sshd"); err != nil {
		return "", err
	}
	helpers, _ := filepath.Glob("/usr/lib/openssh/sshd-*") // since 9.8 it is several programs
	for _, h := range helpers {
		if err := install(dir, h, h); err != nil {
			return "", err
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "etc/ssh"), 0o755); err != nil {
		return "", err
	}
	key := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "etc/ssh/key"))
	if out, err := key.CombinedOutput(); err != nil {
		return "", fmt.Errorf("making a host key: %w\n%s", err, out)
	}
	config := "HostKey /etc/ssh/key\nPidFile none\nUsePAM no\nPermitRootLogin yes\nStrictModes no\nPermitEmptyPasswords yes\nUseDNS no\n"
	return dir, os.WriteFile(filepath.Join(dir, "etc/ssh/sshd_config"), []byte(config), 0o644)
})

// secret gives root the password Password.
var secret = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "flash-password-")
	if err != nil {
		return "", err
	}
	const hash = "$6$globalnetlab$wzyADiQazIAXeGhd7PCplNgINKDlWiNiNI9TT5kR4/sd5LfRJdZWpWk3Sg//52ygUsz.HDX33sEMqQbFmqj/c."
	return dir, errors.Join(os.Mkdir(filepath.Join(dir, "etc"), 0o755),
		os.WriteFile(filepath.Join(dir, "etc/shadow"), []byte("root:"+hash+":20000:0:99999:7:::\nsshd:*:20000:0:99999:7:::\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte(strings.Replace(passwd, "::", ":x:", 1)), 0o644))
})

// self is the program that plays the router: a test that runs inside as well.
var self = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "flash-self-")
	if err != nil {
		return "", err
	}
	own, err := os.Executable()
	if err != nil {
		return "", err
	}
	return dir, install(dir, own, Self)
})

// layers are the folders of a router's system, the topmost first.
func (m Model) layers() (all []string, err error) {
	for _, l := range []struct {
		wanted bool
		make   func() (string, error)
	}{{m.Self, self}, {m.Password, secret}, {m.OpenSSH, openSSH}, {true, system}} {
		if !l.wanted {
			continue
		}
		dir, err := l.make()
		if err != nil {
			return nil, err
		}
		all = append(all, dir)
	}
	return all, nil
}
