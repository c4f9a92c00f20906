package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"globalnet/onion/cell"
)

func parse(t testing.TB, preset string, rules ...string) *Policy {
	t.Helper()
	p, err := Parse(preset, rules)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// closedAddrs are addresses that no rule opens, in many forms.
var closedAddrs = []string{
	"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254",
	"169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1", "192.168.0.1",
	"192.168.255.255", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255",
	"240.0.0.1", "255.255.255.254", "255.255.255.255",

	"::", "::1", "::2", "::7f00:1", "::10.0.0.1", "::8.8.8.8", "100::1", "5f00::1", "2001:db8::1", "3fff:fff::1", "2001:2::1", "2001:10::1",
	"2001:20::1", "fc00::1", "fd00::1", "fd47:4e45::1", "fd47:4e45:ffff::1", "fdff::1", "fe80::1", "fe80::1%eth0", "febf::1",
	"fec0::1", "feff::1", "ff02::1", "ff0e::1", "400::1", "4000::1", "2606:4700::1%eth0",

	// IPv4-mapped, RFC 4291
	"::ffff:10.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::ffff:255.255.255.255",
	// NAT64, RFC 6052, and its local prefix
	"64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::192.168.1.1", "64:ff9b::224.0.0.1", "64:ff9b:1::8.8.8.8", "64:ff9b:0:1::8.8.8.8",
	// 6to4
	"2002:a00:1::1", "2002:7f00:1::", "2002:c0a8:101::1", "2002:a9fe:a9fe::1", "2002:e000:1::1",
	// Teredo: a private server; a private client, flipped
	"2001:0:a00:1::f7f7:f7f7", "2001:0:808:808:0:0:f5ff:fffe", "2001:0:808:808:0:0:80ff:fffe",
	// ISATAP
	"2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:192.168.0.1",
}

var openAddrs = []string{
	"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "93.184.216.34", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
	"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.1", "192.0.3.1", "192.167.255.255", "192.169.0.0",
	"198.17.255.255", "198.20.0.0", "223.255.255.255", "2000::1", "2606:4700:4700::1111", "2a00:1450::1", "3ffe::1", "::ffff:8.8.8.8",
	"64:ff9b::8.8.8.8", "2002:808:808::1", "2001:0:808:808:0:0:f7f7:f7f7", "2001:4860:4860::8888", "2606:4700::5efe:8.8.8.8",
}

func TestClosedAddressesStayClosedWhateverRulesSay(t *testing.T) {
	rules := []string{"accept *:*", "accept 0.0.0.0/0", "accept [::/0]", "accept *.example.org"}
	for _, preset := range Presets {
		p := parse(t, preset, rules...)
		for _, text := range closedAddrs {
			a := netip.MustParseAddr(text)
			for _, network := range []cell.Network{cell.TCP, cell.UDP} {
				if err := p.Allows(network, a, 443); !errors.Is(err, ErrPrivate) {
					t.Errorf("%s: %s is allowed: %v", preset, text, err)
				}
				if err := p.AllowsAt(network, "www.example.org", a, 443); !errors.Is(err, ErrPrivate) {
					t.Errorf("%s: %s by name is allowed: %v", preset, text, err)
				}
			}
		}
		for _, text := range openAddrs {
			if err := p.Allows(cell.TCP, netip.MustParseAddr(text), 443); err != nil {
				t.Errorf("%s: %s is refused: %v", preset, text, err)
			}
		}
		if err := p.Allows(cell.TCP, netip.Addr{}, 443); !errors.Is(err, ErrPrivate) {
			t.Errorf("no address: %v", err)
		}
	}
}

func TestErrorsNameNoDestination(t *testing.T) {
	p := parse(t, "all")
	for _, text := range closedAddrs {
		if err := p.Allows(cell.TCP, netip.MustParseAddr(text), 80); strings.Contains(err.Error(), text+" ") {
			t.Errorf("%v", err)
		}
	}
	if err := p.AllowsName(cell.TCP, "secret.example.onion", 80); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

func TestAllowPrivateOpensWhatItNamesAndNoMore(t *testing.T) {
	p := parse(t, "none", "accept 192.168.0.2:22", "accept *:80")
	for _, text := range []string{"192.168.0.2", "172.16.0.0/12", "::1", "203.0.113.0/24"} {
		prefix, err := ParsePrivate(text)
		if err != nil {
			t.Fatal(err)
		}
		p.AllowPrivate = append(p.AllowPrivate, prefix)
	}
	// Whoever fills the field without ParsePrivate still does not open these.
	p.AllowPrivate = append(p.AllowPrivate, netip.MustParsePrefix("fd47:4e45::/32"), netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("fe80::/10"))
	p.Own = func() []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("192.168.0.2"), netip.MustParseAddr("8.8.4.4"), netip.MustParseAddr("2606:4700::1%eth0")}
	}
	for _, tt := range []struct {
		addr string
		port uint16
		want error
	}{
		{"192.168.0.2", 22, nil}, {"192.168.0.2", 80, nil}, {"192.168.0.2", 443, ErrRejected}, {"::ffff:192.168.0.2", 22, nil},
		{"192.168.0.1", 80, ErrPrivate}, {"192.168.0.3", 22, ErrPrivate}, {"172.20.1.1", 80, nil}, {"::1", 80, nil}, {"203.0.113.80", 80, nil},
		{"64:ff9b::192.168.0.2", 22, ErrPrivate}, {"2002:c0a8:2::1", 22, ErrPrivate},
		{"fd47:4e45::1", 80, ErrPrivate}, {"224.0.0.1", 80, ErrPrivate}, {"fe80::1", 80, ErrPrivate},
		{"8.8.4.4", 80, ErrPrivate}, {"64:ff9b::8.8.4.4", 80, ErrPrivate}, {"2606:4700::1", 80, ErrPrivate}, {"8.8.8.8", 80, nil},
	} {
		if err := p.Allows(cell.TCP, netip.MustParseAddr(tt.addr), tt.port); !errors.Is(err, tt.want) {
			t.Errorf("%s port %d: %v, want %v", tt.addr, tt.port, err, tt.want)
		}
	}
}

func TestParsePrivateErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"0.0.0.0/0", "never allowed"}, {"8.8.8.8", "no private range"}, {"8.0.0.0/6", "wider than the private range 10.0.0.0/8"},
		{"192.168.0.1/24", "want 192.168.0.0/24"}, {"fd47:4e45::1", "in the mesh"}, {"fd00::/8", "in the mesh"}, {"fe80::1", "never allowed"},
		{"fe80::1%eth0", "has a zone"}, {"224.0.0.1", "multicast"}, {"::ffff:10.0.0.1", "write it as IPv4"}, {"lan", "no address or prefix"},
		{"64:ff9b::/96", "no private range"}, {"::/0", "never allowed"},
	} {
		if p, err := ParsePrivate(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v, want %q", tt.text, p, err, tt.want)
		}
	}
}

func TestRulesCountInOrder(t *testing.T) {
	p := parse(t, "web",
		"accept 93.184.216.0/24:80-443",
		"reject 93.184.0.0/16",
		"accept tcp *.example.org:22,8000-8999",
		"reject bad.example.net",
		"accept udp [2606:4700::/32]:53",
		"reject [2606:4700::/32]",
	)
	for _, tt := range []struct {
		network cell.Network
		name    string
		addr    string
		port    uint16
		allowed bool
	}{
		{cell.TCP, "", "93.184.216.34", 100, true}, {cell.UDP, "", "93.184.216.34", 100, true}, {cell.TCP, "", "93.184.216.34", 444, false},
		{cell.TCP, "", "93.184.1.1", 443, false}, {cell.TCP, "", "64:ff9b::93.184.1.1", 443, false}, {cell.TCP, "", "2002:5db8:101::1", 443, false},
		{cell.TCP, "", "1.1.1.1", 22, false}, {cell.TCP, "www.example.org", "1.1.1.1", 22, true}, {cell.TCP, "WWW.Example.ORG", "1.1.1.1", 8500, true},
		{cell.UDP, "www.example.org", "1.1.1.1", 22, false}, {cell.TCP, "example.org", "1.1.1.1", 22, false}, {cell.TCP, "badexample.org", "1.1.1.1", 22, false},
		{cell.TCP, "www.example.org", "93.184.1.1", 22, false}, {cell.TCP, "bad.example.net", "1.1.1.1", 443, false},
		{cell.TCP, "worse.bad.example.net", "1.1.1.1", 443, true}, {cell.UDP, "", "2606:4700::1", 53, true}, {cell.TCP, "", "2606:4700::1", 443, false},
		{cell.TCP, "", "1.1.1.1", 80, true}, {cell.UDP, "", "1.1.1.1", 80, false}, {cell.UDP, "", "1.1.1.1", 443, true}, {cell.TCP, "", "1.1.1.1", 0, false},
	} {
		err := p.AllowsAt(tt.network, tt.name, netip.MustParseAddr(tt.addr), tt.port)
		if (err == nil) != tt.allowed {
			t.Errorf("network %d %s %s %d: %v", tt.network, tt.name, tt.addr, tt.port, err)
		}
	}
}

