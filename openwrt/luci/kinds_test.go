package luci

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"globalnet/agent/config"
	"globalnet/internal/chromium"
	"globalnet/internal/identity"
	"globalnet/lab/labtest"
)

// alone serves the pages without an agent.
func alone(t *testing.T, conf string) *pages {
	t.Helper()
	labtest.Require(t)
	must(t, labtest.Loopback())
	file := filepath.Join(t.TempDir(), "globalnet")
	must(t, os.WriteFile(file, []byte(conf), 0o600))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	return serve(t, listener, newUBUS(t, file, func() {}, func(string, []byte) ([]byte, error) { return []byte("{}"), nil }))
}

// candidates are values that somebody might try for any option.
func candidates(t *testing.T) []string {
	id, err := identity.Generate()
	must(t, err)
	all := []string{
		"0", "1", "2", "3", "4", "7", "8", "9", "10", "11", "16", "80", "100", "233", "234", "600", "601", "1000", "1001", "1024", "1025", "10000", "10001",
		"65535", "65536", "1048576", "1048577", "-1", "+5", "1.5", "0.05", "0.1", ".5", "5.", "yes", "no", "x", "ab", "word", "two words", " ", "a/b", "/", "/srv/www", "~",
		"18250-18313", "100-102", "100-103", "100-1", "1-65535", "0-10", "18245", ":1080", "127.0.0.1:1080", "[::1]:1080", "localhost:1080", "192.168.1.1:1080", "1.2.3.4:0",
		"node.example.org:18245", "node.example.org", "[2001:db8::1]:18245", "2001:db8::1", "1.2.3", "a:b:c", "192.168.0.2/32", "192.168.0.0/16", "10.0.0.0/33", "fd00::/8", "1.2.3.4",
		"accept *.example.org:443", "reject 198.51.100.0/24:*", "accept *:*", "drop all", "accept", "accept *",
		"rand>rand>rand>internet", "rand>internet", "internet", "1000>rand>rand>example.org:80", "localhost:1000>rand>rand>example.org:80", "1000>example.org:80", "1000>rand>internet",
		id.NodeID().String(), id.NodeID().String() + ".gnet.alt", strings.ToUpper(id.NodeID().String()), strings.Repeat("a", 56),
		"client-ynmixtpdrkjc5remrswx5oudcze55rcaxzgb2o3cfibgmhjn6awsd47t", "client-x",
		"80 /srv/www", "443 127.0.0.1:8443", "22 192.168.1.20:22", "80 unix:/run/s", "80", "80 x", "0 /srv", "70000 /srv",
		"02:00:5e:00:53:01=all", "192.168.1.20=off", "2001:db8::5=block", "192.168.1.20=maybe", "x=off", "02-00-5e-00-53-01=names", "0200.5e00.5301=off",
		"br-lan", "eth0.1", "lo", "gn-abc", "eth*", "mesh[0-3]", "mesh[0-3", "a-name-that-is-too-long", "wlan0", "green:mesh", "a.b", "-x", "x-", "a_b", "UPPER",
		"debug", "info", "warn", "error", "auto", "kernel", "user", "small", "large", "full", "client", "off", "none", "web", "reduced", "all", "names", "block", "mesh", "adhoc",
		"größe", "tab\there", "it's",
	}
	for _, n := range []int{5, 7, 8, 15, 16, 32, 33, 64, 65, 256, 257} {
		all = append(all, strings.Repeat("p", n))
	}
	for _, s := range config.Schema() {
		for _, o := range s.Options {
			all = append(append(all, o.Default...), o.Example...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// refused says whether the agent would refuse a value of an option for itself.
func refused(section config.SectionInfo, option config.OptionInfo, value string) bool {
	required := map[string][]string{
		"peer": {"node", "address"}, "proxy": {"listen"}, "tunnel": {"path"}, "name": {"node"}, "exit_secret": {"node", "secret"},
		"hidden_service": {"port"}, "service_key": {"service"}, "lan": {"interface"},
	}
	name := section.Name
	if name == "" && section.Many {
		name = "some"
	}
	s := config.Section{Type: section.Type, Name: name, Options: []config.Option{{Name: option.Name, Value: value, List: option.List}}}
	for _, o := range section.Options {
		if o.Name != option.Name && slices.Contains(required[section.Type], o.Name) {
			s.Options = append(s.Options, config.Option{Name: o.Name, Value: append(o.Default, o.Example...)[0], List: o.List})
		}
	}
	_, _, err := config.Parse("/etc/config/globalnet", []byte(uciText(config.File{Sections: []config.Section{s}})))
	for _, text := range []string{"more than hops", "inside port_range", "shorter than hello_interval", "no such file", "is not a plain file", "path of "} {
		if err != nil && strings.Contains(err.Error(), text) {
			return false // it concerns other options, or what is on the disk
		}
	}
	return err != nil
}

// TestKinds compares what the forms say of values with what the agent says. The forms
// must not refuse what the agent takes. What they let through that the agent would not
// take is refused before it is saved, by the agent; but simple things are told at once.
func TestKinds(t *testing.T) {
	values := candidates(t)
	p := alone(t, "config globalnet 'main'\n")
	b := chromium.Start(t)
	p.open(b, "settings", rootSession)
	text, err := json.Marshal(values)
	must(t, err)
	var answer map[string]map[string]struct {
		Known   bool
		Secret  bool
		Refused []bool
	}
	b.Eval(`(async () => {
		const settings = await L.require('globalnet.settings'), options = await L.require('globalnet.options'), values = `+string(text)+`;
		const answer = {};
		for (const type in options.sections) {
			answer[type] = {};
			for (const name in options.sections[type].options) {
				const kind = settings.kindOf(type, name);
				answer[type][name] = {
					known: !!settings.sections[type] && name in settings.sections[type].kinds, secret: !!kind.secret,
					refused: values.map(v => kind.check(v) !== true)
				};
			}
		}
		return answer;
	})()`, &answer)
	// Options whose values only the agent can judge in full: it is a matter of checksums,
	// prefixes, paths through the onion, or several options.
	deep := []string{
		"peer.node", "peer.address", "name.node", "name.name", "exit_secret.node", "service_key.service", "exit.rule", "exit.allow_private", "proxy.path", "proxy.listen", "tunnel.path",
		"hidden_service.port", "hidden_service.client", "web.listen", "lan.client",
	}
	loose := 0
	for _, s := range config.Schema() {
		for _, o := range s.Options {
			page := answer[s.Type][o.Name]
			option := s.Type + "." + o.Name
			if !page.Known {
				t.Errorf("option %s has no kind in settings.js", option)
				continue
			}
			if page.Secret != o.Secret {
				t.Errorf("%s is a secret: the pages say %v, the program %v", option, page.Secret, o.Secret)
			}
			for i, v := range values {
				if page.Refused[i] && o.Kind == "bool" {
					continue // there are more words for yes and no, which a box shows as well
				}
				switch no := refused(s, o, v); {
				case page.Refused[i] && !no:
					t.Errorf("%s: the page refuses %q, which the agent takes", option, v)
				case !page.Refused[i] && no && !slices.Contains(deep, option):
					t.Errorf("%s: the page takes %q, which the agent refuses", option, v)
				case !page.Refused[i] && no:
					loose++
				}
			}
		}
	}
	t.Logf("%d values; %d pairs of option and value are left to the agent", len(values), loose)
	if p := b.Problems(); len(p) > 0 {
		t.Error(errors.New(strings.Join(p, "\n")))
	}
}
