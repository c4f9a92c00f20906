package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

const (
	nodeA = "hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb"
	main0 = "config globalnet 'main'\n"
)

// parse reads text that must be valid and give no warning.
func parse(t *testing.T, text string) Config {
	t.Helper()
	c, warnings, err := Parse("/d/f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range warnings {
		t.Errorf("warning: %v", w)
	}
	return c
}

func TestDefaults(t *testing.T) {
	c := Default()
	if c.Network != "globalnet" || c.ListenPort != 18245 || c.PortRange != (PortRange{18250, 18313}) ||
		c.MaxNeighbours != 32 || c.HelloInterval != 4*time.Second || c.UpdateInterval != 16*time.Second ||
		c.WireGuard != WireGuardAuto || c.Memory != MemoryAuto || c.DHT != DHTFull || !c.Passphrase.IsZero() {
		t.Errorf("defaults %+v", c)
	}
	for _, p := range []string{c.Identity, c.StateDir, c.Socket} {
		if !filepath.IsAbs(p) {
			t.Errorf("path %q is not absolute", p)
		}
	}
}

func TestPaths(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/xdg")
	state, socket := "/xdg/globalnet", "/xdg/globalnet/globalnet.sock"
	if os.Geteuid() == 0 {
		state, socket = "/etc/globalnet", "/var/run/globalnet/globalnet.sock"
	}
	tests := []struct {
		name, options           string
		state, identity, socket string
	}{
		{"none given", "", state, state + "/identity.key", socket},
		{"state_dir", "option state_dir /s", "/s", "/s/identity.key", "/s/globalnet.sock"},
		{"relative", "option state_dir s/../r", "/d/r", "/d/r/identity.key", "/d/r/globalnet.sock"},
		{"identity", "option identity k", state, "/d/k", socket},
		{"all", "option identity /k; option socket /c; option state_dir /s", "/s", "/k", "/c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := parse(t, main0+tt.options)
			if c.StateDir != tt.state || c.Identity != tt.identity || c.Socket != tt.socket {
				t.Errorf("state %q, identity %q, socket %q", c.StateDir, c.Identity, c.Socket)
			}
		})
	}
}

func TestUsesInterface(t *testing.T) {
	tests := []struct {
		options string
		yes, no []string
	}{
		{"", []string{"eth0", "wlan0", "phy0-mesh0", "enp3s0"}, []string{"br-lan", "docker0", "veth12", "wg0"}},
		{"list interface 'veth*'", []string{"veth0"}, []string{"eth0"}},
		{"option interface 'radio* eth[01]'", []string{"radio7", "eth1"}, []string{"eth2"}},
		{"list interface '*'; list exclude 'eth*'", []string{"br-lan"}, []string{"eth0"}},
		{"list exclude 'eth*'", []string{"br-lan", "wlan0"}, []string{"eth0"}},
	}
	for _, tt := range tests {
		c := parse(t, main0+tt.options)
		for _, name := range tt.yes {
			if !c.UsesInterface(name) {
				t.Errorf("%q leaves out %s", tt.options, name)
			}
		}
		for _, name := range append(tt.no, "lo", "gn-abcdefghijkl") {
			if c.UsesInterface(name) {
				t.Errorf("%q uses %s", tt.options, name)
			}
		}
	}
}

func TestPeers(t *testing.T) {
	c := parse(t, "config peer\n\toption node "+strings.ToUpper(nodeA)+"\n\tlist address [2001:DB8:0::1]:1\n\tlist address a.example:2\n"+
		"\tlist address 192.0.2.1\n\toption address '::1 b:3'\nconfig peer x\noption node "+nodeA+"\noption address x\noption enabled 0\n")
	if len(c.Peers) != 1 || c.Peers[0].Node.String() != nodeA {
		t.Fatalf("peers %v", c.Peers)
	}
	var got []string
	for _, a := range c.Peers[0].Addresses {
		got = append(got, a.String())
	}
	want := []string{"[2001:db8::1]:1", "a.example:2", "192.0.2.1:18245", "[::1]:18245", "b:3"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("addresses %q, want %q", got, want)
	}
}

