// Package edit changes what an owner need not write by hand: the sections of hidden
// services, of the keys of clients and of names, in the agent's UCI configuration.
// All that is not changed stays as it is, to the byte.
//
// It keeps nothing: each change reads the file, judges the result as the agent will,
// and writes it whole or not at all. Who calls has the agent reload it.
package edit

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"globalnet/agent/config"
	"globalnet/openwrt/uci"
)

// Errors that callers branch on.
var (
	ErrNoFile = errors.New("there is no configuration file to write to")
	ErrExists = errors.New("it is there already")
	ErrNone   = errors.New("there is none of this name")
)

// Types of sections.
const (
	typeService = "hidden_service"
	typeKey     = "service_key"
	typeName    = "name"
)

// file is a configuration that is being changed.
type file struct {
	*uci.Stored
	path string
	was  config.Config
}

func open(path string) (*file, error) {
	if path == "" {
		return nil, ErrNoFile
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing", ErrNoFile, path)
	}
	was, _, err := config.Load(path)
	if err != nil {
		return nil, fmt.Errorf("the configuration has mistakes: mend them first: %w", err)
	}
	stored, err := uci.Open(path)
	if err != nil {
		return nil, err
	}
	return &file{stored, path, was}, nil
}

// parse judges what would be written.
func (f *file) parse() (config.Config, error) {
	c, _, err := config.Parse(f.path, f.Bytes())
	return c, err
}

func (f *file) save() error {
	if _, err := f.parse(); err != nil {
		return err
	}
	_, err := f.Save()
	return err
}

// has reports whether there is a section of that type and name.
func (f *file) has(typ, name string) bool {
	have, ok := f.Type(name)
	return ok && have == typ
}

// section finds or makes one. UCI's names are of all types together.
func (f *file) section(typ, name string) error {
	if !isSectionName(name) {
		return fmt.Errorf("%q cannot be the name of a section: want 1 to 48 letters, digits and _", name)
	}
	if have, ok := f.Type(name); ok && have != typ {
		return fmt.Errorf("the configuration has a section %s of another type, %s: choose another name", name, have)
	}
	return f.AddSection(typ, name)
}

func isSectionName(s string) bool {
	return s != "" && len(s) <= 48 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && r != '_'
	})
}

// change opens the file, has do change it, and writes it.
func change(path string, do func(f *file) error) error {
	f, err := open(path)
	if err != nil {
		return err
	}
	if err := do(f); err != nil {
		return err
	}
	return f.save()
}

// SetName gives a node or service a name that holds on this router.
func SetName(path, name, address string) error {
	return change(path, func(f *file) error {
		ref := f.nameSection(name)
		if ref == "" {
			var err error
			if ref, err = f.newName(strings.ToLower(name)); err != nil {
				return err
			}
		}
		return f.Set(ref, "node", address)
	})
}

// RemoveName takes a name back.
func RemoveName(path, name string) error {
	return change(path, func(f *file) error {
		ref := f.nameSection(name)
		if ref == "" {
			return fmt.Errorf("name %s: %w", name, ErrNone)
		}
		f.DeleteSection(ref)
		return nil
	})
}

// nameSection finds the section of a name; empty: there is none.
func (f *file) nameSection(name string) string {
	for _, s := range f.Sections() {
		if s.Type != typeName {
			continue
		}
		its, ok := f.Get(s.Ref, "name")
		if !ok {
			its = s.Name
		}
		if strings.EqualFold(its, name) {
			return s.Ref
		}
	}
	return ""
}

// newName makes a section for a name. Its own name is the one that was asked for
// where UCI can have that and nothing else does.
func (f *file) newName(name string) (ref string, err error) {
	taken := func(ref string) bool { _, ok := f.Type(ref); return ok }
	if isSectionName(name) && !taken(name) {
		return name, f.AddSection(typeName, name)
	}
	plain := "name_" + strings.Map(func(r rune) rune {
		if isSectionName(string(r)) {
			return r
		}
		return '_'
	}, name)[:min(len(name), 40)]
	ref = plain
	for n := 2; taken(ref); n++ {
		ref = fmt.Sprintf("%s_%d", plain, n)
	}
	if err := f.AddSection(typeName, ref); err != nil {
		return "", err
	}
	return ref, f.Set(ref, "name", name)
}

// deleteValue removes a value from a list that may have been written as an option.
func (f *file) deleteValue(ref, name, value string) (found bool, err error) {
	have := f.List(ref, name)
	i := slices.Index(have, value)
	if i < 0 {
		return false, nil
	}
	return true, f.SetList(ref, name, slices.Delete(have, i, i+1)...)
}
