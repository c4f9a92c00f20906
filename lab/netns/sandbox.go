// Package netns makes network namespaces and runs programs in them, without
// root and without any other program: the calling program starts itself again
// as root of a user namespace (see namespaces(7)) and works from there.
//
// A sandbox is a set of user, mount, network, pid, UTS and IPC namespaces. Its
// first process reaps and waits; when it ends, for whatever reason, the kernel
// ends everything in it, and with the processes go the interfaces, mounts and
// routes. Namespaces made inside belong to the caller until Close.
package netns

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// stageVariable tells a process that it was started by Reexec, and as what.
const (
	stageVariable = "GLOBALNET_LAB_STAGE"
	stageInit     = "init"
	stageInside   = "inside"

	lifelineVariable = "GLOBALNET_LAB_LIFELINE" // the number of a descriptor; end of file ends the sandbox
	removeVariable   = "GLOBALNET_LAB_REMOVE"   // Sandbox.Remove

	// UserVariable, set to 1, asks for a user namespace even if the caller is root.
	UserVariable = "LAB_USERNS"
)

// StatusSetup is the exit status of a sandbox that could not be set up; the
// reason is on standard error.
const StatusSetup = 125

var inside = os.Getenv(stageVariable) == stageInside

// The thread that leads the process must never enter another namespace:
// /proc/self speaks of that thread. Locked here, it only ever runs main.
func init() {
	if inside {
		runtime.LockOSThread()
	}
}

// Inside reports whether this process runs in a sandbox.
func Inside() bool { return inside }

// Hook comes first in main or TestMain. In the first process of a sandbox it
// does not return; elsewhere it does nothing that can be seen.
func Hook() {
	stage := os.Getenv(stageVariable)
	os.Unsetenv(stageVariable)
	if stage == stageInit {
		os.Exit(runInit())
	}
}

// Sandbox says how Reexec starts the program again.
type Sandbox struct {
	Args       []string // os.Args of the new process, os.Args[0] included
	Env        []string // added to the environment
	Stdin      *os.File // nil is the null device
	Stdout     *os.File
	Stderr     *os.File
	Files      []*os.File // descriptors 3 and up of the new process
	Background bool       // outlive the caller, in a session of its own
	Remove     string     // a directory that is removed when the sandbox ends
}

// A Process is the first process of a sandbox, seen from outside.
type Process struct {
	cmd      *exec.Cmd
	lifeline io.Closer
}

// Start starts this program again inside a new sandbox.
func (s Sandbox) Start() (*Process, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = s.Args
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Env = append(cmd.Env, stageVariable+"="+stageInit, removeVariable+"="+s.Remove)
	// An *os.File that is nil must not become an interface that is not.
	if s.Stdin != nil {
		cmd.Stdin = s.Stdin
	}
	if s.Stdout != nil {
		cmd.Stdout = s.Stdout
	}
	if s.Stderr != nil {
		cmd.Stderr = s.Stderr
	}
	cmd.ExtraFiles = s.Files
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: s.Background,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID |
			unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	if os.Geteuid() != 0 || os.Getenv(UserVariable) == "1" {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	p := &Process{cmd: cmd}
	if !s.Background {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("making the sandbox's lifeline: %w", err)
		}
		defer r.Close()
		p.lifeline = w
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%d", lifelineVariable, 3+len(cmd.ExtraFiles)))
		cmd.ExtraFiles = append(cmd.ExtraFiles, r)
	}
	err := cmd.Start()
	if errors.Is(err, unix.EPERM) && cmd.SysProcAttr.Cloneflags&unix.CLONE_NEWUSER == 0 {
		// Root without the capability, as in a container: a user namespace may still be had.
		if p.lifeline != nil {
			p.lifeline.Close()
		}
		os.Setenv(UserVariable, "1")
		return s.Start()
	}
	if err != nil {
		return nil, Explain(fmt.Errorf("making namespaces: %w", err))
	}
	return p, nil
}

// Signal sends sig to the first process of the sandbox, which passes it on.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Release lets go of a background sandbox.
func (p *Process) Release() error { return p.cmd.Process.Release() }

// Pid is the process id of the sandbox's first process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Wait waits for the sandbox to end, passing on SIGINT, SIGTERM and SIGHUP, and
// returns the exit status.
func (p *Process) Wait() (status int, err error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	ended := make(chan struct{})
	passed := make(chan struct{})
	go func() {
		defer close(passed)
		for {
			select {
			case s := <-signals:
				p.Signal(s)
			case <-ended:
				return
			}
		}
	}()
	err = p.cmd.Wait()
	signal.Stop(signals)
	close(ended)
	<-passed
	if p.lifeline != nil {
		p.lifeline.Close()
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
			return 128 + int(ws.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	return 0, err
}

// runInit is the life of a sandbox's first process: it prepares the mounts,
// starts the program once more, and reaps until that one ends.
func runInit() int {
	runtime.LockOSThread()
	if err := prepareMounts(); err != nil {
		fmt.Fprintln(os.Stderr, Explain(err))
		return StatusSetup
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	var lifeline int
	fmt.Sscan(os.Getenv(lifelineVariable), &lifeline)
	os.Unsetenv(lifelineVariable)
	if dir := os.Getenv(removeVariable); dir != "" {
		defer os.RemoveAll(dir)
	}
	os.Unsetenv(removeVariable)

	files := []uintptr{0, 1, 2}
	for fd := uintptr(3); openDescriptor(int(fd)) && fd != uintptr(lifeline); fd++ {
		files = append(files, fd)
	}
	pid, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{
		Env:   append(os.Environ(), stageVariable+"="+stageInside),
		Files: files,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, fmt.Errorf("starting inside the sandbox: %w", err))
		return StatusSetup
	}
	for _, fd := range files[3:] {
		unix.Close(int(fd)) // they are the program's; a pipe among them must be able to end
	}
	go func() {
		for s := range signals {
			syscall.Kill(pid, s.(syscall.Signal))
		}
	}()
	if lifeline > 2 {
		go func() {
			var b [1]byte
			os.NewFile(uintptr(lifeline), "lifeline").Read(b[:])
			// The caller is gone. Its death must end the rest; the reaper below sees it.
			syscall.Kill(pid, syscall.SIGKILL)
		}()
	}
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return StatusSetup
		case got == pid && ws.Exited():
			return ws.ExitStatus()
		case got == pid && ws.Signaled():
			return 128 + int(ws.Signal())
		}
	}
}

// openDescriptor reports whether fd was handed to us: such a descriptor does not close on exec.
func openDescriptor(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil && flags&unix.FD_CLOEXEC == 0
}

func prepareMounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	// In some containers a new /proc is refused. The old one then stays: it
	// shows outer process ids, but /proc/self and /proc/sys/net work.
	unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	return nil
}
