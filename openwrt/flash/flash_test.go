package flash

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"globalnet/lab/router"
	"globalnet/openwrt"
	"globalnet/openwrt/usign"
)

// TestLife: install, upgrade, remove, on five boards, with configuration; at the
// end the router is as it was at the beginning.
func TestLife(t *testing.T) {
	for _, m := range router.Models {
		t.Run(m.Board, func(t *testing.T) {
			t.Parallel()
			r := router.New(t, m)
			before := r.Files()
			report := mustFlash(t, r, "1.0-r1", func(o *Options) {
				o.MeshRadio, o.LAN, o.Network, o.Passphrase = "auto", "names", "street", []byte("it's $(a) secret")
				o.Services = []string{"web=80,/srv/www"}
			})
			if report.What != "installed" || report.Node == "" || !report.Facts.Known {
				t.Errorf("report %+v", report)
			}
			if info, err := os.Stat(report.Backup); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("backup: %v", err)
			}
			for file, want := range map[string]string{
				"etc/config/globalnet": "option network 'street'", "etc/globalnet/passphrase": "it's $(a) secret\n",
				"etc/config/wireless": "wifi-iface 'globalnet_radio0'", "etc/config/network": "config interface 'globalnet_radio0'", "etc/config/dhcp": "/gnet.alt/127.0.0.1#18320",
			} {
				if !strings.Contains(r.Read(file), want) {
					t.Errorf("no %q in %s:\n%s", want, file, r.Read(file))
				}
			}
			if !strings.Contains(r.Read("etc/config/globalnet"), "80 /srv/www") || !strings.Contains(r.Read("etc/config/wireless"), "option channel '1'") {
				t.Error("no service, or no channel")
			}
			// The open access point of a fresh image must not come up with its radio.
			if open := strings.SplitAfter(r.Read("etc/config/wireless"), "wifi-iface 'default_radio0'")[1]; !strings.Contains(strings.Split(open, "\nconfig")[0], "option disabled '1'") {
				t.Errorf("the access point is on:\n%s", r.Read("etc/config/wireless"))
			}
			if calls := r.Temp("calls"); strings.Contains(calls, "secret") || !strings.Contains(calls, "network reload") || !strings.Contains(calls, "dnsmasq reload") {
				t.Errorf("calls:\n%s", calls)
			}
			if r.Read("etc/globalnet.flash/guard") != "" || r.Temp("globalnet-flash/guard") != "" {
				t.Error("the guard is still there")
			}
			oneRadio(t, r)
			key, config := r.Read("etc/globalnet/identity.key"), r.Read("etc/config/globalnet")

			report = mustFlash(t, r, "1.1-r1", nil)
			if report.What != "upgraded" || !strings.Contains(r.Temp("procd/globalnet.running"), "# 1.1-r1") {
				t.Errorf("after the upgrade: %+v", report)
			}
			if r.Read("etc/globalnet/identity.key") != key || r.Read("etc/config/globalnet") != config {
				t.Error("the upgrade changed the key or the configuration")
			}

			mustFlash(t, r, "", func(o *Options) { o.Remove = true })
			router.Same(t, before, r.Files())
		})
	}
}

// oneRadio: `globalnet setup` after a flash finds everything done, and there is one
// interface of the mesh, one network and one zone of it.
func oneRadio(t *testing.T, r *router.Router) {
	t.Helper()
	before := r.Files()
	out, err := r.Command("/usr/bin/gn-setup", "setup", "--no-reload").Output()
	var p openwrt.Plan
	if err != nil || json.Unmarshal(out, &p) != nil || len(p.Changes) > 0 || len(p.Air) != 1 {
		t.Errorf("setup after a flash: %v\n%s", err, out)
	}
	router.Same(t, before, r.Files())
	for file, want := range map[string]map[string]int{
		"wireless": {"config wifi-iface 'globalnet": 1, "mode 'mesh'": 1, "ifname 'gnmesh": 1},
		"network":  {"config interface 'globalnet": 1},
		"firewall": {"config zone 'globalnet_air'": 1},
	} {
		for text, n := range want {
			if got := strings.Count(r.Read("etc/config/"+file), text); got != n {
				t.Errorf("%d times %q in %s, want %d:\n%s", got, text, file, n, r.Read("etc/config/"+file))
			}
		}
	}
}

// TestRadio: what openwrt's plan refuses is refused before anything changes, and what
// it would do is in a dry run.
func TestRadio(t *testing.T) {
	r := router.New(t, router.AR300M)
	r.Offer("1.0-r1", nil)
	on := strings.Replace(router.Wireless, "option disabled '1'", "option disabled '0'", 1)
	r.Write("etc/config/wireless", on) // an access point that chooses its channel
	o := options(r)
	o.MeshRadio = "auto"
	refused(t, r, o, Refused, "chooses its channel by itself")
	o.MeshRadio = "radio7"
	refused(t, r, o, Refused, `no radio "radio7"`)
	o.MeshRadio, o.Channel = "radio0", 36
	refused(t, r, o, Refused, "has no channel 36")
	o.Channel, o.DryRun = 6, true
	before := r.Files()
	report, err := run(t, r, o)
	if err != nil || len(report.Changes) == 0 || !strings.Contains(strings.Join(report.Plan, "\n"), "mesh on channel 6, interface gnmesh0") || !strings.Contains(strings.Join(report.Plan, "\n"), "moves to channel 6") {
		t.Fatalf("%+v, %v", report, err)
	}
	router.Same(t, before, r.Files())
	o.DryRun = false
	if report, err := run(t, r, o); err != nil {
		t.Fatalf("%+v, %v", report, err)
	}
	if !strings.Contains(r.Read("etc/config/wireless"), "option channel '6'") {
		t.Errorf("the channel:\n%s", r.Read("etc/config/wireless"))
	}
	mustFlash(t, r, "", func(o *Options) { o.Remove = true })
	router.Same(t, before, r.Files())
}

// TestKey: the key that had to sign is left on the router, for upgrades there.
func TestKey(t *testing.T) {
	key, err := usign.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	r := router.New(t, router.AR300M)
	r.Offer("1.0-r1", nil)
	names, err := filepath.Glob(filepath.Join(r.Packages, "*", "*.ipk"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	o := options(r)
	o.PublicKey = key.Public()
	refused(t, r, o, Refused, "has no signature")
	file, err := os.ReadFile(names[0])
	if err == nil {
		err = os.WriteFile(names[0]+".sig", key.Sign(file), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	before := r.Files()
	if report, err := run(t, r, o); err != nil || !report.Signed {
		t.Fatalf("%+v, %v", report, err)
	}
	if r.Read("etc/globalnet/keys/flash.pub") != string(key.Public()) {
		t.Error("the key is not on the router")
	}
	mustFlash(t, r, "", func(o *Options) { o.Remove = true })
	router.Same(t, before, r.Files())
}
