// Package control is the agent's control API: HTTP and JSON on a Unix socket
// that only its owner can open. docs/protocols/control.md describes it.
//
// The server holds no state but a count of readers of events; everything comes from the
// Agent it is given.
package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"globalnet/agent/config"
	"globalnet/mesh"
)

// Agent is what the API shows and steers.
type Agent interface {
	// Status returns a copy of the state.
	Status(ctx context.Context) (mesh.Status, error)
	// Reload reads the configuration again and applies it; on an error the old one stays.
	Reload(ctx context.Context) (config.Diff, error)
	// DHT returns the hash table; nil if it is switched off.
	DHT() DHT
	// Onion returns the onion; nil if it is switched off.
	Onion() Onion
	// Services returns the hidden services; nil if the onion is switched off.
	Services() Services
}

// Bounds of the server: whoever can open the socket is trusted, but may be a
// broken script.
const (
	maxConnections = 32
	maxHeader      = 8 << 10
	maxBody        = 1 << 10
	maxPut         = 8 << 10  // a value of 4 KiB in base64; a service of many ports
	maxChanges     = 16 << 10 // of the configuration
	requestTime    = 10 * time.Second
	idleTime       = 30 * time.Second
	closeTime      = 2 * time.Second
)

// ErrInUse says that another agent answers on the socket.
var ErrInUse = errors.New("another agent is running on this socket")

// Run serves agent on a Unix socket at path until ctx ends; it returns nil then,
// with the socket removed and no request under way.
func Run(ctx context.Context, path string, agent Agent, log *slog.Logger) error {
	l, err := Listen(ctx, path)
	if err != nil {
		return err
	}
	return Serve(ctx, l, agent, log)
}

// Listen opens the socket with mode 0600; its folder is made with 0700 if it is
// missing. A socket that nobody serves any more is replaced; for one that
// somebody does, the error is ErrInUse. Anything else at path is left alone.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of the control socket: %w", err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, fmt.Errorf("locking the folder of the control socket: %w", err)
	}
	defer unlock()
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	// The socket is bound under another name, given its mode, and then moved: at
	// no moment can others open it.
	temporary := filepath.Join(dir, fmt.Sprintf(".s%d", os.Getpid()))
	os.Remove(temporary)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(temporary, 0o600); err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		l.Close()
		os.Remove(temporary)
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	return newListener(l, path)
}

// lock keeps two agents that start at once from taking each other's socket for a
// stale one. The lock is on the folder, so no file is left behind.
func lock(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX); err != nil {
		d.Close()
		return nil, err
	}
	return func() { d.Close() }, nil
}

func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at the control socket: %w", err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("control socket: %s exists and is no socket: move it away", path)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("control socket %s: %w", path, ErrInUse)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("control socket %s: %w", path, err)
	}
	return os.Remove(path)
}

// listener bounds the connections and removes the socket at Close, unless
// another agent has put its own there meanwhile.
type listener struct {
	*net.UnixListener
	path  string
	inode uint64
	slots chan struct{}
}

func newListener(l *net.UnixListener, path string) (*listener, error) {
	inode, err := inodeOf(path)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("opening the control socket: %w", err)
	}
	return &listener{l, path, inode, make(chan struct{}, maxConnections)}, nil
}

func inodeOf(path string) (uint64, error) {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return 0, err
	}
	return uint64(st.Ino), nil
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.UnixListener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &slotConn{Conn: conn, release: l.slots}, nil
		default:
			conn.Close()
		}
	}
}

func (l *listener) Close() error {
	if inode, err := inodeOf(l.path); err == nil && inode == l.inode {
		os.Remove(l.path)
	}
	return l.UnixListener.Close()
}

