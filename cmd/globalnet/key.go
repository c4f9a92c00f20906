package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"globalnet/agent/config"
	"globalnet/internal/identity"
)

// keyInfo is the public side of a key.
type keyInfo struct {
	Node      identity.NodeID `json:"node"`
	Address   netip.Addr      `json:"address"`
	LinkLocal netip.Addr      `json:"link_local"`
	File      string          `json:"file,omitempty"`
}

func infoOf(id identity.NodeID, file string) keyInfo {
	return keyInfo{id, id.Address(), id.LinkLocal(), file}
}

func (in *invocation) printKey(k keyInfo) error {
	if in.json {
		return in.printJSON(k)
	}
	_, err := fmt.Fprintf(in.stdout, "node        %s\naddress     %s\nlink-local  %s\nfile        %s\n", k.Node, k.Address, k.LinkLocal, k.File)
	return err
}

// keyFile is --identity, or the path in the configuration.
func (in *invocation) keyFile() (string, error) {
	if in.identity != "" {
		return in.identity, nil
	}
	c, err := in.config()
	return c.Identity, err
}

func (in *invocation) loadKey() (keyInfo, error) {
	path, err := in.keyFile()
	if err != nil {
		return keyInfo{}, err
	}
	i, err := identity.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return keyInfo{}, fmt.Errorf("no key at %s yet: the first `globalnet run` makes it, or `globalnet key new`", path)
	}
	if err != nil {
		return keyInfo{}, err
	}
	return infoOf(i.NodeID(), path), nil
}

func keyShow(_ context.Context, in *invocation) error {
	k, err := in.loadKey()
	if err != nil {
		return err
	}
	return in.printKey(k)
}

func keyNew(_ context.Context, in *invocation) error {
	path, err := in.keyFile()
	if err != nil {
		return err
	}
	i, err := identity.Create(path)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists and is never overwritten: move it away for a new key", path)
	}
	if err != nil {
		return err
	}
	return in.printKey(infoOf(i.NodeID(), path))
}

func keyAddress(_ context.Context, in *invocation) error {
	var k keyInfo
	var err error
	if len(in.args) == 1 {
		var id identity.NodeID
		if id, err = identity.ParseNodeID(in.args[0]); err != nil {
			return usageError{err}
		}
		k = infoOf(id, "")
	} else if k, err = in.loadKey(); err != nil {
		return err
	}
	if in.json {
		return in.printJSON(k)
	}
	_, err = fmt.Fprintln(in.stdout, k.Address)
	return err
}

// configArgument lets a FILE stand for --config.
func (in *invocation) configArgument() error {
	if len(in.args) == 1 {
		if in.configPath != "" {
			return usageError{errors.New("give the file once: as an argument or with --config")}
		}
		in.configPath = in.args[0]
	}
	return nil
}

func configCheck(_ context.Context, in *invocation) error {
	if err := in.configArgument(); err != nil {
		return err
	}
	_, err := in.config()
	if in.json {
		report := struct {
			File  string `json:"file"`
			Valid bool   `json:"valid"`
			Error string `json:"error,omitempty"`
		}{File: in.configPath, Valid: err == nil}
		if err != nil {
			report.Error = err.Error()
		}
		return errors.Join(in.printJSON(report), err)
	}
	if err != nil {
		return err
	}
	if in.configPath == "" {
		_, err = fmt.Fprintf(in.stdout, "no file at %s: the defaults hold\n", config.DefaultPath)
		return err
	}
	_, err = fmt.Fprintf(in.stdout, "%s is valid\n", in.configPath)
	return err
}

func configShow(_ context.Context, in *invocation) error {
	if err := in.configArgument(); err != nil {
		return err
	}
	c, err := in.config()
	if err != nil {
		return err
	}
	f := c.File()
	if !in.json {
		_, err = in.stdout.Write(config.AppendFile(nil, f))
		return err
	}
	sections := []map[string]any{}
	for _, s := range f.Sections {
		m := map[string]any{".type": s.Type}
		for _, o := range s.Options {
			if !o.List {
				m[o.Name] = o.Value
				continue
			}
			list, _ := m[o.Name].([]string)
			m[o.Name] = append(list, o.Value)
		}
		sections = append(sections, m)
	}
	return in.printJSON(sections)
}
