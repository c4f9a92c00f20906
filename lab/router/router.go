package flash

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"globalnet/openwrt/pack"
)

// The tests run in a mount namespace of their own: what they mount ends with them.
// A router is an overlay of a small writable disk on a read-only system, with
// dropbear and busybox as its only programs besides stand-ins; the first process
// of its own namespace is its power supply.

const (
	outer = "FLASH_TEST_NAMESPACE"
	inner = "FLASH_TEST_ROUTER"
)

func TestMain(m *testing.M) {
	if root := os.Getenv(inner); root != "" {
		fmt.Fprintln(os.Stderr, powerOn(root))
		os.Exit(1)
	}
	if os.Getenv(outer) == "" && os.Geteuid() == 0 {
		dir, err := os.MkdirTemp("", "flash-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		cmd := exec.Command("/proc/self/exe", append(os.Args[1:], "-test.parallel=8")...) // most of the time they wait
		cmd.Env = append(os.Environ(), outer+"=1", "TMPDIR="+dir)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		err = cmd.Run()
		os.RemoveAll(dir)
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			os.Exit(e.ExitCode())
		}
		if err == nil {
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// powerOn becomes the first process of a router.
func powerOn(root string) error {
	at := func(name string) string { return filepath.Join(root, name) }
	err := errors.Join(
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount("proc", at("proc"), "proc", 0, ""),
		syscall.Mount("/dev", at("dev"), "", syscall.MS_BIND|syscall.MS_REC, ""),
		syscall.Mount("tmpfs", at("tmp"), "tmpfs", 0, "size=8m"),
		syscall.Mount(os.Getenv("DISK"), at("overlay"), "", syscall.MS_BIND, ""),
		syscall.Chroot(root), os.Chdir("/"),
	)
	if err != nil {
		return err
	}
	return syscall.Exec("/bin/sh", []string{"sh", "/sbin/init"}, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "PORT=" + os.Getenv("PORT")})
}

func need(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if os.Getenv("LAB") == "required" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// model is what a router of a test is.
type model struct {
	board, arch, release string
	apk                  bool
	without              string // programs it has not
	rootfs               string
}

// The routers of the tests, by their board names.
var (
	ar300m  = model{board: "glinet,gl-ar300m16", arch: "mips_24kc", release: "23.05.5"}
	mt3000  = model{board: "glinet,gl-mt3000", arch: "aarch64_cortex-a53", release: "25.12.5", apk: true}
	one     = model{board: "openwrt,one", arch: "aarch64_cortex-a53", release: "25.12.6", apk: true, without: "start-stop-daemon"}
	archer  = model{board: "tplink,archer-c7-v5", arch: "mips_24kc", release: "24.10.6", without: "start-stop-daemon setsid"}
	unifi   = model{board: "ubnt,unifiac-mesh", arch: "mips_24kc", release: "25.12.5", apk: true, without: "setsid"}
	rpi     = model{board: "raspberrypi,4-model-b", arch: "aarch64_cortex-a72", release: "25.12.5", apk: true}
	routers = []model{ar300m, mt3000, one, archer, unifi}
)

const wireless = `config wifi-device 'radio0'
	option type 'mac80211'
	option band '2g'
	option channel 'auto'
	option disabled '1'

config wifi-iface 'default_radio0'
	option device 'radio0'
	option network 'lan'
	option mode 'ap'
	option ssid 'OpenWrt'
	option encryption 'none'
`

// system is the read-only part of all routers, made once.
var system = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "flash-rom-")
	if err != nil {
		return "", err
	}
	for _, d := range strings.Fields("bin sbin usr/bin usr/sbin usr/lib/opkg/info proc sys dev tmp overlay root etc/config etc/init.d etc/rc.d etc/apk/keys etc/dropbear lib/apk/db") {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return "", err
		}
	}
	for from, to := range map[string]string{
		"../pack/testdata/root/etc/rc.common": "etc/rc.common", "../pack/testdata/root/lib/functions.sh": "lib/functions.sh",
		"../uci/testdata/firewall": "etc/config/firewall", "testdata/init": "sbin/init",
	} {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, to), text, 0o755)
		}
		if err != nil {
			return "", err
		}
	}
	for name, text := range map[string]string{
		"etc/passwd": "root::0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n", "etc/shells": "/bin/sh\n",
		"etc/config/network":  "config interface 'lan'\n\toption device 'br-lan'\n\toption proto 'static'\n",
		"etc/config/wireless": wireless, "etc/config/dhcp": "config dnsmasq\n\toption domainneeded '1'\n",
		"usr/lib/opkg/status": "Package: busybox\nVersion: 1.36.1-1\n\n", "lib/apk/db/installed": "P:busybox\nV:1.37.0-r1\n\n", "etc/apk/world": "busybox\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	for name, text := range map[string]string{
		"sbin/wifi": "", "usr/bin/logger": "", "sbin/fw4": "", "etc/init.d/network": "", "etc/init.d/firewall": "", "etc/init.d/dnsmasq": "",
		"sbin/sysupgrade": "case $1 in -b) tar -czf - -C / etc/config; exit ;; -T) exit 0 ;; esac\nkill 1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho \"${0##*/} $*\" >>/tmp/calls\n"+text), 0o755); err != nil {
			return "", err
		}
	}
	if err := programs(dir); err != nil {
		return "", err
	}
	for _, kind := range []string{"rsa", "ed25519"} { // those of OpenWrt
		key := exec.Command("dropbearkey", "-t", kind, "-f", filepath.Join(dir, "etc/dropbear", kind))
		if out, err := key.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w\n%s", err, out)
		}
	}
	return dir, nil
})

