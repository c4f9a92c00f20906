// Package web is the router's web page for the people of its LAN: files that are
// embedded, and the control API behind a guard. docs/protocols/web.md describes it.
//
// A Server owns its sessions, its listeners and their connections; all else it asks
// the agent through the control API.
package web

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// Config is what a Server is made of.
type Config struct {
	API http.Handler // the control API
	Log *slog.Logger
}

// Server serves the page.
type Server struct {
	cfg    Config
	assets *assets
}

// New returns a Server.
func New(cfg Config) *Server {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{cfg: cfg, assets: newAssets()}
}

// Times and sizes that bound a connection.
const (
	headerTime = 5 * time.Second
	bodyTime   = 10 * time.Second
	answerTime = 20 * time.Second
	idleTime   = 30 * time.Second
	closeTime  = 2 * time.Second
	maxHeader  = 8 << 10
)

// Serve answers on l until ctx ends, and closes it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler: s, ReadHeaderTimeout: headerTime, ReadTimeout: bodyTime, WriteTimeout: answerTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	served := make(chan error, 1)
	go func() { served <- h.Serve(l) }()
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

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		if r.Method == http.MethodGet {
			s.cfg.API.ServeHTTP(w, r)
			return
		}
		http.Error(w, "not yet", http.StatusForbidden)
		return
	}
	s.assets.serve(w, r)
}
