package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"rsc.io/qr"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/onion/service/key"
)

// fakeServices are the services of an agent that reads file.
type fakeServices struct {
	list []control.Service
	file string
}

func (f *fakeServices) Services() []control.Service {
	list := f.list
	if c, _, err := config.Load(f.file); err == nil {
		for _, s := range c.Services {
			list = append(list, control.Service{Name: s.Name, Published: -1})
		}
	}
	return list
}

func (f *fakeServices) AddService(context.Context, control.ServiceRequest) (control.Service, error) {
	return control.Service{}, errors.ErrUnsupported
}

func (f *fakeServices) RemoveService(context.Context, string) error { return errors.ErrUnsupported }

// must runs a command that succeeds.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := globalnet(t, args...)
	if code != 0 {
		t.Fatalf("globalnet %s: exit %d\n%s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

func decode[T any](t *testing.T, args ...string) (v T) {
	t.Helper()
	text := must(t, append(args, "--json")...)
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("globalnet %s: %v in %s", strings.Join(args, " "), err, text)
	}
	return v
}

// ownFile makes a configuration that no agent has read.
func ownFile(t *testing.T) (file, dir string) {
	t.Helper()
	dir = t.TempDir()
	file = filepath.Join(dir, "globalnet.uci")
	writeFile(t, file, "config globalnet 'main'\n\toption state_dir '.'\n")
	t.Setenv("GLOBALNET_CONFIG", file)
	return file, dir
}

func TestServiceWithoutAgent(t *testing.T) {
	file, dir := ownFile(t)
	before, _ := os.ReadFile(file)
	out := must(t, "service", "add", "web", "--to", "127.0.0.1:8080", "--port", "80")
	address := regexp.MustCompile(`[a-z2-7]{56}\.gnet\.alt`).FindString(out)
	if address == "" || !strings.Contains(out, "port 80  127.0.0.1:8080") || !strings.Contains(out, "no agent is running: it holds from the next") {
		t.Fatalf("added:\n%s", out)
	}
	must(t, "service", "add", "web", "--dir", t.TempDir(), "--port", "81")
	must(t, "service", "add", "web", "--to", "22")
	must(t, "service", "add", "web", "--to", "unix:/run/x", "--port", "82")
	c, _, err := config.Load(file)
	if err != nil || len(c.Services) != 1 || len(c.Services[0].Ports) != 4 || c.Services[0].Ports[2].String() != "22 127.0.0.1:22" {
		t.Fatalf("%+v, %v", c.Services, err)
	}
	if got := must(t, "service", "address", "web"); got != address+"\n" {
		t.Errorf("address %q", got)
	}
	link, err := key.ParseLink(strings.TrimSpace(must(t, "service", "address", "web", "--magnet")))
	if err != nil || key.Host(link.Service) != address || link.Name != "web" {
		t.Errorf("link %+v, %v", link, err)
	}
	if got := must(t, "service", "address", "web", "--qr"); !strings.Contains(got, "█") || !strings.HasSuffix(got, "\n"+address+"\n") {
		t.Errorf("picture:\n%s", got)
	}
	if info := decode[serviceInfo](t, "service", "address", "web"); info.Address != address || info.Link != link.String() {
		t.Errorf("%+v", info)
	}
	if out := must(t, "service", "remove", "web"); !strings.Contains(out, "its key stays: "+filepath.Join(dir, "services", "web.key")) {
		t.Errorf("removed: %s", out)
	}
	if after, _ := os.ReadFile(file); string(after) != string(before) {
		t.Errorf("the file is not as it was:\n%s", after)
	}
	if got := must(t, "service", "address", "web"); got != address+"\n" {
		t.Errorf("address of the key that stays: %q", got)
	}
	if code, _, stderr := globalnet(t, "service", "list"); code != exitNotRunning || !strings.Contains(stderr, "no agent is running") {
		t.Errorf("list: exit %d, %s", code, stderr)
	}
}

func TestServiceMistakes(t *testing.T) {
	file, dir := ownFile(t)
	must(t, "service", "add", "web", "--to", "127.0.0.1:80")
	plain := filepath.Join(dir, "plain")
	writeFile(t, plain, "")
	for _, tt := range []struct {
		args string
		code int
		want string
	}{
		{"service", 2, "service what? one of: add, list, remove, address, export, import, client new"},
		{"service client", 2, "service client what? one of: new, list, add, remove"},
		{"service client frob x", 2, "service client what?"},
		{"service frob", 2, "service what?"},
		{"service add", 2, "usage: globalnet service add [flags] NAME"},
		{"service add x", 2, "say what is behind it: --to 127.0.0.1:80, or --dir FOLDER"},
		{"service add x --to 127.0.0.1:80 --dir /", 2, "say what is behind it"},
		{"service add x --to /srv/www", 2, "a folder is given with --dir, a socket as unix:/srv/www"},
		{"service add x --dir " + plain, 2, "is no folder"},
		{"service add x --to unix:/run/x", 2, "give the port of the service with --port"},
		{"service add x --to 127.0.0.1:80 --port 70000", 2, `"70000" is no port`},
		{"service add x --to 0.0.0.0:80", 2, "the address of no single machine"},
		{"service add x --dir " + dir, 1, "keys are there"},
		{"service add main --to 80", 1, "a section main of another type, globalnet: choose another name"},
		{"service add a/b --to 80", 1, "letters, digits and _"},
		{"service add web --to 127.0.0.1:81 --port 80", 1, "port 80 of service web leads to 127.0.0.1:80: it is there already"},
		{"service remove none", 1, "service none: there is none of this name: `globalnet service list`"},
		{"service address none", 1, "service none has no key at"},
		{"service address ../identity", 1, "cannot be the name of a service"},
		{"service export none", 1, "service none has no key at"},
		{"service export web", 2, "give --passphrase-file FILE"},
		{"service import web " + plain, 1, "has a key already"},
		{"service import new " + dir + "/missing", 1, "no such file"},
		{"service client new x y", 2, "1 characters"},
		{"service client add web x", 2, "client"},
		{"service client add none client-ynmixtpdrkjc5remrswx5oudcze55rcaxzgb2o3cfibgmhjn6awsd47t", 1, "none of this name"},
		{"service client remove web client-ynmixtpdrkjc5remrswx5oudcze55rcaxzgb2o3cfibgmhjn6awsd47t", 1, "none of this name"},
		{"service client remove none", 1, "key none: there is none"},
		{"name set a b", 2, "1 characters"},
		{"name set a_b/c " + node(1).String(), 1, "is no name for a host"},
		{"name remove a", 1, "name a: there is none of this name"},
	} {
		code, stdout, stderr := globalnet(t, strings.Fields(tt.args)...)
		if code != tt.code || !strings.Contains(stderr, tt.want) || stdout != "" {
			t.Errorf("globalnet %s: exit %d, want %d\n%s%swant %s", tt.args, code, tt.code, stdout, stderr, tt.want)
		}
	}
	if c, _, err := config.Load(file); err != nil || len(c.Services) != 1 || len(c.Names)+len(c.ServiceKeys) > 0 {
		t.Errorf("the mistakes left something: %+v, %v", c, err)
	}
	t.Setenv("GLOBALNET_CONFIG", "")
	if _, err := os.Stat(config.DefaultPath); err == nil {
		t.Skip("this machine has a configuration")
	}
	code, _, stderr := globalnet(t, "service", "add", "x", "--to", "80")
	if code != exitConfig || !strings.Contains(stderr, "there is no configuration file at /etc/config/globalnet") || !strings.Contains(stderr, "--config") {
		t.Errorf("no file: exit %d, %s", code, stderr)
	}
}

// A key goes to another router and keeps its address.
func TestServiceMoves(t *testing.T) {
	file, dir := ownFile(t)
	secret, wrong, open := filepath.Join(dir, "pass"), filepath.Join(dir, "wrong"), filepath.Join(dir, "open")
	writeFile(t, secret, "correct horse battery\n")
	writeFile(t, wrong, "something else\n")
	writeFile(t, open, "correct horse battery\n")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, "service", "add", "web", "--to", "80")
	address := must(t, "service", "address", "web")
	if code, _, stderr := globalnet(t, "service", "export", "web", "--passphrase-file", open); code != 1 || !strings.Contains(stderr, "chmod 600") {
		t.Errorf("a passphrase that others read: %d, %s", code, stderr)
	}
	exported := filepath.Join(dir, "web.pem")
	text := must(t, "service", "export", "web", "--passphrase-file", secret)
	writeFile(t, exported, text)
	if raw, _ := os.ReadFile(filepath.Join(dir, "services", "web.key")); strings.Contains(text, strings.TrimSpace(string(raw))) || !strings.HasPrefix(text, "-----BEGIN GLOBALNET SERVICE KEY-----") {
		t.Errorf("exported:\n%s", text)
	}
	other := filepath.Join(t.TempDir(), "globalnet.uci")
	writeFile(t, other, "config globalnet 'main'\n\toption state_dir '.'\n")
	t.Setenv("GLOBALNET_CONFIG", other)
	if code, _, stderr := globalnet(t, "service", "import", "web", exported, "--passphrase-file", wrong); code != 1 || !strings.Contains(stderr, "wrong passphrase") {
		t.Errorf("a wrong passphrase: %d, %s", code, stderr)
	}
	out := must(t, "service", "import", "web", exported, "--passphrase-file", secret)
	if !strings.Contains(out, strings.TrimSpace(address)) || !strings.Contains(out, "globalnet service add web") {
		t.Errorf("imported:\n%s", out)
	}
	must(t, "service", "add", "web", "--to", "80")
	if again := must(t, "service", "address", "web"); again != address {
		t.Errorf("there it is %s, was %s", again, address)
	}
	if code, _, stderr := globalnet(t, "service", "import", "web", exported, "--passphrase-file", secret); code != 1 || !strings.Contains(stderr, "never overwritten") {
		t.Errorf("imported twice: %d, %s", code, stderr)
	}
	t.Setenv("GLOBALNET_CONFIG", file)
	must(t, "service", "remove", "web", "--delete-key")
	if _, err := os.Stat(filepath.Join(dir, "services", "web.key")); err == nil {
		t.Error("the key is not deleted")
	}
}