func TestPresets(t *testing.T) {
	addr := netip.MustParseAddr("1.1.1.1")
	for _, tt := range []struct {
		preset   string
		tcp, udp []uint16 // allowed
		not      []uint16 // by TCP
		all      bool
	}{
		{preset: "none", not: []uint16{1, 22, 25, 80, 443, 65535}},
		{preset: "web", tcp: []uint16{80, 443}, udp: []uint16{443}, not: []uint16{20, 21, 22, 23, 25, 53, 8080, 65535}},
		{preset: "reduced", tcp: []uint16{53, 80, 443, 993, 6697, 8080}, udp: []uint16{53, 443, 3478}, not: []uint16{20, 21, 22, 23, 25, 135, 139, 445, 3389, 6881}},
		{preset: "all", tcp: []uint16{1, 22, 24, 26, 80, 65535}, udp: []uint16{53, 443, 65535}, not: []uint16{25}},
	} {
		p := parse(t, tt.preset)
		for _, port := range tt.tcp {
			if err := p.Allows(cell.TCP, addr, port); err != nil {
				t.Errorf("%s TCP %d: %v", tt.preset, port, err)
			}
		}
		for _, port := range tt.udp {
			if err := p.Allows(cell.UDP, addr, port); err != nil {
				t.Errorf("%s UDP %d: %v", tt.preset, port, err)
			}
		}
		for _, port := range tt.not {
			if err := p.Allows(cell.TCP, addr, port); !errors.Is(err, ErrRejected) {
				t.Errorf("%s TCP %d: %v", tt.preset, port, err)
			}
		}
		s := p.Summary()
		if s.IsExit() != (tt.preset != "none") || p.Leads() != s.IsExit() {
			t.Errorf("%s: exit %v, leads %v", tt.preset, s.IsExit(), p.Leads())
		}
		if back, rest, err := ParseSummary(AppendSummary(nil, s)); err != nil || len(rest) > 0 || fmt.Sprint(back) != fmt.Sprint(s) {
			t.Errorf("%s: summary %v came back as %v, %v", tt.preset, s, back, err)
		}
	}
}

