package pack

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// openwrt is a root of openwrt/real/build.sh, named by OPENWRT_ROOT, with procd as
// process 1 of namespaces.
type openwrt struct {
	t    *testing.T
	root string
	pid  string
}

func bootOpenWrt(t *testing.T) *openwrt {
	t.Helper()
	from := os.Getenv("OPENWRT_ROOT")
	if from == "" {
		t.Skip("OPENWRT_ROOT names no root of openwrt/real/build.sh")
	}
	if os.Geteuid() != 0 {
		t.Skip("procd mounts and makes devices as root")
	}
	o := &openwrt{t: t, root: filepath.Join(t.TempDir(), "root")}
	output(t, "cp", "-a", from, o.root)
	boot, err := filepath.Abs("../real/boot.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", boot, o.root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	// boot.sh says its process number, which procd keeps.
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("booting: %v", err)
	}
	o.pid = strings.TrimSpace(line)
	o.await("ubus list network.interface.lan && ubus list session")
	return o
}

// sh runs a script in the router and returns what it printed.
func (o *openwrt) sh(script string) (string, error) {
	cmd := exec.Command("timeout", "300", "nsenter", "-t", o.pid, "-m", "-n", "-p", "-i", "-u", "-r", "-w",
		"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "/bin/sh", "-c", script)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must runs a script that has to end with status 0.
func (o *openwrt) must(script string) string {
	o.t.Helper()
	out, err := o.sh(script)
	if err != nil {
		log, _ := o.sh("/sbin/logread | tail -n 30")
		o.t.Fatalf("%s: %v\n%s\n%s", script, err, out, log)
	}
	return strings.TrimSpace(out)
}

// await waits until a command succeeds.
func (o *openwrt) await(command string) {
	o.t.Helper()
	o.must("for _ in $(seq 120); do " + command + " >/dev/null 2>&1 && exit 0; sleep 1; done; " + command)
}

// install builds the package of the real agent and has opkg install it.
func (o *openwrt) install() {
	o.t.Helper()
	files, err := filepath.Glob(filepath.Join(buildReal(o.t, "0.9.1"), "globalnet_*.ipk"))
	if err != nil || len(files) != 1 {
		o.t.Fatalf("%v, %v", files, err)
	}
	output(o.t, "cp", files[0], filepath.Join(o.root, "root/globalnet.ipk"))
	o.must("opkg --add-arch all:1 --add-arch x86_64:10 install /root/globalnet.ipk")
}

// buildReal builds packages of the real agent, as `make packages` does.
func buildReal(t *testing.T, version string) (folder string) {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", "nethttpomithttp2",
		"-ldflags", "-s -w -X main.version="+version, "-o", filepath.Join(dir, "globalnet-amd64"), "./cmd/globalnet")
	packages := exec.Command("go", "run", "./cmd/packages", "-arch", "x86_64", "-binaries", dir, "-version", "v"+version, "-o", filepath.Join(dir, "out"))
	for _, cmd := range []*exec.Cmd{build, packages} {
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "SOURCE_DATE_EPOCH=1790000000", "APK_SIGN_KEY=", "USIGN_KEY=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
		}
	}
	return filepath.Join(dir, "out", "x86_64")
}

