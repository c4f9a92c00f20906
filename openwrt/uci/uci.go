// Package uci reads and changes configuration files of OpenWrt's UCI without
// touching a byte that need not change: comments, order, quotes and blank lines of
// the owner stay.
//
// New sections have names, so that they can be found again and removed to the last
// line. A File is owned by who opened it; the syntax is that of libuci.
package uci

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxFile bounds what is read: a router's configuration has a few KiB.
const maxFile = 1 << 20

// File is one configuration file, /etc/config/NAME.
type File struct {
	nodes []node
}

type kind uint8

const (
	other kind = iota // blank lines and comments, package lines
	section
	option
	list
)

// node is a statement with the space before it and the rest of its line, or a
// line without one. All nodes together are the file.
type node struct {
	raw        []byte
	kind       kind
	name       string // of the option; type of the section
	value      string // of the option; name of the section, perhaps empty
	start, end int    // of the value's word within raw
}

// SyntaxError says where a file is not UCI.
type SyntaxError struct {
	Line int
	Text string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Text) }

// Errors that callers branch on.
var (
	ErrNoSection = errors.New("no such section")
	ErrType      = errors.New("the section has another type")
)

// Parse reads a file. A semicolon ends a statement, as libuci's comments say; its
// code loses the rest of that line, so nobody writes one.
func Parse(text []byte) (*File, error) {
	if len(text) > maxFile {
		return nil, &SyntaxError{1, fmt.Sprintf("%d bytes, at most %d are read", len(text), maxFile)}
	}
	f := new(File)
	s := scanner{text: text, line: 1}
	inSection := false
	for s.pos < len(text) {
		line := s.line
		n, err := s.node()
		if err != nil {
			return nil, err
		}
		if n.kind == section {
			inSection = true
		} else if n.kind != other && !inSection {
			return nil, &SyntaxError{line, n.name + " before the first section"}
		}
		f.nodes = append(f.nodes, n)
	}
	return f, nil
}

// Bytes returns the file as it is now.
func (f *File) Bytes() []byte {
	var all []byte
	for _, n := range f.nodes {
		all = append(all, n.raw...)
	}
	return all
}

// Section is one section as it stands in the file.
type Section struct {
	Type string
	Name string // empty for an anonymous one
	Ref  string // by which the methods of File find it: the name, or @type[index]
}

// Sections returns all, in their order. A name that is given twice is one section
// for UCI, and is returned once.
func (f *File) Sections() []Section {
	var all []Section
	count := make(map[string]int)
	seen := make(map[string]bool)
	for _, n := range f.nodes {
		if n.kind != section || n.value != "" && seen[n.value] {
			continue
		}
		ref := n.value
		if ref == "" {
			ref = fmt.Sprintf("@%s[%d]", n.name, count[n.name])
		}
		count[n.name]++
		seen[n.value] = true
		all = append(all, Section{n.name, n.value, ref})
	}
	return all
}

// headers returns the nodes that open a section: more than one if its name is in
// the file again.
func (f *File) headers(ref string) []int {
	var found []int
	typ, index, byIndex := parseRef(ref)
	seen := make(map[string]bool)
	for i, n := range f.nodes {
		if n.kind != section {
			continue
		}
		if !byIndex {
			if ref != "" && n.value == ref {
				found = append(found, i)
			}
			continue
		}
		if n.name != typ || n.value != "" && seen[n.value] {
			continue
		}
		seen[n.value] = true
		if index == 0 {
			if n.value != "" {
				return f.headers(n.value)
			}
			return []int{i}
		}
		index--
	}
	return found
}

// parseRef takes @type[index] apart.
func parseRef(ref string) (typ string, index int, ok bool) {
	typ, ok = strings.CutPrefix(ref, "@")
	if !ok {
		return "", 0, false
	}
	typ, number, ok := strings.Cut(typ, "[")
	number, closed := strings.CutSuffix(number, "]")
	index, err := strconv.Atoi(number)
	return typ, index, ok && closed && err == nil && index >= 0
}

// body calls visit with each option and list of the section.
func (f *File) body(ref string, visit func(i int, n *node)) {
	for _, h := range f.headers(ref) {
		for i := h + 1; i < len(f.nodes) && f.nodes[i].kind != section; i++ {
			if f.nodes[i].kind != other {
				visit(i, &f.nodes[i])
			}
		}
	}
}

// Type returns the type of a section.
func (f *File) Type(ref string) (string, bool) {
	h := f.headers(ref)
	if len(h) == 0 {
		return "", false
	}
	return f.nodes[h[0]].name, true
}

// Get returns the value of an option; of a list, the last one.
func (f *File) Get(ref, name string) (value string, ok bool) {
	f.body(ref, func(_ int, n *node) {
		if n.name == name {
			value, ok = n.value, true
		}
	})
	return value, ok
}

// List returns the values of a list; an option is a list of one.
func (f *File) List(ref, name string) (values []string) {
	f.body(ref, func(_ int, n *node) {
		switch {
		case n.name != name:
		case n.kind == option: // replaces what came before, as in libuci
			values = []string{n.value}
		default:
			values = append(values, n.value)
		}
	})
	return values
}

// Options returns the names of the options and lists of a section, each once.
func (f *File) Options(ref string) (names []string) {
	f.body(ref, func(_ int, n *node) {
		if !slices.Contains(names, n.name) {
			names = append(names, n.name)
		}
	})
	return names
}

// equal reports whether two files say the same, whatever they look like.
func equal(a, b *File) bool {
	sa, sb := a.Sections(), b.Sections()
	if !slices.Equal(sa, sb) {
		return false
	}
	for _, s := range sa {
		if !slices.Equal(a.Options(s.Ref), b.Options(s.Ref)) {
			return false
		}
		for _, name := range a.Options(s.Ref) {
			if !slices.Equal(a.List(s.Ref, name), b.List(s.Ref, name)) {
				return false
			}
		}
	}
	return true
}

// quote writes a value as `uci export` does.
func quote(value string) string {
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

// checkValue refuses what no reader gets back.
func checkValue(value string) error {
	if strings.ContainsRune(value, 0) {
		return errors.New("a zero byte in a value")
	}
	return nil
}

func isName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

func isType(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < 33 || r > 126 })
}
