// Package vm runs programs of ours in a virtual machine: Debian's kernel under
// QEMU, with what the machine at hand may lack, such as WireGuard in the kernel
// and simulated Wi-Fi (mac80211_hwsim). The kernel comes from its Debian package,
// unpacked in the user's cache folder; the rest of the machine is an initramfs made
// for each run. No part of it needs root or a network device.
//
// A run owns its QEMU process and its temporary folder, and leaves neither.
package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// Spec says what is in a virtual machine and what it does.
type Spec struct {
	// Files are put into the machine: where, absolute, and which file of this one.
	// A program must be static.
	Files map[string]string
	// Programs of this machine, by name, are put into /usr/bin with the shared
	// libraries they need.
	Programs []string
	// Modules are kernel modules to load, each with its parameters, if any:
	// "mac80211_hwsim radios=3". What they depend on comes before them.
	Modules []string
	// Script is run by a POSIX shell, as root, in /tmp. Its exit status is the
	// result of the run. The programs of busybox are there.
	Script string

	MemoryMB int // default 256
	CPUs     int // default 1
	// Steady makes the machine's clock count its instructions, 500 million a second,
	// about what a cheap router does. Times measured in it do not depend on what else
	// this computer does, and waiting costs nothing. It takes twice the work, and
	// there is one CPU.
	Steady bool
	Output io.Writer // if not nil, gets what the machine prints while it runs
}

// ErrUnavailable is wrapped by errors that say what this machine lacks.
var ErrUnavailable = errors.New("no virtual machine here")

// exitLine is how the machine reports the exit status of the script.
var exitLine = regexp.MustCompile(`(?m)^VMRC=(\d+)\s*$`)

// Run boots a machine, runs its script and returns what it printed and its exit
// status. It is an error if the machine ends without one, as after a kernel panic.
func Run(ctx context.Context, s Spec) (log string, rc int, err error) {
	qemu, err := program("qemu-system-x86_64", "qemu-system-x86")
	if err != nil {
		return "", 0, err
	}
	k, err := FetchKernel(ctx)
	if err != nil {
		return "", 0, err
	}
	dir, err := os.MkdirTemp("", "globalnet-vm-")
	if err != nil {
		return "", 0, err
	}
	defer os.RemoveAll(dir)
	initrd := filepath.Join(dir, "initrd")
	if err := writeInitramfs(ctx, initrd, k, s); err != nil {
		return "", 0, fmt.Errorf("making the initramfs: %w", err)
	}
	return boot(ctx, qemu, k, initrd, s)
}

func boot(ctx context.Context, qemu string, k *Kernel, initrd string, s Spec) (string, int, error) {
	memory, cpus := s.MemoryMB, max(s.CPUs, 1)
	if memory == 0 {
		memory = 256
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	clock := []string{"-accel", accelerator(), "-smp", strconv.Itoa(cpus)}
	if s.Steady {
		clock = []string{"-accel", "tcg", "-icount", "shift=1,sleep=off"}
	}
	cmd := exec.CommandContext(ctx, qemu, append(clock,
		"-machine", "q35", "-cpu", "max", "-m", strconv.Itoa(memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-serial", "stdio", "-monitor", "none",
		"-kernel", k.Image, "-initrd", initrd,
		"-append", "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off random.trust_cpu=on tsc=reliable")...)
	// It must not outlive this process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", 0, err
	}
	if err := cmd.Start(); err != nil {
		return "", 0, fmt.Errorf("starting QEMU: %w", err)
	}
	log, rc, done := read(out, s.Output)
	// With the status, all is said: no need to wait for the machine to switch itself off.
	stop()
	err = cmd.Wait()
	switch {
	case done:
		return log, rc, nil
	case context.Cause(ctx) != nil && err == nil:
		err = errors.New("it switched itself off")
	}
	return log, 0, fmt.Errorf("the machine ended without a result: %w: %s", err, strings.TrimSpace(complaints.String()))
}

// accelerator is tcg, plain emulation, unless LAB_VM_ACCEL says kvm: where this
// machine is itself virtual, /dev/kvm may be there and yet hang.
func accelerator() string {
	if a := os.Getenv("LAB_VM_ACCEL"); a != "" {
		return a
	}
	return "tcg"
}

// read reads what the machine prints, until its result or its end.
func read(r io.Reader, w io.Writer) (log string, rc int, done bool) {
	var all []byte
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		part := bytes.ReplaceAll(buf[:n], []byte("\r"), nil)
		if w != nil {
			_, _ = w.Write(part)
		}
		// The line may be split over two parts.
		from := max(len(all)-32, 0)
		if i := bytes.LastIndexByte(all[:from], '\n'); i >= 0 {
			from = i + 1
		}
		all = append(all, part...)
		if end := bytes.LastIndexByte(all, '\n'); end >= from {
			if m := exitLine.FindSubmatchIndex(all[from : end+1]); m != nil {
				rc, _ := strconv.Atoi(string(all[from+m[2] : from+m[3]]))
				return string(all[:from+m[0]]), rc, true
			}
		}
		if err != nil {
			return string(all), 0, false
		}
	}
}

// program finds a program, or says which Debian package has it.
func program(name, pkg string) (string, error) {
	// A user's PATH often lacks the sbin folders.
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: %s is missing (apt-get install %s)", ErrUnavailable, name, pkg)
}
