package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/agent/edit"
	"globalnet/internal/identity"
	"globalnet/onion/service/key"
)

// configFile is the file that changes are written to.
func (in *invocation) configFile() (string, error) {
	if _, err := in.config(); err != nil {
		return "", err
	}
	if in.configPath == "" {
		return "", noFile()
	}
	return in.configPath, nil
}

func noFile() error {
	return configError{fmt.Errorf("there is no configuration file at %s to write to: make an empty one there (`touch`), or name another with\n"+
		"--config or $GLOBALNET_CONFIG, and run the agent with it", config.DefaultPath)}
}

// edited explains errors of package edit.
func edited(err error) error {
	if errors.Is(err, edit.ErrNoFile) {
		return noFile()
	}
	if errors.Is(err, edit.ErrNone) {
		return fmt.Errorf("%w: `globalnet service list` and `globalnet name list` show what there is", err)
	}
	return err
}

// applied says whether the agent has taken a change.
type applied struct {
	Applied bool   `json:"applied"`
	Note    string `json:"note,omitempty"` // why not
}

// reload has a running agent read what was written.
func (in *invocation) reload(ctx context.Context) (applied, error) {
	client, err := in.client()
	if err != nil {
		return applied{}, err
	}
	switch _, err = client.Reload(ctx); {
	case errors.Is(err, control.ErrNotRunning):
		return applied{Note: "no agent is running: it holds from the next `globalnet run`"}, nil
	case err != nil:
		return applied{}, fmt.Errorf("written to %s, but the agent has not taken it: %w", in.configPath, err)
	}
	return applied{Applied: true}, nil
}

// write has do change the configuration file, and a running agent read it.
func (in *invocation) write(ctx context.Context, do func(path string) error) (applied, error) {
	path, err := in.configFile()
	if err == nil {
		err = edited(do(path))
	}
	if err != nil {
		return applied{}, err
	}
	return in.reload(ctx)
}

// change writes something and says so.
func (in *invocation) change(ctx context.Context, text string, do func(path string) error) error {
	a, err := in.write(ctx, do)
	if err != nil {
		return err
	}
	if in.json {
		return in.printJSON(a)
	}
	fmt.Fprintln(in.stdout, text)
	return in.note(a)
}

func (in *invocation) note(a applied) error {
	if a.Note == "" {
		return nil
	}
	_, err := fmt.Fprintln(in.stdout, a.Note)
	return err
}

// serviceInfo is what a service's owner may see of it without the agent.
type serviceInfo struct {
	Name    string                `json:"name"`
	Address string                `json:"address"`
	Link    string                `json:"link"`
	Key     string                `json:"key_file"`
	Ports   []control.ServicePort `json:"ports,omitempty"`
}

func describeService(name string, address identity.NodeID, keyPath string) serviceInfo {
	return serviceInfo{Name: name, Address: key.Host(address), Link: key.Link{Service: address, Name: name}.String(), Key: keyPath}
}

func serviceAdd(ctx context.Context, in *invocation) error {
	p, err := in.servicePort()
	if err != nil {
		return usageError{err}
	}
	s := in.service
	var added edit.Added
	a, err := in.write(ctx, func(path string) (err error) {
		added, err = edit.AddService(path, edit.Service{Name: in.args[0], Ports: []config.ServicePort{p}, Listing: s.listing,
			Restricted: s.restricted, SingleHop: s.singleHop, Points: s.points})
		return err
	})
	if err != nil {
		return err
	}
	if a.Applied {
		if err := in.isOffered(ctx, added); err != nil {
			return err
		}
	}
	info := describeService(added.Name, added.Address, added.Key)
	for _, p := range added.Ports {
		info.Ports = append(info.Ports, control.ServicePort{Port: p.Port, Target: p.Target()})
	}
	if in.json {
		return in.printJSON(struct {
			serviceInfo
			applied
		}{info, a})
	}
	t := table{{"address", info.Address}}
	for _, p := range info.Ports {
		t = append(t, []string{fmt.Sprintf("port %d", p.Port), p.Target})
	}
	t = append(t, []string{"key", info.Key + " (back it up: it is the address)"})
	if err := t.print(in.stdout); err != nil {
		return err
	}
	if a.Applied {
		a.Note = "It is being published; `globalnet service list` tells when it is reachable."
	}
	if added.Restricted && len(added.Clients) == 0 {
		a.Note += fmt.Sprintf("\nNobody can reach it yet: `globalnet service client add %s CLIENT` lets somebody in.", added.Name)
	}
	return in.note(a)
}

