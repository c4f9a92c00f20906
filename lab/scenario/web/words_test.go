package web

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	said    = regexp.MustCompile(`\b(?:t|many)\((?:[^'()]|'(?:[^'\\]|\\.)*'|\([^()]*\))*`)
	literal = regexp.MustCompile(`'((?:[^'\\]|\\.)*)'`)
	entry   = regexp.MustCompile(`(?m)^  '((?:[^'\\]|\\.)*)': '((?:[^'\\]|\\.)*)',$`)
	holes   = regexp.MustCompile(`\{\d\}`)
	// Tables of words that are chosen when the page runs.
	tables = regexp.MustCompile(`(?m)^(?:export )?const (?:kinds|classes|purposes|qualities|reasons|states) = \{(.*)\};$|^const levels = \[(.*)\];$`)
	value  = regexp.MustCompile(`: '([^']*)'`)
	titles = regexp.MustCompile(`title: '([^']+)'`)
)

// The Spanish table has every text of the page, with the same holes, and no other.
func TestWords(t *testing.T) {
	files, err := filepath.Glob("../../../agent/web/static/*.js")
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	spanish := map[string]string{}
	wanted := map[string]string{}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		if filepath.Base(name) == "es-help.js" {
			continue // a test of agent/web has it
		}
		if filepath.Base(name) == "es.js" {
			for _, m := range entry.FindAllStringSubmatch(text, -1) {
				if _, twice := spanish[m[1]]; twice {
					t.Errorf("%q is there twice", m[1])
				}
				spanish[m[1]] = m[2]
			}
			continue
		}
		for _, call := range said.FindAllString(text, -1) {
			for _, m := range literal.FindAllStringSubmatch(call, -1) {
				wanted[m[1]] = name
			}
		}
		for _, table := range tables.FindAllStringSubmatch(text, -1) {
			for _, m := range value.FindAllStringSubmatch(table[1], -1) {
				wanted[m[1]] = name
			}
			for _, m := range literal.FindAllStringSubmatch(table[2], -1) {
				wanted[m[1]] = name
			}
		}
		for _, m := range titles.FindAllStringSubmatch(text, -1) {
			wanted[m[1]] = name
		}
	}
	if len(wanted) < 200 {
		t.Errorf("only %d texts found", len(wanted))
	}
	for text, file := range wanted {
		if !strings.ContainsAny(text, "abcdefghijklmnopqrstuvwxyz") || text == "\\n" || text == "\\n\\n" {
			continue
		}
		other, ok := spanish[text]
		if !ok {
			t.Errorf("%s: %q is not in es.js", filepath.Base(file), text)
			continue
		}
		if a, b := holes.FindAllString(text, -1), holes.FindAllString(other, -1); len(a) != len(b) {
			t.Errorf("%q has other holes in Spanish: %q", text, other)
		}
	}
	for text := range spanish {
		if _, ok := wanted[text]; !ok {
			t.Errorf("es.js: %q is nowhere on the page", text)
		}
	}
}
