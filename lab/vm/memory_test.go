package vm_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"globalnet/lab/bench"
	"globalnet/lab/vm"
)

// memoryScript is what the small router does. Its programs are on a disk, as a router
// has them on flash: what is in the initramfs is memory, also when it is not used.
const memoryScript = `
insmod /lib/modules/virtio_blk.ko
until [ -b /dev/vda ]; do sleep 0.1; done
mkdir -p /flash /state
mount -t ext4 -o ro /dev/vda /flash || exit 1
rm -f /lib/modules/*
# On a busy computer it may measure its processor wrongly, and then has a wrong clock.
dmesg | grep 'CPU frequency'
until ifconfig eth0 up; do sleep 0.1; done
memory() { # of the machine, then of the agent, in KiB, and what CPU it has used, in hundredths of a second
	sed "s/^\([^ ]*\): *\([0-9]*\) kB/$1 \1 \2/" /proc/meminfo
	[ -z "$2" ] || sed -n "s/^\(Vm[^ ]*\|Rss[^ ]*\):[ \t]*\([0-9]*\) kB/$1 \1 \2/p" /proc/$2/status
	[ -z "$2" ] || awk "{ print \"$1 CPU\", \$14+\$15 }" /proc/$2/stat
}
links() { /flash/globalnet status --json --socket /state/socket 2>/dev/null | grep -o '"state": *"up"' | wc -l; }
cat >/state/config <<END
config globalnet 'main'
	option state_dir '/state'
	option socket '/state/socket'
	option wireguard 'kernel'
	list interface 'eth0'
END
memory MEMORY-before
/flash/globalnet key new --config /state/config || exit 1
/flash/globalnet board
/flash/globalnet run --config /state/config >/tmp/log 2>&1 &
agent=$!
n=0
# Asking is work for so small a machine.
until have=$(links); echo "after $(cut -d' ' -f1 /proc/uptime) s: $have neighbours"; [ "$have" = 4 ]; do
	n=$((n+1))
	if [ $n = 100 ] || ! kill -0 $agent; then cat /tmp/log; /flash/globalnet status --socket /state/socket; exit 1; fi
	sleep 15
done
memory MEMORY-joined $agent
# Neighbours that are lost because the computer is busy come back; then it counts from there.
until sleep 60; memory MEMORY-idle $agent; [ "$(links)" = 4 ]; do
	n=$((n+1))
	[ $n -lt 100 ] || { cat /tmp/log; exit 1; }
done
cat /tmp/log
kill $agent
wait $agent
`

