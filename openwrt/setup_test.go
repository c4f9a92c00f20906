package openwrt

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"globalnet/agent/config"
)

func TestSetupBesideAnAccessPoint(t *testing.T) {
	d := newDevice(t, nil)
	d.Board.Board = both
	p := d.setup(Give{Radio: "radio0"})
	if len(p.Air) != 1 || p.Air[0] != (OnAir{"radio0", "globalnet_radio0", "gnmesh0", "mesh", 6}) {
		t.Fatalf("%+v", p.Air)
	}
	if before := d.read("etc/config/wireless"); before != wirelessHome || len(d.calls) > 0 {
		t.Fatalf("a plan changed something: %v\n%s", d.calls, before)
	}
	d.apply(p)
	d.wants("wireless", "option channel 6 # the quiet one\n", "config wifi-iface 'globalnet_radio0'\n", "option mode 'mesh'", "mesh_id 'globalnet'",
		"mesh_fwding '0'", "encryption 'none'", "ifname 'gnmesh0'", "network 'globalnet_radio0'")
	d.wants("network", "config interface 'globalnet_radio0'\n\toption proto 'none'\n")
	d.wants("firewall", "config zone 'globalnet_air'", "option name 'gnair'", "list network 'globalnet_radio0'", "forward 'REJECT'",
		"config rule 'globalnet_air_nd'", "list icmp_type 'neighbour-solicitation'", "src 'gnair'")
	d.wants("globalnet", "option manage_wireless '1'", "config radio 'radio0'")
	if strings.Contains(d.read("etc/config/dhcp"), "gnet") {
		t.Error("names without a LAN that wants them")
	}
	if got, want := strings.Join(d.calls, "; "), "fw4 check; /etc/init.d/network reload; /etc/init.d/firewall reload"; got != want {
		t.Errorf("ran %s, want %s", got, want)
	}
	if _, warnings, err := config.Load(d.path("etc/config/globalnet")); err != nil || len(warnings) > 0 {
		t.Errorf("the agent does not take its configuration: %v %v", err, warnings)
	}

	if err := d.Keep(); err != nil {
		t.Fatal(err)
	}
	if again := d.setup(Give{Radio: "radio0"}); len(again.Changes) > 0 {
		t.Errorf("a second time changes %v", again.Changes)
	}
}

// TestEverythingGoesBack: after cleanup the files of others are what they were, to
// the byte, whatever was set up.
func TestEverythingGoesBack(t *testing.T) {
	for name, wireless := range map[string]string{"fresh": wirelessFresh, "home": wirelessHome} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t, map[string]string{
				"etc/config/wireless":  wireless,
				"etc/config/globalnet": strings.Replace(globalnet, "enabled '1'", "led 'green:mesh'", 1) + lanSection,
			})
			d.Board.Board = both
			before := d.configuration()
			d.apply(d.setup(Give{Radio: "radio0"}))
			if err := d.Keep(); err != nil {
				t.Fatal(err)
			}
			d.wants("dhcp", "list server '/gnet.alt/127.0.0.1#18320'", "list rebind_domain 'gnet.alt'")
			d.wants("system", "config led 'globalnet_led'", "dev 'gnmesh0'", "sysfs 'green:mesh'")
			if strings.Count(d.read("etc/config/dhcp"), "/gnet.alt/") != 2 {
				t.Error("each dnsmasq should know the zone")
			}
			p, err := d.Cleanup()
			if err != nil {
				t.Fatal(err)
			}
			d.apply(p)
			after := d.configuration()
			for _, name := range packages[1:] {
				if after[name] != before[name] {
					t.Errorf("%s was\n%s\nand is\n%s", name, before[name], after[name])
				}
			}
			if strings.Contains(after["globalnet"], "changed") {
				t.Error("notes stay about what is put back")
			}
			if err := d.Keep(); err != nil {
				t.Fatal(err)
			}
			if p, err := d.Cleanup(); err != nil || len(p.Changes) > 0 {
				t.Errorf("a second cleanup changes %v %v", p.Changes, err)
			}
		})
	}
}

