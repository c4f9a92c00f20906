package vm

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strings"
)

// writeInitramfs makes the machine's whole file system.
func writeInitramfs(file string, k *Kernel, s Spec) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, 1<<16)
	c := newCPIOWriter(b)
	return errors.Join(fill(c, k, s), c.close(), b.Flush(), f.Close())
}

func fill(c *cpioWriter, k *Kernel, s Spec) error {
	for _, dir := range []string{"/dev", "/proc", "/sys", "/tmp", "/run", "/var", "/root", "/etc", "/usr/bin"} {
		if err := c.dir(dir); err != nil {
			return err
		}
	}
	// The kernel opens it for init before anything is mounted.
	if err := c.char("/dev/console", 5, 1); err != nil {
		return err
	}
	if err := errors.Join(
		c.text("/etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
		c.text("/etc/group", 0o644, "root:x:0:\nnogroup:x:65534:\n"),
		c.text("/etc/hosts", 0o644, "127.0.0.1 localhost\n::1 localhost\n"),
		c.symlink("/var/run", "/run"),
	); err != nil {
		return err
	}
	if err := addFile(c, "/bin/busybox", k.Busybox, 0o755); err != nil {
		return err
	}
	programs := s.Programs
	if a, err := archOf(s.Arch); err == nil && a.name == runtime.GOARCH {
		// The shell of scripts is not busybox's: that one takes its own ip for the real one.
		programs = append([]string{"dash"}, programs...)
	}
	for _, name := range programs {
		if err := addProgram(c, name); err != nil {
			return err
		}
	}
	modules, err := resolveModules(k.Modules, s.Modules)
	if err != nil {
		return err
	}
	all, err := resolveModules(k.Modules, append(slices.Clone(s.Modules), s.Later...))
	if err != nil {
		return err
	}
	for _, m := range all {
		if err := addFile(c, "/lib/modules/"+filepath.Base(m.path), m.path, 0o644); err != nil {
			return err
		}
	}
	var names []string
	for name := range s.Files {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if !path.IsAbs(name) {
			return fmt.Errorf("%s is no absolute path", name)
		}
		if err := addFile(c, name, s.Files[name], 0o755); err != nil {
			return err
		}
	}
	return errors.Join(c.text("/script", 0o755, s.Script), c.text("/init", 0o755, initScript(modules)))
}

// initScript is process 1. It ends the machine when the script has ended.
func initScript(modules []moduleFile) string {
	var b strings.Builder
	b.WriteString(`#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin HOME=/root
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t debugfs debug /sys/kernel/debug
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
[ -c /dev/net/tun ] || { mkdir -p /dev/net; mknod /dev/net/tun c 10 200; }
mkdir -p /dev/pts
mount -t devpts pts /dev/pts
exec </dev/null >/dev/console 2>&1
ifconfig lo up
`)
	for _, m := range modules {
		fmt.Fprintf(&b, "insmod /lib/modules/%s %s\n", filepath.Base(m.path), m.parameters)
	}
	b.WriteString(`cd /tmp
shell=/usr/bin/dash
[ -x $shell ] || shell=/bin/sh
$shell /script
rc=$?
echo
echo "VMRC=$rc"
reboot -f
`)
	return b.String()
}

// addProgram adds a program of this machine with its libraries.
func addProgram(c *cpioWriter, name string) error {
	file, err := program(name, "the package that has it")
	if err != nil {
		return err
	}
	if err := addFile(c, "/usr/bin/"+name, file, 0o755); err != nil {
		return err
	}
	libs, err := dependencies(file)
	if err != nil {
		return err
	}
	for _, lib := range libs {
		if c.names[clean(lib)] {
			continue
		}
		if err := addFile(c, lib, lib, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func addFile(c *cpioWriter, name, from string, perm os.FileMode) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return c.file(name, perm, info.Size(), f)
}
