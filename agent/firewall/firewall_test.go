package firewall

import (
	"context"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"globalnet/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

func rules(networks ...Network) Rules {
	return Rules{Networks: networks, DNSPort: 18320, ProxyPort: 18321, Virtual4: netip.MustParsePrefix("10.192.0.0/10"),
		Virtual6: netip.MustParsePrefix("fd67:6e65:7400::/64"), Mesh: netip.MustParsePrefix("fd47:4e45::/32"),
		Self: netip.MustParseAddr("fd47:4e45::1"), Links: "gn-"}
}

// inside runs f in a namespace of its own, with what programs print there.
func inside(t *testing.T, f func(run func(args ...string) string)) {
	t.Helper()
	ns := labtest.Namespace(t, "router")
	err := ns.Do(func() error {
		f(func(args ...string) string {
			cmd := exec.Command(args[0], args[1:]...)
			var out strings.Builder
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := ns.Start(cmd); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			return out.String()
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A doctor sees whose chains drop what comes in, and not ours.
func TestDrops(t *testing.T) {
	nft := labtest.RequireProgram(t, "nft")
	inside(t, func(run func(args ...string) string) {
		f := New(nil)
		if err := f.Apply(rules(Network{Name: "lan", Interfaces: []string{"br-lan"}, Mode: All})); err != nil {
			t.Fatal(err)
		}
		if got, err := Drops(); err != nil || len(got) != 0 {
			t.Errorf("of ours: %v, %v", got, err)
		}
		run(nft, "add", "table", "inet", "fw4")
		run(nft, "add", "chain", "inet", "fw4", "input", "{ type filter hook input priority 0; policy drop; }")
		run(nft, "add", "chain", "inet", "fw4", "forward", "{ type filter hook forward priority 0; policy drop; }")
		run(nft, "add", "chain", "inet", "fw4", "open", "{ type filter hook input priority 1; policy accept; }")
		if got, err := Drops(); err != nil || len(got) != 1 || got[0] != "fw4/input" {
			t.Errorf("%v, %v; want fw4/input", got, err)
		}
		if err := f.Remove(); err != nil {
			t.Error(err)
		}
	})
}

func TestRulesComeAndGo(t *testing.T) {
	nft := labtest.RequireProgram(t, "nft")
	inside(t, func(run func(args ...string) string) {
		empty := run("ip", "rule") + run("ip", "-6", "rule") + run("ip", "route", "show", "table", "all")
		f := New(nil)
		if err := f.Remove(); err != nil {
			t.Error("removing what is not there: ", err)
		}
		all := Network{Name: "lan", Interfaces: []string{"br-lan", "br-iot"}, Mode: All, UDP: true, Mesh: true,
			Clients: []Client{{MAC: [6]byte{2, 0, 0, 0, 0, 1}, Mode: Off}, {Addr: netip.MustParseAddr("192.168.1.9"), Mode: Names},
				{Addr: netip.MustParseAddr("fd00::9"), Mode: Block}}}
		for range 2 { // again is no change
			if err := f.Apply(rules(all, Network{Name: "guest", Interfaces: []string{"guest"}, Mode: Names, DNS: true})); err != nil {
				t.Fatal(err)
			}
		}
		text := run(nft, "list", "table", "inet", tableName)
		for _, want := range []string{
			`iifname "br-iot" goto guard_0`, `iifname "guest" goto nat_1`, "ether saddr 02:00:00:00:00:01 goto guard_off", "ip saddr 192.168.1.9 goto guard_names_off",
			"ip6 saddr fd00::9 goto guard_block", "tproxy to :18321", "udp dport 53 redirect to :18320", "fib daddr type local accept",
			`tcp dport 853 counter name "dns_over_tls" reject with tcp reset`, "snat ip6 to fd47:4e45::1", `counter name "forward" drop`,
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is missing in\n%s", want, text)
			}
		}
		for family, want := range map[string]int{"-4": 5, "-6": 7} {
			if got := strings.Count(run("ip", family, "rule"), "proto 72"); got != want {
				t.Errorf("%d policy rules of %s, want %d:\n%s", got, family, want, run("ip", family, "rule"))
			}
		}
		if got := run("ip", "-6", "route"); !strings.Contains(got, "unreachable fd47:4e45::/32") {
			t.Errorf("mesh addresses may take the default route:\n%s", got)
		}
		if blocked, err := Blocked(); err != nil || len(blocked) != len(reasons) {
			t.Errorf("%v %v", blocked, err)
		}
		// What is no longer wanted goes, and nothing else.
		if err := f.Apply(rules(Network{Interfaces: []string{"br-lan"}, Mode: Names})); err != nil {
			t.Fatal(err)
		}
		if text := run(nft, "list", "ruleset"); strings.Contains(text, "guest") || strings.Contains(text, "fib") || !strings.Contains(text, "guard_names") {
			t.Error(text)
		}
		if got := run("ip", "rule") + run("ip", "-6", "rule") + run("ip", "route", "show", "table", "all"); got != empty {
			t.Errorf("left over:\n%s", got)
		}
		if err := f.Apply(rules()); err != nil {
			t.Fatal(err)
		}
		if text := run(nft, "list", "ruleset"); text != "" {
			t.Error("left over:\n" + text)
		}
	})
}

// Whoever removes either layer: the other holds, and the agent mends it.
func TestRulesComeBack(t *testing.T) {
	nft := labtest.RequireProgram(t, "nft")
	inside(t, func(run func(args ...string) string) {
		f := New(nil)
		if err := f.Apply(rules(Network{Interfaces: []string{"br-lan"}, Mode: All})); err != nil {
			t.Fatal(err)
		}
		for i, remove := range [][]string{{nft, "flush", "ruleset"}, {nft, "delete", "table", "inet", tableName}, {"ip", "rule", "del", "priority", "184"}, {"ip", "route", "flush", "dev", "lo", "table", "18321"}} {
			run(remove...)
			if table, routes := tableIsThere(), routesAreThere(f.rules); table == routes {
				t.Errorf("after %v: the table is there: %v, the policy rules: %v", remove, table, routes)
			}
			f.check()
			if !tableIsThere() || !routesAreThere(f.rules) || f.Restored() != uint64(i+1) {
				t.Errorf("after %v it is not mended, %d times", remove, f.Restored())
			}
		}
		if f.check(); f.Restored() != 4 {
			t.Error("mended what was whole")
		}
		if err := f.Remove(); err != nil {
			t.Fatal(err)
		}
		if f.check(); tableIsThere() {
			t.Error("put back what was removed on purpose")
		}
	})
}

// What is for clients leaves by the LAN or not at all, whatever the routes say; also
// where the LAN has got another address since.
func TestClientsPrefixesAreHeld(t *testing.T) {
	nft := labtest.RequireProgram(t, "nft")
	inside(t, func(run func(args ...string) string) {
		run("ip", "link", "add", "br-lan", "type", "veth", "peer", "name", "wan")
		run("ip", "link", "set", "br-lan", "up")
		run("ip", "link", "set", "wan", "up")
		run("ip", "addr", "add", "192.168.1.1/24", "dev", "br-lan")
		f := New(nil)
		if err := f.Apply(rules(Network{Interfaces: []string{"br-lan"}, Mode: All})); err != nil {
			t.Fatal(err)
		}
		holds := func(prefix string) bool {
			return strings.Contains(run(nft, "list", "chain", "inet", tableName, "output"), "ip daddr "+prefix+` counter name "astray" drop`) &&
				strings.Contains(run("ip", "route"), "unreachable "+prefix)
		}
		if !holds("192.168.1.0/24") {
			t.Error("the prefix of the LAN is not held")
		}
		run("ip", "addr", "add", "192.168.7.1/24", "dev", "br-lan")
		if f.check(); !holds("192.168.7.0/24") || !holds("192.168.1.0/24") || f.Restored() != 0 {
			t.Error("a new prefix is not held, or took the place of the old one")
		}
		run("ip", "link", "del", "br-lan")
		if f.check(); !holds("192.168.1.0/24") {
			t.Error("without the interface it is not held")
		}
		if err := f.Apply(rules(Network{Interfaces: []string{"br-lan"}, Mode: Names})); err != nil {
			t.Fatal(err)
		}
		if got := run(nft, "list", "ruleset") + run("ip", "route") + run("ip", "-6", "route"); strings.Contains(got, "astray\" drop") || strings.Contains(got, "unreachable") {
			t.Errorf("mode names holds what all did:\n%s", got)
		}
	})
}

func TestRunEnds(t *testing.T) {
	inside(t, func(func(args ...string) string) {
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		f := New(nil)
		go func() { over <- f.Run(ctx) }()
		cancel()
		select {
		case err := <-over:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("Run does not end")
		}
	})
}

func TestWhichFlowsAreCut(t *testing.T) {
	p := prefixes{netip.MustParsePrefix("192.168.1.0/24")}
	for _, tt := range []struct {
		src, dst string
		want     bool
	}{
		{"192.168.1.20", "203.0.113.1", true}, {"192.168.1.20", "192.168.1.1", false}, {"203.0.113.1", "192.168.1.20", false}, {"10.0.0.1", "10.0.0.2", false},
	} {
		if got := p.leaves(netip.MustParseAddr(tt.src), netip.MustParseAddr(tt.dst)); got != tt.want {
			t.Errorf("%s to %s: %v", tt.src, tt.dst, got)
		}
	}
}
