package pack

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The wireless stand-in of a router: netifd says that the radio is up.
const (
	wirelessConfig = "\nconfig wifi-device 'radio0'\n\toption band '2g'\n\toption channel 'auto'\n\toption disabled '1'\n" +
		"\nconfig wifi-iface 'default_radio0'\n\toption device 'radio0'\n\toption mode 'ap'\n\toption ssid 'OpenWrt'\n"
	ubus = `#!/bin/sh
echo "ubus $*" >>/tmp/log
[ "$4" = status ] && echo '{"radio0":{"up":true,"interfaces":[{"section":"globalnet_radio0","ifname":"gnmesh0"}]}}'
`
)

// TestRemovalByTheProgram installs the package with the real program, has that set
// up a radio and names, upgrades, and removes all: the router's configuration must
// be what it was, to the byte.
func TestRemovalByTheProgram(t *testing.T) {
	program := filepath.Join(t.TempDir(), "globalnet")
	cmd := exec.Command("go", "build", "-tags", "nethttpomithttp2", "-o", program, "../../cmd/globalnet")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	withProgram := func(version string) Package {
		p := ours(t, version)
		for i := range p.Files {
			if p.Files[i].Path == "usr/sbin/globalnet" {
				p.Files[i].Content = text
			}
		}
		return p
	}
	bothManagers(t, func(t *testing.T, r *router) {
		r.ownNetwork = true // the program cleans up interfaces: not those of this machine
		for name, text := range map[string]string{
			"etc/config/wireless": wirelessConfig,
			"etc/config/network":  "\nconfig interface 'lan'\n\toption device 'br-lan'\n",
			"etc/config/dhcp":     "\nconfig dnsmasq\n\toption domain 'lan'\n",
		} {
			r.write(name, text, 0o600)
		}
		r.write("sbin/ubus", ubus, 0o755)
		r.write("sys/class/net/gnmesh0", "", 0o644)
		for _, name := range []string{"network", "dnsmasq"} {
			r.write("etc/init.d/"+name, "#!/bin/sh\necho \""+name+" $1\" >>/tmp/log\n"+
				"if grep -q gnmesh0 /etc/config/wireless; then : >/sys/class/net/gnmesh0; else rm -f /sys/class/net/gnmesh0; fi\n", 0o755)
		}
		configuration := func() map[string]string {
			files := make(map[string]string)
			for _, name := range []string{"wireless", "network", "dhcp", "firewall"} {
				files[name] = r.read("etc/config/" + name)
			}
			return files
		}
		before := configuration()
		r.install(withProgram("1.0-r1"))
		r.write("etc/globalnet/identity.key", "the key", 0o600)
		out := r.mustRun("globalnet radio setup radio0")
		if !strings.Contains(out, "radio0: mesh on channel 1, interface gnmesh0") {
			t.Errorf("set up:\n%s", out)
		}
		set := configuration()
		for name, want := range map[string]string{
			"wireless": "globalnet_radio0", "network": "globalnet_radio0", "dhcp": "/gnet.alt/", "firewall": "globalnet_air",
		} {
			if !strings.Contains(set[name], want) {
				t.Errorf("%s has no %s:\n%s", name, want, set[name])
			}
		}
		if log := r.log(); !strings.Contains(log, "network reload") || !strings.Contains(log, "firewall reload") || !strings.Contains(log, "dnsmasq reload") {
			t.Errorf("what was reloaded:\n%s", log)
		}
		if out := r.mustRun("globalnet setup --dry-run"); !strings.Contains(out, "nothing is to be changed") {
			t.Errorf("a second time:\n%s", out)
		}
		if out := r.mustRun("echo '{}' | /usr/libexec/rpcd/globalnet call restart"); strings.TrimSpace(out) != "{}" || !strings.Contains(r.log(), "globalnet restart") {
			t.Errorf("restarted by rpcd: %s", out)
		}
		r.install(withProgram("1.1-r1"))
		if !maps.Equal(configuration(), set) {
			t.Error("the upgrade changed what was set up")
		}
		r.log()
		r.remove()
		for name, was := range before {
			if now := r.read("etc/config/" + name); now != was {
				t.Errorf("%s was\n%s\nand is\n%s", name, was, now)
			}
		}
		if r.has("usr/sbin/globalnet") || r.has("etc/globalnet/trial.json") || r.read("etc/globalnet/identity.key") != "the key" {
			t.Error("the program or a trial is left, or the key is gone")
		}
		if log := r.log(); !strings.Contains(log, "network reload") {
			t.Errorf("the radio was not taken off the air:\n%s", log)
		}
	})
}