func TestClientsAndNames(t *testing.T) {
	ownFile(t)
	address := key.Host(node(1))
	out := must(t, "service", "add", "club", "--to", "80", "--restricted", "--single-hop", "--points", "4")
	if !strings.Contains(out, "Nobody can reach it yet: `globalnet service client add club CLIENT`") {
		t.Errorf("restricted: %s", out)
	}
	made := decode[ownKey](t, "service", "client", "new", "friend", address)
	if again := must(t, "service", "client", "new", "friend", address); !strings.HasPrefix(again, made.Client+"\n") || made.Service != address {
		t.Errorf("%+v, then\n%s", made, again)
	}
	must(t, "service", "client", "add", "club", made.Client)
	listed := decode[struct {
		Clients []allowed
		Keys    []ownKey
	}](t, "service", "client", "list")
	if len(listed.Clients) != 1 || listed.Clients[0] != (allowed{"club", made.Client}) || len(listed.Keys) != 1 || listed.Keys[0].Client != made.Client {
		t.Errorf("%+v", listed)
	}
	if out := must(t, "service", "client", "list"); !strings.Contains(out, "club") || !strings.Contains(out, made.Client+" (ours, friend)") {
		t.Errorf("%s", out)
	}
	must(t, "service", "client", "remove", "club", made.Client)
	must(t, "service", "client", "remove", "friend")
	if out := must(t, "service", "client", "list"); !strings.Contains(out, "no clients") {
		t.Errorf("%s", out)
	}
	must(t, "name", "set", "cheesy", address)
	must(t, "name", "set", "My-Blog.gnet.alt", key.Link{Service: node(2), Name: "x"}.String())
	if names := decode[[]localName](t, "name", "list"); len(names) != 2 || names[0] != (localName{"cheesy", address}) || names[1] != (localName{"my-blog", key.Host(node(2))}) {
		t.Errorf("%+v", names)
	}
	must(t, "name", "remove", "My-Blog")
	if out := must(t, "name", "list"); !strings.Contains(out, address) || strings.Contains(out, "my-blog") {
		t.Errorf("%s", out)
	}
}

