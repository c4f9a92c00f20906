package vm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"globalnet/lab/vm"
)

// require skips a test that boots a machine unless LAB_VM is set.
func require(t *testing.T) context.Context {
	t.Helper()
	if os.Getenv("LAB_VM") == "" {
		t.Skip("boots a virtual machine: make vm-test, or LAB_VM=1")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// run runs a machine and fails the test if its script did not end with status 0.
// What the machine prints is shown while it runs if LAB_VM is "verbose".
func run(t *testing.T, ctx context.Context, s vm.Spec) string {
	t.Helper()
	if os.Getenv("LAB_VM") == "verbose" {
		s.Output = os.Stderr
	}
	begin := time.Now()
	log, rc, err := vm.Run(ctx, s)
	t.Logf("the machine ran for %.1f s", time.Since(begin).Seconds())
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if rc != 0 {
		t.Fatalf("status %d\n%s", rc, log)
	}
	return log
}

func buildTest(t *testing.T, ctx context.Context, arch, pkg string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "test")
	if err := vm.BuildTest(ctx, arch, file, pkg); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestBoot looks at what every machine has.
func TestBoot(t *testing.T) {
	ctx := require(t)
	log, rc, err := vm.Run(ctx, vm.Spec{
		Files:    map[string]string{"/data/self": "run_test.go"},
		Programs: []string{"ip"},
		Modules:  []string{"wireguard", "mac80211_hwsim radios=2"},
		Script:   "ip link add wg0 type wireguard; ip -o link; grep -c TestBoot /data/self; uname -r; exit 7",
		MemoryMB: 128,
	})
	if err != nil || rc != 7 {
		t.Fatalf("status %d, %v; 7 expected\n%s", rc, err, log)
	}
	for _, part := range []string{"lo: <LOOPBACK,UP", "wg0:", "wlan0:", "wlan1:"} {
		if !strings.Contains(log, part) {
			t.Errorf("%q is missing in\n%s", part, log)
		}
	}
}

// TestPanic ends process 1 before its time: that is an error, not a hang.
func TestPanic(t *testing.T) {
	ctx := require(t)
	_, _, err := vm.Run(ctx, vm.Spec{Script: "echo c >/proc/sysrq-trigger; sleep 60"})
	if err == nil || errors.Is(err, vm.ErrUnavailable) {
		t.Errorf("error %v, a word on the machine's end expected", err)
	}
}

// TestKernel runs the tests of mesh/kernel where the kernel has WireGuard.
func TestKernel(t *testing.T) {
	ctx := require(t)
	log := run(t, ctx, vm.Spec{
		Files:    map[string]string{"/kernel.test": buildTest(t, ctx, "amd64", "globalnet/mesh/kernel")},
		Programs: []string{"ip", "ss", "socat", "timeout"},
		Modules:  []string{"wireguard", "veth", "tun", "udp_diag", "mac80211_hwsim radios=2"},
		Script:   "LAB=required LAB_WIREGUARD=required exec /kernel.test -test.v -test.timeout 1h " + os.Getenv("LAB_VM_ARGS"),
		MemoryMB: 512,
		Steady:   true,
	})
	report(t, log)
}

var verdict = regexp.MustCompile(`(?m)^\s*--- (PASS|SKIP|FAIL): .*$`)

// report repeats the verdicts of the tests in a machine; none may be skipped there.
func report(t *testing.T, log string) {
	t.Helper()
	lines := verdict.FindAllString(log, -1)
	if len(lines) == 0 {
		t.Fatalf("no test ran\n%s", log)
	}
	for _, l := range lines {
		t.Log(l)
		if strings.Contains(l, "--- SKIP") {
			t.Errorf("skipped in the machine: %s", l)
		}
	}
}

// TestRadios runs whole agents on simulated radios with kernel WireGuard; package
// inside has the scenarios. What they measured is repeated.
func TestRadios(t *testing.T) {
	ctx := require(t)
	dir := t.TempDir()
	binary := filepath.Join(dir, "globalnet")
	if err := vm.Build(ctx, "amd64", binary, "globalnet/cmd/globalnet"); err != nil {
		t.Fatal(err)
	}
	log := run(t, ctx, radios(t, ctx, binary, "", os.Getenv("LAB_VM_ARGS")))
	report(t, log)
	printReport(t, "radio", results(log)...)
}

// radios is a machine that runs tests of package inside, after the lines before.
func radios(t *testing.T, ctx context.Context, binary, before, args string) vm.Spec {
	t.Helper()
	return vm.Spec{
		Files:    map[string]string{"/inside.test": buildTest(t, ctx, "amd64", "globalnet/lab/vm/inside"), "/globalnet": binary},
		Programs: []string{"ip"},
		Modules: append([]string{"wireguard", "veth", "tun", "mac80211_hwsim radios=5"},
			"crc32c_generic", "nft_chain_nat", "nft_redir", "nft_ct", "nft_reject_inet", "nft_fib_inet", "nft_nat", "nft_objref", "nft_tproxy"),
		Script:   before + " GLOBALNET_LAB_STAGE=inside INSIDE_VM=" + os.Getenv("LAB_VM") + " exec /inside.test -test.v -test.timeout 3h " + args,
		MemoryMB: 384,
		Steady:   true,
	}
}
