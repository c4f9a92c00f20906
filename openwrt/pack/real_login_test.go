package pack

import (
	"path/filepath"
	"testing"
)

// TestLogin: what OpenWrt's session and rpcd let a login do, by our access lists.
func TestLogin(t *testing.T) {
	o := bootOpenWrt(t)
	// The package of LuCI needs LuCI: its list alone.
	output(t, "cp", "../luci/root/usr/share/rpcd/acl.d/luci-app-globalnet.json", filepath.Join(o.root, "usr/share/rpcd/acl.d")+"/")
	o.install()
	o.await("globalnet status --json && ubus list globalnet")
	for name, list := range map[string]string{
		"guest":   "add_list rpcd.guest.read=globalnet",
		"watcher": "add_list rpcd.watcher.read=luci-app-globalnet",
		"owner":   "add_list rpcd.owner.read=luci-app-globalnet\nadd_list rpcd.owner.write=luci-app-globalnet",
		"other":   "add_list rpcd.other.read=luci-base",
	} {
		// The password is "secret".
		o.must("uci batch <<'END'\nset rpcd." + name + "=login\nset rpcd." + name + ".username=" + name + "\nset rpcd." + name +
			".password='$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1'\n" + list + "\nEND\n uci commit rpcd")
	}
	o.must("/etc/init.d/rpcd restart")
	o.await(`ubus call session login '{"username":"guest","password":"secret"}' && ubus list globalnet`)
	if out, err := o.sh(`ubus call session login '{"username":"guest","password":"wrong"}'`); err == nil {
		t.Errorf("a wrong password opens a session: %s", out)
	}
	for _, test := range []struct{ login, scope, object, function, want string }{
		{"guest", "ubus", "globalnet", "status", "true"},
		{"guest", "ubus", "globalnet", "restart", "false"},
		{"guest", "ubus", "globalnet", "log", "false"},
		{"guest", "uci", "globalnet", "read", "false"},
		{"watcher", "ubus", "globalnet", "log", "true"},
		{"watcher", "ubus", "globalnet", "restart", "false"},
		{"watcher", "uci", "globalnet", "read", "false"},
		{"owner", "ubus", "globalnet", "restart", "true"},
		{"owner", "ubus", "globalnet", "service_add", "true"},
		{"owner", "uci", "globalnet", "write", "true"},
		{"owner", "uci", "network", "write", "false"},
		{"other", "ubus", "globalnet", "status", "false"},
	} {
		got := o.must(`s=$(ubus call session login '{"username":"` + test.login + `","password":"secret"}' | sed -n 's/.*"ubus_rpc_session": "\([0-9a-f]*\)".*/\1/p')
ubus call session access '{"ubus_rpc_session":"'$s'","scope":"` + test.scope + `","object":"` + test.object + `","function":"` + test.function + `"}' | sed -n 's/.*"access": \([a-z]*\).*/\1/p'`)
		if got != test.want {
			t.Errorf("%s may %s %s %s: %s, want %s", test.login, test.scope, test.object, test.function, got, test.want)
		}
	}
}
