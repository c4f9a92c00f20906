// Package luci holds LuCI's application for GlobalNet: views that run in the browser,
// their menu, and who may use what. It has no Go of its own; the tests run the views
// in Chromium against the real plugin of rpcd and a real agent. docs/decisions/0033
// tells how it is made.
package luci

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"globalnet/agent/config"
)

var update = flag.Bool("update", false, "write the table of options anew from the reference")

const (
	reference   = "../../agent/config/reference.uci"
	optionsFile = "htdocs/luci-static/resources/globalnet/options.js"
)

// optionSection and optionHelp are what the pages know of the configuration.
type optionSection struct {
	name    string // of the example
	Help    string
	names   []string // of the options, in order
	Options map[string]*optionHelp
}

type optionHelp struct {
	Help           string
	Usual, Example []string
	List, Live     bool
}

var (
	referenceLine = regexp.MustCompile(`^\s*(#?)(config|option|list) (\S+)(?: '(.*)')?$`)
	commentLine   = regexp.MustCompile(`^\s*# ?(.*)$`)
)

// readReference reads the reference of the configuration, comments included.
func readReference(t *testing.T) (order []string, sections map[string]*optionSection) {
	t.Helper()
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	sections = make(map[string]*optionSection)
	var section *optionSection
	var help []string
	used := false // the comment stands above an option already
	for number, line := range strings.Split(string(text), "\n") {
		m := referenceLine.FindStringSubmatch(line)
		switch {
		case m == nil && strings.TrimSpace(line) == "":
			help, used = nil, false
		case m == nil:
			c := commentLine.FindStringSubmatch(line)
			if c == nil {
				t.Fatalf("%s:%d: not understood: %s", reference, number+1, line)
			}
			if used {
				help, used = nil, false
			}
			help = append(help, c[1])
		case m[2] == "config":
			section = &optionSection{name: m[4], Help: sentence(help), Options: make(map[string]*optionHelp)}
			sections[m[3]] = section
			order = append(order, m[3])
			help, used = nil, false
		default:
			o := section.Options[m[3]]
			if o == nil {
				o = &optionHelp{Help: sentence(help), List: m[2] == "list"}
				o.Help, o.Live = strings.CutSuffix(o.Help, " Live.")
				section.Options[m[3]] = o
				section.names = append(section.names, m[3])
			}
			if m[1] == "" {
				o.Usual = append(o.Usual, m[4])
			} else {
				o.Example = append(o.Example, m[4])
			}
			used = true
		}
	}
	return order, sections
}

// inFile matches what only who writes the file wants to know.
var inFile = regexp.MustCompile(` ?Repeat the line[^.]*\.`)

func sentence(lines []string) string {
	return strings.TrimSpace(inFile.ReplaceAllString(strings.Join(lines, " "), ""))
}

// script is options.js.
func script(order []string, sections map[string]*optionSection) []byte {
	var b bytes.Buffer
	b.WriteString("'use strict';\n'require baseclass';\n\n/* The options of /etc/config/globalnet, made from the reference of the configuration by\n * `go test ./openwrt/luci -run TestOptions -update`. */\nreturn baseclass.extend({ sections: {\n")
	quote := func(v any) string {
		var q bytes.Buffer
		e := json.NewEncoder(&q)
		e.SetEscapeHTML(false)
		e.Encode(v)
		return strings.TrimSpace(q.String())
	}
	for i, typ := range order {
		s := sections[typ]
		text := s.Help
		if typ == "globalnet" {
			text = "" // the head of the file stands there
		}
		text = strings.TrimSuffix(text, " Live.")
		fmt.Fprintf(&b, "%s: { help: %s, options: {\n", typ, quote(text))
		for j, name := range s.names {
			o := s.Options[name]
			fmt.Fprintf(&b, "\t%s: { help: %s", name, quote(o.Help))
			for _, v := range []struct {
				name   string
				values []string
			}{{"usual", o.Usual}, {"example", o.Example}} {
				switch {
				case len(v.values) == 0:
				case o.List:
					fmt.Fprintf(&b, ", %s: %s", v.name, quote(v.values))
				default:
					fmt.Fprintf(&b, ", %s: %s", v.name, quote(v.values[0]))
				}
			}
			if o.List {
				b.WriteString(", list: true")
			}
			if o.Live || strings.HasSuffix(s.Help, "Live.") || strings.HasSuffix(s.Help, "Live, as all of this section.") {
				b.WriteString(", live: true")
			}
			b.WriteString(" }" + comma(j, len(s.names)) + "\n")
		}
		b.WriteString("} }" + comma(i, len(order)) + "\n")
	}
	b.WriteString("} });\n")
	return b.Bytes()
}

func comma(i, n int) string {
	if i == n-1 {
		return ""
	}
	return ","
}

// TestOptions: the pages know every option of the configuration, as its reference has
// it, which a test of agent/config compares with the program.
func TestOptions(t *testing.T) {
	order, sections := readReference(t)
	want := script(order, sections)
	if *update {
		if err := os.WriteFile(optionsFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(optionsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the reference of the configuration says: `go test ./openwrt/luci -run TestOptions -update`, and give new options a kind in settings.js", optionsFile)
	}
	for _, typ := range order {
		for name, o := range sections[typ].Options {
			if o.Help == "" {
				t.Errorf("option %s of %s has no help", name, typ)
			}
		}
	}
	// What the reference leaves out would be a warning of the parser.
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if _, warnings, err := config.Parse(reference, text); err != nil || len(warnings) > 0 {
		t.Error(err, warnings)
	}
}
