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
var radioOptions = []option[struct{}]{
	{name: "enabled", set: judgeBool},
	{name: "mode", set: judgeWord("auto", "mesh", "adhoc")},
	{name: "channel", set: judgeNumber(233)},
	{name: "mesh_id", set: judgeMeshID},
	{name: "changed", list: true, set: func(*reader, *struct{}, string) error { return nil }},
}

// readRadio judges a section.
func (r *reader) readRadio(s Section) {
	readRepeated(r, s, radioOptions, maxRadios, func(struct{}, string) {})
}

func judgeWord(known ...string) func(*reader, *struct{}, string) error {
	return func(_ *reader, _ *struct{}, v string) error {
		for _, k := range known {
			if v == k {
				return nil
			}
		}
		return fmt.Errorf("%s: want one of %s", strconv.Quote(v), strings.Join(known, ", "))
	}
}

func judgeMeshID(_ *reader, _ *struct{}, v string) error {
	if len(v) < 1 || len(v) > 32 || strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) {
		return fmt.Errorf("%q: want 1 to 32 bytes without control characters", v)
	}
	return nil
}