func TestParseErrorsNameTheRule(t *testing.T) {
	for _, tt := range []struct{ rule, want string }{
		{"", "want accept|reject"}, {"accept", "want accept|reject"}, {"allow *", `"allow": want accept or reject`}, {"accept icmp *", "want tcp or udp"},
		{"accept tcp udp *", "want accept|reject"}, {"accept *:0", "1 to 65535"}, {"accept *:65536", "1 to 65535"}, {"accept *:443-80", "go downwards"},
		{"accept *:", "1 to 65535"}, {"accept *:80,", "1 to 65535"}, {"accept *:+80", "1 to 65535"}, {"accept *:http", "1 to 65535"},
		{"accept 2606:4700::1:80", "brackets"}, {"accept [2606:4700::1", "] is missing"}, {"accept [1.2.3.4]:80", "brackets are for IPv6"},
		{"accept [2606:4700::]/32:80", "after ]"}, {"accept 1.2.3.4/24", "want 1.2.3.0/24"}, {"accept 1.2.3.4/33", "no address or prefix"},
		{"accept [::ffff:1.2.3.4]", "write it as IPv4"}, {"accept [fe80::1%eth0]", "has a zone"}, {"accept 1.2.3:80", "ends in a number"},
		{"accept localhost:80", "no dot"}, {"accept *.local:80", ".local is not in the DNS"}, {"accept cheesy.gnet.alt:80", ".alt is not in the DNS"},
		{"accept .example.org", "want a name"}, {"accept *example.org", "want a name"}, {"accept *.*.org", "letters"}, {"accept www.*.org", "letters"},
		{"accept example..org", "empty"}, {"accept exämple.org", "letters"}, {"accept *." + strings.Repeat("a", 64) + ".org", "too long"},
		{"accept " + strings.Repeat("a.", 600) + "org", "longer than"},
	} {
		_, err := Parse("web", []string{"accept *:80", tt.rule})
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", tt.rule)) {
			t.Errorf("%q: %v, want %q", tt.rule, err, tt.want)
		}
	}
	if _, err := Parse("open", nil); err == nil || !strings.Contains(err.Error(), `"open": want none, web, reduced, all`) {
		t.Errorf("preset: %v", err)
	}
	if _, err := Parse("web", make([]string, maxRules+1)); err == nil {
		t.Error("any number of rules")
	}
}

