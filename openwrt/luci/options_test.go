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
	"slices"
	"strings"
	"testing"

	"globalnet/agent/config"
)

var update = flag.Bool("update", false, "write the table of options anew from the program's")

const optionsFile = "htdocs/luci-static/resources/globalnet/options.js"

// Words of the reference that make no sense in a form: about the file, and what is said
// of every option anyway.
var inFile = regexp.MustCompile(` ?Repeat the line[^.]*\.| Live(, as all of this section)?\.$`)

func help(text string) string {
	return strings.TrimSpace(inFile.ReplaceAllString(inFile.ReplaceAllString(text, ""), ""))
}

// usual returns what holds without the option, as far as that is the same everywhere, and
// an example otherwise.
func usual(section string, o config.OptionInfo) (name string, values []string) {
	isPath := slices.Contains([]string{"state_dir", "identity", "socket"}, o.Name)
	switch {
	case len(o.Default) > 0 && !(isPath && len(o.Example) > 0):
		return "usual", o.Default
	case isPath || section == "service" && len(o.Example) > 0 && o.Kind != "text":
		return "usual", o.Example
	}
	return "example", o.Example
}

// script is options.js.
func script() []byte {
	var b bytes.Buffer
	b.WriteString("'use strict';\n'require baseclass';\n\n/* The options of /etc/config/globalnet, made from the agent's table of them by\n * `go test ./openwrt/luci -run TestOptions -update`. */\nreturn baseclass.extend({ sections: {\n")
	quote := func(v any) string {
		var q bytes.Buffer
		e := json.NewEncoder(&q)
		e.SetEscapeHTML(false)
		e.Encode(v)
		return strings.TrimSpace(q.String())
	}
	all := config.Schema()
	for i, s := range all {
		if s.Type == "globalnet" {
			s.Help = "" // the head of the file stands there
		}
		fmt.Fprintf(&b, "%s: { help: %s, options: {\n", s.Type, quote(help(s.Help)))
		for j, o := range s.Options {
			fmt.Fprintf(&b, "\t%s: { help: %s", o.Name, quote(help(o.Help)))
			if name, values := usual(s.Type, o); len(values) > 0 && o.List {
				fmt.Fprintf(&b, ", %s: %s", name, quote(values))
			} else if len(values) > 0 {
				fmt.Fprintf(&b, ", %s: %s", name, quote(values[0]))
			}
			if o.List {
				b.WriteString(", list: true")
			}
			if o.Live {
				b.WriteString(", live: true")
			}
			b.WriteString(" }" + comma(j, len(s.Options)) + "\n")
		}
		b.WriteString("} }" + comma(i, len(all)) + "\n")
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

// TestOptions: the pages know every option that the program knows.
func TestOptions(t *testing.T) {
	want := script()
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
		t.Errorf("%s is not what the program has: `go test ./openwrt/luci -run TestOptions -update`, and give new options a kind in settings.js", optionsFile)
	}
	for _, s := range config.Schema() {
		for _, o := range s.Options {
			if help(o.Help) == "" {
				t.Errorf("option %s of %s has no help", o.Name, s.Type)
			}
		}
	}
}
