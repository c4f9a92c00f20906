package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"globalnet/lab"
	"globalnet/lab/medium"
	"globalnet/lab/topology"
)

// NodeStatus is a node as `lab status` shows it.
type NodeStatus struct {
	Name    string      `json:"name"`
	Kind    string      `json:"kind"`
	Address string      `json:"address,omitempty"` // mesh address of a router
	Agent   string      `json:"agent"`
	Pid     int         `json:"pid,omitempty"` // as the lab counts processes
	Log     string      `json:"log,omitempty"`
	Status  *lab.Status `json:"status,omitempty"` // absent while the agent does not answer

	Radios map[string]medium.Counters `json:"radios,omitempty"`
}

// Server answers for one lab.
type Server struct {
	Lab *lab.Lab

	// Down is called when someone asks the lab to end.
	Down func()

	web      net.Listener
	programs *net.UnixListener
}

// pingTime is how long a ping waits for its answer.
const pingTime = 2 * time.Second

// maxRequest bounds a request's body.
const maxRequest = 1 << 20

// Listen opens the sockets. Run must follow.
func (s *Server) Listen(dir Dir) (err error) {
	if s.web, err = net.Listen("unix", filepath.Join(string(dir), httpSocket)); err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	s.programs, err = net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(string(dir), execSocket), Net: "unix"})
	if err != nil {
		s.web.Close()
		return fmt.Errorf("socket for programs: %w", err)
	}
	return nil
}

// Run serves until ctx ends. It returns when all it started has ended.
func (s *Server) Run(ctx context.Context) error {
	server := http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() {
		s.programs.Close()
		// The answer to "down" itself is still under way.
		patience, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		server.Shutdown(patience)
		server.Close()
	})
	defer stop()
	var all sync.WaitGroup
	all.Go(func() { s.servePrograms(ctx, s.programs) })
	err := server.Serve(s.web)
	all.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, r *http.Request) {
		answer(w, s.status(r.Context()))
	})
	mux.HandleFunc("POST /v1/change", func(w http.ResponseWriter, r *http.Request) {
		var words []string
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&words); err != nil {
			http.Error(w, "a change is a JSON list of words", http.StatusBadRequest)
			return
		}
		if err := s.Lab.Apply(words); err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		answer(w, struct{}{})
	})
	mux.HandleFunc("POST /v1/wait", func(w http.ResponseWriter, r *http.Request) {
		if err := s.Lab.WaitAllPairs(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusGatewayTimeout)
			return
		}
		answer(w, struct{}{})
	})
	mux.HandleFunc("POST /v1/ping", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), pingTime)
		defer cancel()
		rtt, err := s.Lab.Ping(ctx, r.FormValue("from"), r.FormValue("to"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		answer(w, rtt)
	})
	mux.HandleFunc("POST /v1/down", func(w http.ResponseWriter, r *http.Request) {
		answer(w, struct{}{})
		s.Down()
	})
	return mux
}

func (s *Server) status(ctx context.Context) []NodeStatus {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	nodes := s.Lab.Nodes()
	all := make([]NodeStatus, len(nodes))
	var wait sync.WaitGroup
	for i, n := range nodes {
		wait.Go(func() {
			all[i] = NodeStatus{Name: n.Name, Kind: n.Kind.String(), Agent: n.AgentState(), Pid: n.Pid(), Radios: s.Lab.Radios(n.Name)}
			if n.Kind != topology.Router {
				return
			}
			if addr, err := n.Address(); err == nil {
				all[i].Address = addr.String()
			}
			all[i].Log = n.LogPath()
			if st, err := n.Status(ctx); err == nil {
				all[i].Status = &st
			}
		})
	}
	wait.Wait()
	return all
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}
