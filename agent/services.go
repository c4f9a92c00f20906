package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/agent/edit"
	"globalnet/agent/files"
	"globalnet/internal/identity"
	"globalnet/onion/service"
	"globalnet/onion/service/key"
)

// targetTimeout is how long a local target may take to accept a connection.
const targetTimeout = 10 * time.Second

// serviceNode is what services need of onion.Node.
type serviceNode interface {
	SetServices(list []service.Config)
	Services() []service.Status
	SetServiceKeys(keys map[identity.NodeID]*key.ClientKey)
}

// services are the hidden services of this node, as the configuration has them.
type services struct {
	node serviceNode
	log  *slog.Logger

	mu       sync.Mutex
	closed   bool
	list     []ownService
	folders  map[folder]*files.Server
	problems map[string]string // what was last said of a key, by path
}

// ownService is one of the configuration.
type ownService struct {
	config.Service
	address identity.NodeID
	err     error // why it cannot be offered
}

// folder tells apart the servers of folders: their tags depend on the service.
type folder struct {
	service identity.NodeID
	dir     string
	listing bool
}

func newServices(node serviceNode, log *slog.Logger) *services {
	return &services{node: node, log: log, folders: make(map[folder]*files.Server), problems: make(map[string]string)}
}

// configure offers the services of c from now on. Streams that are open stay, but for
// those to folders that are not served any more.
func (s *services) configure(c config.Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.list = nil
	var offered []service.Config
	wanted := make(map[folder]bool)
	seen := make(map[identity.NodeID]string)
	for _, want := range c.Services {
		own := ownService{Service: want}
		id, err := key.LoadOrCreate(want.Key)
		if err == nil {
			own.address = id.NodeID()
			if first, twice := seen[own.address]; twice {
				err = fmt.Errorf("service %s has the same key", first)
			}
			seen[own.address] = want.Name
		}
		if own.err = err; err == nil {
			offered = append(offered, s.offer(want, id, wanted))
		}
		s.say("a hidden service is not offered", want.Name, want.Key, err)
		s.list = append(s.list, own)
	}
	s.node.SetServices(offered)
	s.node.SetServiceKeys(s.clientKeys(c.ServiceKeys))
	for f, server := range s.folders {
		if !wanted[f] {
			delete(s.folders, f)
			server.Close()
		}
	}
}

// say logs what is wrong with a key when that changes.
func (s *services) say(message, name, path string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && s.problems[path] != text {
		s.log.Error(message, "service", name, "err", err)
	}
	s.problems[path] = text
}

func (s *services) clientKeys(list []config.ServiceKey) map[identity.NodeID]*key.ClientKey {
	keys := make(map[identity.NodeID]*key.ClientKey, len(list))
	for _, k := range list {
		loaded, err := key.LoadClient(k.File)
		s.say("a key for a restricted service is not used", k.Name, k.File, err)
		if err == nil {
			keys[k.Service] = loaded
		}
	}
	return keys
}

// offer makes what the onion takes of a service.
func (s *services) offer(want config.Service, id *identity.Identity, wanted map[folder]bool) service.Config {
	c := service.Config{
		Name: want.Name, Key: id, Points: want.Points, Restricted: want.Restricted, Clients: want.Clients,
		SingleHop: want.SingleHop, Work: want.Work,
	}
	for _, p := range want.Ports {
		connect := dialTarget(p)
		if p.Dir != "" {
			f := folder{id.NodeID(), p.Dir, want.Listing}
			wanted[f] = true
			connect = s.folder(f, id).Connect
		}
		c.Ports = append(c.Ports, service.Port{Port: p.Port, Connect: connect})
	}
	return c
}

// folder returns the server of a folder, the one that runs if there is one.
func (s *services) folder(f folder, id *identity.Identity) *files.Server {
	if s.folders[f] == nil {
		secret := sha256.Sum256(append([]byte("globalnet folder secret"), id.Seed()...))
		s.folders[f] = files.New(files.Config{Dir: f.dir, Listing: f.listing, Secret: secret})
	}
	return s.folders[f]
}

