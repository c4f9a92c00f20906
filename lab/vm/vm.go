// Package vm runs programs of ours in a virtual machine: Debian's kernel under
// QEMU, for amd64, MIPS or ARM, with what the machine at hand may lack, such as WireGuard in the kernel
// and simulated Wi-Fi (mac80211_hwsim). The kernel comes from its Debian package (that
// of big-endian MIPS is built from the source in one),
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
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// Where Spec.Flash is in a machine, and its size.
const (
	FlashAt   = "0x100000000"
	FlashSize = 8 << 20
)

// Spec says what is in a virtual machine and what it does.
type Spec struct {
	// Arch is the architecture, as Go names it: amd64 (the default), mipsle, mips or arm.
	Arch string
	// Files are put into the machine: where, absolute, and which file of this one.
	// A program must be static.
	Files map[string]string
	// Programs of this machine, by name, are put into /usr/bin with the shared
	// libraries they need. A machine of another architecture takes none.
	Programs []string
	// Modules are kernel modules to load, each with its parameters, if any:
	// "mac80211_hwsim radios=3". What they depend on comes before them.
	Modules []string
	// Later are modules for the script to load, from /lib/modules.
	Later []string
	// Script is run by a POSIX shell, as root, in /tmp. Its exit status is the
	// result of the run. The programs of busybox are there.
	Script string

	// Disks are files that the machine has as /dev/vda, /dev/vdb and so on. What it has
	// given to them is in them, also when the machine is killed.
	Disks []string
	// Flash, if not empty, is a file that the machine, an amd64 one, has as memory at
	// FlashAt: each store is in it at once. Linux does not use it as memory: it is too small.
	Flash string
	// Segment, if not empty, joins the machine's Ethernet, eth0, to that of another
	// machine with the same path of a socket. One of them has to be its Server.
	Segment string
	Server  bool

	// Clock is the time at which the machine's clock begins, such as 1970-01-01; as a
	// rule it is right.
	Clock    string
	MemoryMB int // default 256
	CPUs     int // default 1
	// Steady makes the machine's clock count its instructions, 500 million a second,
	// about what a cheap router does. Times measured in it do not depend on what else
	// this computer does, and waiting costs nothing. It takes twice the work, and
	// there is one CPU.
	Steady bool
	Output io.Writer // if not nil, gets what the machine prints while it runs

	monitor string // socket of QEMU's monitor
	keep    string // the initramfs, made if it is not there
	thaw    string // a machine to go on with
}

// ErrUnavailable is wrapped by errors that say what this machine lacks.
var ErrUnavailable = errors.New("no virtual machine here")

// exitLine is how the machine reports the exit status of the script.
var exitLine = regexp.MustCompile(`(?m)^VMRC=(\d+)\s*$`)

// Run boots a machine, runs its script and returns what it printed and its exit
// status. It is an error if the machine ends without one, as after a kernel panic.
func Run(ctx context.Context, s Spec) (log string, rc int, err error) {
	a, err := archOf(s.Arch)
	if err != nil {
		return "", 0, err
	}
	qemu, err := program(a.qemu, a.pkg)
	if err != nil {
		return "", 0, err
	}
	k, err := FetchKernel(ctx, s.Arch)
	if err != nil {
		return "", 0, err
	}
	dir, err := os.MkdirTemp("", "globalnet-vm-")
	if err != nil {
		return "", 0, err
	}
	defer os.RemoveAll(dir)
	initrd := filepath.Join(dir, "initrd")
	if s.keep != "" {
		initrd = s.keep
	}
	if s.thaw != "" {
		s.monitor = filepath.Join(dir, "monitor")
	}
	if _, err := os.Stat(initrd); err != nil {
		if err := writeInitramfs(initrd, k, s); err != nil {
			return "", 0, fmt.Errorf("making the initramfs: %w", err)
		}
	}
	return boot(ctx, qemu, a, k, initrd, s)
}

// arguments are those of QEMU.
func arguments(a arch, k *Kernel, initrd string, s Spec) []string {
	memory, cpus := s.MemoryMB, max(s.CPUs, 1)
	if memory == 0 {
		memory = 256
	}
	args := []string{"-accel", accelerator(a), "-smp", strconv.Itoa(cpus)}
	var rtc []string
	if s.Clock != "" {
		rtc = append(rtc, "base="+s.Clock)
	}
	if s.Steady {
		// Some kernels measure the processor by the clock with the battery.
		args, rtc = []string{"-accel", "tcg", "-icount", "shift=1,sleep=off"}, append(rtc, "clock=vm")
	}
	if rtc != nil {
		args = append(args, "-rtc", strings.Join(rtc, ","))
	}
	args = append(append(args, a.args...),
		"-m", strconv.Itoa(memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-serial", "stdio",
		"-kernel", k.Image, "-initrd", initrd,
		"-append", strings.TrimSpace("console="+a.console+" quiet loglevel=3 panic=-1 "+a.append))
	for _, d := range s.Disks {
		args = append(args, "-drive", "if=virtio,format=raw,file="+d)
	}
	if s.Flash != "" {
		args = append(args, "-m", strconv.Itoa(memory)+",slots=1,maxmem=1G", "-device", "pc-dimm,memdev=flash,addr="+FlashAt,
			"-object", fmt.Sprintf("memory-backend-file,id=flash,share=on,size=%d,mem-path=%s", FlashSize, s.Flash))
	}
	if s.monitor != "" {
		args = append(args, "-qmp", "unix:"+s.monitor+",server=on,wait=off")
	}
	if s.thaw != "" {
		args = append(args, "-incoming", "defer")
	}
	if s.Segment != "" {
		server, mac := "off", "52:54:00:00:00:02"
		if s.Server {
			server, mac = "on", "52:54:00:00:00:01"
		}
		args = append(args, "-device", "virtio-net-pci,netdev=net,romfile=,mac="+mac,
			"-netdev", "stream,id=net,addr.type=unix,addr.path="+s.Segment+",server="+server)
	}
	return args
}

func boot(ctx context.Context, qemu string, a arch, k *Kernel, initrd string, s Spec) (string, int, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cmd := exec.CommandContext(ctx, qemu, arguments(a, k, initrd, s)...)
	// It must not outlive this process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if s.thaw != "" {
		cmd.Stdin = strings.NewReader("go\n")
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", 0, err
	}
	if err := cmd.Start(); err != nil {
		return "", 0, fmt.Errorf("starting QEMU: %w", err)
	}
	thawed := make(chan error, 1)
	if s.thaw != "" {
		go func() {
			err := thaw(ctx, s.monitor, s.thaw)
			if err != nil {
				stop()
			}
			thawed <- err
		}()
	} else {
		thawed <- nil
	}
	log, rc, done := read(out, s.Output)
	// With the status, all is said: no need to wait for the machine to switch itself off.
	stop()
	err = cmd.Wait()
	if e := <-thawed; e != nil && !done {
		err = e
	}
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
func accelerator(a arch) string {
	if accel := os.Getenv("LAB_VM_ACCEL"); accel != "" && a.name == runtime.GOARCH {
		return accel
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
