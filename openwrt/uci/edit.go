package uci

import (
	"bytes"
	"fmt"
	"slices"
)

// AddSection makes a named section at the end of the file. One that is there with
// that type is left as it is.
func (f *File) AddSection(typ, name string) error {
	if !isType(typ) || !isName(name) {
		return fmt.Errorf("adding section %q of type %q: not a name and a type", name, typ)
	}
	if have, ok := f.Type(name); ok {
		if have != typ {
			return fmt.Errorf("adding section %s of type %s: %w, %s", name, typ, ErrType, have)
		}
		return nil
	}
	// libuci writes a blank line before each section, and one at the end of the file:
	// before that one the new section goes, so that removing it leaves the file as it was.
	at := len(f.nodes)
	if at > 0 && bytes.Equal(f.nodes[at-1].raw, []byte("\n")) && f.text(at-1) {
		at--
	}
	raw := fmt.Appendf(nil, "config %s %s\n", typ, quote(name))
	var added []node
	if f.text(at) {
		f.nodes[at-1].endLine()
		added = append(added, node{raw: []byte("\n")})
	}
	added = append(added, node{raw: raw, kind: section, name: typ, value: name})
	f.nodes = slices.Insert(f.nodes, at, added...)
	return nil
}

// text reports whether anything stands before node i.
func (f *File) text(i int) bool {
	return slices.ContainsFunc(f.nodes[:i], func(n node) bool { return len(n.raw) > 0 })
}

// DeleteSection removes a section, its options, what stands between them, and
// the blank line before. It does nothing if there is none.
func (f *File) DeleteSection(ref string) {
	for {
		h := f.headers(ref)
		if len(h) == 0 {
			return
		}
		from, to := h[0], h[0]+1
		for i := to; i < len(f.nodes) && f.nodes[i].kind != section; i++ {
			if f.nodes[i].kind != other {
				to = i + 1
			}
		}
		if from > 0 && bytes.Equal(f.nodes[from-1].raw, []byte("\n")) {
			from--
		}
		f.nodes = slices.Delete(f.nodes, from, to)
		if _, _, byIndex := parseRef(ref); byIndex {
			return // the next one has moved up
		}
	}
}

// Set gives an option one value; a list of that name becomes an option. A value
// that is there already is not written anew.
func (f *File) Set(ref, name, value string) error {
	if err := f.check(ref, name, value); err != nil {
		return err
	}
	at := f.find(ref, name)
	if len(at) == 1 && f.nodes[at[0]].kind == option {
		f.nodes[at[0]].replace(value)
		return nil
	}
	f.remove(at)
	f.insert(ref, node{kind: option, name: name, value: value})
	return nil
}

// SetList gives a list its values, in that order; none removes it.
func (f *File) SetList(ref, name string, values ...string) error {
	if err := f.check(ref, name, values...); err != nil {
		return err
	}
	at := f.find(ref, name)
	isList := !slices.ContainsFunc(at, func(i int) bool { return f.nodes[i].kind != list })
	if isList && slices.Equal(f.List(ref, name), values) {
		return nil
	}
	f.remove(at)
	for _, v := range values {
		f.insert(ref, node{kind: list, name: name, value: v})
	}
	return nil
}

// AddList adds one value to a list that does not have it. What is an option
// becomes a list that begins with it.
func (f *File) AddList(ref, name, value string) error {
	if err := f.check(ref, name, value); err != nil {
		return err
	}
	have := f.List(ref, name)
	if slices.Contains(have, value) {
		return nil
	}
	at := f.find(ref, name)
	if slices.ContainsFunc(at, func(i int) bool { return f.nodes[i].kind == option }) {
		return f.SetList(ref, name, append(have, value)...)
	}
	n := node{kind: list, name: name, value: value}
	if len(at) > 0 {
		f.insertAfter(at[len(at)-1], n)
	} else {
		f.insert(ref, n)
	}
	return nil
}

// RemoveList removes a value from a list.
func (f *File) RemoveList(ref, name, value string) {
	var gone []int
	for _, i := range f.find(ref, name) {
		if f.nodes[i].kind == list && f.nodes[i].value == value {
			gone = append(gone, i)
		}
	}
	f.remove(gone)
}

// Delete removes an option or a list.
func (f *File) Delete(ref, name string) { f.remove(f.find(ref, name)) }

func (f *File) check(ref, name string, values ...string) error {
	if len(f.headers(ref)) == 0 {
		return fmt.Errorf("setting %s.%s: %w", ref, name, ErrNoSection)
	}
	if !isName(name) {
		return fmt.Errorf("setting %s.%s: not a name", ref, name)
	}
	for _, v := range values {
		if err := checkValue(v); err != nil {
			return fmt.Errorf("setting %s.%s: %w", ref, name, err)
		}
	}
	return nil
}

// find returns the nodes of an option or a list.
func (f *File) find(ref, name string) (at []int) {
	f.body(ref, func(i int, n *node) {
		if n.name == name {
			at = append(at, i)
		}
	})
	return at
}

// remove deletes nodes; their order is ascending.
func (f *File) remove(at []int) {
	for _, i := range slices.Backward(at) {
		f.nodes = slices.Delete(f.nodes, i, i+1)
	}
}

// replace changes the word of the value, and nothing else of the line.
func (n *node) replace(value string) {
	if n.value == value {
		return
	}
	word := []byte(quote(value))
	n.raw = slices.Concat(n.raw[:n.start], word, n.raw[n.end:])
	n.value, n.end = value, n.start+len(word)
}

// insert puts a node after the last option of a section.
func (f *File) insert(ref string, n node) {
	h := f.headers(ref)
	last := h[len(h)-1]
	f.body(ref, func(i int, _ *node) { last = max(last, i) })
	f.insertAfter(last, n)
}

func (f *File) insertAfter(i int, n node) {
	keyword := "option"
	if n.kind == list {
		keyword = "list"
	}
	f.nodes[i].endLine()
	n.raw = fmt.Appendf(nil, "\t%s %s ", keyword, n.name)
	n.start = len(n.raw)
	n.raw = append(n.raw, quote(n.value)...)
	n.end = len(n.raw)
	n.raw = append(n.raw, '\n')
	f.nodes = slices.Insert(f.nodes, i+1, n)
}

// endLine ends the line of n, so that another can follow it.
func (n *node) endLine() {
	if bytes.HasSuffix(n.raw, []byte("\\")) {
		n.raw = append(slices.Clip(n.raw), '\n') // which the backslash takes
	}
	if !bytes.HasSuffix(n.raw, []byte("\n")) || bytes.HasSuffix(n.raw, []byte("\\\n")) {
		n.raw = append(slices.Clip(n.raw), '\n')
	}
}
