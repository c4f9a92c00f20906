package netns_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"globalnet/lab/labtest"
	"globalnet/lab/netns"
)

func TestMain(m *testing.M) { labtest.Main(m) }

func run(t *testing.T, ns *netns.Namespace, name string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, &out)
	}
	return out.String()
}

func TestNamespaceIsItsOwnWorld(t *testing.T) {
	labtest.Require(t)
	var keep []string // only root may write to /run outside
	if os.MkdirAll("/run/gn-lab-test/kept", 0o700) == nil {
		defer os.RemoveAll("/run/gn-lab-test")
		keep = []string{"/run/gn-lab-test"}
	}
	tmp := t.TempDir()
	ns, err := netns.New(netns.Config{
		Name: "alpha", TmpDir: tmp, Keep: keep,
		Files: map[string]string{"/etc/hosts": "127.0.0.1 alpha-only\n"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	tap, err := ns.OpenTAP("radio")
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()

	if got := run(t, ns, "uname", "-n"); got != "alpha\n" {
		t.Errorf("host name %q", got)
	}
	if got := run(t, ns, "cat", "/etc/hosts"); got != "127.0.0.1 alpha-only\n" {
		t.Errorf("/etc/hosts is %q", got)
	}
	if got := run(t, ns, "ls", "/run"); keep == nil && got != "" {
		t.Errorf("/run shows %q", got)
	}
	if keep == nil {
		t.Log("not root: no directory below /run to keep")
	} else if got := run(t, ns, "ls", "/run/gn-lab-test"); got != "kept\n" {
		t.Errorf("kept directory shows %q", got)
	}
	run(t, ns, "touch", "/run/private")
	if _, err := os.Stat("/run/private"); err == nil {
		t.Error("a file in the namespace's /run appeared outside")
	}
	if got := run(t, ns, "cat", "/proc/net/dev"); !strings.Contains(got, "radio:") {
		t.Errorf("no radio in the namespace:\n%s", got)
	}
	if _, err := net.InterfaceByName("radio"); err == nil {
		t.Error("the namespace's radio is seen outside")
	}
}

func TestInterfaceGoesWithItsFile(t *testing.T) {
	ns := labtest.Namespace(t, "a")
	tap, err := ns.OpenTAP("radio")
	if err != nil {
		t.Fatal(err)
	}
	h, err := ns.Netlink()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if _, err := h.LinkByName("radio"); err != nil {
		t.Fatal(err)
	}
	tap.Close()
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := h.LinkByName("radio"); err != nil {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the interface is still there")
		}
	}
}

// A process left behind inside must not survive the first process of its sandbox.
func TestSandboxEndsWithItsParent(t *testing.T) {
	labtest.Require(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if os.Getenv("GLOBALNET_NETNS_TEST") == "sleep" {
		cmd := exec.Command("sleep", "1000") // holds the pipe open
		cmd.Stdout = os.Stdout
		if err := cmd.Start(); err != nil {
			os.Exit(3)
		}
		io.WriteString(os.Stdout, "started\n")
		os.Exit(7)
	}
	p, err := netns.Sandbox{
		Args:   []string{os.Args[0], "-test.run=^TestSandboxEndsWithItsParent$"},
		Env:    []string{"GLOBALNET_NETNS_TEST=sleep"},
		Stdout: w,
	}.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if status, err := p.Wait(); status != 7 || err != nil {
		t.Errorf("status %d, %v; want 7", status, err)
	}
	r.SetReadDeadline(time.Now().Add(10 * time.Second))
	out, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("a process of the sandbox still holds the pipe: %v", err)
	}
	if !strings.Contains(string(out), "started") {
		t.Errorf("output %q", out)
	}
}

// A test that ends itself inside a namespace has ended, and nobody waits for it.
func TestDoEndsWithWhatItCalls(t *testing.T) {
	ns := labtest.Namespace(t, "alpha")
	went := make(chan bool, 1)
	go func() {
		defer close(went)
		ns.Do(func() error { runtime.Goexit(); return nil })
		went <- true
	}()
	select {
	case on := <-went:
		if on {
			t.Error("the caller goes on")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the caller waits for ever")
	}
}
