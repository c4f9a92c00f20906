package pack

import (
	"strings"
	"testing"
)

const (
	dhcpConfig = "\nconfig dnsmasq\n\toption domain 'lan'\n\tlist server '/corp/192.0.2.1'\n\nconfig dnsmasq 'guest'\n\toption domain 'guest'\n"
	zoneServer = "/gnet.alt/127.0.0.1#18320"
	dnsmasq    = "#!/bin/sh\necho \"dnsmasq $1\" >>/tmp/log\n"
)

// TestNames: a new router's devices find names of the network, through every resolver
// there is, and nothing of it is left after the removal.
func TestNames(t *testing.T) {
	bothManagers(t, func(t *testing.T, r *router) {
		r.write("etc/config/dhcp", dhcpConfig, 0o600)
		r.write("etc/init.d/dnsmasq", dnsmasq, 0o755)
		r.install(ours(t, "1.0-r1"))
		set := r.read("etc/config/dhcp")
		if strings.Count(set, zoneServer) != 2 || strings.Count(set, "rebind_domain 'gnet.alt'") != 2 || !strings.Contains(set, "/corp/192.0.2.1") {
			t.Fatalf("after the installation:\n%s", set)
		}
		if log := r.log(); strings.Count(log, "dnsmasq reload") != 1 {
			t.Errorf("dnsmasq does not read it:\n%s", log)
		}
		r.install(ours(t, "1.1-r1"))
		if got := r.read("etc/config/dhcp"); got != set {
			t.Errorf("the upgrade changed\n%s\ninto\n%s", set, got)
		}
		if log := r.log(); strings.Contains(log, "dnsmasq reload") {
			t.Errorf("the upgrade disturbed dnsmasq:\n%s", log)
		}
		r.remove() // by a program that does nothing of it
		if got := r.read("etc/config/dhcp"); got != dhcpConfig {
			t.Errorf("after the removal:\n%s", got)
		}
		if log := r.log(); strings.Count(log, "dnsmasq reload") != 1 {
			t.Errorf("dnsmasq still asks us:\n%s", log)
		}
	})
}

// TestNamesAsTheOwnerWishes: what the owner has switched off stays so at an upgrade.
func TestNamesAsTheOwnerWishes(t *testing.T) {
	for name, command := range map[string]string{
		"managed by hand": "uci set globalnet.service.manage_dns=0", "no LAN": "uci delete globalnet.lan",
		"mode off": "uci set globalnet.lan.mode=off", "not enabled": "uci set globalnet.lan.enabled=0",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRouter(t, false)
			r.install(ours(t, "1.0-r1"))
			if r.has("etc/config/dhcp") {
				t.Error("a router without a resolver got one's configuration")
			}
			r.write("etc/config/dhcp", dhcpConfig, 0o600)
			r.write("etc/init.d/dnsmasq", dnsmasq, 0o755)
			r.mustRun(command)
			r.install(ours(t, "1.1-r1"))
			if got := r.read("etc/config/dhcp"); got != dhcpConfig {
				t.Errorf("the upgrade made\n%s", got)
			}
			r.mustRun("uci delete globalnet.service; uci delete globalnet.lan; uci set globalnet.lan=lan")
			r.install(ours(t, "1.2-r1"))
			if got := r.read("etc/config/dhcp"); strings.Count(got, zoneServer) != 2 {
				t.Errorf("switched on again:\n%s", got)
			}
		})
	}
}
