// Package labtest lets tests run inside a sandbox of namespaces, without root.
//
//	func TestMain(m *testing.M) { labtest.Main(m) }
//
//	func TestRadio(t *testing.T) {
//		labtest.Require(t)
//		ns := labtest.Namespace(t, "a")
//		…
//	}
package labtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"globalnet/lab/netns"
)

// reasonVariable carries to the tests why there is no sandbox.
const reasonVariable = "GLOBALNET_LABTEST_REASON"

// probeVariable makes a test program end at once with status 0, inside the sandbox.
const probeVariable = "GLOBALNET_LABTEST_PROBE"

// Main runs the tests of m inside a sandbox and exits. Where the kernel allows
// none, the tests run outside and those that call Require skip, or fail if the
// environment says LAB=required.
func Main(m *testing.M) {
	netns.Hook()
	if os.Getenv(probeVariable) != "" {
		os.Exit(0)
	}
	if netns.Inside() || os.Getenv(reasonVariable) != "" {
		status := m.Run()
		agent.remove()
		os.Exit(status)
	}
	if reason := probe(); reason != "" {
		os.Setenv(reasonVariable, reason)
		os.Exit(m.Run())
	}
	p, err := netns.Sandbox{Args: os.Args, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status, err := p.Wait()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// probe returns why a sandbox cannot be had, or nothing.
func probe() string {
	r, w, err := os.Pipe()
	if err != nil {
		return err.Error()
	}
	defer r.Close()
	p, err := netns.Sandbox{Args: os.Args[:1], Env: []string{probeVariable + "=1"}, Stderr: w}.Start()
	w.Close()
	if err != nil {
		return err.Error()
	}
	status, err := p.Wait()
	if err != nil {
		return err.Error()
	}
	if status == 0 {
		return ""
	}
	var out bytes.Buffer
	out.ReadFrom(r)
	return fmt.Sprintf("the sandbox ended with status %d: %s", status, strings.TrimSpace(out.String()))
}

// Require skips the test where there is no sandbox, or fails it if LAB=required.
func Require(t testing.TB) {
	t.Helper()
	if netns.Inside() {
		return
	}
	reason := os.Getenv(reasonVariable)
	if reason == "" {
		reason = "TestMain of this package does not call labtest.Main"
	}
	if os.Getenv("LAB") == "required" {
		t.Fatal("no sandbox, and LAB=required: " + reason)
	}
	t.Skip("no sandbox: " + reason)
}

// RequireProgram skips the test where a program is missing, or fails it if LAB=required.
func RequireProgram(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("LAB") == "required" {
		t.Fatalf("no program %s, and LAB=required", name)
	}
	t.Skipf("no program %s", name)
	return ""
}

// Loopback brings the sandbox's own loopback up, for servers and browsers of the test itself.
// Outside of a sandbox it does nothing.
func Loopback() error {
	if !netns.Inside() {
		return nil
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// Namespace makes a namespace that ends with the test.
func Namespace(t testing.TB, name string) *netns.Namespace {
	t.Helper()
	Require(t)
	ns, err := netns.New(netns.Config{Name: name, TmpDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}
