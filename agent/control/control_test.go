package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"globalnet/agent/config"
	"globalnet/internal/identity"
	"globalnet/mesh"
)

// fake is an agent with a given state.
type fake struct {
	status  mesh.Status
	diff    config.Diff
	err     error
	reloads atomic.Int32
	wait    <-chan struct{} // Status waits for it
	table   *fakeTable
	onion   Onion

	services Services
	settings fakeSettings
}

func (f *fake) Status(ctx context.Context) (mesh.Status, error) {
	if f.wait != nil {
		select {
		case <-f.wait:
		case <-ctx.Done():
			return mesh.Status{}, ctx.Err()
		}
	}
	return f.status, f.err
}

func (f *fake) Reload(context.Context) (config.Diff, error) {
	f.reloads.Add(1)
	return f.diff, f.err
}

func (f *fake) Onion() Onion { return f.onion }

func (f *fake) Services() Services { return f.services }

func (f *fake) DHT() DHT {
	if f.table == nil {
		return nil
	}
	return f.table
}

func sample() mesh.Status {
	id := identity.NodeID{1, 2, 3}
	return mesh.Status{
		Node: id, Address: id.Address(), Network: "n", Uptime: time.Minute, Known: 3,
		Interfaces: []mesh.InterfaceStatus{{Name: "eth0", Up: true, Addresses: []string{"fe80::1/64"}}},
		Neighbours: []mesh.Neighbour{{Node: id, Address: id.Address(), Ifname: "gn-x", State: "up", Cost: 96}},
		Routes:     []mesh.RouteStatus{{Destination: netip.PrefixFrom(id.Address(), 128), Gateway: id.LinkLocal(), Selected: true}},
		Counters:   map[string]uint64{"link_refused": 1 << 60},
	}
}

func get(t *testing.T, a Agent, method, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(a).ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	if ct := w.Header().Get("Content-Type"); ct != "application/json" {
		t.Errorf("%s %s: content type %q", method, path, ct)
	}
	return w.Code, w.Body.String()
}

func TestViews(t *testing.T) {
	s := sample()
	for path, want := range map[string]any{
		"/v1/status": s, "/v1/neighbours": s.Neighbours, "/v1/routes": s.Routes, "/v1/counters": s.Counters,
	} {
		status, body := get(t, &fake{status: s}, "GET", path, "")
		got := reflect.New(reflect.TypeOf(want))
		if err := json.Unmarshal([]byte(body), got.Interface()); err != nil || status != http.StatusOK {
			t.Errorf("%s: %d, %v", path, status, err)
		}
		if !reflect.DeepEqual(got.Elem().Interface(), want) {
			t.Errorf("%s: got %+v\nwant %+v", path, got.Elem(), want)
		}
	}
}

func TestEmptyListsAreLists(t *testing.T) {
	for path, want := range map[string]string{
		"/v1/neighbours": "[]\n", "/v1/routes": "[]\n", "/v1/counters": "{}\n", "/v1/status": `"neighbours": []`,
	} {
		if _, body := get(t, &fake{}, "GET", path, ""); !strings.Contains(body, want) {
			t.Errorf("%s answers %q, want %q", path, body, want)
		}
	}
}

func TestErrors(t *testing.T) {
	broken := &fake{err: errors.New("the node has stopped")}
	tests := []struct {
		agent              *fake
		method, path, body string
		status             int
		code               string
	}{
		{&fake{}, "GET", "/", "", 404, "not_found"},
		{&fake{}, "GET", "/v2/status", "", 404, "not_found"},
		{&fake{}, "POST", "/v1/status", "", 405, "bad_method"},
		{&fake{}, "GET", "/v1/reload", "", 405, "bad_method"},
		{&fake{}, "POST", "/v1/reload", strings.Repeat("x", maxBody+1), 413, "too_large"},
		{broken, "GET", "/v1/status", "", 503, "unavailable"},
		{broken, "POST", "/v1/reload", "", 422, "bad_config"},
	}
	for _, tt := range tests {
		status, body := get(t, tt.agent, tt.method, tt.path, tt.body)
		var e Error
		if err := json.Unmarshal([]byte(body), &e); err != nil || status != tt.status || e.Code != tt.code || e.Message == "" {
			t.Errorf("%s %s: %d %s, want %d %s", tt.method, tt.path, status, body, tt.status, tt.code)
		}
		if tt.status == 413 && tt.agent.reloads.Load() != 0 {
			t.Error("reloaded by a request that was refused")
		}
	}
}

func TestSlowAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		status, body := get(t, &fake{wait: make(chan struct{})}, "GET", "/v1/status", "")
		var e Error
		if err := json.Unmarshal([]byte(body), &e); err != nil || status != 503 || e.Code != "timeout" {
			t.Errorf("%d %s", status, body)
		}
	})
}