func TestRulesInTheirPlainestForm(t *testing.T) {
	p := parse(t, "none", "accept  tcp   *:443,80-90,91", "reject 1.2.3.4/32", "accept udp [2606:4700::/32]:1-65535", "accept *.Example.ORG:*", "accept *.org:80")
	want := []string{"accept tcp *:80-91,443", "reject 1.2.3.4", "accept udp [2606:4700::/32]", "accept *.example.org", "accept *.org:80"}
	if got := p.Rules(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// badNames are names that are no names of the internet.
var badNames = []string{
	"", ".", "localhost", "localhost.", "LOCALHOST", "printer", "www.localhost", "router.local", "nas.LAN", "example.org.", "a..b.org", ".example.org",
	"127.1", "127.0.0.1", "0x7f.1", "0x7f.0x1", "0X7F.0X1", "2130706433", "0x7f000001", "017700000001", "1.2.3.4.5", "example.0", "example.0x", "example.123",
	"cheesy.gnet.alt", "gnet.alt", "x.onion", "x.i2p", "host.internal", "1.0.0.127.in-addr.arpa", "home.arpa", "x.invalid",
	"::1", "[::1]", "fd47:4e45::1", "a b.org", "exa\tmple.org", "exämple.org", "-a.org", "a-.org", "a@b.org", "a/b.org", "a%2e.org", "a:80.org",
	strings.Repeat("a", 64) + ".org", strings.Repeat("a.", 127) + "org",
}

func TestNames(t *testing.T) {
	p := parse(t, "all")
	for _, name := range badNames {
		if err := p.AllowsName(cell.TCP, name, 443); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"example.org", "www.EXAMPLE.org", "xn--exmple-cua.org", "_dmarc.example.org", "1.example.org", "3com.com", "a.0xg", "x.test", "0x7f.org"} {
		if err := p.AllowsName(cell.TCP, name, 443); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestNamesBeforeTheyAreLookedUp(t *testing.T) {
	for _, tt := range []struct {
		preset string
		rules  []string
		name   string
		port   uint16
		want   error
	}{
		{"web", nil, "example.org", 443, nil},
		{"web", nil, "example.org", 22, ErrRejected},
		{"web", []string{"reject *.example.org"}, "www.example.org", 443, ErrRejected},
		{"web", []string{"reject *.example.org"}, "example.org", 443, nil},
		{"none", []string{"accept 1.2.3.4:22"}, "example.org", 22, nil}, // it may lead there
		{"none", []string{"accept 1.2.3.4:22"}, "example.org", 23, ErrRejected},
		{"none", []string{"accept 1.2.3.4:22", "reject example.org"}, "example.org", 22, nil},
		{"none", []string{"reject 1.2.3.4", "accept example.org:22"}, "example.org", 22, nil},
		{"none", []string{"accept tcp example.org:22"}, "EXAMPLE.org", 22, nil},
	} {
		if err := parse(t, tt.preset, tt.rules...).AllowsName(cell.TCP, tt.name, tt.port); !errors.Is(err, tt.want) {
			t.Errorf("%s %q: %s port %d: %v, want %v", tt.preset, tt.rules, tt.name, tt.port, err, tt.want)
		}
	}
}

func TestSummaries(t *testing.T) {
	for _, tt := range []struct {
		preset string
		rules  []string
		want   string
	}{
		{"none", nil, "{false false [] []}"},
		{"web", nil, "{true true [{80 80} {443 443}] [{443 443}]}"},
		{"all", nil, "{true true [{1 24} {26 65535}] [{1 24} {26 65535}]}"},
		{"web", []string{"reject *:80", "accept *:22"}, "{true true [{22 22} {443 443}] [{22 22} {443 443}]}"},
		{"web", []string{"reject 1.2.3.0/24", "accept 5.6.7.8:22", "accept *.example.org:25"}, "{true true [{80 80} {443 443}] [{443 443}]}"},
		{"web", []string{"reject 0.0.0.0/0"}, "{false true [{80 80} {443 443}] [{443 443}]}"},
		{"web", []string{"reject [::/0]"}, "{true false [{80 80} {443 443}] [{443 443}]}"},
		{"none", []string{"accept 0.0.0.0/0:80", "accept [2000::/3]:443"}, "{true false [{80 80}] [{80 80}]}"},
		{"none", []string{"accept 1.2.3.4", "accept example.org"}, "{false false [] []}"},
		{"web", []string{"reject 8.0.0.0/8:443"}, "{true true [{80 80}] []}"},
	} {
		if got := fmt.Sprint(parse(t, tt.preset, tt.rules...).Summary()); tt.want != got {
			t.Errorf("%s %q: %s, want %s", tt.preset, tt.rules, got, tt.want)
		}
	}
	var many []string
	for port := 1000; port < 1200; port += 2 {
		many = append(many, fmt.Sprintf("accept *:%d", port))
	}
	s := parse(t, "web", append(many, "accept *:2000-3000")...).Summary()
	if len(s.TCP) != MaxRanges || !s.TCP.Has(80) || !s.TCP.Has(443) || !s.TCP.Has(2500) {
		t.Errorf("summary of many ports: %v", s.TCP)
	}
}

// A port of the summary is allowed to an address that no rule speaks of, and where the
// families do not differ and there is room, no other port is.
func TestSummaryAgreesWithAllows(t *testing.T) {
	hosts := []string{"*", "1.2.3.4", "5.6.0.0/16", "[2606:4700::/32]", "*.example.org", "example.net"}
	rapid.Check(t, func(t *rapid.T) {
		rules := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			first := rapid.IntRange(1, 200).Draw(t, "first")
			return fmt.Sprintf("%s %s%s:%d-%d", rapid.SampledFrom([]string{"accept", "reject"}).Draw(t, "verdict"),
				rapid.SampledFrom([]string{"", "tcp ", "udp "}).Draw(t, "network"), rapid.SampledFrom(hosts).Draw(t, "host"),
				first, first+rapid.IntRange(0, 100).Draw(t, "more"))
		}), 0, 12).Draw(t, "rules")
		p, err := Parse(rapid.SampledFrom(Presets).Draw(t, "preset"), rules)
		if err != nil {
			t.Fatal(err)
		}
		s := p.Summary()
		for _, a := range []netip.Addr{netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("2a00::9")} {
			for _, network := range []cell.Network{cell.TCP, cell.UDP} {
				for port := uint16(1); port < 400; port++ {
					told, allowed := s.Allows(cell.Target{Network: network, Addr: a, Port: port}), p.Allows(network, a, port) == nil
					if told != allowed {
						t.Fatalf("%v, network %d port %d: the summary says %v, the policy %v", a, network, port, told, allowed)
					}
				}
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"accept 93.184.216.0/24:80-443", "accept *.example.org:443", "reject *:25", "accept udp [2606:4700::/32]:53,80-90", "reject [::1]", "accept tcp *"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse("none", []string{text})
		if err != nil {
			return
		}
		plain := p.Rules()[0]
		again, err := Parse("none", []string{plain})
		if err != nil {
			t.Fatalf("%q became %q: %v", text, plain, err)
		}
		if got := again.Rules()[0]; got != plain {
			t.Fatalf("%q became %q became %q", text, plain, got)
		}
		for _, a := range closedAddrs {
			if p.Allows(cell.TCP, netip.MustParseAddr(a), 80) == nil {
				t.Fatalf("%q opens %s", text, a)
			}
		}
		if _, _, err := ParseSummary(AppendSummary(nil, p.Summary())); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzCheckName(f *testing.F) {
	for _, name := range append(badNames, "example.org", "xn--exmple-cua.org") {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if CheckName(name) != nil {
			return
		}
		if _, err := netip.ParseAddr(name); err == nil {
			t.Fatalf("%q is an address", name)
		}
		if !cell.ValidName(name) || strings.HasSuffix(name, ".") || !strings.Contains(name, ".") {
			t.Fatalf("%q passed", name)
		}
		if last := name[strings.LastIndexByte(name, '.')+1:]; strings.Trim(last, "0123456789") == "" {
			t.Fatalf("%q ends in a number", name)
		}
	})
}

func FuzzParseSummary(f *testing.F) {
	for _, preset := range Presets {
		f.Add(AppendSummary(nil, parse(f, preset).Summary()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, rest, err := ParseSummary(b)
		if err != nil {
			return
		}
		if got := append(AppendSummary(nil, s), rest...); string(got) != string(b) {
			t.Fatalf("%x came back as %x", b, got)
		}
	})
}

// What the standard library calls local is closed, and an IPv4 address that is closed is
// closed in every form that embeds it.
func TestEveryFormOfAClosedAddressIsClosed(t *testing.T) {
	p := parse(t, "all")
	rapid.Check(t, func(t *rapid.T) {
		v4 := netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "IPv4")))
		if rapid.Bool().Draw(t, "closed") {
			r := closedRanges[rapid.IntRange(0, 14).Draw(t, "range")].prefix
			b, base, bits := v4.As4(), r.Addr().As4(), r.Bits()
			for i := range b {
				mask := byte(0xff << max(0, min(8, 8*(i+1)-bits)))
				b[i] = b[i]&^mask | base[i]&mask
			}
			v4 = netip.AddrFrom4(b)
		}
		b := v4.As4()
		forms := [][16]byte{
			{10: 0xff, 11: 0xff, 12: b[0], b[1], b[2], b[3]},
			{0: 0, 1: 0x64, 2: 0xff, 3: 0x9b, 12: b[0], b[1], b[2], b[3]},
			{0: 0x20, 1: 0x02, 2: b[0], b[1], b[2], b[3], 15: 1},
			{0: 0x20, 1: 0x01, 4: b[0], b[1], b[2], b[3], 12: 0xf7, 13: 0xf7, 14: 0xf7, 15: 0xf7},
			{0: 0x20, 1: 0x01, 4: 8, 5: 8, 6: 8, 7: 8, 12: ^b[0], 13: ^b[1], 14: ^b[2], 15: ^b[3]},
			{0: 0x26, 1: 6, 10: 0x5e, 11: 0xfe, 12: b[0], b[1], b[2], b[3]},
			{0: 0x26, 1: 6, 8: 2, 10: 0x5e, 11: 0xfe, 12: b[0], b[1], b[2], b[3]},
		}
		open := p.Allows(cell.TCP, v4, 443) == nil
		for _, form := range forms {
			if a := netip.AddrFrom16(form); (p.Allows(cell.TCP, a, 443) == nil) != open {
				t.Fatalf("%v is open: %v; %v differs", v4, open, a)
			}
		}
		random := netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "IPv6")))
		for _, a := range []netip.Addr{v4, random} {
			if p.Allows(cell.TCP, a, 443) == nil && (!a.IsGlobalUnicast() || a.IsPrivate()) {
				t.Fatalf("%v is open", a)
			}
		}
	})
}