// servicePort is the port that --to, --dir and --port mean.
func (in *invocation) servicePort() (config.ServicePort, error) {
	s, port, target := in.service, in.service.port, in.service.to
	switch {
	case (s.to == "") == (s.dir == ""):
		return config.ServicePort{}, errors.New("say what is behind it: --to 127.0.0.1:80, or --dir FOLDER")
	case s.dir != "":
		dir, err := filepath.Abs(s.dir)
		if err != nil {
			return config.ServicePort{}, err
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return config.ServicePort{}, fmt.Errorf("%s is no folder", dir)
		}
		if target = dir; port == 0 {
			port = 80
		}
	case strings.HasPrefix(s.to, "/"):
		return config.ServicePort{}, fmt.Errorf("--to %s: a folder is given with --dir, a socket as unix:%s", s.to, s.to)
	default:
		if _, err := strconv.ParseUint(target, 10, 16); err == nil {
			target = net.JoinHostPort("127.0.0.1", target)
		}
		if _, number, err := net.SplitHostPort(target); err == nil && port == 0 {
			n, _ := strconv.ParseUint(number, 10, 16)
			port = uint(n)
		}
	}
	if port == 0 {
		return config.ServicePort{}, errors.New("give the port of the service with --port")
	}
	return config.ParseServicePort(fmt.Sprintf("%d %s", port, target))
}

// isOffered checks that the agent that reloaded reads the file that was written.
func (in *invocation) isOffered(ctx context.Context, added edit.Added) error {
	list, err := ask(ctx, in, (*control.Client).Services)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(s control.Service) bool { return s.Name == added.Name }) {
		return fmt.Errorf("written to %s, but the agent at %s reads another file: start it with `globalnet run --config %s`", in.configPath, in.socket, in.configPath)
	}
	return nil
}

func serviceList(ctx context.Context, in *invocation) error {
	list, err := ask(ctx, in, (*control.Client).Services)
	if err != nil {
		return err
	}
	t := table{{"NAME", "ADDRESS", "PORTS", "STATE", "POINTS", "CLIENTS", "STREAMS", "REFUSED"}}
	for _, s := range list {
		var ports []string
		for _, p := range s.Ports {
			ports = append(ports, fmt.Sprint(p.Port))
		}
		t = append(t, []string{s.Name, s.Address, strings.Join(ports, ","), serviceState(s), fmt.Sprint(len(s.Points)),
			fmt.Sprint(s.Clients), fmt.Sprint(s.Streams), fmt.Sprint(s.Refused)})
	}
	return in.list(list, len(list), "no hidden services; `globalnet service add` makes one", t)
}

func serviceState(s control.Service) string {
	var kind []string
	if s.Restricted {
		kind = append(kind, "restricted to "+count(s.Allowed, "client"))
	}
	if s.SingleHop {
		kind = append(kind, "not hidden: single hop")
	}
	switch {
	case s.Error != "":
		kind = append([]string{s.Error}, kind...)
	case s.Published < 0:
		kind = append([]string{"being published"}, kind...)
	default:
		kind = append([]string{fmt.Sprintf("reachable, published %s ago", duration(s.Published))}, kind...)
	}
	return strings.Join(kind, "; ")
}

func serviceRemove(ctx context.Context, in *invocation) error {
	var keyPath string
	a, err := in.write(ctx, func(path string) (err error) {
		keyPath, err = edit.RemoveService(path, in.args[0], in.service.deleteKey)
		return err
	})
	if err != nil {
		return err
	}
	if in.json {
		return in.printJSON(struct {
			applied
			Key     string `json:"key_file"`
			Deleted bool   `json:"deleted"`
		}{a, keyPath, in.service.deleteKey})
	}
	text := "its key stays: " + keyPath
	if in.service.deleteKey {
		text = "its key is deleted: " + keyPath
	}
	fmt.Fprintf(in.stdout, "%s is no longer offered; %s\n", in.args[0], text)
	return in.note(a)
}

