// Package wycheproof reads the test vectors of C2SP's Wycheproof project for tests.
// They are no part of this project: the variable WYCHEPROOF names the folder
// testvectors_v1 of a copy, which `.ci/run` downloads. It keeps no state.
package wycheproof

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Variable names the folder.
const Variable = "WYCHEPROOF"

// Case is what all vectors have; G are the fields of a group of them, V those of one.
type Case[G, V any] struct {
	ID      int
	Comment string
	Flags   []string
	Result  string // "valid", "invalid" or "acceptable"
	Group   G
	Vector  V
}

// Has tells whether a case has a flag.
func (c Case[G, V]) Has(flag string) bool { return slices.Contains(c.Flags, flag) }

// Hex is octets in hexadecimal.
type Hex []byte

// UnmarshalText decodes it.
func (h *Hex) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

// Load returns the vectors of a file, of which there must be at least some. Without
// a copy the test is skipped.
func Load[G, V any](t *testing.T, file string, least int) []Case[G, V] {
	t.Helper()
	dir := os.Getenv(Variable)
	if dir == "" {
		t.Skipf("%s does not name the folder testvectors_v1 of a copy of github.com/C2SP/wycheproof", Variable)
	}
	raw, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	list, err := parse[G, V](raw)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(list) < least {
		t.Fatalf("%s has %d vectors, want at least %d", file, len(list), least)
	}
	return list
}

func parse[G, V any](raw []byte) (list []Case[G, V], err error) {
	var file struct{ TestGroups []json.RawMessage }
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, err
	}
	for _, text := range file.TestGroups {
		var group G
		var tests struct{ Tests []json.RawMessage }
		if err := json.Unmarshal(text, &group); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &tests); err != nil {
			return nil, err
		}
		for _, one := range tests.Tests {
			var head struct {
				TcID            int
				Comment, Result string
				Flags           []string
			}
			c := Case[G, V]{Group: group}
			if err := json.Unmarshal(one, &head); err != nil {
				return nil, err
			}
			if err := json.Unmarshal(one, &c.Vector); err != nil {
				return nil, err
			}
			c.ID, c.Comment, c.Result, c.Flags = head.TcID, head.Comment, head.Result, head.Flags
			list = append(list, c)
		}
	}
	return list, nil
}