// TestOpenWrt installs, runs, reloads, upgrades and removes the packages in a router of
// OpenWrt's own programs, by both package managers.
func TestOpenWrt(t *testing.T) {
	if os.Getenv("OPENWRT_ROOT") == "" {
		t.Skip("OPENWRT_ROOT names no root of openwrt/real/build.sh")
	}
	old, next := buildReal(t, "0.9.1"), buildReal(t, "0.9.2")
	for name, do := range map[string]struct{ files, install, remove string }{
		"opkg": {"globalnet_*.ipk", "opkg --add-arch all:1 --add-arch x86_64:10 install", "opkg remove globalnet"},
		"apk":  {"globalnet-*.apk", "apk add --no-network --allow-untrusted", "apk del globalnet"},
	} {
		t.Run(name, func(t *testing.T) {
			o := bootOpenWrt(t)
			for to, from := range map[string]string{"old": old, "next": next} {
				files, err := filepath.Glob(filepath.Join(from, do.files))
				if err != nil || len(files) != 1 {
					t.Fatalf("%v in %s, %v", files, from, err)
				}
				output(t, "mkdir", "-p", filepath.Join(o.root, "root", to))
				output(t, "cp", files[0], filepath.Join(o.root, "root", to)+"/")
			}
			o.must(do.install + " /root/old/*")
			o.must("[ -L /etc/rc.d/S90globalnet ] && [ ! -e /etc/uci-defaults/90-globalnet ]")
			o.await("/etc/init.d/globalnet running && globalnet status --json")
			o.await("fw4 print | grep -q 'ubus:globalnet'; nft list ruleset | grep -q 'tcp dport 18245 .*ubus:globalnet'")
			o.await("ubus call globalnet status")
			o.must("sysupgrade -l | grep -qx /etc/globalnet/identity.key")

			was := o.must("pidof globalnet")
			o.must("kill -9 " + was)
			o.await("[ \"$(pidof globalnet)\" != " + was + " ] && globalnet status --json")

			was = o.must("pidof globalnet")
			o.must("reload_config; uci set globalnet.main.log_level=debug; uci commit globalnet; reload_config")
			o.await("/sbin/logread -e 'globalnet: nothing is to be changed'")
			if now := o.must("pidof globalnet"); now != was {
				t.Errorf("a changed configuration restarted the agent: process %s, then %s", was, now)
			}

			key := o.must("sha256sum /etc/globalnet/identity.key")
			o.must(do.install + " /root/next/*")
			o.await("[ \"$(pidof globalnet)\" != " + was + " ] && ls -l /proc/$(pidof globalnet)/exe | grep -v deleted && globalnet status --json | grep -q 0.9.2")
			if o.must("sha256sum /etc/globalnet/identity.key") != key || o.must("uci get globalnet.main.log_level") != "debug" {
				t.Error("the upgrade changed the key or the configuration")
			}

			o.must(do.remove)
			o.await("! pidof globalnet && ! ubus list globalnet")
			o.await("! nft list ruleset | grep -E 'ubus:globalnet|table inet globalnet|gn-'")
			// The edited configuration stays, with opkg also the one of the package beside it.
			left := o.must("rm -r /root/old /root/next; find / -xdev -iname '*globalnet*' | sort; uci show | grep -vE '^globalnet(-opkg)?\\.' | grep -iE 'globalnet|gnet.alt'; ubus call service list | grep globalnet; :")
			for line := range strings.Lines(left) {
				if l := strings.TrimSpace(line); !strings.HasPrefix(l, "/etc/config/globalnet") && l != "/etc/globalnet" {
					t.Errorf("left behind: %s", l)
				}
			}
		})
	}
}

// TestJail: the agent runs in OpenWrt's ujail, with its files, its capabilities and its nftables.
func TestJail(t *testing.T) {
	if os.Getenv("OPENWRT_ROOT") == "" {
		t.Skip("OPENWRT_ROOT names no root of openwrt/real/build.sh")
	}
	o := bootOpenWrt(t)
	// As OpenWrt's sysctl.d has it: in a jail, /proc/sys is read-only. Before
	// the first start, since the agent puts back what it finds.
	o.must("echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")
	o.install()
	o.must("uci set globalnet.service.jail=1; uci commit globalnet; /etc/init.d/globalnet restart")
	o.await("pidof ujail && globalnet status --json && [ -e /etc/globalnet/identity.key ]")
	// Of ujail and the agent below it, the one that may gain nothing has three capabilities.
	got := o.must("for p in $(pidof globalnet); do grep -q 'NoNewPrivs:.1' /proc/$p/status && sed -n 's/^CapEff:.//p' /proc/$p/status; done; :")
	if got != "0000000000003400" {
		t.Errorf("the agent's capabilities: %q", got)
	}
	was := o.must("pidof globalnet")
	o.must("/etc/init.d/globalnet reload; sleep 2; globalnet status --json")
	if now := o.must("pidof globalnet"); now != was {
		t.Errorf("a reload restarted the jail: %s, then %s", was, now)
	}
}