// dialTarget opens one connection to the target for each stream of a client.
func dialTarget(p config.ServicePort) func(ctx context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		d := net.Dialer{Timeout: targetTimeout}
		conn, err := d.DialContext(ctx, p.Network, p.Address)
		if err != nil {
			return nil, fmt.Errorf("opening the target of port %d: %w", p.Port, err)
		}
		return conn, nil
	}
}

// close ends the servers of folders.
func (s *services) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for f, server := range s.folders {
		delete(s.folders, f)
		server.Close()
	}
}

// status lists the services of the configuration, and what the onion knows of them.
func (s *services) status(now time.Time) []control.Service {
	s.mu.Lock()
	list := slices.Clone(s.list)
	s.mu.Unlock()
	known := make(map[string]service.Status)
	for _, st := range s.node.Services() {
		known[st.Name] = st
	}
	out := make([]control.Service, len(list))
	for i, own := range list {
		st := known[own.Name]
		c := control.Service{
			Name: own.Name, Ports: []control.ServicePort{}, Restricted: own.Restricted, SingleHop: own.SingleHop, Allowed: len(own.Clients),
			Points: append([]identity.NodeID{}, st.Points...), Published: -1, Stored: st.Stored, Clients: st.Clients, Streams: st.Streams,
			Refused: st.Refused, Error: st.Error,
		}
		if !own.address.IsZero() {
			c.Address = key.Host(own.address)
		}
		if !st.Published.IsZero() {
			c.Published = max(now.Sub(st.Published), 0)
		}
		for _, p := range own.Ports {
			c.Ports = append(c.Ports, control.ServicePort{Port: p.Port, Target: p.Target()})
		}
		if own.err != nil {
			c.Error = own.err.Error()
		}
		out[i] = c
	}
	return out
}

// Services returns the hidden services as the control API asks them; nil if the onion
// is switched off.
func (a *Agent) Services() control.Services {
	if a.onion == nil {
		return nil
	}
	return hiddenServices{a}
}

// hiddenServices are control.Services.
type hiddenServices struct{ a *Agent }

func (h hiddenServices) Services() []control.Service { return h.a.onion.services.status(time.Now()) }

// AddService writes a service into the configuration and takes it into use.
func (h hiddenServices) AddService(ctx context.Context, r control.ServiceRequest) (control.Service, error) {
	var s control.Service
	request := edit.Service{Name: r.Name, Listing: r.Listing, Restricted: r.Restricted, SingleHop: r.SingleHop, Points: r.Points}
	for _, p := range r.Ports {
		port, err := config.ParseServicePort(fmt.Sprintf("%d %s", p.Port, p.Target))
		if err != nil {
			return s, notAdded(err)
		}
		request.Ports = append(request.Ports, port)
	}
	if _, err := edit.AddService(h.a.o.ConfigPath, request); err != nil {
		return s, notAdded(err)
	}
	if _, err := h.a.Reload(ctx); err != nil {
		return s, err
	}
	list := h.Services()
	i := slices.IndexFunc(list, func(s control.Service) bool { return s.Name == r.Name })
	if i < 0 {
		return s, errors.New("somebody removed the service at the same time")
	}
	return list[i], nil
}

// RemoveService takes a service out of the configuration; its key stays.
func (h hiddenServices) RemoveService(ctx context.Context, name string) error {
	if _, err := edit.RemoveService(h.a.o.ConfigPath, name, false); err != nil {
		return notAdded(err)
	}
	_, err := h.a.Reload(ctx)
	return err
}

// notAdded makes an error of what the owner asked for one that the API explains.
func notAdded(err error) error {
	hint := "`globalnet service --help` shows how"
	switch {
	case errors.Is(err, edit.ErrNoFile):
		hint = "start the agent with a configuration file: `globalnet run --config FILE`"
	case errors.Is(err, edit.ErrNone):
		hint = "`globalnet service list` lists them"
	}
	return &control.Error{Code: control.BadRequest, Message: err.Error(), Hint: hint}
}
