package edit

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"globalnet/agent/config"
	"globalnet/internal/identity"
	"globalnet/onion/service/key"
	"globalnet/openwrt/uci"
)

// Service is a hidden service to add, or more ports of one that is there.
type Service struct {
	Name       string
	Ports      []config.ServicePort // at least one
	Listing    bool
	Restricted bool
	SingleHop  bool
	Points     int    // 0: as it is
	Key        string // path; empty: as it is
}

// Added is what came of it.
type Added struct {
	config.Service
	Address identity.NodeID
	New     bool // the section was not there
}

// AddService writes a service into the configuration at path, and makes its key if
// there is none.
func AddService(path string, s Service) (added Added, err error) {
	err = change(path, func(f *file) error {
		added.New = !f.has(typeService, s.Name)
		if err := f.section(typeService, s.Name); err != nil {
			return err
		}
		f.Delete(s.Name, "enabled") // one that was switched off is wanted again
		for _, p := range s.Ports {
			if err := f.addPort(s.Name, p); err != nil {
				return err
			}
		}
		if err := f.options(s); err != nil {
			return err
		}
		c, err := f.parse()
		if err != nil {
			return err
		}
		for _, have := range c.Services {
			if have.Name == s.Name {
				added.Service = have
			}
		}
		id, err := key.LoadOrCreate(added.Key)
		if err != nil {
			return err
		}
		added.Address = id.NodeID()
		return nil
	})
	return added, err
}

func (f *file) addPort(name string, p config.ServicePort) error {
	for _, text := range f.List(name, "port") {
		have, err := config.ParseServicePort(text)
		if err != nil || have.Port != p.Port {
			continue
		}
		if have != p {
			return fmt.Errorf("port %d of service %s leads to %s: %w", p.Port, name, have.Target(), ErrExists)
		}
		return nil
	}
	return f.AddList(name, "port", p.String())
}

// options writes those that differ from what holds without them.
func (f *file) options(s Service) error {
	set := func(name, value string, wanted bool) error {
		if !wanted {
			return nil
		}
		return f.Set(s.Name, name, value)
	}
	return errors.Join(
		set("listing", "1", s.Listing), set("restricted", "1", s.Restricted), set("single_hop", "1", s.SingleHop),
		set("points", fmt.Sprint(s.Points), s.Points != 0), set("key", s.Key, s.Key != ""),
	)
}

// RemoveService takes a service out of the configuration. Its key, whose path is
// returned, is deleted only if that is asked for: without it the address is lost.
func RemoveService(path, name string, deleteKey bool) (keyPath string, err error) {
	err = change(path, func(f *file) error {
		if !f.has(typeService, name) {
			return fmt.Errorf("service %s: %w", name, ErrNone)
		}
		keyPath = f.keyOf(name)
		f.DeleteSection(name)
		return nil
	})
	if err == nil && deleteKey {
		if err = os.Remove(keyPath); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	return keyPath, err
}

// KeyPath is where the key of a service is or would be, whether or not the service is
// in the configuration.
func KeyPath(path, name string) (string, error) {
	f, err := open(path)
	if err != nil {
		return "", err
	}
	if !isSectionName(name) {
		return "", fmt.Errorf("%q cannot be the name of a service: want 1 to 48 letters, digits and _", name)
	}
	return f.keyOf(name), nil
}

// keyOf is the path of a service's key; of a section that is switched off too.
func (f *file) keyOf(name string) string {
	switchedOn, err := f.enabled(name)
	if err != nil {
		switchedOn = f.was
	}
	for _, s := range switchedOn.Services {
		if s.Name == name {
			return s.Key
		}
	}
	return f.was.ServiceKeyPath(name)
}

// enabled is the configuration as if that section had effect.
func (f *file) enabled(name string) (config.Config, error) {
	again, err := uci.Parse(f.Bytes())
	if err != nil {
		return config.Config{}, err
	}
	again.Delete(name, "enabled")
	c, _, err := config.Parse(f.path, again.Bytes())
	return c, err
}

// AddClient lets a client into a service.
func AddClient(path, service string, client key.ClientPublic) error {
	return change(path, func(f *file) error {
		if !f.has(typeService, service) {
			return fmt.Errorf("service %s: %w", service, ErrNone)
		}
		return f.AddList(service, "client", client.String())
	})
}

// RemoveClient shuts one out.
func RemoveClient(path, service string, client key.ClientPublic) error {
	return change(path, func(f *file) error {
		if !f.has(typeService, service) {
			return fmt.Errorf("service %s: %w", service, ErrNone)
		}
		found, err := f.deleteValue(service, "client", client.String())
		if err == nil && !found {
			err = fmt.Errorf("client %s of service %s: %w", client, service, ErrNone)
		}
		return err
	})
}

// SetServiceKey gives this node a key for somebody's restricted service, and makes it
// if there is none. It returns what the owner of the service must be told.
func SetServiceKey(path, name string, service identity.NodeID) (public key.ClientPublic, err error) {
	err = change(path, func(f *file) error {
		if err := f.section(typeKey, name); err != nil {
			return err
		}
		if have, ok := f.Get(name, "service"); ok && !strings.HasPrefix(have, service.String()) {
			return fmt.Errorf("key %s is for service %s: %w", name, have, ErrExists)
		}
		if err := f.Set(name, "service", key.Host(service)); err != nil {
			return err
		}
		c, err := f.parse()
		if err != nil {
			return err
		}
		for _, k := range c.ServiceKeys {
			if k.Name == name {
				public, err = loadOrCreateClient(k.File)
			}
		}
		return err
	})
	return public, err
}

func loadOrCreateClient(path string) (key.ClientPublic, error) {
	k, err := key.LoadClient(path)
	if errors.Is(err, os.ErrNotExist) {
		k, err = key.CreateClient(path)
	}
	if err != nil {
		return key.ClientPublic{}, err
	}
	return k.Public(), nil
}

// RemoveServiceKey takes a key for somebody's service out of the configuration. The
// file, whose path is returned, stays.
func RemoveServiceKey(path, name string) (keyPath string, err error) {
	err = change(path, func(f *file) error {
		if !f.has(typeKey, name) {
			return fmt.Errorf("key %s: %w", name, ErrNone)
		}
		for _, k := range f.was.ServiceKeys {
			if k.Name == name {
				keyPath = k.File
			}
		}
		f.DeleteSection(name)
		return nil
	})
	return keyPath, err
}