// Serve answers on l until ctx ends, and closes it.
func Serve(ctx context.Context, l net.Listener, agent Agent, log *slog.Logger) error {
	s := &http.Server{
		Handler:           Handler(agent),
		ReadTimeout:       requestTime,
		WriteTimeout:      2 * requestTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: requestTime,
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	select {
	case err := <-served:
		s.Close()
		return fmt.Errorf("serving the control socket: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if s.Shutdown(grace) != nil {
		s.Close()
	}
	<-served
	return nil
}

// Handler is the API without its socket.
func Handler(agent Agent) http.Handler {
	a := api{agent, new(atomic.Int32)}
	mux := http.NewServeMux()
	for _, r := range resources {
		mux.HandleFunc(r.method+" "+r.path, r.serve(a))
	}
	mux.HandleFunc("/", a.unknown)
	timed := http.TimeoutHandler(limitBody(mux), requestTime, `{"code":"timeout","error":"the agent did not answer in time","hint":"is the machine overloaded?"}`)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == tunnelPath && r.Method == http.MethodPost:
			a.tunnel(w, r)
			return
		case r.URL.Path == eventsPath && r.Method == http.MethodGet:
			a.events(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		timed.ServeHTTP(w, r)
	})
}

// The requests that last.
const (
	tunnelPath = "/v1/tunnel"
	eventsPath = "/v1/events"
)

// resources are what the API has.
var resources = []struct {
	method, path string
	serve        func(a api) http.HandlerFunc
}{
	{http.MethodGet, "/v1/status", view(func(s mesh.Status) any { return s })},
	{http.MethodGet, "/v1/neighbours", view(func(s mesh.Status) any { return s.Neighbours })},
	{http.MethodGet, "/v1/routes", view(func(s mesh.Status) any { return s.Routes })},
	{http.MethodGet, "/v1/counters", view(func(s mesh.Status) any { return s.Counters })},
	{http.MethodPost, "/v1/reload", func(a api) http.HandlerFunc { return a.reload }},
	{http.MethodGet, "/v1/dht", func(a api) http.HandlerFunc { return a.dht(dhtStatus) }},
	{http.MethodGet, "/v1/dht/get", func(a api) http.HandlerFunc { return a.dht(dhtGet) }},
	{http.MethodPost, "/v1/dht/put", func(a api) http.HandlerFunc { return a.dht(dhtPut) }},
	{http.MethodPost, "/v1/dht/withdraw", func(a api) http.HandlerFunc { return a.dht(dhtWithdraw) }},
	{http.MethodGet, "/v1/dht/list", func(a api) http.HandlerFunc { return a.dht(dhtList) }},
	{http.MethodGet, "/v1/dht/lookup", func(a api) http.HandlerFunc { return a.dht(dhtLookup) }},
	{http.MethodGet, "/v1/onion", func(a api) http.HandlerFunc { return a.onion(onionStatus) }},
	{http.MethodGet, "/v1/relays", func(a api) http.HandlerFunc { return a.onion(relays) }},
	{http.MethodGet, "/v1/circuits", func(a api) http.HandlerFunc { return a.onion(circuits) }},
	{http.MethodPost, "/v1/circuits/close", func(a api) http.HandlerFunc { return a.onion(closeCircuit) }},
	{http.MethodPost, "/v1/newnym", func(a api) http.HandlerFunc { return a.onion(newIdentity) }},
	{http.MethodGet, "/v1/services", func(a api) http.HandlerFunc { return a.services(listServices) }},
	{http.MethodPost, "/v1/services/add", func(a api) http.HandlerFunc { return a.services(addService) }},
	{http.MethodPost, "/v1/services/remove", func(a api) http.HandlerFunc { return a.services(removeService) }},
	{http.MethodGet, "/v1/lan", func(a api) http.HandlerFunc { return a.lan(lanStatus) }},
	{http.MethodPost, "/v1/lan/off", func(a api) http.HandlerFunc { return a.lan(lanOff) }},
	{http.MethodGet, metricsPath, func(a api) http.HandlerFunc { return a.metrics }},
	{http.MethodGet, eventsPath, func(a api) http.HandlerFunc { return a.events }},
	{http.MethodGet, configPath, func(a api) http.HandlerFunc { return a.page(getConfig) }},
	{http.MethodPost, configPath, func(a api) http.HandlerFunc { return a.page(postConfig) }},
	{http.MethodPost, configPath + "/confirm", func(a api) http.HandlerFunc { return a.page(confirmConfig) }},
	{http.MethodPost, configPath + "/undo", func(a api) http.HandlerFunc { return a.page(undoConfig) }},
	{http.MethodPost, "/v1/lan/mode", func(a api) http.HandlerFunc { return a.page(setLANMode) }},
	{http.MethodGet, "/v1/log", func(a api) http.HandlerFunc { return a.page(getLog) }},
	{http.MethodGet, "/v1/map", func(a api) http.HandlerFunc { return a.page(getMap) }},
	{http.MethodGet, "/v1/history", func(a api) http.HandlerFunc { return a.page(getHistory) }},
	{http.MethodPost, tunnelPath, func(a api) http.HandlerFunc { return a.tunnel }},
}

// limitBody reads the body before anything is done.
func limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit := int64(maxBody)
		switch r.URL.Path {
		case "/v1/dht/put", "/v1/services/add":
			limit = maxPut
		case configPath:
			limit = maxChanges
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
		if err != nil {
			fail(w, http.StatusRequestEntityTooLarge, Error{Code: "too_large", Message: "request body is too large"})
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// configPath is the configuration; it has two methods.
const configPath = "/v1/config"

// Route is a request that the API answers.
type Route struct {
	Method, Path string
	Lasts        bool // its answer goes on
}

// Routes lists what Handler answers.
func Routes() (list []Route) {
	for _, r := range resources {
		list = append(list, Route{r.method, r.path, r.path == tunnelPath || r.path == eventsPath})
	}
	return list
}

type api struct {
	agent    Agent
	watchers *atomic.Int32 // requests for events that last
}

func view(of func(mesh.Status) any) func(a api) http.HandlerFunc {
	return func(a api) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			s, err := a.agent.Status(r.Context())
			if err != nil {
				fail(w, http.StatusServiceUnavailable, Error{Code: "unavailable", Message: err.Error(), Hint: "the agent is starting or stopping: try again"})
				return
			}
			answer(w, http.StatusOK, of(withLists(s)))
		}
	}
}

func (a api) reload(w http.ResponseWriter, r *http.Request) {
	d, err := a.agent.Reload(r.Context())
	if err != nil {
		fail(w, http.StatusUnprocessableEntity, Error{Code: "bad_config", Message: err.Error(), Hint: "nothing was changed; mend the file and reload again"})
		return
	}
	answer(w, http.StatusOK, Reloaded{Live: orEmpty(d.Live), Restart: orEmpty(d.Restart)})
}

// unknown is told apart from a wrong method by trying the other one.
func (a api) unknown(w http.ResponseWriter, r *http.Request) {
	var methods []string
	for _, known := range resources {
		if r.URL.Path == known.path {
			methods = append(methods, known.method)
		}
	}
	if methods != nil {
		allow := strings.Join(methods, ", ")
		w.Header().Set("Allow", allow)
		fail(w, http.StatusMethodNotAllowed, Error{Code: "bad_method", Message: "method not allowed", Hint: "use " + allow})
		return
	}
	fail(w, http.StatusNotFound, Error{Code: "not_found", Message: "no such resource", Hint: "see docs/protocols/control.md; agent and command may be of different versions"})
}

func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"code":"internal","error":"the answer cannot be encoded","hint":""}`)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}

func fail(w http.ResponseWriter, status int, e Error) { answer(w, status, e) }

// withLists makes what is empty an empty list in JSON, never null.
func withLists(s mesh.Status) mesh.Status {
	s.Interfaces = orEmpty(s.Interfaces)
	s.Neighbours = orEmpty(s.Neighbours)
	s.Routes = orEmpty(s.Routes)
	if s.Counters == nil {
		s.Counters = map[string]uint64{}
	}
	return s
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