func TestParseAddressErrors(t *testing.T) {
	for _, v := range []string{
		"", ":1", "a:", "a:0", "a:65536", "a:x", "2001:db8::1:99999", "[::1", "[::1]x:1", "[a]:1", "[1.2.3.4]:1", "::1]:1",
		"1.2.3:1", "a..b:1", "-a:1", "a b:1", "0.0.0.0:1", "[::]:1", "224.0.0.1:1", strings.Repeat("a", 64) + ":1",
		strings.Repeat("a.", 130) + "a:1", "[]:1", "a:1:2",
	} {
		if a, err := ParseAddress(v); err == nil {
			t.Errorf("%q read as %v", v, a)
		}
	}
}

func TestWrongValues(t *testing.T) {
	tests := []struct{ option, want string }{
		{"option network ''", "f:2: network: network name of 0 bytes: want 1 to 64"},
		{"option network 'a\nb'", "no control characters"},
		{"option passphrase geheim", "f:2: passphrase: passphrase of 6 bytes: want 8 to 256"},
		{"option passphrase 12345678; option passphrase_file x", "passphrase gives the passphrase already"},
		{"option passphrase_file /nonexistent/x", "no such file"},
		{"list network a", "has one value: write option, not list"},
		{"option network a; option network b", "given twice, first on line 2"},
		{"list interface 'a['", `"a[" is no interface name or pattern`},
		{"list interface ''", "no interface name"},
		{"option listen_port http", `listen_port: "http" is no port: want 1 to 65535`},
		{"option listen_port 18250", "18250 is inside port_range 18250-18313"},
		{"option port_range 5", "want one such as 18250-18313"},
		{"option port_range 9-5", "has 0 ports"},
		{"option port_range 9-11", "has 3 ports: want 4 or more"},
		{"option log_level INFO+1", "want debug, info, warn or error"},
		{"option wireguard none", `"none": want auto, kernel or user`},
		{"option memory tiny", "want auto, small or large"},
		{"option dht on", "want full, client or off"},
		{"option max_neighbours 0", "want a number from 1 to 1000"},
		{"option hello_interval NaN", "want seconds, 0.1 to 600"},
		{"option hello_interval 0.05", "want seconds"},
		{"option hello_interval 17", "f: update_interval: 16s is shorter than hello_interval, 17s"},
		{"option update_interval 1", "f:2: update_interval: 1s is shorter than hello_interval, 4s"},
		{"option socket ''", "no path"},
		{"option socket /" + strings.Repeat("s", 107), "at most 107"},
		{"config globalnet second", "a second globalnet section"},
		{"config peer\noption node x\noption address a", "f:3: node: node id has 1 characters"},
		{"config peer\noption address a", "f:2: node: missing"},
		{"config peer\noption node " + nodeA, "f:2: address: missing"},
		{"config peer\noption node " + nodeA + "\noption address a:b:c", `"c" is no port`},
		{"config peer\noption enabled maybe", `"maybe": want 1 or 0`},
		{"config peer\noption node x\noption node y", "given twice, first on line 3"},
		{strings.Repeat("config peer\noption node "+nodeA+"\noption address a\n", 2), "is in an earlier peer section"},
		{"config peer\noption node " + nodeA + "\noption address '" + strings.Repeat("a ", 17) + "'", "at most 16"},
	}
	for _, tt := range tests {
		_, _, err := Parse("f", []byte(main0+tt.option))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s\n got %v\nwant %s", tt.option, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("the error shows the passphrase: %v", err)
		}
	}
}

func TestAllErrorsAreReported(t *testing.T) {
	_, _, err := Parse("f", []byte(main0+"option listen_port x\noption memory y\n"))
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("got %v, want two lines", err)
	}
}