// start runs a server on a socket and stops it at the end of the test.
func start(t *testing.T, path string, a Agent) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l, err := Listen(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, a, slog.New(slog.DiscardHandler)) }()
	var stopped bool
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serving: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func TestClient(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "s.sock")
	f := &fake{status: sample(), diff: config.Diff{Live: []string{"interface"}}}
	c := NewClient(path)
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("before the start: %v", err)
	}
	before := runtime.NumGoroutine()
	stop := start(t, path, f)
	got, err := c.Status(t.Context())
	if err != nil || !reflect.DeepEqual(got, f.status) {
		t.Errorf("%v: got %+v\nwant %+v", err, got, f.status)
	}
	r, err := c.Reload(t.Context())
	if err != nil || !reflect.DeepEqual(r, Reloaded{Live: []string{"interface"}, Restart: []string{}}) {
		t.Errorf("reload: %+v, %v", r, err)
	}
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	stop()
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the stop: %v", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	waitFor(t, "all goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestClientShowsErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	f := &fake{err: errors.New("x.uci:3: memory: wrong")}
	start(t, path, f)
	_, err := NewClient(path).Reload(t.Context())
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code != "bad_config" || e.Message != f.err.Error() || e.Hint == "" {
		t.Errorf("got %#v", err)
	}
}

// What answers on the socket need not be an agent.
func TestClientBadAnswers(t *testing.T) {
	for name, answer := range map[string]string{
		"no http":     "hello\n",
		"no json":     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{x",
		"error":       "HTTP/1.1 500 Oops\r\nContent-Length: 1\r\n\r\n{",
		"closed":      "",
		"wrong types": "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{\"node\":1}",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			l, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				conn.Read(make([]byte, 1024))
				io.WriteString(conn, answer)
			}()
			if _, err := NewClient(path).Status(t.Context()); err == nil || errors.Is(err, ErrNotRunning) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestListenOnWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")

	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close() // as after kill -9
	start(t, path, &fake{status: sample()})
	if _, err := NewClient(path).Status(t.Context()); err != nil {
		t.Errorf("in place of a stale socket: %v", err)
	}

	if _, err := Listen(t.Context(), path); !errors.Is(err, ErrInUse) {
		t.Errorf("beside a live agent: %v", err)
	}
	if _, err := NewClient(path).Status(t.Context()); err != nil {
		t.Errorf("the live agent was disturbed: %v", err)
	}

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(t.Context(), file); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("on a plain file: %v", err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "keep" {
		t.Errorf("the file was changed: %q, %v", text, err)
	}
}

// Of many that start at once, one gets the socket.
func TestListenTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	type result struct {
		l   net.Listener
		err error
	}
	results := make(chan result)
	for range 8 {
		go func() {
			l, err := Listen(t.Context(), path)
			results <- result{l, err}
		}()
	}
	won := 0
	for range 8 {
		r := <-results
		switch {
		case r.err == nil:
			won++
			defer r.l.Close()
		case !errors.Is(r.err, ErrInUse):
			t.Error(r.err)
		}
	}
	if won != 1 {
		t.Errorf("%d agents got the socket", won)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	start(t, path, &fake{status: sample()})
	var idle []net.Conn
	for range maxConnections {
		conn, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		idle = append(idle, conn)
	}
	c := NewClient(path)
	waitFor(t, "a refusal", func() bool { _, err := c.Status(t.Context()); return err != nil })
	for _, conn := range idle[:2] {
		conn.Close()
	}
	waitFor(t, "an answer", func() bool { _, err := c.Status(t.Context()); return err == nil })
}

// A request under way does not hold up the stop.
func TestStopWhileAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stop := start(t, path, &fake{wait: make(chan struct{})})
	answered := make(chan error, 1)
	go func() {
		_, err := NewClient(path).Status(t.Context())
		answered <- err
	}()
	time.Sleep(10 * time.Millisecond) // either order must end well
	stop()
	if err := <-answered; err == nil {
		t.Error("answered without a state")
	}
}

func FuzzHandler(f *testing.F) {
	f.Add("GET", "/v1/status", "")
	f.Add("POST", "/v1/reload", "{}")
	f.Add("PUT", "/v1/../v1//routes?x=%00", strings.Repeat("x", 2000))
	f.Add("GET", "//", "")
	h := Handler(&fake{status: sample()})
	f.Fuzz(func(t *testing.T, method, target, body string) {
		r, err := http.NewRequest(method, "http://agent/", strings.NewReader(body))
		if err != nil {
			return
		}
		u, err := r.URL.Parse(target)
		if err != nil {
			return
		}
		r.URL = u
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code == http.StatusMovedPermanently || w.Code == http.StatusTemporaryRedirect {
			return // the path was cleaned
		}
		if method == "HEAD" || w.Code < 200 {
			return
		}
		if !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%s %s: %d %q is no JSON", method, target, w.Code, w.Body)
		}
	})
}
