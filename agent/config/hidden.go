package config

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"globalnet/internal/identity"
	"globalnet/onion/service/key"
)

// Service is a hidden service of this node.
type Service struct {
	Name    string // of the section; not published
	Key     string // path of its key file
	Ports   []ServicePort
	Listing bool // folders without index.html show what is in them

	Points     int                // introduction points
	Restricted bool               // only Clients get in
	Clients    []key.ClientPublic // who is served first, or alone
	SingleHop  bool               // no anonymity for this node
	Work       bool               // asks for proof of work under load
}

// ServicePort is a port of a service, and what is behind it: a folder, or an address.
type ServicePort struct {
	Port    uint16
	Dir     string // absolute
	Network string // "tcp" or "unix"
	Address string // of Network
}

// String is the port as it is configured.
func (p ServicePort) String() string { return fmt.Sprintf("%d %s", p.Port, p.Target()) }

// Target is what is behind the port.
func (p ServicePort) Target() string {
	switch {
	case p.Dir != "":
		return p.Dir
	case p.Network == "unix":
		return "unix:" + p.Address
	}
	return p.Address
}

// ServiceKey is the key by which a restricted service lets this node in.
type ServiceKey struct {
	Name    string // of the section
	Service identity.NodeID
	File    string // of the client key
}

// Bounds of hidden services; an owner who wants more has several routers.
const (
	maxServices      = 32
	maxServicePorts  = 64
	maxServiceClient = 96 // what a descriptor with ten points has room for
	maxServiceKeys   = 1024
	minPoints        = 3
	maxPoints        = 10
)

// newService has the defaults.
func newService() Service { return Service{Points: minPoints, Work: true} }

func hiddenServiceOptions(s *Service, on *bool) []option {
	return []option{
		{name: "enabled", set: setBool(on), shown: flag(*on)},
		{name: "port", list: true, set: s.addPort, shown: texts(s.Ports)},
		{name: "listing", set: setBool(&s.Listing), shown: flag(s.Listing)},
		{name: "key", set: setPath(&s.Key), shown: one(s.Key)},
		{name: "points", set: setNumber(&s.Points, minPoints, maxPoints), shown: one(s.Points)},
		{name: "restricted", set: setBool(&s.Restricted), shown: flag(s.Restricted)},
		{name: "client", list: true, set: s.addClient, shown: texts(s.Clients)},
		{name: "single_hop", set: setBool(&s.SingleHop), shown: flag(s.SingleHop)},
		{name: "work", set: setBool(&s.Work), shown: flag(s.Work)},
	}
}

func serviceKeyOptions(k *ServiceKey) []option {
	return []option{
		{name: "service", set: func(_ *reader, v string) (err error) {
			k.Service, err = key.ParseAddress(v)
			return err
		}, shown: one(k.Service)},
		{name: "file", set: setPath(&k.File), shown: one(k.File)},
	}
}

// ParseServicePort reads PORT TARGET. The target is host:port, unix:PATH, or the
// absolute path of a folder.
func ParseServicePort(text string) (ServicePort, error) {
	number, target, ok := strings.Cut(text, " ")
	if target = strings.TrimLeft(target, " "); !ok {
		return ServicePort{}, fmt.Errorf("%q: want port and target, such as '80 127.0.0.1:8080' or '80 /srv/www', in a list line", text)
	}
	port, err := parsePort(number)
	if err != nil {
		return ServicePort{}, err
	}
	p := ServicePort{Port: port}
	socket, isSocket := strings.CutPrefix(target, "unix:")
	switch {
	case strings.ContainsRune(target, 0) || isSocket && !filepath.IsAbs(socket):
		return ServicePort{}, fmt.Errorf("%q is no path: want one that begins with /", target)
	case isSocket:
		p.Network, p.Address = "unix", filepath.Clean(socket)
	case filepath.IsAbs(target):
		p.Dir = filepath.Clean(target)
	default:
		p.Network = "tcp"
		if p.Address, err = parseTarget(target); err != nil {
			return ServicePort{}, err
		}
	}
	return p, nil
}

// parseTarget takes host:port, without a default for either.
func parseTarget(v string) (string, error) {
	_, number, err := net.SplitHostPort(v)
	if err != nil {
		return "", fmt.Errorf("%q: want host:port, unix:PATH, or the path of a folder that begins with /", v)
	}
	if _, err := parsePort(number); err != nil {
		return "", err
	}
	a, err := ParseAddress(v)
	return a.String(), err
}

