package edit

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestApply(t *testing.T) {
	path := configFile(t, other)
	written, err := Apply(path, []Change{
		{Section: "home", Type: "lan", Option: "interface", Values: []string{"br-lan", "br-two"}},
		{Section: "home", Option: "mode", Values: []string{"all"}},
		{Section: "main", Option: "log_level", Values: []string{"debug"}},
		{Section: "@peer[0]", Option: "enabled", Values: []string{"0"}},
	}, false)
	if err != nil || !written {
		t.Fatal(written, err)
	}
	text := read(t, path)
	for _, want := range []string{"config lan 'home'\n\tlist interface 'br-lan'\n\tlist interface 'br-two'\n\toption mode 'all'\n", "option enabled '0'", "# with a comment"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if written, err := Apply(path, []Change{{Section: "home", Option: "mode", Values: []string{"all"}}}, true); written || err != nil {
		t.Errorf("the same again: %v %v", written, err)
	}
	if _, err := os.Stat(keptPath(path)); err == nil {
		t.Error("an old configuration is kept although nothing changed")
	}
	if _, err := Apply(path, []Change{{Section: "home"}, {Section: "main", Option: "log_level"}, {Section: "@peer[0]", Option: "enabled"}}, false); err != nil || read(t, path) != other {
		t.Errorf("taken back: %v\n%s", err, read(t, path))
	}
}

func TestApplyRefuses(t *testing.T) {
	for _, tt := range []struct {
		change Change
		option string // that the error names
		want   string
	}{
		{Change{"main", "", "log_level", []string{"loud"}}, "main.log_level", "want debug"},
		{Change{"main", "", "nothing", []string{"x"}}, "main.nothing", "no such option"},
		{Change{"main", "", "log_level", []string{"info", "warn"}}, "main.log_level", "one value"},
		{Change{"gone", "", "mode", []string{"all"}}, "gone.mode", "no such section"},
		{Change{"main", "lan", "mode", []string{"all"}}, "main.mode", "of type globalnet"},
		{Change{"a b", "lan", "mode", []string{"all"}}, "a b.mode", "letters, digits"},
		{Change{"home", "lan", "mode", []string{"all"}}, "home.interface", "missing"},
		{Change{"@peer[0]", "", "node", []string{"x"}}, "@peer[0].node", ""},
		{Change{"main", "", "passphrase", []string{"short"}}, "main.passphrase", "8 to 256"},
		{Change{"home", "bogus", "x", []string{"1"}}, "home.x", "no such option"},
		{Change{"main", "", "network", []string{"a\nb"}}, "main.network", ""},
	} {
		path := configFile(t, other)
		_, err := Apply(path, []Change{{Section: "main", Option: "dht", Values: []string{"off"}}, tt.change}, true)
		var named *OptionError
		if !errors.As(err, &named) || named.Option != tt.option || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v", tt.change, err)
		}
		if read(t, path) != other {
			t.Errorf("%v: written", tt.change)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) > 0 {
			t.Errorf("%v: left behind: %v", tt.change, left)
		}
	}
}

func TestUndo(t *testing.T) {
	set := func(path, level string) {
		t.Helper()
		if _, err := Apply(path, []Change{{Section: "main", Option: "log_level", Values: []string{level}}}, true); err != nil {
			t.Fatal(err)
		}
	}
	path := configFile(t, other)
	if undone, err := Undo(path); undone || err != nil {
		t.Errorf("nothing to undo: %v %v", undone, err)
	}
	set(path, "debug")
	set(path, "warn")
	if undone, err := Undo(path); !undone || err != nil || read(t, path) != other {
		t.Errorf("two changes undone: %v %v\n%s", undone, err, read(t, path))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode: %v %v", info.Mode(), err)
	}
	set(path, "debug")
	if err := Confirm(path); err != nil {
		t.Error(err)
	}
	if undone, err := Undo(path); undone || err != nil {
		t.Errorf("confirmed, and undone: %v %v", undone, err)
	}
	set(path, "warn")
	mine := read(t, path) + "\n# mine\n"
	if err := os.WriteFile(path, []byte(mine), 0o640); err != nil {
		t.Fatal(err)
	}
	if undone, err := Undo(path); undone || err != nil || read(t, path) != mine {
		t.Errorf("somebody's own change was undone: %v %v", undone, err)
	}
	if _, err := os.Stat(keptPath(path)); err == nil {
		t.Error("the old configuration is kept for ever")
	}
}

func TestSectionsHideSecrets(t *testing.T) {
	path := configFile(t, "config globalnet main\n\toption passphrase 'not to be seen'\n\toption interface 'wlan0 eth*'\nconfig exit exit\n\toption secret 'not to be seen at all'\n"+
		"config onion onion\n\tlist family 'not to be seen also'\n\nconfig peer\n\toption node hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb\n\tlist address 192.0.2.1\n\tlist address 192.0.2.2\n")
	list, err := Sections(path)
	if err != nil || len(list) != 4 {
		t.Fatal(list, err)
	}
	for _, s := range list {
		for name, values := range s.Options {
			if strings.Contains(strings.Join(values, ""), "seen") {
				t.Errorf("%s.%s is shown: %v", s.Ref, name, values)
			}
		}
	}
	if got := list[0].Options["interface"]; !slices.Equal(got, []string{"wlan0", "eth*"}) || !slices.Equal(list[0].Options["passphrase"], []string{"set"}) {
		t.Errorf("%v", list[0])
	}
	if peer := list[3]; peer.Ref != "@peer[0]" || peer.Name != "" || len(peer.Options["address"]) != 2 {
		t.Errorf("%+v", peer)
	}
}