func TestServiceWithAgent(t *testing.T) {
	agent := &fakeAgent{services: &fakeServices{list: []control.Service{
		{Name: "web", Address: "a.gnet.alt", Ports: []control.ServicePort{{Port: 80}, {Port: 443}}, Published: 3 * time.Minute, Stored: 16, Clients: 2, Streams: 5},
		{Name: "club", Published: -1, Restricted: true, Allowed: 1},
		{Name: "fast", Published: -1, SingleHop: true, Error: "no relays"},
	}}}
	agent.start(t)
	out := must(t, "service", "list")
	for _, want := range []string{"web   a.gnet.alt  80,443  reachable, published 3 min ago ", "being published; restricted to 1 client", "no relays; not hidden: single hop"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if list := decode[[]control.Service](t, "service", "list"); len(list) != 3 || list[0].Stored != 16 {
		t.Errorf("%+v", list)
	}
	file := os.Getenv("GLOBALNET_CONFIG")
	code, _, stderr := globalnet(t, "service", "add", "new", "--to", "80")
	if code != exitFailed || !strings.Contains(stderr, "reads another file: start it with `globalnet run --config "+file) {
		t.Errorf("an agent of another file: %d, %s", code, stderr)
	}
	agent.services.(*fakeServices).file = file
	if out := must(t, "service", "add", "new", "--to", "80"); !strings.Contains(out, "It is being published") {
		t.Errorf("%s", out)
	}
	agent.reloadErr = context.DeadlineExceeded
	if code, _, stderr := globalnet(t, "name", "set", "x", key.Host(node(1))); code != exitFailed || !strings.Contains(stderr, "written to "+file+", but the agent has not taken it") {
		t.Errorf("an agent that does not reload: %d, %s", code, stderr)
	}
}

// What is drawn is the code, to the module.
func TestPicture(t *testing.T) {
	const text = "magnet:?xt=urn:gnet:hvabpq7iioevvevxbktu2g36xsojqlgpf3cjndgazvk7ckxumyge7yyb&dn=web"
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		t.Fatal(err)
	}
	for _, colours := range []bool{false, true} {
		picture, err := qrCode(text, colours)
		if err != nil {
			t.Fatal(err)
		}
		if n := len([]rune(strings.Split(strings.NewReplacer("\x1b[30;107m", "", "\x1b[0m", "").Replace(picture), "\n")[0])); n > 80 || n != code.Size+2*quiet {
			t.Errorf("%d columns", n)
		}
		for y, line := range strings.Split(strings.NewReplacer("\x1b[30;107m", "", "\x1b[0m", "").Replace(strings.TrimSuffix(picture, "\n")), "\n") {
			for x, r := range []rune(line) {
				upper, lower := r == '█' || r == '▀', r == '█' || r == '▄'
				if !colours {
					upper, lower = !upper, !lower
				}
				black := func(y int) bool {
					px, py := x-quiet, y-quiet
					return px >= 0 && py >= 0 && px < code.Size && py < code.Size && code.Black(px, py)
				}
				if black(2*y) != upper || black(2*y+1) != lower {
					t.Fatalf("colours %v: module %d,%d is wrong", colours, x, y)
				}
			}
		}
	}
	if _, err := qrCode(strings.Repeat("x", 5000), false); err == nil {
		t.Error("more than a code holds is drawn")
	}
}
