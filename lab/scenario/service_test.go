package scenario

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"globalnet/agent/control"
	"globalnet/lab"
	"globalnet/lab/labtest"
)

// Seven routers on one cable: both ends of a rendezvous have three hops.
//
//	a   b   c   d   e   f   g
//	+---+---+---+---+---+---+
const serviceHall = `router a b c d e f g
segment hall a b c d e f g
`

// owns runs `globalnet` with the configuration of a router.
func owns(t *testing.T, l *lab.Lab, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := l.Node(name).Exec(ctx, labtest.Agent(t)[0], append(args, "--config", l.Node(name).ConfigPath())...)
	return strings.TrimSpace(string(out)), err
}

func owner(t *testing.T, l *lab.Lab, name string, args ...string) string {
	t.Helper()
	out, err := owns(t, l, name, args...)
	if err != nil {
		t.Fatalf("globalnet %s on %s: %v\n%s", strings.Join(args, " "), name, err, out)
	}
	return out
}

// reachable waits until a service is published, and returns its address.
func reachable(t *testing.T, l *lab.Lab, name, service string) (address string) {
	t.Helper()
	eventually(t, service+" is reachable", func() bool {
		out, err := owns(t, l, name, "service", "list", "--json")
		if err != nil { // it is starting
			return false
		}
		var list []control.Service
		must(t, json.Unmarshal([]byte(out), &list))
		for _, s := range list {
			if s.Name == service && s.Stored > 0 && s.Error == "" {
				address = s.Address
			}
		}
		return address != ""
	})
	return address
}

// visit opens a page by the SOCKS port of a router.
func visit(t *testing.T, l *lab.Lab, from, host string, args ...string) (string, error) {
	t.Helper()
	return curl(t, l, from, append([]string{"-f", "-x", "socks5h://" + socksPort.String(), "http://" + host}, args...)...)
}

// sees waits until a router gets a page.
func sees(t *testing.T, l *lab.Lab, from, host, want string) {
	t.Helper()
	var out string
	var err error
	eventually(t, from+" opens "+host, func() bool {
		out, err = visit(t, l, from, host)
		return err == nil && out == want
	})
}

// serveHTTP runs a web server on a router, which tells who asks it.
func serveHTTP(t *testing.T, l *lab.Lab, name, address string, h http.Handler) {
	t.Helper()
	var listener net.Listener
	must(t, l.Node(name).Namespace().Do(func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	}))
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { s.Serve(listener); close(done) }()
	t.Cleanup(func() { s.Close(); <-done })
}

// From `service add` on one router to pages on another, and all that an owner does.
func TestServices(t *testing.T) {
	labtest.RequireProgram(t, "curl")
	folder := t.TempDir() // in the topology: a restart writes the configuration anew
	l := start(t, serviceHall+"set f hidden_service:files.port 80 "+folder+"\n")
	for _, name := range names(l) {
		knows(t, l, name, 6, 0)
	}
	for _, x := range []struct {
		name string
		run  func(*testing.T, *lab.Lab)
	}{
		{"port", servicePort}, {"folder", func(t *testing.T, l *lab.Lab) { serviceFolder(t, l, folder) }}, {"restricted", serviceRestricted}, {"moves", serviceMoves}, {"single hop", serviceSingleHop}, {"ssh", serviceSSH},
		{"by the API", serviceByTheAPI}, {"nginx and sshd", servicePrograms}, {"two machines", serviceTwice},
	} {
		t.Run(x.name, func(t *testing.T) { x.run(t, l) })
	}
}

// A web server on loopback, under two ports; a name of the visitor's; then it goes.
func servicePort(t *testing.T, l *lab.Lab) {
	large := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{}).Read(large)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprint(w, "web for ", host)
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { w.Write(large) })
	serveHTTP(t, l, "g", "127.0.0.1:8080", mux)
	owner(t, l, "g", "service", "add", "web", "--to", "127.0.0.1:8080", "--port", "80")
	owner(t, l, "g", "service", "add", "web", "--to", "127.0.0.1:8080", "--port", "81")
	owner(t, l, "g", "service", "add", "web", "--to", "127.0.0.1:9", "--port", "82")
	address := reachable(t, l, "g", "web")
	sees(t, l, "a", address, "web for 127.0.0.1")
	sees(t, l, "a", address+":81", "web for 127.0.0.1")
	for _, port := range []string{"82", "83"} { // nobody listens; not offered
		if out, err := visit(t, l, "a", address+":"+port); err == nil {
			t.Errorf("port %s answers %q", port, out)
		}
	}
	file := filepath.Join(t.TempDir(), "large")
	if out, err := visit(t, l, "b", address+"/large", "-o", file); err != nil {
		t.Errorf("8 MiB: %v %s", err, out)
	}
	if got, _ := os.ReadFile(file); sha256.Sum256(got) != sha256.Sum256(large) {
		t.Errorf("of 8 MiB came %d bytes, and not the right ones", len(got))
	}
	owner(t, l, "a", "name", "set", "cheesy", address)
	sees(t, l, "a", "cheesy.gnet.alt", "web for 127.0.0.1")
	if out, err := visit(t, l, "b", "cheesy.gnet.alt"); err == nil {
		t.Errorf("a's name leads somewhere on b: %q", out)
	}
	// Another port at the same address while it runs; then the service ends.
	owner(t, l, "g", "service", "remove", "web")
	eventually(t, "the service ends", func() bool {
		_, err := visit(t, l, "a", address)
		return err != nil
	})
}

