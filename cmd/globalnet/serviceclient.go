package main

import (
	"context"
	"fmt"
	"strings"

	"globalnet/agent/edit"
	"globalnet/internal/identity"
	"globalnet/onion/service/key"
)

// parseService reads an address or a magnet link.
func parseService(text string) (identity.NodeID, error) {
	if strings.HasPrefix(text, "magnet:") {
		link, err := key.ParseLink(text)
		return link.Service, err
	}
	return key.ParseAddress(text)
}

// ownKey is a key of this node for somebody's service.
type ownKey struct {
	Name    string `json:"name"`
	Service string `json:"service"`
	Client  string `json:"client"`
	File    string `json:"key_file,omitempty"`
	Error   string `json:"error,omitempty"`
}

func clientNew(ctx context.Context, in *invocation) error {
	service, err := parseService(in.args[1])
	if err != nil {
		return usageError{err}
	}
	var public key.ClientPublic
	a, err := in.write(ctx, func(path string) (err error) {
		public, err = edit.SetServiceKey(path, in.args[0], service)
		return err
	})
	if err != nil {
		return err
	}
	if in.json {
		return in.printJSON(struct {
			ownKey
			applied
		}{ownKey{Name: in.args[0], Service: key.Host(service), Client: public.String()}, a})
	}
	fmt.Fprintf(in.stdout, "%s\nThe owner of %s lets you in with:\n  globalnet service client add NAME %s\n", public, key.Host(service), public)
	return in.note(a)
}

// allowed is a client of a service of this node.
type allowed struct {
	Service string `json:"service"` // name
	Client  string `json:"client"`
}

func clientList(_ context.Context, in *invocation) error {
	c, err := in.config()
	if err != nil {
		return err
	}
	keys, clients := []ownKey{}, []allowed{}
	t := table{{"SERVICE", "CLIENT", "KEY FILE"}}
	for _, s := range c.Services {
		for _, client := range s.Clients {
			clients = append(clients, allowed{s.Name, client.String()})
			t = append(t, []string{s.Name, client.String(), ""})
		}
	}
	for _, k := range c.ServiceKeys {
		own := ownKey{Name: k.Name, Service: key.Host(k.Service), File: k.File}
		shown := ""
		if loaded, err := key.LoadClient(k.File); err != nil {
			own.Error = err.Error()
			shown = "not readable"
		} else {
			own.Client = loaded.Public().String()
			shown = own.Client
		}
		keys = append(keys, own)
		t = append(t, []string{own.Service, shown + " (ours, " + own.Name + ")", own.File})
	}
	return in.list(struct {
		Clients []allowed `json:"clients"`
		Keys    []ownKey  `json:"keys"`
	}{clients, keys}, len(t)-1, "no clients, and no keys for services of others", t)
}

func clientAdd(ctx context.Context, in *invocation) error {
	client, err := key.ParseClient(in.args[1])
	if err != nil {
		return usageError{err}
	}
	return in.change(ctx, fmt.Sprintf("%s lets this client in", in.args[0]), func(path string) error {
		return edit.AddClient(path, in.args[0], client)
	})
}

func clientRemove(ctx context.Context, in *invocation) error {
	name := in.args[0]
	if len(in.args) == 1 {
		return in.change(ctx, fmt.Sprintf("key %s is no longer used; its file stays", name), func(path string) error {
			_, err := edit.RemoveServiceKey(path, name)
			return err
		})
	}
	client, err := key.ParseClient(in.args[1])
	if err != nil {
		return usageError{err}
	}
	return in.change(ctx, name+" shuts this client out", func(path string) error { return edit.RemoveClient(path, name, client) })
}

func nameSet(ctx context.Context, in *invocation) error {
	service, err := parseService(in.args[1])
	if err != nil {
		return usageError{err}
	}
	name := strings.TrimSuffix(strings.ToLower(in.args[0]), "."+key.Zone)
	return in.change(ctx, fmt.Sprintf("%s.%s is %s", name, key.Zone, key.Host(service)), func(path string) error {
		return edit.SetName(path, name, key.Host(service))
	})
}

// localName is a name that holds on this router.
type localName struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

func nameList(_ context.Context, in *invocation) error {
	c, err := in.config()
	if err != nil {
		return err
	}
	list := []localName{}
	t := table{{"NAME", "ADDRESS"}}
	for _, n := range c.Names {
		list = append(list, localName{n.Name, key.Host(n.Node)})
		t = append(t, []string{n.Name, key.Host(n.Node)})
	}
	return in.list(list, len(list), "no names; `globalnet name set` makes one", t)
}

func nameRemove(ctx context.Context, in *invocation) error {
	name := strings.TrimSuffix(strings.ToLower(in.args[0]), "."+key.Zone)
	return in.change(ctx, name+" is no name any more", func(path string) error { return edit.RemoveName(path, name) })
}