func TestProblemsAreBounded(t *testing.T) {
	_, warnings, err := Parse("f", []byte(main0+strings.Repeat("option memory x\noption a b\n", 1000)))
	if n := strings.Count(err.Error(), "\n") + 1; n != maxProblems || len(warnings) != maxProblems {
		t.Errorf("%d errors and %d warnings", n, len(warnings))
	}
}

func TestWarnings(t *testing.T) {
	tests := []struct{ text, want string }{
		{main0 + "option listenport 5", "f:2: listenport: not a known option, has no effect; did you mean listen_port?"},
		{main0 + "option passprase 5", "f:2: passprase: not a known option, has no effect; did you mean passphrase?"},
		{main0 + "option colour red", "f:2: colour: not a known option, has no effect"},
		{"config global_net\noption a b", `f:1: section type "global_net" is not known and has no effect; did you mean globalnet?`},
		{"config peer\noption node " + nodeA + "\noption address a\noption adress b", "f:4: adress: not a known option of a peer, has no effect; did you mean address?"},
	}
	for _, tt := range tests {
		_, warnings, err := Parse("f", []byte(tt.text))
		if err != nil || len(warnings) != 1 || warnings[0].Error() != tt.want {
			t.Errorf("warnings %v, error %v; want %s", warnings, err, tt.want)
		}
	}
}

func TestLoadPassphrase(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("phrase", "twelve bytes\r\n", 0o600)
	write("open", "twelve bytes\n", 0o644)
	write("lines", "twelve\nbytes\n", 0o600)

	c, warnings, err := Load(write("ok", main0+"option passphrase_file phrase", 0o600))
	if err != nil || len(warnings) != 0 || c.Passphrase.Reveal() != "twelve bytes" {
		t.Errorf("%v, %v, %q", err, warnings, c.Passphrase.Reveal())
	}
	for name, want := range map[string]string{"open": "others can read", "lines": "more than one line", ".": "not a plain file"} {
		_, _, err := Load(write("bad", main0+"option passphrase_file "+name, 0o600))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("passphrase_file %s: %v, want %q", name, err, want)
		}
	}
	_, warnings, err = Load(write("readable", main0+"option passphrase 12345678", 0o644))
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0].Text, "chmod 600") {
		t.Errorf("%v, %v", err, warnings)
	}
	if _, _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, _, err := Load(""); err == nil || !strings.Contains(err.Error(), "runs with the defaults") {
		t.Errorf("no file: %v", err)
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	c := parse(t, main0+"option passphrase hunter22")
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "c", c, "s", c.Passphrase, "p", &c)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "c", c, "s", c.Passphrase, "p", &c)
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	log.Write(text)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&log, verb, c)
		fmt.Fprintf(&log, verb, c.Passphrase)
		fmt.Fprintf(&log, verb, &c)
		fmt.Fprintf(&log, verb, struct{ c Config }{c})
	}
	log.Write(AppendFile(nil, c.File()))
	for _, secret := range []string{"hunter22", fmt.Sprintf("%x", "hunter22"), fmt.Sprint([]byte("hunter22"))} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%q is in the output", secret)
		}
	}
	if !strings.Contains(log.String(), "[secret]") {
		t.Error("the output does not say that there is a secret")
	}
}

func FuzzParse(f *testing.F) {
	reference, err := os.ReadFile("reference.uci")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reference)
	f.Add(uncommented(reference))
	f.Add([]byte(main0 + "option listen_port 0\noption x y\nlist interface '['\nconfig peer\nlist address ':'"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Contains(text, []byte("passphrase_file")) {
			return // it would read files
		}
		c, _, err := Parse("/f", text)
		if err != nil {
			return
		}
		c.Passphrase = Secret{}
		again, warnings, err := Parse("/f", AppendFile(nil, c.File()))
		if err != nil || len(warnings) > 0 {
			t.Fatalf("reading what File wrote: %v, %v", err, warnings)
		}
		if d := Compare(c, again); !d.Empty() {
			t.Fatalf("changed by writing and reading: %v", d)
		}
	})
}
