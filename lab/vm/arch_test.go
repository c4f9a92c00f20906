package vm_test

import (
	"os"
	"path/filepath"
	"testing"

	"globalnet/lab/vm"
)

// TestMIPS and TestARM run agents on simulated radios where kernel and agent are of
// another architecture: three in a row, WireGuard in the kernel, ad-hoc, and on ARM a
// hidden service of one end that the other opens. MIPS is little-endian and has no floating
// point unit, as cheap routers; it has no steady clock, which docs/lab-vm.md explains.
func TestMIPS(t *testing.T) { small(t, "mipsle") }

func TestARM(t *testing.T) { other(t, "arm", "TestSmallService") }

func small(t *testing.T, arch string) {
	t.Helper()
	other(t, arch, "TestSmall$")
}

// other runs a test of package inside on a machine of another architecture.
func other(t *testing.T, arch, test string) {
	t.Helper()
	ctx := require(t)
	if os.Getenv("LAB_VM_ALL") == "" {
		t.Skip("takes long: make vm-test-all, or LAB_VM_ALL=1")
	}
	binary := filepath.Join(t.TempDir(), "globalnet")
	if err := vm.Build(ctx, arch, binary, "globalnet/cmd/globalnet"); err != nil {
		t.Fatal(err)
	}
	log := run(t, ctx, vm.Spec{
		Arch:     arch,
		Files:    map[string]string{"/inside.test": buildTest(t, ctx, arch, "globalnet/lab/vm/inside"), "/globalnet": binary},
		Modules:  []string{"wireguard", "veth", "tun", "mac80211_hwsim radios=3"},
		Script:   "GLOBALNET_LAB_STAGE=inside INSIDE_VM=" + os.Getenv("LAB_VM") + " exec /inside.test -test.v -test.timeout 1h -test.run '" + test + "'",
		MemoryMB: 192,
		Steady:   arch == "arm",
	})
	report(t, log)
	printReport(t, "radio-"+arch, results(log)...)
}
