package edit

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"globalnet/agent/config"
)

// Change is a new value of an option.
type Change struct {
	Section string // name or reference
	Type    string // makes the section if there is none; else may be empty
	Option  string // empty: the section is deleted
	Values  []string
}

// MaxChanges bounds what is changed at once.
const MaxChanges = 256

// OptionError says which option of a change is wrong.
type OptionError struct {
	Option string // section.option
	Err    error
}

func (e *OptionError) Error() string { return e.Option + ": " + e.Err.Error() }

// Unwrap returns what is wrong with it.
func (e *OptionError) Unwrap() error { return e.Err }

// Apply makes all the changes in the configuration at path, or none. It reports whether
// the file is another one now. With keep, the old one is kept until Confirm.
func Apply(path string, changes []Change, keep bool) (written bool, err error) {
	f, err := open(path)
	if err != nil {
		return false, err
	}
	if len(changes) > MaxChanges {
		return false, fmt.Errorf("%d changes: at most %d at once", len(changes), MaxChanges)
	}
	was := slices.Clone(f.Bytes())
	for _, c := range changes {
		if err := f.apply(c); err != nil {
			return false, &OptionError{strings.TrimSuffix(c.Section+"."+c.Option, "."), err}
		}
	}
	if _, err := f.parse(); err != nil {
		return false, f.named(err)
	}
	if keep && !slices.Equal(was, f.Bytes()) {
		if err := keepOld(path, was, f.Bytes()); err != nil {
			return false, err
		}
	}
	written, err = f.Save()
	if err != nil && keep {
		err = errors.Join(err, Confirm(path))
	}
	return written, err
}

func (f *file) apply(c Change) error {
	typ, there := f.Type(c.Section)
	switch {
	case !there && c.Type == "":
		return errors.New("there is no such section: its type is needed to make it")
	case there && c.Type != "" && c.Type != typ:
		return fmt.Errorf("the section is of type %s, not %s", typ, c.Type)
	case c.Option == "":
		f.DeleteSection(c.Section)
		return nil
	case len(c.Values) == 0:
		if there {
			f.Delete(c.Section, c.Option)
		}
		return nil
	case !there:
		typ = c.Type
		if err := f.section(typ, c.Section); err != nil {
			return err
		}
	}
	info, ok := optionOf(typ, c.Option)
	switch {
	case !ok:
		return fmt.Errorf("a section of type %s has no such option", typ)
	case info.List:
		return f.SetList(c.Section, c.Option, c.Values...)
	case len(c.Values) > 1:
		return errors.New("has one value")
	}
	return f.Set(c.Section, c.Option, c.Values[0])
}

func optionOf(typ, name string) (config.OptionInfo, bool) {
	for _, s := range config.Schema() {
		for _, o := range s.Options {
			if s.Type == typ && o.Name == name {
				return o, true
			}
		}
	}
	return config.OptionInfo{}, false
}

// named says of which section and option the first problem in err is.
func (f *file) named(err error) error {
	var p *config.Problem
	if !errors.As(err, &p) {
		return err
	}
	parsed, parseErr := config.ParseFile(f.Bytes())
	if parseErr != nil {
		return err
	}
	counts := make(map[string]int)
	at := ""
	for _, s := range parsed.Sections {
		if s.Line > p.Line {
			break
		}
		at = refOf(s, counts)
	}
	if at == "" {
		return err
	}
	return &OptionError{strings.TrimSuffix(at+"."+p.Option, "."), errors.New(p.Text)}
}

// Section is one of the file, secrets hidden.
type Section struct {
	Ref, Type, Name string
	Options         map[string][]string
}

// Sections lists those of the configuration at path, in its order.
func Sections(path string) ([]Section, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	parsed, err := config.ParseFile(f.Bytes())
	if err != nil {
		return nil, err
	}
	list := []Section{}
	for _, s := range f.Sections() {
		list = append(list, Section{Ref: s.Ref, Type: s.Type, Name: s.Name, Options: make(map[string][]string)})
	}
	counts := make(map[string]int)
	for _, s := range parsed.Sections {
		ref := refOf(s, counts)
		i := slices.IndexFunc(list, func(l Section) bool { return l.Ref == ref })
		if i < 0 {
			continue
		}
		for _, o := range s.Options {
			list[i].add(o)
		}
	}
	return list, nil
}

// add adds a value as it is shown.
func (s *Section) add(o config.Option) {
	info, known := optionOf(s.Type, o.Name)
	switch {
	case config.IsSecret(s.Type, o.Name):
		s.Options[o.Name] = []string{"set"}
	case o.List:
		s.Options[o.Name] = append(s.Options[o.Name], o.Value)
	case known && info.List: // UCI's own readers take it apart too
		s.Options[o.Name] = strings.Fields(o.Value)
	default:
		s.Options[o.Name] = []string{o.Value}
	}
}

// refOf names a section; counts has those of each type before it.
func refOf(s config.Section, counts map[string]int) string {
	n := counts[s.Type]
	counts[s.Type]++
	if s.Name != "" {
		return s.Name
	}
	return fmt.Sprintf("@%s[%d]", s.Type, n)
}
