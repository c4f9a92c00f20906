package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func readReference(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile("reference.uci")
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var commentedLine = regexp.MustCompile(`(?m)^(\s*)#((config|option|list) )`)

// uncommented is the reference with its examples in effect.
func uncommented(text []byte) []byte { return commentedLine.ReplaceAll(text, []byte("$1$2")) }

// The reference is the documentation: it must be right and complete.

func TestReferenceShowsTheDefaults(t *testing.T) {
	c, warnings, err := Parse("reference.uci", readReference(t))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	want := Default()
	if os.Geteuid() != 0 {
		c.Identity, c.StateDir, c.Socket = want.Identity, want.StateDir, want.Socket
	}
	if d := Compare(want, c); !d.Empty() {
		t.Errorf("the reference differs from the defaults: %v", d)
	}
}

func TestReferenceNamesEveryOption(t *testing.T) {
	f, err := ParseFile(uncommented(readReference(t)))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, s := range f.Sections {
		for _, o := range s.Options {
			got[s.Type] = append(got[s.Type], o.Name)
		}
	}
	for _, want := range []struct {
		section string
		options []string
	}{
		{"globalnet", names(mainOptions(new(Config)))}, {"peer", peerOptions}, {"onion", names(onionOptions(new(Onion)))}, {"exit", names(exitOptions(new(Exit)))},
		{"proxy", names(proxyOptions(new(Proxy), new(bool)))}, {"tunnel", names(tunnelOptions(new(Tunnel), new(bool)))}, {"name", names(nameOptions(new(Name)))}, {"exit_secret", names(exitSecretOptions(new(ExitSecret)))},
		{"hidden_service", names(hiddenServiceOptions(new(Service), new(bool)))}, {"service_key", names(serviceKeyOptions(new(ServiceKey)))}, {"service", names(serviceOptions)}, {"lan", names(lanOptions(new(LAN), new(bool)))}, {"radio", names(radioOptions)}, {"web", names(webOptions(new(Web)))},
	} {
		for _, name := range want.options {
			if !slices.Contains(got[want.section], name) {
				t.Errorf("option %s of %s is not in the reference", name, want.section)
			}
		}
	}
}

func TestReferenceExamplesAreValid(t *testing.T) {
	text := strings.ReplaceAll(string(uncommented(readReference(t))), "\toption passphrase_file", "\t#option passphrase_file")
	c, warnings, err := Parse("reference.uci", []byte(text))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if len(c.Peers) != 1 || c.Passphrase.IsZero() || len(c.Tunnels) != 1 || len(c.Names) != 1 || len(c.ExitSecrets) != 1 || len(c.Exit.Rules) != 2 || len(c.Services) != 1 || len(c.ServiceKeys) != 1 {
		t.Errorf("%+v", c)
	}
}

func TestReferenceSaysWhatIsLive(t *testing.T) {
	text := string(readReference(t))
	saysLive(t, text, "globalnet", mainOptions(new(Config)))
	saysLive(t, text, "onion", onionOptions(new(Onion)))
	saysLive(t, text, "exit", exitOptions(new(Exit)))
	saysLive(t, text, "web", webOptions(new(Web)))
}

func saysLive(t *testing.T, text, section string, table []option) {
	t.Helper()
	_, text, _ = strings.Cut(text, "config "+section+" ")
	text, _, _ = strings.Cut(text, "\nconfig ")
	for _, o := range table {
		i := regexp.MustCompile(`(?m)^\s*#?(option|list) ` + o.name + ` `).FindStringIndex(text)
		if i == nil {
			t.Errorf("option %s is not in section %s", o.name, section)
			continue
		}
		above := text[:i[0]]
		above = above[strings.LastIndex(above, "\n\n")+1:]
		if got := strings.Contains(above, " Live."); got != o.live {
			t.Errorf("option %s of %s: the reference says live %v, the program %v", o.name, section, got, o.live)
		}
	}
}
