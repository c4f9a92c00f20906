package agent

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/internal/identity"
	"globalnet/lab/netns"
	"globalnet/onion/service"
	"globalnet/onion/service/key"
)

// fakeServiceNode remembers what it was set to.
type fakeServiceNode struct {
	list   []service.Config
	keys   map[identity.NodeID]*key.ClientKey
	status []service.Status
}

func (f *fakeServiceNode) SetServices(list []service.Config) { f.list = list }
func (f *fakeServiceNode) Services() []service.Status        { return f.status }
func (f *fakeServiceNode) SetServiceKeys(keys map[identity.NodeID]*key.ClientKey) {
	f.keys = keys
}

// serviceConfig reads sections into a configuration whose files are in dir.
func serviceConfig(t *testing.T, dir, sections string) config.Config {
	t.Helper()
	c, _, err := config.Parse(filepath.Join(dir, "globalnet"), []byte("config globalnet\n\toption state_dir state\n"+sections))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// echo is a local target that says how many connections it has had.
func echo(t *testing.T, network, address string) string {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "connection %d", n)
			c.Close()
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return l.Addr().String()
}

func readAll(t *testing.T, p service.Port) string {
	t.Helper()
	c, err := p.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	text, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func fetch(t *testing.T, p service.Port, path string) (net.Conn, string) {
	t.Helper()
	c, err := p.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	return c, string(body)
}

func TestServicesOfTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	www := filepath.Join(dir, "www")
	if err := os.Mkdir(www, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(www, "index.html"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Where the tests run in a namespace of their own, loopback is down at first.
	if netns.Inside() {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	tcp, unix := echo(t, "tcp", "127.0.0.1:0"), echo(t, "unix", filepath.Join(dir, "sock"))
	client, err := key.CreateClient(filepath.Join(dir, "state", "clients", "friend.key"))
	if err != nil {
		t.Fatal(err)
	}
	friend, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	node := new(fakeServiceNode)
	s := newServices(node, slog.New(slog.DiscardHandler))
	defer s.close()
	sections := fmt.Sprintf("config hidden_service web\nlist port '80 %s'\nlist port '81 %s'\nlist port '82 unix:%s'\noption points 4\nlist client %s\n"+
		"config service_key friend\noption service %s\n", tcp, www, unix, client.Public(), friend.NodeID())
	s.configure(serviceConfig(t, dir, sections))
	if len(node.list) != 1 || len(node.list[0].Ports) != 3 || node.keys[friend.NodeID()] == nil {
		t.Fatalf("%+v", node)
	}
	c := node.list[0]
	if c.Name != "web" || c.Points != 4 || !c.Work || c.Restricted || c.SingleHop || len(c.Clients) != 1 || c.Clients[0] != client.Public() || c.Ports[1].Port != 81 {
		t.Errorf("%+v", c)
	}
	keyFile := filepath.Join(dir, "state", "services", "web.key")
	if info, err := os.Stat(keyFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", info, err)
	}
	// One local connection for each stream.
	for n := 1; n <= 2; n++ {
		for _, p := range []int{0, 2} {
			if got := readAll(t, c.Ports[p]); got != fmt.Sprintf("connection %d", n) {
				t.Errorf("port %d: %q", c.Ports[p].Port, got)
			}
		}
	}
	open, body := fetch(t, c.Ports[1], "/")
	if body != "hello" {
		t.Errorf("folder: %q", body)
	}
	// A reload keeps the key, and connections to the folder that stays.
	s.configure(serviceConfig(t, dir, sections+"\nconfig hidden_service more\nlist port '80 "+www+"'\n"))
	if len(node.list) != 2 || node.list[0].Key.NodeID() != c.Key.NodeID() || node.list[1].Key.NodeID() == c.Key.NodeID() {
		t.Errorf("reloaded: %+v", node.list)
	}
	fmt.Fprint(open, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(open), nil); err != nil {
		t.Errorf("a connection to a folder that stays: %v", err)
	}
	s.configure(serviceConfig(t, dir, ""))
	if len(node.list)+len(node.keys) != 0 {
		t.Errorf("switched off: %+v", node)
	}
	if _, err := open.Read(make([]byte, 1)); err == nil {
		t.Error("a connection to a folder that is gone lives on")
	}
	if _, err := c.Ports[1].Connect(t.Context()); err == nil {
		t.Error("a folder that is gone is served")
	}
}

// A key that cannot be read keeps its service out, not the others; the owner is told once.
func TestServicesWithoutKeys(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "damaged"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := identity.Generate()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "two"} {
		if err := key.Store(filepath.Join(dir, name), id); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	node := &fakeServiceNode{status: []service.Status{{Name: "a", Published: time.Now().Add(-time.Minute), Stored: 2, Clients: 3}}}
	s := newServices(node, slog.New(slog.NewTextHandler(&log, nil)))
	defer s.close()
	for range 2 {
		s.configure(serviceConfig(t, dir, `config hidden_service a
	list port '80 127.0.0.1:1'; option key one
config hidden_service b
	list port '80 127.0.0.1:1'; option key two
config hidden_service c
	list port '80 127.0.0.1:1'; option key damaged
config service_key k
	option service `+id.NodeID().String()+`; option file missing
`))
	}
	if len(node.list) != 1 || node.list[0].Name != "a" || len(node.keys) != 0 {
		t.Errorf("offered: %+v", node)
	}
	if n := strings.Count(log.String(), "\n"); n != 3 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
	list := s.status(time.Now())
	if len(list) != 3 || list[0].Error != "" || list[0].Published < time.Minute || list[0].Published > time.Hour || list[0].Clients != 3 || list[0].Address != key.Host(id.NodeID()) {
		t.Errorf("%+v", list)
	}
	if list[1].Error != "service a has the same key" || !strings.Contains(list[2].Error, "damaged") || list[2].Address != "" || list[1].Published != -1 {
		t.Errorf("%+v", list)
	}
	if _, err := node.list[0].Ports[0].Connect(t.Context()); err == nil || !strings.Contains(err.Error(), "opening the target of port 80") {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestServicesByTheAPI(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "globalnet")
	if err := os.WriteFile(file, []byte("config globalnet\n\toption state_dir state\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		file string
		r    control.ServiceRequest
		want string
	}{
		{file, control.ServiceRequest{Name: "x", Ports: []control.ServicePort{{Port: 80, Target: "www"}}}, "want host:port"},
		{file, control.ServiceRequest{Name: "x/y", Ports: []control.ServicePort{{Port: 80, Target: "/srv"}}}, "letters, digits"},
		{"", control.ServiceRequest{Name: "x", Ports: []control.ServicePort{{Port: 80, Target: "/srv"}}}, "no configuration file"},
	} {
		h := hiddenServices{&Agent{o: Options{ConfigPath: tt.file}}}
		_, err := h.AddService(t.Context(), tt.r)
		if e, ok := err.(*control.Error); !ok || e.Code != control.BadRequest || !strings.Contains(e.Message, tt.want) || e.Hint == "" {
			t.Errorf("%+v: %v, want %s", tt.r, err, tt.want)
		}
	}
	if err := (hiddenServices{&Agent{o: Options{ConfigPath: file}}}).RemoveService(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "none of this name") {
		t.Errorf("removed what is not there: %v", err)
	}
}
