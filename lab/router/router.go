// Package router plays routers with OpenWrt: each is an overlay of a small writable
// disk on a read-only system, with an SSH server and busybox as its only programs
// besides stand-ins that do to its files what uci, opkg, apk and ubus do. The first
// process of its own namespace is its power supply. Tests of `flash` and its benchmark
// use it; it needs root, of a user namespace too, the Go tool and the sources. Its
// state is that of the Router, which ends with the test.
package router

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	outer = "FLASH_TEST_NAMESPACE"
	inner = "FLASH_TEST_ROUTER"
)

// Test is what of *testing.T is used.
type Test interface {
	Helper()
	Fatal(args ...any)
	Error(args ...any)
	Errorf(format string, args ...any)
	Skip(args ...any)
	Cleanup(f func())
}

// Hook is to be called first by every program that starts routers: they are that
// program again.
func Hook() {
	if root := os.Getenv(inner); root != "" {
		fmt.Fprintln(os.Stderr, powerOn(root))
		os.Exit(1)
	}
}

// Main is Hook for tests. They run in a mount namespace of their own, so that what
// they mount ends with them; run is theirs.
func Main(run func() int) int {
	Hook()
	if os.Getenv(outer) != "" || os.Geteuid() != 0 {
		return run()
	}
	dir, err := os.MkdirTemp("", "flash-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), outer+"=1", "TMPDIR="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	if err != nil {
		return run()
	}
	return 0
}