// loadService reads the key of the service that the first argument names.
func (in *invocation) loadService() (*identity.Identity, serviceInfo, error) {
	path, err := in.configFile()
	if err != nil {
		return nil, serviceInfo{}, err
	}
	name := in.args[0]
	keyPath, err := edit.KeyPath(path, name)
	if err != nil {
		return nil, serviceInfo{}, err
	}
	id, err := key.Load(keyPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, serviceInfo{}, fmt.Errorf("service %s has no key at %s: `globalnet service add %s` makes one, `globalnet service list` lists the services", name, keyPath, name)
	}
	if err != nil {
		return nil, serviceInfo{}, err
	}
	return id, describeService(name, id.NodeID(), keyPath), nil
}

func serviceAddress(_ context.Context, in *invocation) error {
	_, info, err := in.loadService()
	if err != nil {
		return err
	}
	if in.json {
		return in.printJSON(info)
	}
	if in.service.qr {
		picture, err := qrCode(info.Link, isTerminal(in.stdout))
		if err != nil {
			return err
		}
		fmt.Fprint(in.stdout, picture)
	}
	text := info.Address
	if in.service.magnet {
		text = info.Link
	}
	_, err = fmt.Fprintln(in.stdout, text)
	return err
}

func serviceExport(_ context.Context, in *invocation) error {
	id, info, err := in.loadService()
	if err != nil {
		return err
	}
	passphrase, err := in.passphrase(true)
	if err != nil {
		return err
	}
	text, err := key.Export(id, passphrase)
	if err != nil {
		return err
	}
	if in.json {
		return in.printJSON(struct {
			Name    string `json:"name"`
			Address string `json:"address"`
			Key     string `json:"key"`
		}{info.Name, info.Address, string(text)})
	}
	_, err = in.stdout.Write(text)
	return err
}

const maxExported = 64 << 10

func serviceImport(ctx context.Context, in *invocation) error {
	path, err := in.configFile()
	if err != nil {
		return err
	}
	name := in.args[0]
	keyPath, err := edit.KeyPath(path, name)
	if err != nil {
		return usageError{err}
	}
	if _, err := os.Lstat(keyPath); err == nil {
		return keyIsThere(name, keyPath)
	}
	source := in.stdin
	if in.args[1] != "-" {
		f, err := os.Open(in.args[1])
		if err != nil {
			return fmt.Errorf("reading the exported key: %w", err)
		}
		defer f.Close()
		source = f
	}
	text, err := io.ReadAll(io.LimitReader(source, maxExported))
	if err != nil {
		return fmt.Errorf("reading the exported key: %w", err)
	}
	passphrase, err := in.passphrase(false)
	if err != nil {
		return err
	}
	id, err := key.Import(text, passphrase)
	if err != nil {
		return err
	}
	if err = key.Store(keyPath, id); errors.Is(err, fs.ErrExist) {
		return keyIsThere(name, keyPath)
	}
	if err != nil {
		return err
	}
	a, err := in.reload(ctx)
	if err != nil {
		return err
	}
	info := describeService(name, id.NodeID(), keyPath)
	if in.json {
		return in.printJSON(info)
	}
	t := table{{"address", info.Address}, {"key", info.Key}}
	if err := t.print(in.stdout); err != nil {
		return err
	}
	c, _, err := config.Load(path)
	if err == nil && !slices.ContainsFunc(c.Services, func(s config.Service) bool { return s.Name == name }) {
		a.Note = fmt.Sprintf("Offer it here with `globalnet service add %s --to 127.0.0.1:80` or --dir FOLDER.", name)
	}
	return in.note(a)
}

func keyIsThere(name, path string) error {
	return fmt.Errorf("service %s has a key already, %s, and keys are never overwritten: choose another name, or move it away", name, path)
}
