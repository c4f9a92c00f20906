package vm_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"globalnet/lab/vm"
)

// TestPower kills a machine again and again while it writes identities, state and
// configuration, and looks at what the next start finds: the old content or the new,
// whole, and all that was said to be written. Then an agent starts on that flash, and
// removes what was left half written.
//
// On ext4 the flash is a disk: what the kernel has not given to it is lost. On jffs2,
// the file system of routers with NOR flash, it is memory that outlives the machine
// (phram): each single store counts, and a write can be torn anywhere. On UBIFS, for
// routers with NAND flash, it is that memory in pages (vm.NANDFlash): one torn is one
// that cannot be read. Machines go on from one that has booted and has not looked at
// its flash.
func TestPower(t *testing.T) {
	if os.Getenv("LAB_VM_CUTS") == "" {
		t.Skip("kills virtual machines for a quarter of an hour: make vm-power, or LAB_VM_CUTS=1")
	}
	cuts, err := strconv.Atoi(os.Getenv("LAB_VM_CUTS"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	writer, binary := filepath.Join(dir, "writer"), filepath.Join(dir, "globalnet")
	for out, pkg := range map[string]string{writer: "globalnet/lab/vm/writer", binary: "globalnet/cmd/globalnet"} {
		if err := vm.Build(t.Context(), "amd64", out, pkg); err != nil {
			t.Fatal(err)
		}
	}
	for name, f := range map[string]func(t *testing.T) flash{"ext4": ext4, "jffs2": jffs2, "ubifs": ubifs} {
		t.Run(name, func(t *testing.T) {
			f := f(t)
			f.spec.MemoryMB = 224
			if f.spec.Files == nil {
				f.spec.Files = make(map[string]string)
			}
			f.spec.Files["/writer"], f.spec.Files["/globalnet"] = writer, binary
			writing := f.spec
			writing.Script = f.mount + "\n/writer /flash\n"
			machine := f.machine(t, writing)
			seen := &flashLog{t: t, identities: make(map[int]string)}
			for cut := range cuts {
				seen.cut(machine, time.Duration(rand.N(2000))*time.Millisecond)
				if t.Failed() {
					t.Fatalf("after cut %d", cut+1)
				}
				if (cut+1)%10 == 0 {
					t.Logf("%d cuts", cut+1)
				}
			}
			t.Logf("%d cuts; %d states written, at most %d files left half written", cuts, seen.state, seen.leftovers)

			// The agent starts in the end, and nothing is left but what belongs there.
			starting := f.spec
			starting.Script = f.mount + `
ls -A /flash | grep '^\.' | sed 's/^/BEFORE /'
/globalnet run --config /flash/globalnet.uci &
for i in $(seq 600); do /globalnet status --config /flash/globalnet.uci >/dev/null 2>&1 && break; sleep 0.2; done
kill $!
wait $!
ls -A /flash | grep '^\.' | sed 's/^/AFTER /'
/globalnet key show --config /flash/globalnet.uci
`
			log, rc, err := f.machine(t, starting)(t.Context(), nil)
			if err != nil || rc != 0 || strings.Contains(log, "AFTER") || !strings.Contains(log, seen.main) {
				t.Errorf("after the agent's start: %d, %v\n%s", rc, err, log)
			}
			t.Log(strings.Count(log, "BEFORE "), "left half written, removed by the agent's start")
		})
	}
}

// machine is what runs a script on a flash. It boots once.
func (f flash) machine(t *testing.T, s vm.Spec) func(context.Context, io.Writer) (string, int, error) {
	t.Helper()
	frozen, err := vm.Freeze(t.Context(), s, f.before)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { frozen.Close() })
	return frozen.Run
}

// flash is something to write to in a machine.
type flash struct {
	spec   vm.Spec
	before string // the lines of a script that make the machine ready
	mount  string // those that have it at /flash; the machine is not to look at it before
}

func ext4(t *testing.T) flash {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, 16<<20); err != nil {
		t.Fatal(err)
	}
	mkfs := exec.Command("mkfs.ext4", "-q", disk)
	mkfs.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := mkfs.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return flash{
		vm.Spec{Disks: []string{disk}, Modules: []string{"virtio_pci", "ext4", "crc32c_generic", "tun", "wireguard"}, Later: []string{"virtio_blk"}},
		"mkdir /flash",
		"insmod /lib/modules/virtio_blk.ko\nuntil [ -b /dev/vda ]; do sleep 0.1; done\nmount -t ext4 /dev/vda /flash || exit 1",
	}
}