func serviceFolder(t *testing.T, l *lab.Lab, dir string) {
	must(t, os.WriteFile(filepath.Join(dir, "index.html"), []byte("the folder"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, ".secret"), []byte("secret"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "digits.txt"), []byte("0123456789"), 0o600))
	address := reachable(t, l, "f", "files")
	sees(t, l, "a", address, "the folder")
	if out, err := visit(t, l, "a", address+"/digits.txt", "-r", "3-5"); err != nil || out != "345" {
		t.Errorf("a range: %q, %v", out, err)
	}
	for _, path := range []string{"/.secret", "/../../etc/passwd", "/%2e%2e/x", "/none"} {
		if out, err := visit(t, l, "a", address+path, "--path-as-is"); err == nil {
			t.Errorf("%s answers %q", path, out)
		}
	}
	// What changes in the folder is there at once.
	must(t, os.WriteFile(filepath.Join(dir, "index.html"), []byte("changed"), 0o600))
	sees(t, l, "a", address, "changed")
	// The key is what the address is: it survives a restart.
	must(t, l.Node("f").Restart())
	if again := reachable(t, l, "f", "files"); again != address {
		t.Errorf("after a restart it is %s, was %s", again, address)
	}
	owner(t, l, "a", "newnym") // its circuits ended with the old agent
	sees(t, l, "a", address, "changed")
	owner(t, l, "f", "service", "remove", "files")
}

// Only who has a key gets in, and only as long as it is in the list.
func serviceRestricted(t *testing.T, l *lab.Lab) {
	serveHTTP(t, l, "e", "127.0.0.1:8081", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "club") }))
	owner(t, l, "e", "service", "add", "club", "--to", "127.0.0.1:8081", "--port", "80", "--restricted")
	address := owner(t, l, "e", "service", "address", "club")
	var member, stranger struct {
		Client string `json:"client"`
	}
	must(t, json.Unmarshal([]byte(owner(t, l, "a", "service", "client", "new", "theirs", address, "--json")), &member))
	owner(t, l, "e", "service", "client", "add", "club", member.Client)
	reachable(t, l, "e", "club")
	sees(t, l, "a", address, "club")
	told := func(what, want string) { // by the HTTP door of b
		t.Helper()
		if out, err := curl(t, l, "b", "-x", "http://"+socksPort.String(), "http://"+address); err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %q, %v", what, out, err)
		}
	}
	told("without a key", "this node has no key for it")
	if out, err := visit(t, l, "b", address); err == nil {
		t.Errorf("without a key: %q", out)
	}
	must(t, json.Unmarshal([]byte(owner(t, l, "b", "service", "client", "new", "theirs", address, "--json")), &stranger))
	told("with a key that is not taken", "does not take this node's key")
	if out, err := visit(t, l, "b", address); err == nil {
		t.Errorf("with a key that is not taken: %q", out)
	}
	owner(t, l, "e", "service", "client", "add", "club", stranger.Client)
	sees(t, l, "b", address, "club")
	owner(t, l, "e", "service", "client", "remove", "club", member.Client)
	eventually(t, "a is shut out", func() bool {
		owner(t, l, "a", "newnym")
		_, err := visit(t, l, "a", address)
		return err != nil
	})
	sees(t, l, "b", address, "club")
	owner(t, l, "e", "service", "remove", "club")
}