// powerOn becomes the first process of a router.
func powerOn(root string) error {
	at := func(name string) string { return filepath.Join(root, name) }
	err := errors.Join(
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("proc", at("proc"), "proc", 0, ""),
		syscall.Mount("/dev", at("dev"), "", syscall.MS_BIND|syscall.MS_REC, ""),
		syscall.Mount("tmpfs", at("tmp"), "tmpfs", 0, "size=8m"),
		syscall.Mount(os.Getenv("DISK"), at("overlay"), "", syscall.MS_BIND, ""),
		// The kernel is not started anew; what names its start is.
		os.WriteFile(at("tmp/boot_id"), []byte(rand.Text()+"\n"), 0o444),
		syscall.Mount(at("tmp/boot_id"), at("proc/sys/kernel/random/boot_id"), "", syscall.MS_BIND, ""),
		syscall.Chroot(root), os.Chdir("/"),
	)
	if err != nil {
		return err
	}
	return syscall.Exec("/bin/sh", []string{"sh", "/sbin/init"}, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LISTEN=" + os.Getenv("LISTEN")})
}

func need(t Test, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("LAB") == "required" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// Router is one under test.
type Router struct {
	t          Test
	Model      Model
	Root, Disk string // its files, and what is writable of it
	Power      *exec.Cmd
	Wire       *Wire
	Packages   string // folder of what Offer makes

	address string
}

// New starts a router. It ends with the test.
func New(t Test, m Model) *Router {
	t.Helper()
	if os.Geteuid() != 0 {
		need(t, errors.New("mounting a router's file systems needs root"))
	}
	layers, err := m.layers()
	need(t, err)
	base, err := os.MkdirTemp("", "router-") // t.TempDir has commas in it, which divide options of mounts
	if err != nil {
		t.Fatal(err)
	}
	r := &Router{t: t, Model: m, Root: filepath.Join(base, "root"), Disk: filepath.Join(base, "disk"), Packages: filepath.Join(base, "packages")}
	for _, d := range []string{r.Root, r.Disk, r.Packages} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	need(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	need(t, syscall.Mount("tmpfs", r.Disk, "tmpfs", 0, "size=6m"))
	t.Cleanup(func() { syscall.Unmount(r.Disk, syscall.MNT_DETACH) })
	for _, d := range []string{"upper", "work"} {
		if err := os.Mkdir(filepath.Join(r.Disk, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	need(t, syscall.Mount("overlay", r.Root, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", strings.Join(layers, ":"), r.Disk, r.Disk)))
	t.Cleanup(func() { syscall.Unmount(r.Root, syscall.MNT_DETACH) })
	r.Write("etc/board_name", m.Board+"\n")
	r.Write("etc/arch", m.Arch+"\n")
	r.Write("etc/rootfs_type", or(m.RootFS, "squashfs")+"\n")
	r.Write("etc/openwrt_release", fmt.Sprintf("DISTRIB_ID='OpenWrt'\nDISTRIB_RELEASE='%s'\nDISTRIB_ARCH='%s'\n", m.Release, m.Arch))
	gone := strings.Fields(m.Without)
	if m.APK {
		r.Write("etc/apk/arch", m.Arch+"\n")
		gone = append(gone, "opkg")
	} else {
		gone = append(gone, "apk")
	}
	for _, name := range gone {
		os.Remove(filepath.Join(r.Root, "bin", name))
		os.Remove(filepath.Join(r.Root, "usr/bin", name))
	}
	// An address of its own: while a router is off, nobody else takes its port.
	var own [3]byte
	rand.Read(own[:])
	r.address = fmt.Sprintf("127.%d.%d.%d:2222", own[0], own[1], own[2]|1)
	r.Wire = newWire(t, r.address)
	r.On()
	t.Cleanup(r.Off)
	return r
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// Write writes a file of the router.
func (r *Router) Write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.Root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// Read reads one; empty if there is none.
func (r *Router) Read(name string) string {
	text, err := os.ReadFile(filepath.Join(r.Root, name))
	if err != nil {
		return ""
	}
	return string(text)
}

// Temp reads what is in the memory of a router that runs.
func (r *Router) Temp(name string) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/tmp/%s", r.Power.Process.Pid, name))
	if err != nil {
		return ""
	}
	return string(text)
}

// On starts the router and waits for its SSH server.
func (r *Router) On() {
	r.t.Helper()
	r.Power = exec.Command("/proc/self/exe")
	r.Power.Env = append(os.Environ(), inner+"="+r.Root, "LISTEN="+r.address, "DISK="+r.Disk)
	var said bytes.Buffer
	r.Power.Stderr = &said
	r.Power.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := r.Power.Start(); err != nil {
		r.t.Error(err)
		return
	}
	for range 300 {
		if c, err := net.DialTimeout("tcp", r.address, time.Second); err == nil {
			c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.t.Errorf("the router does not start: %s%s", said.String(), r.Temp("dropbear.log"))
}

// Off takes the power away: every process ends at once.
func (r *Router) Off() {
	r.Power.Process.Kill()
	r.Power.Wait()
}

// Command is a program run by root of the router.
func (r *Router) Command(argv ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{"-t", fmt.Sprint(r.Power.Process.Pid), "-m", "-p", "-r", "-w", "--"}, argv...)...)
}

// Files is everything that survives a restart: name, kind, mode, digest.
func (r *Router) Files() map[string]string {
	r.t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(r.Root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, r.Root)
		switch name {
		case "/proc", "/dev", "/tmp", "/overlay", "/bin", "/usr/lib/x86_64-linux-gnu", "/lib64", "/lib/x86_64-linux-gnu":
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all[name] = info.Mode().String()
		switch {
		case d.Type() == fs.ModeSymlink:
			to, err := os.Readlink(path)
			all[name] += " to " + to
			return err
		case d.Type().IsRegular():
			text, err := os.ReadFile(path)
			all[name] += fmt.Sprintf(" %d bytes %x", len(text), sha256.Sum256(text))
			return err
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// Same fails where files differ.
func Same(t Test, before, after map[string]string) {
	t.Helper()
	for name, was := range before {
		if now, ok := after[name]; !ok {
			t.Errorf("%s is gone", name)
		} else if now != was {
			t.Errorf("%s was %s, is %s", name, was, now)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("%s is new", name)
		}
	}
}
