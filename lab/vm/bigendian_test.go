package vm_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"globalnet/lab/vm"
)

// TestBigEndian is TestMIPS where numbers have their greatest byte first, as most
// cheap routers have them: in netlink that is the order of all.
func TestBigEndian(t *testing.T) {
	requireBigEndian(t)
	small(t, "mips")
}

// requireBigEndian skips a test unless the kernel is built.
func requireBigEndian(t *testing.T) {
	t.Helper()
	_, err := vm.FetchKernel(require(t), "mips")
	if errors.Is(err, vm.ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// units are the packages whose tests run in a big-endian machine: those that ask its
// kernel for something, and some that make mips-test leaves out because the emulator
// of single programs is no kernel.
var units = strings.Fields(`
	mesh/kernel mesh/kernel/rtnl mesh/kernel/air agent/firewall lab/netns
	mesh/beacon mesh/link mesh agent agent/control agent/edit agent/files
	onion/exit onion/channel onion/lan openwrt`)

// TestUnits runs the tests of packages in a big-endian machine, each in one of its own:
// LAB_VM_UNITS names them, or is "all". What a package reads beside its own folder is not there.
func TestUnits(t *testing.T) {
	packages := units
	switch names := os.Getenv("LAB_VM_UNITS"); names {
	case "":
		t.Skip("takes long: make mips-machine-test")
	case "all":
	default:
		packages = strings.Fields(names)
	}
	requireBigEndian(t)
	for _, p := range packages {
		t.Run(p, func(t *testing.T) { testUnit(t, p) })
	}
}

func testUnit(t *testing.T, p string) {
	ctx := require(t)
	binary := filepath.Join(t.TempDir(), "unit.test")
	if err := vm.BuildTest(ctx, "mips", binary, "globalnet/"+p); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"/unit/unit.test": binary}
	folder := filepath.Join("../..", p)
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files["/unit"+strings.TrimPrefix(path, folder)] = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	log := run(t, ctx, vm.Spec{
		Arch:     "mips",
		Files:    files,
		Modules:  []string{"wireguard", "veth", "tun", "udp_diag", "mac80211_hwsim radios=2"},
		Script:   unitScript,
		MemoryMB: 512,
	})
	for _, line := range verdict.FindAllString(log, -1) {
		t.Log(line)
	}
}

// strangers are tests that look with the ip and ss of iproute2 at what the agent made: there is no
// Debian of that byte order to take them from, and busybox's ip is another.
const strangers = `SetAddress|CleanupAfterCrash|TestInterfaces|TestChanges|ReplaceRoute|InterfaceOfLink|EndpointChange|` +
	`NothingLeft|NativeIsUsed|NativeAndUserspace|NativeCrash`

// unitScript prints the verdicts of a package's tests, and all that it says where one fails.
var unitScript = `ip link set lo up
export TMPDIR=/tmp LAB_WIREGUARD=required
cd /unit
if ./unit.test -test.short -test.v -test.timeout 20m -test.skip '` + strangers + `' ` + os.Getenv("LAB_VM_ARGS") + ` >/tmp/unit.log 2>&1; then
	grep -E '^ *--- |^PASS' /tmp/unit.log
else
	cat /tmp/unit.log
	exit 1
fi
`
