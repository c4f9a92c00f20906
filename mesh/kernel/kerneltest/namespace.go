// Package kerneltest runs nodes that use mesh/kernel for real: each is a process in
// a network namespace of its own, joined to others by veth pairs, in a user
// namespace, so that it needs no root. Tests and benchmarks drive the nodes by
// calls; no mesh protocol runs on them.
//
// The package owns the processes it starts; a program that uses it is started
// again by it, and must call Intercept first thing in main or TestMain.
package kerneltest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// roleEnv tells a process started by this package what it is.
const roleEnv = "KERNELTEST_ROLE"

// Intercept takes over the process if this package started it as a node or as a
// traffic generator, and does not return then.
func Intercept() {
	var err error
	switch os.Getenv(roleEnv) {
	case "node":
		err = serveNode()
	case "sink":
		err = runSink()
	case "send":
		err = runSend()
	case "probe":
	default:
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "kerneltest:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// errUnavailable says why there are no namespaces; nil if there are.
var errUnavailable = errors.New("kerneltest.Main was not called")

// Main is TestMain: it runs the tests again inside a user and network namespace.
// Where the kernel forbids that, tests that call Require skip or fail.
func Main(m *testing.M) {
	Intercept()
	if os.Getenv(roleEnv) == "inside" {
		errUnavailable = nil
		os.Exit(m.Run())
	}
	code, err := Reexec()
	if err != nil {
		errUnavailable = err
		os.Exit(m.Run())
	}
	os.Exit(code)
}

// Reexec runs this program with its arguments once more, as root in a namespace of
// its own, and returns its exit code. A program asks Inside first.
func Reexec() (int, error) {
	// One that only proves that namespaces can be made, so that an error of the
	// program itself is not taken for a lack of them.
	probe := isolated(exec.Command("/proc/self/exe"))
	probe.Env = append(os.Environ(), roleEnv+"=probe")
	probe.Args = []string{os.Args[0], "-test.run=^$"}
	if err := probe.Start(); err != nil {
		return 0, fmt.Errorf("making a user and network namespace: %w (allow unprivileged user namespaces: sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0)", err)
	}
	_ = probe.Process.Kill()
	_ = probe.Wait()
	cmd := isolated(exec.Command("/proc/self/exe", os.Args[1:]...))
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), roleEnv+"=inside")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	return cmd.ProcessState.ExitCode(), nil
}

// Inside tells whether this process was started by Reexec.
func Inside() bool { return os.Getenv(roleEnv) == "inside" }

func isolated(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
		UidMappings: []syscall.SysProcIDMap{
			{ContainerID: 0, HostID: os.Getuid(), Size: 1},
		},
		GidMappings: []syscall.SysProcIDMap{
			{ContainerID: 0, HostID: os.Getgid(), Size: 1},
		},
	}
	return cmd
}

// NativeWireGuard tells whether the kernel has WireGuard. Where it is said to be
// required (LAB_WIREGUARD=required), its absence fails the test.
func NativeWireGuard(t testing.TB) bool {
	t.Helper()
	Require(t)
	link := &netlink.Wireguard{LinkAttrs: netlink.LinkAttrs{Name: "kt-probe"}}
	err := netlink.LinkAdd(link)
	if err == nil {
		if err := netlink.LinkDel(link); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if os.Getenv("LAB_WIREGUARD") == "required" {
		t.Fatalf("the kernel has no WireGuard: %v", err)
	}
	return false
}

// Require skips a test that needs namespaces where there are none; with
// LAB=required in the environment it fails instead.
func Require(t testing.TB) {
	t.Helper()
	if errUnavailable == nil {
		return
	}
	if os.Getenv("LAB") == "required" {
		t.Fatal(errUnavailable)
	}
	t.Skip(errUnavailable)
}