func jffs2(t *testing.T) flash {
	t.Helper()
	return flash{
		vm.Spec{Flash: erased(t), Modules: []string{"jffs2", "tun", "wireguard"}, Later: []string{"phram"}},
		"mkdir /flash",
		"insmod /lib/modules/phram.ko phram=flash," + vm.FlashAt + ",0x800000,0x10000\nmount -t jffs2 mtd0 /flash || exit 1",
	}
}

func ubifs(t *testing.T) flash {
	t.Helper()
	module, err := vm.NANDFlash(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return flash{
		vm.Spec{
			Flash:    erased(t),
			Modules:  []string{"zstd", "deflate", "lzo", "ubi", "ubifs", "tun", "wireguard"},
			Files:    map[string]string{"/lib/modules/nandflash.ko": module},
			Programs: []string{"ubiattach", "ubimkvol", "ubinfo"},
		},
		"mkdir /flash",
		"insmod /lib/modules/nandflash.ko start=" + vm.FlashAt + `
ubiattach -m 0 >/dev/null || exit 1
ubinfo -d 0 -N flash >/dev/null 2>&1 || ubimkvol /dev/ubi0 -m -N flash || exit 1
mount -t ubifs ubi0:flash /flash || exit 1`,
	}
}

// erased is a flash on which nothing was written.
func erased(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "flash")
	if err := os.WriteFile(file, bytes.Repeat([]byte{0xff}, vm.FlashSize), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// flashLog is what machines have said of one flash.
type flashLog struct {
	t *testing.T

	mu         sync.Mutex
	main       string
	state      int
	config     int
	identities map[int]string // those written
	found      map[int]string // at this start
	leftovers  int
	writing    bool
	part       string
	kill       func()
}

// cut runs a machine and kills it a while after it has begun to write.
func (l *flashLog) cut(machine func(context.Context, io.Writer) (string, int, error), after time.Duration) {
	l.t.Helper()
	ctx, kill := context.WithTimeout(l.t.Context(), 10*time.Minute)
	defer kill()
	l.mu.Lock()
	l.found, l.part, l.writing = make(map[int]string), "", false
	l.kill = func() { time.AfterFunc(after, kill) }
	l.mu.Unlock()
	log, rc, err := machine(ctx, l)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil || !l.writing {
		l.t.Fatalf("the machine ended by itself: status %d, %v\n%s", rc, err, log)
	}
}

// Write takes what a machine prints.
func (l *flashLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := strings.Split(l.part+string(p), "\n")
	l.part = lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		l.line(strings.Fields(line))
	}
	return len(p), nil
}

func (l *flashLog) line(f []string) {
	number := func(i int) int {
		n := -1
		if len(f) > i {
			n, _ = strconv.Atoi(f[i])
		}
		return n
	}
	switch {
	case len(f) == 0:
	case f[0] == "WRITING":
		l.writing = true
		for n, id := range l.identities {
			if found, ok := l.found[n]; n > l.state-15 && (!ok || found != id) {
				l.t.Errorf("identity %d was %s, now it is %q", n, id, found)
			}
		}
		l.kill()
	case f[0] == "ERROR":
		l.t.Errorf("the writer: %v", f)
	case len(f) < 3:
	case f[0] == "FOUND" && f[1] == "leftovers":
		l.leftovers = max(l.leftovers, number(2))
	case f[0] == "FOUND" && f[2] == "damaged:" || len(f) > 3 && f[3] == "damaged:":
		l.t.Errorf("%v", f)
	case f[0] == "FOUND":
		l.foundLine(f[1], f[2], number(2), f)
	case f[0] == "DONE":
		l.doneLine(f[1], f[2], number(2), f)
	}
}

func (l *flashLog) foundLine(what, text string, n int, f []string) {
	switch {
	case what == "main" && l.main != "" && text != l.main:
		l.t.Errorf("the node was %s, now it is %s", l.main, text)
	case what == "state" && n != l.state && n != l.state+1:
		l.t.Errorf("state %d, after %d was written", n, l.state)
	case what == "config" && n != l.config && n != l.config+1:
		l.t.Errorf("configuration %d, after %d was written", n, l.config)
	case what == "state":
		l.state = n
	case what == "config":
		l.config = n
	case what == "identity" && len(f) == 4:
		l.found[n] = f[3]
	}
}

func (l *flashLog) doneLine(what, text string, n int, f []string) {
	switch {
	case what == "main" && l.main == "":
		l.main = text
	case what == "main" && text != l.main:
		l.t.Errorf("the node was %s, now it is %s", l.main, text)
	case what == "state":
		l.state = n
	case what == "config":
		l.config = n
	case what == "identity" && len(f) == 4:
		l.identities[n] = f[3]
		delete(l.identities, n-15)
	default:
		if what != "main" {
			l.t.Errorf("the writer says %s", fmt.Sprint(f))
		}
	}
}
