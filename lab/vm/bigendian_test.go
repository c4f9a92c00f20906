package vm_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// TestUnits runs the tests of packages in a big-endian machine: LAB_VM_UNITS names
// them, or is "all". They lie on a disk with the project's files beside them.
func TestUnits(t *testing.T) {
	ctx := require(t)
	packages := units
	switch names := os.Getenv("LAB_VM_UNITS"); names {
	case "":
		t.Skip("takes long: make mips-machine-test")
	case "all":
	default:
		packages = strings.Fields(names)
	}
	requireBigEndian(t)
	dir := t.TempDir()
	if err := copyProject(filepath.Join(dir, "src")); err != nil {
		t.Fatal(err)
	}
	for _, p := range packages {
		if err := vm.BuildTest(ctx, "mips", filepath.Join(dir, "src", p, "unit.test"), "globalnet/"+p); err != nil {
			t.Fatal(err)
		}
	}
	log := run(t, ctx, vm.Spec{
		Arch:     "mips",
		Disks:    []string{populated(t, dir)},
		Modules:  []string{"wireguard", "veth", "tun", "udp_diag", "ext4", "virtio_blk", "mac80211_hwsim radios=2"},
		Script:   unitScript(packages),
		MemoryMB: 512,
	})
	for _, line := range verdict.FindAllString(log, -1) {
		t.Log(line)
	}
}

// unitScript runs the tests of each package, prints their verdicts, and all that one
// says which fails.
func unitScript(packages []string) string {
	return `mkdir /disk && mount -t ext4 /dev/vda /disk || exit 1
ip link set lo up
export TMPDIR=/tmp LAB_WIREGUARD=required
failed=0
for p in ` + strings.Join(packages, " ") + `; do
	echo "== $p"
	cd /disk/src/$p
	if ./unit.test -test.short -test.v -test.timeout 20m ` + os.Getenv("LAB_VM_ARGS") + ` >/tmp/unit.log 2>&1; then
		grep -E '^ *--- ' /tmp/unit.log
	else
		echo "FAILED $p"; cat /tmp/unit.log; failed=1
	fi
done
exit $failed`
}

// populated makes a disk with a file system that has what is in a folder.
func populated(t *testing.T, dir string) string {
	t.Helper()
	size := int64(64 << 20)
	if err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		size += info.Size() + 8<<10
		return err
	}); err != nil {
		t.Fatal(err)
	}
	disk := filepath.Join(t.TempDir(), "disk")
	mkfs := exec.CommandContext(t.Context(), "mkfs.ext4", "-q", "-d", dir, disk, strconv.FormatInt(size>>10, 10)+"k")
	mkfs.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := mkfs.CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	return disk
}

// copyProject copies the files of this project, but not what is built from them.
func copyProject(to string) error {
	const root = "../.."
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && (name == ".git" || name == "dist" || name == "bin"):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // somebody works here
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o755)
	})
}
