package vm_test

import (
	"path/filepath"
	"slices"
	"testing"

	"globalnet/lab/vm"
)

// TestNoClock boots a machine of five routers in 1970, cuts its power, and boots it
// in 1970 again, with the same flash: TestBare of package inside.
func TestNoClock(t *testing.T) {
	ctx := require(t)
	dir := t.TempDir()
	binary := filepath.Join(dir, "globalnet")
	if err := vm.Build(ctx, "amd64", binary, "globalnet/cmd/globalnet"); err != nil {
		t.Fatal(err)
	}
	disk := ext4(t)
	s := radios(t, ctx, binary, disk.before+"\n"+disk.mount+"\nINSIDE_STATE=/flash", "-test.run=^TestBare$")
	s.Disks, s.Modules, s.Later = disk.spec.Disks, append(slices.Clone(s.Modules), disk.spec.Modules...), disk.spec.Later
	s.Clock = "1970-01-01"
	for range 2 {
		log := run(t, ctx, s)
		report(t, log)
		printReport(t, "noclock", results(log)...)
	}
}
