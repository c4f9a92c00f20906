package edit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"globalnet/agent/config"
	"globalnet/internal/identity"
	"globalnet/onion/service/key"
)

const other = `# The owner's own lines.
config globalnet "main"   # with a comment
	option state_dir .

config peer
	option node   hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb
	list address '192.0.2.1:18245'
`

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "globalnet")
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func port(t *testing.T, text string) config.ServicePort {
	t.Helper()
	p, err := config.ParseServicePort(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func someNode(t *testing.T) identity.NodeID {
	t.Helper()
	i, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return i.NodeID()
}

// A service that comes, grows and goes leaves the owner's lines as they were.
func TestService(t *testing.T) {
	path := configFile(t, other)
	dir := filepath.Dir(path)
	first, err := AddService(path, Service{Name: "web", Ports: []config.ServicePort{port(t, "80 127.0.0.1:8080")}, Points: 5})
	if err != nil {
		t.Fatal(err)
	}
	if !first.New || first.Points != 5 || first.Key != filepath.Join(dir, "services", "web.key") || first.Address.IsZero() {
		t.Errorf("%+v", first)
	}
	if text := read(t, path); text != other+"\nconfig hidden_service 'web'\n\tlist port '80 127.0.0.1:8080'\n\toption points '5'\n" {
		t.Errorf("written:\n%s", text)
	}
	if info, err := os.Stat(first.Key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v %v", info, err)
	}
	again, err := AddService(path, Service{Name: "web", Ports: []config.ServicePort{port(t, "80 127.0.0.1:8080"), port(t, "443 /srv/www")}, Listing: true})
	if err != nil || again.New || again.Address != first.Address || len(again.Ports) != 2 || !again.Listing || again.Points != 5 {
		t.Errorf("more ports: %+v, %v", again, err)
	}
	if _, err := AddService(path, Service{Name: "web", Ports: []config.ServicePort{port(t, "80 127.0.0.1:1")}}); !errors.Is(err, ErrExists) {
		t.Errorf("another target for the port: %v", err)
	}
	keyPath, err := RemoveService(path, "web", false)
	if err != nil || keyPath != first.Key || read(t, path) != other {
		t.Errorf("removed: %v, %s\n%s", err, keyPath, read(t, path))
	}
	third, err := AddService(path, Service{Name: "web", Ports: []config.ServicePort{port(t, "80 127.0.0.1:8080")}})
	if err != nil || third.Address != first.Address {
		t.Errorf("the key is kept, the address too: %v, %v", third.Address, err)
	}
	if _, err := RemoveService(path, "web", true); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(first.Key); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the key is there: %v", err)
	}
	if _, err := RemoveService(path, "web", true); !errors.Is(err, ErrNone) {
		t.Errorf("removed twice: %v", err)
	}
}

func TestSwitchedOff(t *testing.T) {
	path := configFile(t, other+"\nconfig hidden_service 'web'\n\toption enabled '0'\n\toption key 'own.key'\n\tlist port '80 127.0.0.1:8080'\n")
	own := filepath.Join(filepath.Dir(path), "own.key")
	if got, err := KeyPath(path, "web"); err != nil || got != own {
		t.Errorf("key of a service that is off: %s, %v", got, err)
	}
	added, err := AddService(path, Service{Name: "web", Ports: []config.ServicePort{port(t, "80 127.0.0.1:8080")}})
	if err != nil || added.Key != own || strings.Contains(read(t, path), "enabled") {
		t.Errorf("on again: %+v, %v", added, err)
	}
}

// Nothing is written when the result would be wrong, or was before.
func TestRefused(t *testing.T) {
	ports := []config.ServicePort{port(t, "80 127.0.0.1:8080")}
	for _, tt := range []struct {
		text string
		do   func(path string) error
		want string
	}{
		{other, func(p string) error { _, err := AddService(p, Service{Name: "main", Ports: ports}); return err }, "a section main of another type, globalnet"},
		{other, func(p string) error { _, err := AddService(p, Service{Name: "a-b", Ports: ports}); return err }, "letters, digits and _"},
		{other, func(p string) error { _, err := AddService(p, Service{Name: "../x", Ports: ports}); return err }, "letters, digits and _"},
		{other, func(p string) error { _, err := AddService(p, Service{Name: "x"}); return err }, "port: missing"},
		{other, func(p string) error {
			_, err := AddService(p, Service{Name: "x", Ports: ports, Points: 99})
			return err
		}, "3 to 10"},
		{other, func(p string) error {
			_, err := AddService(p, Service{Name: "x", Ports: []config.ServicePort{{Port: 80, Dir: filepath.Dir(p)}}})
			return err
		}, "keys are there"},
		{"config globalnet main\noption listen_port x\n", func(p string) error { return SetName(p, "a", someNode(t).String()) }, "mend them first"},
		{other, func(p string) error { return SetName(p, "a", "xyz") }, "node: "},
		{other, func(p string) error { return SetName(p, "a b", someNode(t).String()) }, "is no name for a host"},
		{other, func(p string) error { return RemoveName(p, "a") }, "none of this name"},
		{other, func(p string) error { return AddClient(p, "x", key.ClientPublic{}) }, "none of this name"},
		{other, func(p string) error { return AddClient(p, "main", key.ClientPublic{}) }, "none of this name"},
		{other, func(p string) error { _, err := SetServiceKey(p, "main", someNode(t)); return err }, "another type"},
	} {
		path := configFile(t, tt.text)
		if err := tt.do(path); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %s", err, tt.want)
		}
		if read(t, path) != tt.text {
			t.Errorf("written in spite of %s:\n%s", tt.want, read(t, path))
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "services", "*")); left != nil {
			t.Errorf("%s: keys were made: %v", tt.want, left)
		}
	}
	if err := SetName("", "a", "b"); !errors.Is(err, ErrNoFile) {
		t.Errorf("without a file: %v", err)
	}
	if err := SetName(filepath.Join(t.TempDir(), "none"), "a", "b"); !errors.Is(err, ErrNoFile) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestNames(t *testing.T) {
	path := configFile(t, other)
	a, b := someNode(t), someNode(t)
	for _, set := range []struct {
		name string
		node identity.NodeID
	}{{"cheesy", a}, {"main", a}, {"My-Blog", a}, {"my.blog", a}, {"cheesy", b}, {"CHEESY", b}} {
		if err := SetName(path, set.name, key.Host(set.node)); err != nil {
			t.Fatal(err)
		}
	}
	c, _, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]identity.NodeID)
	for _, n := range c.Names {
		got[n.Name] = n.Node
	}
	if len(got) != 4 || got["cheesy"] != b || got["main"] != a || got["my-blog"] != a || got["my.blog"] != a {
		t.Errorf("%v\n%s", got, read(t, path))
	}
	for _, name := range []string{"cheesy", "MAIN", "my-blog", "my.blog"} {
		if err := RemoveName(path, name); err != nil {
			t.Error(err)
		}
	}
	if read(t, path) != other {
		t.Errorf("names came and went:\n%s", read(t, path))
	}
}

