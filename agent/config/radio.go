package config

import (
	"fmt"
	"strconv"
	"strings"
)

// maxRadios bounds the radio sections of a file.
const maxRadios = 16

// radioOptions are those of `config radio`, a radio that the owner gave to the mesh.
// `globalnet setup` acts on them; the agent only judges them.
var radioOptions = []option{
	{name: "enabled", set: setBool(new(bool))},
	{name: "mode", set: judgeWord("auto", "mesh", "adhoc")},
	{name: "channel", set: setNumber(new(int), 0, 233)},
	{name: "mesh_id", set: judgeMeshID},
	{name: "changed", list: true, set: func(*reader, string) error { return nil }},
}

// readRadio judges a section.
func (r *reader) readRadio(s Section) {
	r.readRepeated(s, radioOptions, maxRadios)
}

func judgeWord(known ...string) setter {
	return func(_ *reader, v string) error {
		for _, k := range known {
			if v == k {
				return nil
			}
		}
		return fmt.Errorf("%s: want one of %s", strconv.Quote(v), strings.Join(known, ", "))
	}
}

func judgeMeshID(_ *reader, v string) error {
	if len(v) < 1 || len(v) > 32 || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) {
		return fmt.Errorf("%q: want 1 to 32 bytes without control characters", v)
	}
	return nil
}
