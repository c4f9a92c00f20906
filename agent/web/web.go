// Package web is the router's web page for the people of its LAN: files that are
// embedded, and the control API behind a guard. docs/protocols/web.md describes it.
//
// A Server owns its sessions, its listeners and their connections; all else it asks
// the agent.
package web

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"globalnet/agent/control"
)

// Host is the name of the router for its LAN.
const Host = "router.gnet.alt"

// Agent is what the page shows.
type Agent interface {
	control.Agent
	Settings() control.Settings
	LAN() control.LAN
	Map(ctx context.Context) (control.Map, error)
}

// View is what the owner's configuration says of the page.
type View struct {
	On     bool   // there is a page
	Name   string // of the router
	Public bool   // guests may see the status

	Metrics bool // everybody of the LAN may read /metrics
}

// Config is what a Server is made of.
type Config struct {
	Agent    Agent
	Password string          // path of the file with its hash
	View     func() View     // now
	Radios   func() []string // that the wizard may give to the mesh; may be nil
	Version  string
	Log      *slog.Logger
}

// Server serves the page.
type Server struct {
	cfg      Config
	api      http.Handler
	origin   *http.CrossOriginProtection
	assets   *assets
	routes   map[string]*route // by method and path
	conns    conns
	streams  streams
	sessions sessions
	logins   logins
	password password
}

// New returns a Server.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, api: control.Handler(cfg.Agent), origin: http.NewCrossOriginProtection(), assets: loadAssets(),
		sessions: newSessions(), logins: newLogins(), password: password{cfg.Password}}
	s.routes = s.table()
	return s
}

// Door is a way to the page.
type Door struct {
	Hosts []string              // that a browser may name
	From  func(netip.Addr) bool // who may come; nil: all but the mesh
}

// Times and sizes that bound a connection.
const (
	headerTime = 5 * time.Second
	bodyTime   = 10 * time.Second
	answerTime = 20 * time.Second
	idleTime   = 30 * time.Second
	closeTime  = 2 * time.Second
	maxHeader  = 8 << 10
	maxBody    = 16 << 10
)

type (
	doorKey struct{}
	connKey struct{}
)

// Serve answers on l until ctx ends, and closes it.
func (s *Server) Serve(ctx context.Context, l net.Listener, door Door) error {
	h := &http.Server{
		Handler: s, ReadHeaderTimeout: headerTime, ReadTimeout: bodyTime, WriteTimeout: answerTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return context.WithValue(ctx, doorKey{}, door) },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	served := make(chan error, 1)
	go func() { served <- h.Serve(&listener{l, &s.conns}) }()
	select {
	case err := <-served:
		h.Close()
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if h.Shutdown(grace) != nil {
		h.Close()
	}
	<-served
	return nil
}
