package config

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestOnionSections(t *testing.T) {
	c := parse(t, `config onion
	option relay 0; option hops 4; option min_hops 2; list family '0123456789abcdef'; option rate 8; option quota 0.5
config exit
	option policy web; list rule 'accept *.example.org:25'; list allow_private 192.168.0.2; option inside 0
	list serve_port 22; list serve_port 80; option secret 'correct horse battery'; option burst 2
config proxy one
	option listen 1080
config proxy two
	option listen 192.0.2.1:1080; option path 'rand>rand>internet'; option isolate_destination 1; option wait yes
config proxy off
	option listen 1; option enabled 0
config tunnel
	option path '1000>rand>example.org:80'
config name Cheesy
	option node `+nodeA+`.gnet.alt
config exit_secret
	option node `+nodeA+`; option secret 'correct horse battery'
`)
	if c.Onion.Relay || !c.Onion.Enabled || c.Onion.Hops != 4 || c.Onion.MinHops != 2 || len(c.Onion.Families) != 1 ||
		c.Onion.Limits != (Limits{Rate: 1e6, Quota: 5e8}) {
		t.Errorf("onion %+v", c.Onion)
	}
	e := c.Exit
	if e.Policy != "web" || len(e.Rules) != 1 || !slices.Equal(e.AllowPrivate, []netip.Prefix{netip.MustParsePrefix("192.168.0.2/32")}) ||
		e.Inside || !slices.Equal(e.ServePorts, []uint16{22, 80}) || e.Secret.Reveal() != "correct horse battery" || e.Limits.Burst != 2e6 {
		t.Errorf("exit %+v", e)
	}
	proxies := []Proxy{
		{Name: "one", Listen: netip.MustParseAddrPort("127.0.0.1:1080")},
		{Name: "two", Listen: netip.MustParseAddrPort("192.0.2.1:1080"), Path: "rand>rand>internet", IsolateDestination: true, Wait: true},
	}
	if !slices.Equal(c.Proxies, proxies) {
		t.Errorf("proxies %+v", c.Proxies)
	}
	if !slices.Equal(c.Tunnels, []Tunnel{{Name: "tunnel1", Path: "1000>rand>example.org:80"}}) {
		t.Errorf("tunnels %+v", c.Tunnels)
	}
	if len(c.Names) != 1 || c.Names[0].Name != "cheesy" || c.Names[0].Node.String() != nodeA || len(c.ExitSecrets) != 1 {
		t.Errorf("names %v, secrets %v", c.Names, c.ExitSecrets)
	}
	// What is shown reads the same again, but for the secrets.
	text := AppendFile(nil, c.File())
	if strings.Contains(string(text), "horse") || strings.Contains(string(text), "0123456789abcdef") {
		t.Errorf("a secret is shown:\n%s", text)
	}
	again, _, err := Parse("/d/f", []byte(strings.ReplaceAll(string(text), "[secret]", "correct horse battery")))
	if err != nil {
		t.Fatal(err)
	}
	if d := Compare(c, again); !reflect.DeepEqual(d.Live, []string{"onion.family"}) || len(d.Restart) > 0 {
		t.Errorf("read again, it differs: %v\n%s", d, text)
	}
}

func TestDefaultProxy(t *testing.T) {
	if c := parse(t, ""); !slices.Equal(c.Proxies, []Proxy{DefaultProxy}) {
		t.Errorf("without a section %v", c.Proxies)
	}
	if c := parse(t, "config proxy\noption listen 1\noption enabled 0\n"); len(c.Proxies) != 0 {
		t.Errorf("switched off %v", c.Proxies)
	}
}

func TestWrongOnionSections(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"config onion\noption hops 9", `f:2: hops: "9": want a number from 1 to 8`},
		{"config onion\noption hops 2\noption min_hops 3", "f:3: min_hops: 3 is more than hops, 2"},
		{"config onion\noption rate -1", "want a number from 0 (no limit)"},
		{"config onion\nlist family short", "f:2: family: secret of 5 bytes: want 16 to 256"},
		{"config onion a\nconfig onion b", "f:2: a second onion section: there is one, 'a'"},
		{"config exit\noption policy some", "f:2: policy: "},
		{"config exit\nlist rule 'allow x'", "f:2: rule: "},
		{"config exit\nlist allow_private 8.8.8.8", "f:2: allow_private: "},
		{"config exit\noption secret geheim", "f:2: secret: secret of 6 bytes: want 16 to 256"},
		{"config exit\nlist serve_port 0", `"0" is no port`},
		{"config proxy x", "f:1: listen: missing in this proxy"},
		{"config proxy x\noption listen localhost:80", "want a port, or an address and a port"},
		{"config proxy x\noption listen 1\nconfig proxy y\noption listen 1", "f:3: listen: 127.0.0.1:1 is another proxy's"},
		{"config proxy x\noption listen 1\noption path rand>a.org:80", "ends at a target"},
		{"config proxy x\noption listen 1\nconfig proxy X\noption listen 2", "f:3: a second proxy 'X', first on line 1"},
		{"config tunnel\noption path 1>rand>internet", "leads to the internet"},
		{"config tunnel\noption path 1>rand", "f:2: path: "},
		{"config name x\noption name ..\noption node " + nodeA, `f:1: ".." is no name for a host`},
		{"config name x\noption node " + nodeA + "\nconfig name y\noption name X\noption node " + nodeA, `f:3: name: "x" is an earlier section's`},
		{"config name " + nodeA + "\noption node " + nodeA, "looks like an address"},
		{"config exit_secret\noption node " + nodeA, "f:1: secret: missing in this exit_secret"},
	} {
		_, _, err := Parse("f", []byte(tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s\n got %v\nwant %s", tt.text, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("the error repeats a secret: %v", err)
		}
	}
}

// A live section must be taken over by WithLive; whether there is an onion at all must not.
func TestOnionWithLive(t *testing.T) {
	from := parse(t, "")
	to := parse(t, "config onion\noption enabled 0; option relay 0; option hops 5\nconfig exit\noption policy all\nconfig proxy\noption listen 7\n"+
		"config tunnel\noption path 1>rand>a.org:1\nconfig name n\noption node "+nodeA+"\nconfig exit_secret\noption node "+nodeA+"\noption secret 0123456789abcdef\n")
	now := WithLive(from, to)
	if d := Compare(now, to); len(d.Live) > 0 || !slices.Equal(d.Restart, []string{"onion.enabled"}) {
		t.Errorf("left after a reload: %v", d)
	}
	if d := Compare(from, to); !slices.Contains(d.Live, "exit.policy") || !slices.Contains(d.Live, "tunnel") || !slices.Contains(d.Live, "exit_secret") {
		t.Errorf("a reload changes %v", d)
	}
}
