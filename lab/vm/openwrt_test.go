package vm_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"globalnet/lab/vm"
)

// TestOpenWrtRadios runs two routers of OpenWrt's own programs (openwrt/real/build.sh,
// named by OPENWRT_ROOT) in namespaces of one machine, each with a simulated radio: the
// package is installed by opkg, `globalnet radio setup` gives the radio to the mesh, and
// netifd with OpenWrt's wireless scripts makes the interface. Whatever happens to it then,
// the routers reach each other again, and the agents are never restarted.
func TestOpenWrtRadios(t *testing.T) {
	root := os.Getenv("OPENWRT_ROOT")
	if root == "" {
		t.Skip("OPENWRT_ROOT names no root of openwrt/real/build.sh")
	}
	ctx := require(t)
	dir := t.TempDir()
	if err := vm.Build(ctx, "amd64", filepath.Join(dir, "globalnet-amd64"), "globalnet/cmd/globalnet"); err != nil {
		t.Fatal(err)
	}
	packages := exec.CommandContext(ctx, "go", "run", "./cmd/packages", "-arch", "x86_64", "-binaries", dir, "-version", "v0.9.1", "-o", dir)
	packages.Dir = "../.."
	packages.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1790000000", "APK_SIGN_KEY=", "USIGN_KEY=")
	tar := exec.CommandContext(ctx, "tar", "-C", root, "-cf", filepath.Join(dir, "root.tar"), ".")
	for _, cmd := range []*exec.Cmd{packages, tar} {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
		}
	}
	found, err := filepath.Glob(filepath.Join(dir, "x86_64", "globalnet_*.ipk"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	log := run(t, ctx, vm.Spec{
		Files: map[string]string{
			"/root.tar": filepath.Join(dir, "root.tar"), "/globalnet.ipk": found[0], "/boot.sh": "../../openwrt/real/boot.sh", "/routers.sh": "testdata/routers.sh",
		},
		Programs: []string{"ip", "iw", "unshare", "nsenter", "mount", "umount", "pivot_root"},
		Modules: []string{"wireguard", "veth", "bridge", "tun", "mac80211_hwsim radios=2", "crc32c_generic",
			"nft_chain_nat", "nft_redir", "nft_ct", "nft_reject_inet", "nft_fib_inet", "nft_nat", "nft_objref", "nft_tproxy", "nft_masq", "nft_limit", "nft_log"},
		Script:   moveRoot,
		MemoryMB: 1024,
		CPUs:     2,
	})
	steps := 0
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "== ") {
			t.Log(strings.TrimSpace(line))
			steps++
		}
	}
	if steps == 0 {
		t.Errorf("nothing was done:\n%s", log)
	}
}

// moveRoot has what follows run in a file system that may be pivoted away from: an initramfs may not.
const moveRoot = `set -e
mkdir /w
mount -t tmpfs -o size=800m w /w
mkdir /w/proc /w/sys /w/dev /w/tmp /w/run
cp -a /bin /usr /lib /etc /boot.sh /routers.sh /w/
[ ! -e /lib64 ] || cp -a /lib64 /w/
for d in proc sys dev; do mount --rbind /$d /w/$d; done
for r in 1 2; do
	mkdir /w/r$r
	tar xf /root.tar -C /w/r$r
	cp /globalnet.ipk /w/r$r/root/
done
exec chroot /w sh /routers.sh
`