// programs puts busybox, dropbear with its libraries, and the stand-ins into dir.
func programs(dir string) error {
	put := func(from, to string) error {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(dir, to)), 0o755)
		}
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, to), text, 0o755)
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	dropbear, err := exec.LookPath("dropbear")
	if err != nil {
		return fmt.Errorf("%w; the package dropbear-bin has it", err)
	}
	libraries, err := exec.Command("ldd", dropbear).Output()
	if err != nil {
		return err
	}
	if err := errors.Join(put(busybox, "bin/busybox"), put(dropbear, "usr/sbin/dropbear")); err != nil {
		return err
	}
	for _, word := range strings.Fields(string(libraries)) {
		if strings.HasPrefix(word, "/") {
			if err := put(word, word); err != nil {
				return err
			}
		}
	}
	for _, name := range strings.Fields(`sh cat mkdir rm rmdir ln mv cp cmp grep sed basename dirname sleep ls env id df tail head cut
		tr du wc sort touch chmod sync date sha256sum kill pidof tar gzip mktemp printf test start-stop-daemon setsid`) {
		if err := os.Symlink("busybox", filepath.Join(dir, "bin", name)); err != nil {
			return err
		}
	}
	cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "usr/bin/stand-in"), "./testdata/router")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the stand-ins: %w\n%s", err, out)
	}
	for _, name := range []string{"uci", "ubus", "opkg", "apk"} {
		if err := os.Symlink("stand-in", filepath.Join(dir, "usr/bin", name)); err != nil {
			return err
		}
	}
	return os.Symlink("tmp", filepath.Join(dir, "var"))
}

// router is one under test.
type router struct {
	t          *testing.T
	model      model
	root, disk string
	port       string
	power      *exec.Cmd
	wire       *wire
	packages   string
}