// TestFreshRadio: OpenWrt's open access point must not come on the air with ours.
func TestFreshRadio(t *testing.T) {
	d := newDevice(t, map[string]string{"etc/config/wireless": wirelessFresh})
	d.Board.Board = both
	p := d.setup(Give{Radio: "radio0", Mode: "adhoc"})
	d.apply(p)
	d.wants("wireless", "option channel '1'", "\toption disabled '0'\n", "option mode 'adhoc'", "bssid '02:67:6e:65:74:01'", "ssid 'globalnet'",
		"option encryption 'none'\n\toption disabled '1'\n")
	d.wants("globalnet", "list changed 'wireless.radio0.channel=auto:1'", "list changed 'wireless.radio0.disabled=1:0'")
	if err := d.Keep(); err != nil {
		t.Fatal(err)
	}
	// Another mode and another channel; the way back stays the first one.
	d.apply(d.setup(Give{Radio: "radio0", Mode: "mesh", Channel: 11}))
	if text := d.read("etc/config/wireless"); strings.Contains(text, "bssid") || strings.Count(text, "globalnet_radio0") != 2 {
		t.Errorf("of the other mode is left:\n%s", text)
	}
	if err := d.Keep(); err != nil {
		t.Fatal(err)
	}
	p, err := d.TakeBack("radio0")
	if err != nil {
		t.Fatal(err)
	}
	d.apply(p)
	if got := d.read("etc/config/wireless"); got != wirelessFresh {
		t.Errorf("taken back:\n%s", got)
	}
	if _, err := d.TakeBack("radio0"); err == nil {
		t.Error("taken back twice")
	}
}

// TestOwnersWordStays: what the owner changed after us is not put back.
func TestOwnersWordStays(t *testing.T) {
	d := newDevice(t, map[string]string{"etc/config/wireless": wirelessFresh})
	d.Board.Board = both
	d.apply(d.setup(Give{Radio: "radio0"}))
	if err := d.Keep(); err != nil {
		t.Fatal(err)
	}
	d.write("etc/config/wireless", strings.Replace(d.read("etc/config/wireless"), "option channel '1'", "option channel '13'\n\toption txpower '10'", 1))
	if p := d.setup(); len(p.Changes) > 0 || p.Air[0].Channel != 13 {
		t.Errorf("the owner's channel is changed: %+v", p)
	}
	p, err := d.Cleanup()
	if err != nil || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], `is "13" by now`) {
		t.Fatalf("%v: %v", err, p)
	}
	d.apply(p)
	d.wants("wireless", "option channel '13'\n\toption txpower '10'", "option disabled '1'")
}

