package agent_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"globalnet/agent"
	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/lab/labtest"
	"globalnet/lab/netns"
	"globalnet/mesh"
	"globalnet/mesh/kernel"
)

// childVariable makes this test program an agent with the configuration it names.
const childVariable = "GLOBALNET_AGENT_TEST_CONFIG"

func TestMain(m *testing.M) {
	if path := os.Getenv(childVariable); path != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := runAgent(ctx, path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	labtest.Main(m)
}

func runAgent(ctx context.Context, path string) error {
	c, _, err := config.Load(path)
	if err != nil {
		return err
	}
	k, err := kernel.New(kernel.Config{Log: slog.New(slog.DiscardHandler), ForceUserspace: true})
	if err != nil {
		return err
	}
	defer k.Close()
	a, err := agent.New(agent.Options{ConfigPath: path, Config: c, Kernel: k})
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// writeConfig writes the configuration of an agent on interfaces named "cable*".
func writeConfig(t *testing.T, more string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "globalnet")
	text := fmt.Sprintf("config globalnet 'main'\n\tlist interface 'cable*'\n\toption identity '%s/id'\n"+
		"\toption state_dir '%s'\n\toption socket '%s/sock'\n%s", dir, dir, dir, more)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// neighbour runs another agent, in a namespace at the other end of a cable.
func neighbour(t *testing.T) {
	t.Helper()
	ns := labtest.Namespace(t, "other")
	cable := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "cable0"}, PeerName: "cable1",
		PeerNamespace: netlink.NsFd(ns.Fd()),
	}
	if err := netlink.LinkAdd(cable); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.LinkDel(cable) })
	h, err := ns.Netlink()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	far, err := h.LinkByName("cable1")
	if err == nil {
		err = h.LinkSetUp(far)
	}
	if err == nil {
		err = netlink.LinkSetUp(cable)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+writeConfig(t, ""))
	cmd.Stderr = os.Stderr
	if err := ns.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the neighbour ended with %v", err)
		}
	})
}

// traces is what an agent may leave behind.
type traces struct {
	goroutines, files int
	kernel            string
}

func look(t *testing.T) traces {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var inKernel []string
	links, _ := netlink.LinkList()
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Name, mesh.LinkPrefix) {
			inKernel = append(inKernel, l.Attrs().Name)
		}
		addrs, _ := netlink.AddrList(l, netlink.FAMILY_V6)
		for _, a := range addrs {
			if strings.HasPrefix(a.IP.String(), "fd47:4e45") {
				inKernel = append(inKernel, a.IP.String())
			}
		}
	}
	rules, _ := netlink.RuleList(netlink.FAMILY_V6)
	for _, r := range rules {
		inKernel = append(inKernel, r.String())
	}
	return traces{runtime.NumGoroutine(), len(fds), strings.Join(inKernel, "\n")}
}

// An agent that has had a neighbour leaves no goroutine, no open file, no
// interface, address or rule when it has ended, and can begin again.
func TestRunLeavesNothing(t *testing.T) {
	labtest.Require(t)
	if !netns.Inside() {
		t.Fatal("not inside a sandbox")
	}
	neighbour(t)
	path := writeConfig(t, "")
	client := control.NewClient(filepath.Join(filepath.Dir(path), "sock"))
	runOnce := func() {
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- runAgent(ctx, path) }()
		defer func() {
			stop()
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}()
		eventually(t, "a route to the neighbour", func() bool {
			s, err := client.Status(ctx)
			return err == nil && len(s.Routes) == 1 && s.Routes[0].Selected
		})
	}
	runOnce() // what the runtime and libraries keep for ever is there afterwards
	before := look(t)
	runOnce()
	eventually(t, "all is as it was", func() bool {
		now := look(t)
		return now.goroutines <= before.goroutines && now.files <= before.files && now.kernel == before.kernel
	})
	if t.Failed() {
		buf := make([]byte, 1<<20)
		t.Logf("before %+v, after %+v\n%s", before, look(t), buf[:runtime.Stack(buf, true)])
	}
	if strings.Contains(before.kernel, mesh.LinkPrefix) || strings.Contains(before.kernel, "fd47") {
		t.Errorf("an agent left %q", before.kernel)
	}
}

func TestPortInUseIsExplained(t *testing.T) {
	labtest.Require(t)
	path := writeConfig(t, "\toption listen_port '29999'\n")
	l, err := net.Listen("tcp", ":29999")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = runAgent(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("the error is %v; it should say what to look for", err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Errorf("not within 30 s: %s", what)
			return
		}
	}
}