// TestMemoryMIPS measures the agent on a little-endian MIPS machine of 64 MiB with
// four neighbours, WireGuard in the kernel, a minute after the last has come. They
// are in another machine on the same Ethernet.
func TestMemoryMIPS(t *testing.T) {
	ctx := require(t)
	if os.Getenv("LAB_VM_ALL") == "" {
		t.Skip("takes long: make vm-memory, or LAB_VM_ALL=1")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "globalnet")
	if err := vm.Build(ctx, "amd64", binary, "globalnet/cmd/globalnet"); err != nil {
		t.Fatal(err)
	}
	segment := filepath.Join(dir, "segment")
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var others bytes.Buffer
	ended := make(chan error, 1)
	neighbours := vm.Spec{
		Files:    map[string]string{"/inside.test": buildTest(t, ctx, "amd64", "globalnet/lab/vm/inside"), "/globalnet": binary},
		Programs: []string{"ip"},
		Modules:  []string{"virtio_pci", "virtio_net", "wireguard", "veth", "tun", "bridge"},
		Script:   "GLOBALNET_LAB_STAGE=inside INSIDE_ROLE=neighbours INSIDE_VM=" + os.Getenv("LAB_VM") + " exec /inside.test",
		MemoryMB: 384,
		Segment:  segment, Server: true,
		Output: &others,
	}
	if os.Getenv("LAB_VM") == "verbose" {
		neighbours.Output = io.MultiWriter(&others, os.Stderr)
	}
	go func() {
		_, rc, err := vm.Run(ctx, neighbours)
		stop() // without them there is nothing to wait for
		ended <- fmt.Errorf("the machine of the neighbours ended: status %d, %w", rc, err)
	}()
	defer func() {
		stop()
		err := <-ended
		if t.Failed() {
			t.Logf("%v\n%s", err, others.String())
		}
	}()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if _, err := os.Stat(segment); err == nil {
			break
		} else if time.Now().After(deadline) || ctx.Err() != nil {
			t.Fatal("the first machine does not listen: ", err)
		}
	}
	log := run(t, ctx, vm.Spec{
		Arch:     "mipsle",
		Disks:    []string{flashWith(t, routerBinary(t, ctx, "mipsle"))},
		Modules:  []string{"virtio_pci", "virtio_net", "ext4", "crc32c_generic", "tun", "wireguard"},
		Later:    []string{"virtio_blk"},
		Script:   memoryScript,
		MemoryMB: 64,
		Segment:  segment,
	})
	mib := func(line string) float64 {
		at := strings.LastIndex(log, line+" ")
		if at < 0 {
			t.Fatalf("the machine did not say %s\n%s", line, log)
		}
		kib, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(log[at+len(line):], "\n", 2)[0]))
		if err != nil {
			t.Fatal(err)
		}
		return float64(kib) / 1024
	}
	const on = "64 MiB MIPS, 4 neighbours, kernel WireGuard: "
	rss := bench.Less(on+"RSS idle", mib("MEMORY-idle VmRSS"), "MiB", 20)
	free := bench.More(on+"available on the machine", mib("MEMORY-idle MemAvailable"), "MiB", 16)
	printReport(t, "memory", rss,
		bench.Info(on+"RSS idle, not of files", mib("MEMORY-idle RssAnon"), "MiB", "less"),
		bench.Info(on+"peak RSS", mib("MEMORY-idle VmHWM"), "MiB", "less"),
		bench.Info(on+"all that the kernel gives to programs", mib("MEMORY-idle MemTotal"), "MiB", "more"),
		free,
		bench.Info(on+"used by nothing, not even to keep files", mib("MEMORY-idle MemFree"), "MiB", "more"),
		bench.Info(on+"available before the agent", mib("MEMORY-before MemAvailable"), "MiB", "more"))
	for _, r := range []bench.Result{rss, free} {
		if !*r.Met {
			t.Errorf("%s: %.1f MiB, %.0f is the goal", r.Metric, r.Value, *r.Target)
		}
	}
	if os.Getenv("LAB_VM") == "verbose" {
		t.Log(log)
	}
}

// routerBinary is the program that the packages have: built by make, without inlining
// where it does not pay.
func routerBinary(t *testing.T, ctx context.Context, arch string) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	target := "dist/globalnet-" + arch
	make := exec.CommandContext(ctx, "make", "-C", root, target)
	if out, err := make.CombinedOutput(); err != nil {
		t.Fatalf("make %s: %v: %s", target, err, out)
	}
	return filepath.Join(root, target)
}

// flashWith makes a disk with the router's program in it.
func flashWith(t *testing.T, binary string) string {
	t.Helper()
	b, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	content := t.TempDir()
	if err := os.WriteFile(filepath.Join(content, "globalnet"), b, 0o755); err != nil {
		t.Fatal(err)
	}
	return ext4Disk(t, 32<<20, "-d", content)
}

// ext4Disk makes a file system in a file; flags are those of mkfs.
func ext4Disk(t *testing.T, size int64, flags ...string) string {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, size); err != nil {
		t.Fatal(err)
	}
	mkfs := exec.Command("mkfs.ext4", append(append([]string{"-q"}, flags...), disk)...)
	mkfs.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := mkfs.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return disk
}
