package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParseFile(t *testing.T) {
	section := func(options ...Option) []Section {
		return []Section{{Type: "t", Name: "n", Options: options}}
	}
	value := func(v string) []Section { return section(Option{Name: "k", Value: v}) }
	tests := []struct {
		name, text string
		want       []Section
	}{
		{"empty", "", nil},
		{"blank and comment", " \t\r\n# option x y\n", nil},
		{"anonymous", "config t", []Section{{Type: "t"}}},
		{"named", "config 't' \"n\"\n", section()},
		{"no newline at the end", "config t n\noption k v", value("v")},
		{"carriage returns", "config t n\r\n\toption k v\r\n", value("v")},
		{"package is ignored", "package x\nconfig t n\n\toption k v\n", value("v")},
		{"short keywords", "c t n\no k v\n", value("v")},
		{"semicolon", "config t n; option k v; list l w", section(Option{Name: "k", Value: "v"}, Option{Name: "l", Value: "w", List: true})},
		{"list", "config t n\nlist k 1\nlist k 2\n", section(Option{Name: "k", Value: "1", List: true}, Option{Name: "k", Value: "2", List: true})},
		{"comment after a value", "config t n\noption k v # w\n", value("v")},
		{"comment in a bare word", "config t n\noption k v#w\n", value("v")},
		{"comment sign in quotes", "config t n\noption k 'v # w; x'\n", value("v # w; x")},
		{"empty value", "config t n\noption k ''\n", value("")},
		{"single quotes keep backslashes", `config t n` + "\n" + `option k 'a\b"c'`, value(`a\b"c`)},
		{"double quotes and backslashes", `config t n` + "\n" + `option k "a\"b\\c\d"`, value(`a"b\cd`)},
		{"escaped in a bare word", `config t n` + "\n" + `option k a\ b\'c`, value(`a b'c`)},
		{"pieces join", `config t n` + "\n" + `option k 'it'\''s'" so"`, value(`it's so`)},
		{"line continues", "config t n\noption k \\\nv\n", value("v")},
		{"word continues", "config t n\noption k a\\\nb\n", value("ab")},
		{"double quotes continue", "config t n\noption k \"a\\\nb\"\n", value("ab")},
		{"quotes span lines", "config t n\noption k 'a\nb'\n", value("a\nb")},
		{"utf-8", "config t n\noption k Grüße\n", value("Grüße")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := ParseFile([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if got := withoutLines(f).Sections; !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestParseFileLines(t *testing.T) {
	f, err := ParseFile([]byte("# c\nconfig t\n\toption a 'x\ny'\n\n\toption b \\\n z\n\toption c 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := f.Sections[0]
	if got := []int{s.Line, s.Options[0].Line, s.Options[1].Line, s.Options[2].Line}; !reflect.DeepEqual(got, []int{2, 3, 6, 8}) {
		t.Errorf("lines %v", got)
	}
}

func TestParseFileErrors(t *testing.T) {
	tests := []struct {
		name, text string
		line       int
		want       string
	}{
		{"option first", "\noption k v", 2, "before the first config"},
		{"unknown keyword", "config t\n\n  options k v", 3, `"options"`},
		{"no value", "config t\noption k\n", 2, "1 words"},
		{"too many words", "config t\noption k a b\n", 2, "quote a value"},
		{"bad option name", "config t\noption k-1 a\n", 2, `"k-1"`},
		{"bad section name", "config t 'a b'\n", 1, `"a b"`},
		{"bad section type", "config 'a b'\n", 1, `"a b"`},
		{"open quote", "config t\noption k 'a\n\n\n", 2, "never closed"},
		{"open double quote", "config t\noption k \"a\\", 2, "never closed"},
		{"zero byte", "config t\noption k a\x00b\n", 2, "zero byte"},
		{"zero byte after backslash", "config t\noption k \"a\\\x00b\"\n", 2, "zero byte"},
		{"config of three words", "config a b c", 1, "3 words"},
		{"package of two words", "package a b", 1, "2 words"},
		{"too large", strings.Repeat("#", maxFile+1), 1, "at most 1048576"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseFile([]byte(tt.text))
			e, ok := errors.AsType[*SyntaxError](err)
			if !ok {
				t.Fatalf("error %v, want a SyntaxError", err)
			}
			if e.Line != tt.line || !strings.Contains(e.Problem, tt.want) {
				t.Errorf("line %d: %q; want line %d with %q", e.Line, e.Problem, tt.line, tt.want)
			}
		})
	}
}

// withoutLines is f as AppendFile sees it.
func withoutLines(f File) File {
	for i := range f.Sections {
		f.Sections[i].Line = 0
		for j := range f.Sections[i].Options {
			f.Sections[i].Options[j].Line = 0
		}
	}
	return f
}

func FuzzParseFile(f *testing.F) {
	for _, seed := range []string{
		"", "config globalnet 'main'\n\toption network 'a'\\''b'\n\tlist interface \"w\\\"lan*\"\n",
		"package p\nc t;o k 'a\nb';l k \\\n c # d", "config t\noption k '", "config t\noption k \"\\", "\\", "'", "\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := ParseFile(text)
		if err != nil {
			if e, ok := errors.AsType[*SyntaxError](err); !ok || e.Line < 1 {
				t.Fatalf("error without a line: %v", err)
			}
			return
		}
		again, err := ParseFile(AppendFile(nil, file))
		if err != nil {
			t.Fatalf("parsing what was appended: %v", err)
		}
		if !reflect.DeepEqual(withoutLines(again), withoutLines(file)) {
			t.Fatalf("got %+v\nwant %+v", again, file)
		}
	})
}
