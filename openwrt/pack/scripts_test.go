package pack

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const feed = "../feed/globalnet"

// router is a root folder with busybox, stand-ins for what OpenWrt has around a
// package, and one package manager's way of doing things.
type router struct {
	t    *testing.T
	root string
	apk  bool // else opkg
	old  *Package

	ownNetwork bool // programs run in a network namespace of their own
}

// need skips, or fails where everything must run.
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

func newRouter(t *testing.T, apk bool) *router {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	need(t, err)
	r := &router{t: t, root: t.TempDir(), apk: apk}
	if err := os.CopyFS(r.root, os.DirFS("testdata/root")); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"bin", "sbin", "usr/bin", "tmp", "dev", "var/run", "etc/config", "etc/init.d"} {
		if err := os.MkdirAll(filepath.Join(r.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	r.write("bin/busybox", string(text), 0o755)
	for _, name := range strings.Fields("sh cat mkdir rm rmdir ln mv cp cmp grep sed basename dirname sleep ls env logger") {
		if err := os.Symlink("busybox", filepath.Join(r.root, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "build", "-o", filepath.Join(r.root, "sbin/uci"), "./testdata/uci")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building uci: %v\n%s", err, out)
	}
	firewall, err := os.ReadFile("../uci/testdata/firewall")
	if err != nil {
		t.Fatal(err)
	}
	r.write("etc/config/firewall", string(firewall), 0o600)
	r.write("etc/init.d/firewall", "#!/bin/sh\necho \"firewall $1\" >>/tmp/log\n", 0o755)
	r.write("etc/init.d/rpcd", "#!/bin/sh\necho \"rpcd $1\" $(ls /usr/libexec/rpcd) >>/tmp/log\n", 0o755)
	r.write("dev/null", "", 0o666)
	_, err = r.run("true")
	need(t, err)
	return r
}

func (r *router) write(name, text string, mode os.FileMode) {
	r.t.Helper()
	path := filepath.Join(r.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
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

func (r *router) has(name string) bool {
	_, err := os.Lstat(filepath.Join(r.root, name))
	return err == nil
}

// run runs a command in the root, without privileges of its own.
func (r *router) run(command string, env ...string) (string, error) {
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Env = append(env, "PATH=/bin:/sbin:/usr/bin:/usr/sbin")
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: r.root}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	if r.ownNetwork {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
	}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s in the root: %w\n%s", command, err, out)
	}
	return string(out), nil
}

func (r *router) mustRun(command string, env ...string) string {
	r.t.Helper()
	out, err := r.run(command, env...)
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

// unpack writes the files; one that the owner edited stays.
func (r *router) unpack(p *Package) {
	r.t.Helper()
	for _, f := range p.Files {
		if slices.Contains(p.ConfFiles, "/"+f.Path) && r.old != nil {
			if was, _ := r.old.file(f.Path); r.read(f.Path) != string(was.Content) {
				continue
			}
		}
		path := filepath.Join(r.root, f.Path)
		os.Remove(path)
		if f.Link == "" {
			r.write(f.Path, string(f.Content), os.FileMode(f.Mode))
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.Symlink(f.Link, path); err != nil {
			r.t.Fatal(err)
		}
	}
}

const infoDir = "usr/lib/opkg/info/"

// opkgInfo leaves what opkg keeps of a package.
func (r *router) opkgInfo(p *Package) {
	var list strings.Builder
	for _, f := range p.Files {
		fmt.Fprintf(&list, "/%s\n", f.Path)
	}
	r.write(infoDir+p.Name+".list", list.String(), 0o644)
	for _, f := range p.control(0) {
		r.write(infoDir+p.Name+"."+f.Path, string(f.Content), os.FileMode(f.Mode))
	}
}

// install installs or upgrades, with the scripts in the manager's order.
func (r *router) install(p Package) string {
	r.t.Helper()
	check := p.check
	if r.apk {
		check = p.checkAPK
	}
	if err := check(); err != nil {
		r.t.Fatal(err)
	}
	var out string
	upgrade := r.old != nil
	switch {
	case r.apk: // nothing of the old version runs
		r.unpack(&p)
		script := p.postInstall()
		if upgrade {
			script = p.postUpgrade()
		}
		out = r.script(script)
	case upgrade:
		env := "PKG_UPGRADE=1"
		out = r.mustRun("/"+infoDir+p.Name+".prerm upgrade "+p.Version, env)
		r.unpack(&p)
		r.opkgInfo(&p)
		out += r.mustRun("/"+infoDir+p.Name+".postinst configure", env)
	default:
		r.unpack(&p)
		r.opkgInfo(&p)
		out = r.mustRun("/" + infoDir + p.Name + ".postinst configure")
	}
	r.old = &p
	return out
}

func (r *router) script(text string) string {
	r.t.Helper()
	r.write("tmp/script", text, 0o755)
	defer os.Remove(filepath.Join(r.root, "tmp/script"))
	return r.mustRun("/tmp/script")
}

func (r *router) remove() string {
	r.t.Helper()
	var out string
	if r.apk {
		out = r.script(r.old.preDeinstall())
	} else {
		out = r.mustRun("/" + infoDir + r.old.Name + ".prerm remove")
	}
	for _, f := range r.old.Files {
		if slices.Contains(r.old.ConfFiles, "/"+f.Path) && r.read(f.Path) != string(f.Content) {
			continue
		}
		os.Remove(filepath.Join(r.root, f.Path))
	}
	os.RemoveAll(filepath.Join(r.root, infoDir))
	return out
}

// log returns what was called since the last time.
func (r *router) log() string {
	text := r.read("tmp/log")
	os.Remove(filepath.Join(r.root, "tmp/log"))
	return text
}

// settled waits until what a script left behind has called something.
func (r *router) settled(call string) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(r.read("tmp/log"), call); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("waited in vain for %s:\n%s", call, r.read("tmp/log"))
		}
	}
}

const running = "tmp/procd/globalnet.running"

// ours is the package of the feed with a program that says which one it is. It
// refuses to clean up while it runs, and the first time after.
func ours(t *testing.T, version string) Package {
	t.Helper()
	files, err := ReadTree(feed + "/files")
	if err != nil {
		t.Fatal(err)
	}
	script := func(name string) string {
		text, err := os.ReadFile(feed + "/scripts/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	program := "#!/bin/sh\n# " + version + `
echo "globalnet $*" >>/tmp/log
[ "$1" = cleanup ] || exit 0
[ -e /` + running + ` ] && exit 1
[ -e /tmp/ended ] || { : >/tmp/ended; exit 1; }
`
	return Package{
		Name: "globalnet", Version: version, Arch: AllArches, Time: time.Unix(1_790_000_000, 0), Description: "test",
		Files: append(files,
			File{Path: "usr/sbin/globalnet", Mode: 0o755, Content: []byte(program)},
			File{Path: "usr/bin/gn", Link: "../sbin/globalnet"}),
		ConfFiles:    []string{"/etc/config/globalnet"},
		AfterInstall: script("after-install.sh"), BeforeRemove: script("before-remove.sh"),
	}
}

func bothManagers(t *testing.T, test func(t *testing.T, r *router)) {
	for name, apk := range map[string]bool{"opkg": false, "apk": true} {
		t.Run(name, func(t *testing.T) { test(t, newRouter(t, apk)) })
	}
}

func TestLife(t *testing.T) {
	bothManagers(t, func(t *testing.T, r *router) {
		firewall := r.read("etc/config/firewall")
		r.install(ours(t, "1.0-r1"))
		if !strings.Contains(r.read(running), "# 1.0-r1") || !r.has("etc/rc.d/S90globalnet") {
			t.Fatalf("installed, but not running or not enabled:\n%s", r.log())
		}
		if !strings.Contains(r.read("tmp/log"), "rpcd reload globalnet\n") {
			t.Errorf("rpcd was not told of its plugin:\n%s", r.log())
		}
		if r.has("etc/uci-defaults/90-globalnet") || !strings.Contains(r.read("etc/config/firewall"), "config zone 'globalnet'") {
			t.Error("the first-boot script did not do its work, or would do it again")
		}
		for _, dir := range []string{"etc/globalnet", "var/run/globalnet"} {
			if info, err := os.Stat(filepath.Join(r.root, dir)); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s: %v", dir, err)
			}
		}

		r.write("etc/globalnet/identity.key", "the key", 0o600)
		r.mustRun("uci set globalnet.main.network=street")
		edited, zone := r.read("etc/config/globalnet"), r.read("etc/config/firewall")
		r.log()
		r.install(ours(t, "1.1-r1"))
		if !strings.Contains(r.read(running), "# 1.1-r1") {
			t.Errorf("after the upgrade the old program runs on:\n%s", r.log())
		}
		if r.read("etc/globalnet/identity.key") != "the key" || r.read("etc/config/globalnet") != edited || r.read("etc/config/firewall") != zone {
			t.Error("the upgrade changed the key or the configuration")
		}
		if log := r.log(); strings.Contains(log, "disable") || strings.Contains(log, "cleanup") {
			t.Errorf("the upgrade removed something:\n%s", log)
		}

		out := r.remove()
		if r.has(running) || r.has("etc/rc.d/S90globalnet") || r.has("etc/rc.d/K10globalnet") || r.has("var/run/globalnet") {
			t.Error("removed, but running, enabled or with files left")
		}
		if got := r.read("etc/config/firewall"); got != firewall {
			t.Errorf("the firewall's configuration is not what it was:\n%s", got)
		}
		log := r.log()
		if strings.Count(log, "globalnet cleanup") != 2 || !strings.Contains(log, "rpcd reload\n") || !strings.Contains(log, "firewall reload") {
			t.Errorf("removal did:\n%s", log)
		}
		if r.read("etc/globalnet/identity.key") != "the key" || !strings.Contains(out, "key stays") {
			t.Errorf("the key is gone, or nothing was said: %q", out)
		}
	})
}

func TestUpgradeRespectsTheOwner(t *testing.T) {
	bothManagers(t, func(t *testing.T, r *router) {
		r.install(ours(t, "1.0-r1"))
		r.mustRun("/etc/init.d/globalnet stop; /etc/init.d/globalnet disable; uci set globalnet.service.enabled=0")
		r.mustRun("uci delete firewall.globalnet; uci set globalnet.service.manage_firewall=0")
		r.install(ours(t, "1.1-r1"))
		if r.has(running) || r.has("etc/rc.d/S90globalnet") {
			t.Error("the upgrade started what the owner had switched off")
		}
		if strings.Contains(r.read("etc/config/firewall"), "globalnet") {
			t.Error("the upgrade brought the zone back")
		}
		r.write("tmp/ended", "", 0o600)
		r.remove()
	})
}

func TestWithoutFirewall(t *testing.T) {
	bothManagers(t, func(t *testing.T, r *router) {
		os.Remove(filepath.Join(r.root, "etc/config/firewall"))
		r.install(ours(t, "1.0-r1"))
		if !r.has(running) || r.has("etc/config/firewall") || r.has("etc/uci-defaults/90-globalnet") {
			t.Error("a router without a firewall got one, or no agent")
		}
	})
}

func TestService(t *testing.T) {
	r := newRouter(t, false)
	r.install(ours(t, "1.0-r1"))
	definition := func() string { return r.read("tmp/procd/globalnet.def") }
	for _, want := range []string{
		"command /usr/sbin/globalnet run --config /etc/config/globalnet\n", "respawn 3600 5 0\n", "env GOTRACEBACK=single GLOBALNET_LOG=procd\n",
		"trigger globalnet\n", "dest_port=18245 18250-18313\n", "src=globalnet\n", "dest_ip=ff02::fb\n",
	} {
		if !strings.Contains(definition(), want) {
			t.Errorf("no %q in\n%s", want, definition())
		}
	}
	for _, not := range []string{"GOMEMLIMIT", "GOGC", "GOMAXPROCS", " as=", "reload_signal"} {
		if strings.Contains(definition(), not) {
			t.Errorf("%s in\n%s", not, definition())
		}
	}
	r.log()
	r.mustRun("/etc/init.d/globalnet reload")
	r.settled("globalnet setup")
	if log := r.log(); !strings.Contains(log, "signal globalnet * HUP") {
		t.Errorf("reload of a running agent: %s", log)
	}
	r.write("etc/globalnet/trial.json", "{}", 0o600)
	r.mustRun("/etc/init.d/globalnet reload")
	if log := r.log(); strings.Contains(log, "globalnet setup") {
		t.Errorf("setup while a change is on trial: %s", log)
	}
	os.Remove(filepath.Join(r.root, "etc/globalnet/trial.json"))
	for option, want := range map[string]string{
		"service.memlimit=40": "GOMEMLIMIT=40MiB\n", "service.gc=30": "GOGC=30\n", "service.maxprocs=1": "GOMAXPROCS=1\n",
		"main.listen_port=7": "dest_port=7\n", "main.port_range=9-99": "dest_port=7 9-99\n", "service.gc=lots": "env GOTRACEBACK=single GLOBALNET_LOG=procd\n",
	} {
		if option == "main.port_range=9-99" {
			r.mustRun("uci set globalnet.main.listen_port=7")
		}
		r.mustRun("uci set globalnet." + option + " && /etc/init.d/globalnet start")
		if !strings.Contains(definition(), want) {
			t.Errorf("%s: no %q in\n%s", option, want, definition())
		}
	}
	r.mustRun("uci set globalnet.service.jail=1 && /etc/init.d/globalnet start")
	if strings.Contains(definition(), "jail") {
		t.Errorf("a jail without ujail:\n%s", definition())
	}
	r.write("sbin/ujail", "", 0o755)
	r.mustRun("/etc/init.d/globalnet start")
	for _, want := range []string{
		"jail globalnet log procfs sysfs\n", "jail-mount-rw /dev/net/tun /etc/config /etc/globalnet /var/run/globalnet\n",
		"capabilities /etc/capabilities/globalnet.json\n", "no_new_privs 1\n",
	} {
		if !strings.Contains(definition(), want) {
			t.Errorf("no %q in\n%s", want, definition())
		}
	}
	r.mustRun("uci set globalnet.service.jail=0 && uci set globalnet.service.manage_firewall=0 && /etc/init.d/globalnet start")
	if strings.Contains(definition(), "dest_port") {
		t.Errorf("rules of a firewall that is not ours:\n%s", definition())
	}
	r.mustRun("uci set globalnet.service.enabled=0 && /etc/init.d/globalnet reload")
	if r.has(running) {
		t.Error("switched off, but running")
	}
	r.mustRun("uci set globalnet.service.enabled=1 && /etc/init.d/globalnet reload")
	if !r.has(running) {
		t.Error("switched on, but not running")
	}
}

// TestImage: scripts in an image that is being built start nothing.
func TestImage(t *testing.T) {
	p := ours(t, "1.0-r1")
	for name, body := range map[string]string{"after": p.AfterInstall, "before": p.BeforeRemove} {
		cmd := exec.Command("sh", "-eu", "-c", body)
		cmd.Env = []string{"IPKG_INSTROOT=/somewhere", "PKG_UPGRADE=1", "PATH="}
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestShellcheck(t *testing.T) {
	shellcheck := tool(t, "SHELLCHECK", "shellcheck")
	for file, without := range map[string]string{
		feed + "/files/etc/init.d/globalnet": "SC2034,SC2174,SC3023", feed + "/files/etc/init.d/globalnet-lan": "SC2034,SC3043", feed + "/files/etc/uci-defaults/90-globalnet": "SC3043",
		feed + "/files/usr/libexec/rpcd/globalnet": "SC2034", luciFolder + "/scripts/after-install.sh": "SC2148", luciFolder + "/scripts/before-remove.sh": "SC2148",
		feed + "/scripts/after-install.sh": "SC2148", feed + "/scripts/before-remove.sh": "SC2148,SC2034", "../../internal/repro.sh": "SC3040",
	} {
		if out, err := exec.Command(shellcheck, "--shell=dash", "--exclude="+without, file).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}

// TestRealAPKScripts lets apk itself run the scripts, in its order.
func TestRealAPKScripts(t *testing.T) {
	apk := tool(t, "APK", "apk")
	if os.Geteuid() != 0 {
		t.Skip("apk changes its root only for root")
	}
	r := newRouter(t, true)
	r.write("etc/apk/arch", "noarch\n", 0o644)
	r.write("etc/apk/world", "", 0o644)
	dir := t.TempDir()
	do := func(args ...string) string {
		return output(t, apk, append([]string{"--root", r.root, "--no-network", "--allow-untrusted", "--no-logfile"}, args...)...)
	}
	for _, version := range []string{"1.0-r1", "1.1-r1"} {
		p := ours(t, version)
		file, err := p.APK(nil)
		if err != nil {
			t.Fatal(err)
		}
		do("add", "--initdb", write(t, dir, p.APKName(), file))
		if !strings.Contains(r.read(running), "# "+version) {
			t.Errorf("%s is installed, but runs not:\n%s", version, r.log())
		}
		if r.has("etc/uci-defaults/90-globalnet") {
			t.Errorf("%s: the first-boot script is still there", version)
		}
		if version == "1.0-r1" {
			r.mustRun("uci set globalnet.main.network=street")
		}
	}
	if !strings.Contains(r.read("etc/config/globalnet"), "street") {
		t.Error("the configuration is not the owner's")
	}
	do("del", "globalnet")
	if r.has(running) || r.has("usr/sbin/globalnet") || strings.Contains(r.read("etc/config/firewall"), "globalnet") {
		t.Errorf("after the removal:\n%s", r.log())
	}
}

func TestReadTree(t *testing.T) {
	files, err := ReadTree(feed + "/files")
	if err != nil {
		t.Fatal(err)
	}
	modes := make(map[string]uint32)
	for _, f := range files {
		modes[f.Path] = f.Mode
	}
	if modes["etc/init.d/globalnet"] != 0o755 || modes["etc/config/globalnet"] != 0o600 || modes["lib/upgrade/keep.d/globalnet"] != 0o644 {
		t.Errorf("modes %v", modes)
	}
	if _, err := ReadTree(t.TempDir()); err == nil {
		t.Error("an empty folder was read")
	}
	if !bytes.Equal([]byte("/etc/globalnet/\n"), mustFile(files, "lib/upgrade/keep.d/globalnet")) {
		t.Error("an upgrade of the system would lose the key")
	}
}

func mustFile(files []File, name string) []byte {
	p := Package{Files: files}
	f, _ := p.file(name)
	return f.Content
}
