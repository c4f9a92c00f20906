package openwrt

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"globalnet/board"
)

// Files of a router as they are after flashing, and as owners make them.
const (
	wirelessFresh = `
config wifi-device 'radio0'
	option type 'mac80211'
	option path 'platform/ahb/18100000.wmac'
	option band '2g'
	option channel 'auto'
	option htmode 'HT20'
	option disabled '1'

config wifi-iface 'default_radio0'
	option device 'radio0'
	option network 'lan'
	option mode 'ap'
	option ssid 'OpenWrt'
	option encryption 'none'

`
	wirelessHome = `
config wifi-device radio0
	option type mac80211
	option band 2g
	option channel 6 # the quiet one

config wifi-iface
	option device radio0
	option network lan
	option mode ap
	option ssid 'home'
	option encryption 'psk2'
	option key 'secret, secret'

config wifi-device radio1
	option type mac80211
	option band 5g
	option channel auto
	option country DE
`
	network = `
config interface 'loopback'
	option device 'lo'
	option proto 'static'

config interface 'lan'
	option device 'br-lan'
	option proto 'static'
	option ipaddr '192.168.1.1'

`
	firewall = `
config defaults
	option input REJECT

config zone
	option name lan
	list network 'lan'
	option input ACCEPT
`
	dhcp = `
config dnsmasq
	option domain 'lan'

config dnsmasq 'guest'
	list server '/corp/10.0.0.1'

config dhcp 'lan'
	option interface 'lan'
`
	system = `
config system
	option hostname 'OpenWrt'
`
	globalnet = `
config service 'service'
	option enabled '1'

config globalnet 'main'
	option network 'globalnet'

`
	lanSection = `
config lan 'lan'
	list interface 'br-lan'
`
)

// device is a router of files, whose programs only note that they were run.
type device struct {
	*System
	t     *testing.T
	calls []string
	fail  map[string]bool   // programs that fail
	says  map[string]string // what programs print

	forgets bool // the wireless scripts leave an interface that nobody wants any more
}

func newDevice(t *testing.T, files map[string]string) *device {
	t.Helper()
	d := &device{t: t, fail: map[string]bool{}, says: map[string]string{}}
	d.System = &System{Root: t.TempDir(), Run: runner{d}}
	all := map[string]string{
		"etc/config/network": network, "etc/config/firewall": firewall, "etc/config/dhcp": dhcp, "etc/config/system": system,
		"etc/config/wireless": wirelessHome, "etc/config/globalnet": globalnet, "proc/sys/kernel/random/boot_id": "first\n",
		"etc/init.d/network": "", "etc/init.d/firewall": "", "etc/init.d/dnsmasq": "", "etc/init.d/led": "", "sbin/fw4": "",
		"sys/class/net/gnmesh0": "", "sys/class/net/gnmesh1": "",
	}
	maps.Copy(all, files)
	for name, text := range all {
		d.write(name, text)
	}
	return d
}

func (d *device) write(name, text string) {
	d.t.Helper()
	path := d.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) read(name string) string {
	text, err := os.ReadFile(d.path(name))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(text)
}

// configuration is all files, to be compared.
func (d *device) configuration() map[string]string {
	all := make(map[string]string)
	for _, name := range packages {
		all[name] = d.read("etc/config/" + name)
	}
	return all
}

func (d runner) Run(ctx context.Context, argv ...string) ([]byte, error) {
	call := strings.Join(argv, " ")
	d.calls = append(d.calls, call)
	if d.fail[call] {
		return nil, errors.New(call + " fails")
	}
	for _, name := range []string{"gnmesh0", "gnmesh1"} {
		path := d.path("sys/class/net/" + name)
		switch wanted := strings.Contains(d.read("etc/config/wireless"), name); {
		case call == "/etc/init.d/network reload" && wanted:
			d.write("sys/class/net/"+name, "")
		case call == "/etc/init.d/network reload" && !d.forgets, call == "iw dev "+name+" del":
			os.Remove(path)
		}
	}
	return []byte(d.says[call]), ctx.Err()
}

func (d *device) setup(gives ...Give) *Plan {
	d.t.Helper()
	p, err := d.Setup(gives...)
	if err != nil {
		d.t.Fatal(err)
	}
	return p
}

func (d *device) apply(p *Plan) {
	d.t.Helper()
	if err := d.Apply(d.t.Context(), p); err != nil {
		d.t.Fatal(err)
	}
}

func (d *device) wants(name string, lines ...string) {
	d.t.Helper()
	text := d.read("etc/config/" + name)
	for _, l := range lines {
		if !strings.Contains(text, l) {
			d.t.Errorf("%s: no %q in\n%s", name, l, text)
		}
	}
}

var both = board.Board{Radios: []board.Radio{
	{Bands: "2.4", Driver: "ath9k", Mesh: board.Good, AdHoc: board.Good},
	{Bands: "5", Driver: "mt7915e", Mesh: board.Good, AdHoc: board.No},
}}

type runner struct{ *device }