func TestNothingIsTakenThatWasNotGiven(t *testing.T) {
	for name, text := range map[string]string{
		"nothing said":   globalnet,
		"not managed":    globalnet + "config radio 'radio0'\n",
		"switched off":   strings.Replace(globalnet, "enabled '1'", "manage_wireless '1'", 1) + "config radio 'radio0'\n\toption enabled '0'\n",
		"anonymous":      strings.Replace(globalnet, "enabled '1'", "manage_wireless '1'", 1) + "config radio\n",
		"dns not wanted": strings.Replace(globalnet, "enabled '1'", "manage_dns '0'", 1) + lanSection,
		"lan off":        globalnet + lanSection + "\toption mode 'off'\n",
	} {
		d := newDevice(t, map[string]string{"etc/config/globalnet": text})
		if p := d.setup(); len(p.Changes) > 0 || len(p.Air) > 0 {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestSwitchedOffByHand(t *testing.T) {
	d := newDevice(t, map[string]string{"etc/config/wireless": wirelessFresh})
	d.Board.Board = both
	d.apply(d.setup(Give{Radio: "radio0"}))
	if err := d.Keep(); err != nil {
		t.Fatal(err)
	}
	d.write("etc/config/globalnet", strings.Replace(d.read("etc/config/globalnet"), "manage_wireless '1'", "manage_wireless '0'", 1))
	d.apply(d.setup())
	if got := d.read("etc/config/wireless"); got != wirelessFresh {
		t.Errorf("not put back:\n%s", got)
	}
}

// TestZoneOfLinks: the zone that the installation made stays as the owner left it.
func TestZoneOfLinks(t *testing.T) {
	own := firewall + "\nconfig zone 'globalnet'\n\toption name 'globalnet'\n\tlist device 'gn-+'\n\toption input 'ACCEPT'\n"
	d := newDevice(t, map[string]string{"etc/config/firewall": own})
	d.apply(d.setup(Give{Radio: "radio0"}))
	if !strings.HasPrefix(d.read("etc/config/firewall"), own) {
		t.Errorf("changed:\n%s", d.read("etc/config/firewall"))
	}
	if err := d.Keep(); err != nil {
		t.Fatal(err)
	}
	p, err := d.Cleanup()
	if err != nil {
		t.Fatal(err)
	}
	d.apply(p)
	if got := d.read("etc/config/firewall"); got != firewall {
		t.Errorf("left:\n%s", got)
	}
}

// TestNamedInterfaces: an owner who named interfaces gets ours added, and removed.
func TestNamedInterfaces(t *testing.T) {
	named := strings.Replace(globalnet, "option network 'globalnet'", "list interface 'eth1'", 1)
	d := newDevice(t, map[string]string{"etc/config/globalnet": named})
	d.apply(d.setup(Give{Radio: "radio0"}))
	c, _, err := config.Load(d.path("etc/config/globalnet"))
	if err != nil || !c.UsesInterface("gnmesh0") || !c.UsesInterface("eth1") {
		t.Fatalf("%v: %v", err, c.Interfaces)
	}
	if err := d.Keep(); err != nil {
		t.Fatal(err)
	}
	if p := d.setup(); len(p.Changes) > 0 {
		t.Errorf("again: %v", p.Changes)
	}
	p, err := d.TakeBack("radio0")
	if err != nil {
		t.Fatal(err)
	}
	d.apply(p)
	if text := d.read("etc/config/globalnet"); strings.Contains(text, "gnmesh0") || !strings.Contains(text, "eth1") {
		t.Errorf("left:\n%s", text)
	}
}

func TestSetupNeedsAWholeRouter(t *testing.T) {
	d := newDevice(t, nil)
	d.write("tmp/.uci/wireless", "wireless.radio0.channel='3'\n")
	if _, err := d.Setup(); err == nil || !strings.Contains(err.Error(), "not committed") {
		t.Errorf("uncommitted changes: %v", err)
	}
	d = newDevice(t, map[string]string{"etc/config/wireless": "config wifi-device 'radio0\n"})
	if _, err := d.Setup(); err == nil || !strings.Contains(err.Error(), "wireless") {
		t.Errorf("damaged: %v", err)
	}
	empty := &System{Root: t.TempDir()}
	if _, err := empty.Setup(); !errors.Is(err, ErrNotOpenWrt) {
		t.Errorf("no OpenWrt: %v", err)
	}
	if _, err := empty.Radios(); !errors.Is(err, ErrNotOpenWrt) {
		t.Errorf("no OpenWrt: %v", err)
	}
}

// TestWithoutServices: a router without dnsmasq or a firewall gets none.
func TestWithoutServices(t *testing.T) {
	d := newDevice(t, map[string]string{"etc/config/globalnet": globalnet + lanSection})
	for _, name := range []string{"dhcp", "firewall", "system"} {
		remove(t, d.path("etc/config/"+name))
	}
	d.apply(d.setup(Give{Radio: "radio0"}))
	for _, name := range []string{"dhcp", "firewall", "system"} {
		if d.exists("etc/config/" + name) {
			t.Errorf("%s was made", name)
		}
	}
	if len(d.calls) != 1 {
		t.Errorf("ran %v", d.calls)
	}
}

// What the wireless scripts forget is taken off the air; what they need a moment for is not.
func TestNothingStaysOnTheAir(t *testing.T) {
	for _, forgets := range []bool{false, true} {
		d := newDevice(t, nil)
		d.Board.Board = both
		d.apply(d.setup(Give{Radio: "radio0"}))
		if err := d.Keep(); err != nil {
			t.Fatal(err)
		}
		d.forgets = forgets
		p, err := d.Cleanup()
		if err != nil {
			t.Fatal(err)
		}
		d.apply(p)
		if d.exists("sys/class/net/gnmesh0") {
			t.Errorf("forgotten %v: gnmesh0 is still there", forgets)
		}
		if deleted := slices.Contains(d.calls, "iw dev gnmesh0 del"); deleted != forgets {
			t.Errorf("forgotten %v: deleted by us: %v", forgets, deleted)
		}
	}
}