func TestClients(t *testing.T) {
	path := configFile(t, other)
	if _, err := AddService(path, Service{Name: "club", Ports: []config.ServicePort{port(t, "80 127.0.0.1:8080")}, Restricted: true}); err != nil {
		t.Fatal(err)
	}
	before := read(t, path)
	public, err := SetServiceKey(path, "friend", someNode(t))
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := config.Load(path)
	if err != nil || len(c.ServiceKeys) != 1 {
		t.Fatal(c.ServiceKeys, err)
	}
	k := c.ServiceKeys[0]
	if again, err := SetServiceKey(path, "friend", k.Service); err != nil || again != public {
		t.Errorf("asked again: %v, %v", again, err)
	}
	if _, err := SetServiceKey(path, "friend", someNode(t)); !errors.Is(err, ErrExists) {
		t.Errorf("for another service: %v", err)
	}
	if loaded, err := key.LoadClient(k.File); err != nil || loaded.Public() != public {
		t.Errorf("key file: %v", err)
	}
	for range 2 {
		if err := AddClient(path, "club", public); err != nil {
			t.Fatal(err)
		}
	}
	if c, _, _ = config.Load(path); len(c.Services[0].Clients) != 1 || c.Services[0].Clients[0] != public {
		t.Errorf("clients %v", c.Services[0].Clients)
	}
	if err := RemoveClient(path, "club", public); err != nil {
		t.Error(err)
	}
	if err := RemoveClient(path, "club", public); !errors.Is(err, ErrNone) {
		t.Errorf("shut out twice: %v", err)
	}
	if file, err := RemoveServiceKey(path, "friend"); err != nil || file != k.File || read(t, path) != before {
		t.Errorf("forgotten: %v, %s\n%s", err, file, read(t, path))
	}
}