// The same key on another router is the same address.
func serviceMoves(t *testing.T, l *lab.Lab) {
	dir := t.TempDir()
	pass, exported := filepath.Join(dir, "pass"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(pass, []byte("correct horse battery\n"), 0o600))
	for _, name := range []string{"c", "d"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		must(t, os.WriteFile(filepath.Join(dir, name, "index.html"), []byte("on "+name), 0o600))
	}
	owner(t, l, "c", "service", "add", "moving", "--dir", filepath.Join(dir, "c"))
	address := reachable(t, l, "c", "moving")
	sees(t, l, "a", address, "on c")
	must(t, os.WriteFile(exported, []byte(owner(t, l, "c", "service", "export", "moving", "--passphrase-file", pass)), 0o600))
	owner(t, l, "c", "service", "remove", "moving", "--delete-key")
	owner(t, l, "d", "service", "import", "moving", exported, "--passphrase-file", pass)
	owner(t, l, "d", "service", "add", "moving", "--dir", filepath.Join(dir, "d"))
	if there := reachable(t, l, "d", "moving"); there != address {
		t.Errorf("there it is %s, was %s", there, address)
	}
	eventually(t, "a finds the new place", func() bool {
		owner(t, l, "a", "newnym")
		out, err := visit(t, l, "a", address)
		return err == nil && out == "on d"
	})
	owner(t, l, "d", "service", "remove", "moving")
}

func serviceSingleHop(t *testing.T, l *lab.Lab) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "index.html"), []byte("near"), 0o600))
	out := owner(t, l, "g", "service", "add", "near", "--dir", dir, "--single-hop")
	address := reachable(t, l, "g", "near")
	if !strings.Contains(out, address) {
		t.Errorf("added: %s", out)
	}
	sees(t, l, "a", address, "near")
	if out := owner(t, l, "g", "service", "list"); !strings.Contains(out, "not hidden: single hop") {
		t.Errorf("it is not marked:\n%s", out)
	}
}

// The ssh of this machine, through SOCKS, to a server on loopback of a router.
func serviceSSH(t *testing.T, l *lab.Lab) {
	labtest.RequireProgram(t, "ssh")
	labtest.RequireProgram(t, "socat")
	labtest.SSHServer(t, l.Node("d").Namespace(), "127.0.0.1:2222")
	owner(t, l, "d", "service", "add", "shell", "--to", "127.0.0.1:2222", "--port", "22")
	address := reachable(t, l, "d", "shell")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := l.Node("a").Exec(ctx, "sh", "-c", "yes | head -50000 | ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "+
		"-o 'ProxyCommand=socat - SOCKS4A:"+socksPort.Addr().String()+":%h:%p,socksport="+fmt.Sprint(socksPort.Port())+"' x@"+address+" cat | wc -c")
	if got := strings.TrimSpace(string(out)); err != nil || got != "100000" {
		t.Errorf("of 100000 bytes came back %s, %v", got, err)
	}
	owner(t, l, "d", "service", "remove", "shell")
}

func serviceByTheAPI(t *testing.T, l *lab.Lab) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "index.html"), []byte("by the API"), 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c := dhtClient(l, "c")
	added, err := c.AddService(ctx, control.ServiceRequest{Name: "api", Ports: []control.ServicePort{{Port: 80, Target: dir}}})
	must(t, err)
	if address := reachable(t, l, "c", "api"); address != added.Address {
		t.Errorf("added %s, offered %s", added.Address, address)
	}
	sees(t, l, "a", added.Address, "by the API")
	must(t, c.RemoveService(ctx, "api"))
	if list, err := c.Services(ctx); err != nil || len(list) != 0 {
		t.Errorf("after it was removed: %+v, %v", list, err)
	}
	if text, err := os.ReadFile(l.Node("c").ConfigPath()); err != nil || strings.Contains(string(text), "hidden_service") {
		t.Errorf("left in the configuration: %v\n%s", err, text)
	}
}

// One key on two routers: while one of them is there, so is the service.
func serviceTwice(t *testing.T, l *lab.Lab) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "index.html"), []byte("twice"), 0o600))
	pass, exported := filepath.Join(dir, ".pass"), filepath.Join(dir, ".key")
	must(t, os.WriteFile(pass, []byte("correct horse battery\n"), 0o600))
	owner(t, l, "c", "service", "add", "twice", "--dir", dir)
	address := reachable(t, l, "c", "twice")
	must(t, os.WriteFile(exported, []byte(owner(t, l, "c", "service", "export", "twice", "--passphrase-file", pass)), 0o600))
	owner(t, l, "d", "service", "import", "twice", exported, "--passphrase-file", pass)
	owner(t, l, "d", "service", "add", "twice", "--dir", dir)
	reachable(t, l, "d", "twice")
	sees(t, l, "a", address, "twice")
	must(t, l.Node("c").Kill())
	owner(t, l, "a", "newnym")
	sees(t, l, "a", address, "twice")
}