func newRouter(t *testing.T, m model) *router {
	t.Helper()
	if os.Getenv(outer) == "" {
		need(t, errors.New("mounting a router's file systems needs root"))
	}
	lower, err := system()
	need(t, err)
	base, err := os.MkdirTemp("", "router-") // t.TempDir has commas in it, which divide options of mounts
	if err != nil {
		t.Fatal(err)
	}
	r := &router{t: t, model: m, root: filepath.Join(base, "root"), disk: filepath.Join(base, "disk"), packages: filepath.Join(base, "packages")}
	for _, d := range []string{r.root, r.disk, r.packages} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	need(t, syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	need(t, syscall.Mount("tmpfs", r.disk, "tmpfs", 0, "size=6m"))
	t.Cleanup(func() { syscall.Unmount(r.disk, syscall.MNT_DETACH) })
	for _, d := range []string{"upper", "work"} {
		if err := os.Mkdir(filepath.Join(r.disk, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	need(t, syscall.Mount("overlay", r.root, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lower, r.disk, r.disk)))
	t.Cleanup(func() { syscall.Unmount(r.root, syscall.MNT_DETACH) })
	r.write("etc/board_name", m.board+"\n")
	r.write("etc/arch", m.arch+"\n")
	r.write("etc/rootfs_type", or(m.rootfs, "squashfs")+"\n")
	r.write("etc/openwrt_release", fmt.Sprintf("DISTRIB_ID='OpenWrt'\nDISTRIB_RELEASE='%s'\nDISTRIB_ARCH='%s'\n", m.release, m.arch))
	gone := strings.Fields(m.without)
	if m.apk {
		r.write("etc/apk/arch", m.arch+"\n")
		gone = append(gone, "opkg")
	} else {
		gone = append(gone, "apk")
	}
	for _, name := range gone {
		os.Remove(filepath.Join(r.root, "bin", name))
		os.Remove(filepath.Join(r.root, "usr/bin", name))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, r.port, _ = net.SplitHostPort(l.Addr().String())
	l.Close()
	r.wire = newWire(t, "127.0.0.1:"+r.port)
	r.on()
	t.Cleanup(r.off)
	return r
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func (r *router) write(name, text string) {
	r.t.Helper()
	path := filepath.Join(r.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *router) read(name string) string {
	text, err := os.ReadFile(filepath.Join(r.root, name))
	if err != nil {
		return ""
	}
	return string(text)
}

// temp reads what is in the memory of a router that runs.
func (r *router) temp(name string) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/tmp/%s", r.power.Process.Pid, name))
	if err != nil {
		return ""
	}
	return string(text)
}

// on starts the router and waits for its SSH server.
func (r *router) on() {
	r.t.Helper()
	r.power = exec.Command("/proc/self/exe")
	r.power.Env = append(os.Environ(), inner+"="+r.root, "PORT="+r.port, "DISK="+r.disk)
	var said bytes.Buffer
	r.power.Stderr = &said
	r.power.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := r.power.Start(); err != nil {
		r.t.Error(err)
		return
	}
	for range 300 {
		if c, err := net.DialTimeout("tcp", "127.0.0.1:"+r.port, time.Second); err == nil {
			c.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.t.Errorf("the router does not start: %s%s", said.String(), r.temp("dropbear.log"))
}

// off takes the power away: every process ends at once.
func (r *router) off() {
	r.power.Process.Kill()
	r.power.Wait()
}

// files is everything that survives a restart: name, kind, mode, digest.
func (r *router) files() map[string]string {
	r.t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(r.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, r.root)
		switch name {
		case "/proc", "/dev", "/tmp", "/overlay", "/bin", "/usr/lib/x86_64-linux-gnu", "/lib64", "/lib/x86_64-linux-gnu":
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all[name] = info.Mode().String()
		switch {
		case d.Type() == fs.ModeSymlink:
			to, err := os.Readlink(path)
			all[name] += " to " + to
			return err
		case d.Type().IsRegular():
			text, err := os.ReadFile(path)
			all[name] += fmt.Sprintf(" %d bytes %x", len(text), sha256.Sum256(text))
			return err
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// same fails where files differ.
func same(t *testing.T, before, after map[string]string) {
	t.Helper()
	for name, was := range before {
		if now, ok := after[name]; !ok {
			t.Errorf("%s is gone", name)
		} else if now != was {
			t.Errorf("%s was %s, is %s", name, was, now)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("%s is new", name)
		}
	}
}

// wire is the cable between workstation and router, which can be cut.
type wire struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, to: to}
	go w.serve() // ends with the listener
	t.Cleanup(func() {
		l.Close()
		w.set(true)
	})
	return w
}

func (w *wire) serve() {
	for {
		a, err := w.listener.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", w.to)
		w.mu.Lock()
		if err != nil || w.cut {
			a.Close()
			if b != nil {
				b.Close()
			}
			w.mu.Unlock()
			continue
		}
		w.conns = append(w.conns, a, b)
		w.mu.Unlock()
		for _, pair := range [][2]net.Conn{{a, b}, {b, a}} {
			go func() {
				buffer := make([]byte, 32<<10)
				for {
					n, err := pair[0].Read(buffer)
					if n > 0 {
						if _, err := pair[1].Write(buffer[:n]); err != nil {
							break
						}
					}
					if err != nil {
						break
					}
				}
				pair[0].Close()
				pair[1].Close()
			}()
		}
	}
}

// set cuts the cable, or mends it.
func (w *wire) set(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for _, c := range w.conns {
			c.Close()
		}
		w.conns = nil
	}
}

func (r *router) target() Target {
	host, port, _ := net.SplitHostPort(r.wire.listener.Addr().String())
	return Target{"root", host, port}
}

var ballast = func() []byte {
	b := make([]byte, 300<<10)
	rand.Read(b)
	return b
}()

// agentPackage is the package of the feed with the agent of tests; sabotage
// changes it.
func agentPackage(t *testing.T, m model, version string, sabotage func(*pack.Package)) []byte {
	t.Helper()
	const feed = "../feed/globalnet"
	files, err := pack.ReadTree(feed + "/files")
	if err != nil {
		t.Fatal(err)
	}
	text := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	program := []byte(text("testdata/agent.sh") + "# " + version + "\n")
	p := pack.Package{
		Name: "globalnet", Version: version, Arch: m.arch, Time: time.Unix(1_790_000_000, 0), Description: "test",
		Files: append(files, pack.File{Path: "usr/bin/gn", Link: "../sbin/globalnet"},
			pack.File{Path: "usr/sbin/globalnet", Mode: 0o755, Content: append(program, ballast...)}),
		ConfFiles:    []string{"/etc/config/globalnet"},
		AfterInstall: text(feed + "/scripts/after-install.sh"), BeforeRemove: text(feed + "/scripts/before-remove.sh"),
	}
	if sabotage != nil {
		sabotage(&p)
	}
	var out []byte
	if m.apk {
		out, err = p.APK(nil)
	} else {
		out, err = p.IPK()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// offer puts a package into the folder of packages.
func (r *router) offer(version string, sabotage func(*pack.Package)) {
	r.t.Helper()
	dir := filepath.Join(r.packages, r.model.arch)
	name := "globalnet_" + version + "_" + r.model.arch + ".ipk"
	if r.model.apk {
		name = "globalnet-" + version + ".apk"
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), agentPackage(r.t, r.model, version, sabotage), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// options are short of time, so that tests are.
func (r *router) options() Options {
	return Options{
		Login:    &Login{Hosts: &Hosts{File: filepath.Join(r.packages, "known_hosts")}, Trust: func(string, string) bool { return true }},
		Packages: r.packages, Backups: filepath.Join(r.packages, "backups"),
		times: times{
			install: 40 * time.Second, apply: 24 * time.Second, upgrade: 24 * time.Second,
			settle: 2 * time.Second, poll: 100 * time.Millisecond, reboot: 5 * time.Second,
		},
	}
}

func (r *router) flash(o Options) (*Report, error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	return Run(ctx, r.target(), o)
}

// mustFlash installs or upgrades, and expects it to go well.
func (r *router) mustFlash(version string, change func(*Options)) *Report {
	r.t.Helper()
	if version != "" {
		r.offer(version, nil)
	}
	o := r.options()
	if change != nil {
		change(&o)
	}
	report, err := r.flash(o)
	if err != nil {
		f := err.(*Failure)
		r.t.Fatalf("%v\n%s\n%s\ncalls:\n%s%s%s", err, f.State, f.Advice, r.temp("calls"), r.temp("dropbear.log"), r.temp("boot.log"))
	}
	return report
}