func (s *Service) addPort(_ *reader, v string) error {
	p, err := ParseServicePort(v)
	switch {
	case err != nil:
		return err
	case slices.ContainsFunc(s.Ports, func(q ServicePort) bool { return q.Port == p.Port }):
		return fmt.Errorf("port %d is there already", p.Port)
	case len(s.Ports) == maxServicePorts:
		return fmt.Errorf("more than %d ports", maxServicePorts)
	}
	s.Ports = append(s.Ports, p)
	return nil
}

func (s *Service) addClient(_ *reader, v string) error {
	c, err := key.ParseClient(v)
	switch {
	case err != nil:
		return err
	case slices.Contains(s.Clients, c):
		return errors.New("this key is there already")
	case len(s.Clients) == maxServiceClient:
		return fmt.Errorf("more than %d clients", maxServiceClient)
	}
	s.Clients = append(s.Clients, c)
	return nil
}

// readHidden reads a section of a hidden service. Its name chooses the key file, so it
// must not depend on which section comes first.
func (r *reader) readHidden(c *Config, s Section) {
	if s.Name == "" {
		r.fail(s.Line, "", "a %s needs a name: config %s 'NAME'", s.Type, s.Type)
		return
	}
	if s.Type == "service_key" {
		var k ServiceKey
		name, ok := r.readRepeated(s, serviceKeyOptions(&k), maxServiceKeys, "service")
		if !ok {
			return
		}
		k.Name = name
		if slices.ContainsFunc(c.ServiceKeys, func(l ServiceKey) bool { return l.Service == k.Service }) {
			r.fail(s.Line, "service", "an earlier section has a key for this service")
			return
		}
		c.ServiceKeys = append(c.ServiceKeys, k)
		return
	}
	h, on := newService(), true
	name, ok := r.readRepeated(s, hiddenServiceOptions(&h, &on), maxServices, "port")
	if !ok || !on {
		return
	}
	h.Name = name
	if h.Restricted && len(h.Clients) == 0 {
		r.warn(s.Line, "restricted", "service %s lets nobody in: name clients, `globalnet service client add`", name)
	}
	c.Services = append(c.Services, h)
}

// crossServices fills in the paths of keys, and checks that no two services share one
// and that no folder gives the node's own keys away.
func (r *reader) crossServices(c *Config) {
	for i := range c.Services {
		s := &c.Services[i]
		line := r.lines["hidden_service "+strings.ToLower(s.Name)]
		if s.Key == "" {
			s.Key = c.ServiceKeyPath(s.Name)
		}
		for _, other := range c.Services[:i] {
			if other.Key == s.Key {
				r.fail(line, "key", "%s is the key of service %s", s.Key, other.Name)
			}
		}
		for _, p := range s.Ports {
			for _, secret := range []string{c.StateDir, filepath.Dir(c.Identity), filepath.Dir(s.Key)} {
				if p.Dir != "" && within(p.Dir, secret) {
					r.fail(line, "port", "the folder %s holds %s: keys are there", p.Dir, secret)
					break
				}
			}
		}
	}
	for i := range c.ServiceKeys {
		if k := &c.ServiceKeys[i]; k.File == "" {
			k.File = c.ClientKeyPath(k.Name)
		}
	}
}

// within reports whether name is dir or below it.
func within(dir, name string) bool {
	rel, err := filepath.Rel(dir, name)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// ServiceKeyPath is where the key of a service is if no option says otherwise.
func (c *Config) ServiceKeyPath(name string) string {
	return filepath.Join(c.StateDir, "services", name+".key")
}

// ClientKeyPath is where the key for somebody's restricted service is, likewise.
func (c *Config) ClientKeyPath(name string) string {
	return filepath.Join(c.StateDir, "clients", name+".key")
}

func (s Service) equal(t Service) bool {
	return slices.Equal(s.Ports, t.Ports) && slices.Equal(s.Clients, t.Clients) &&
		s.Name == t.Name && s.Key == t.Key && s.Listing == t.Listing && s.Points == t.Points &&
		s.Restricted == t.Restricted && s.SingleHop == t.SingleHop && s.Work == t.Work
}

// compareHidden adds what a reload changes of hidden services.
func (d *Diff) compareHidden(from, to *Config) {
	if !slices.EqualFunc(from.Services, to.Services, Service.equal) {
		d.Live = append(d.Live, "hidden_service")
	}
	if !slices.Equal(from.ServiceKeys, to.ServiceKeys) {
		d.Live = append(d.Live, "service_key")
	}
}

// hiddenFile shows the sections of hidden services.
func (c *Config) hiddenFile() (list []Section) {
	on := true
	for _, s := range c.Services {
		list = append(list, shown("hidden_service", s.Name, hiddenServiceOptions(&s, &on)))
	}
	for _, k := range c.ServiceKeys {
		list = append(list, shown("service_key", k.Name, serviceKeyOptions(&k)))
	}
	return list
}
