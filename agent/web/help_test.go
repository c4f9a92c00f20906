package web

import (
	"crypto/sha256"
	"fmt"
	"os"
	"regexp"
	"testing"

	"globalnet/agent/config"
)

var helpEntry = regexp.MustCompile(`(?m)^  // ([0-9a-f]{8})\n  '([a-z_.]+)': '([^'\\]+)',$`)

// The help of every section and option is there in Spanish, and is that of the English as it
// is now.
func TestSpanishHelp(t *testing.T) {
	text, err := os.ReadFile("static/es-help.js")
	if err != nil {
		t.Fatal(err)
	}
	marks := map[string]string{}
	for _, m := range helpEntry.FindAllStringSubmatch(string(text), -1) {
		if marks[m[2]] != "" {
			t.Errorf("%s is there twice", m[2])
		}
		marks[m[2]] = m[1]
	}
	check := func(key, english string) {
		want := fmt.Sprintf("%x", sha256.Sum256([]byte(english)))[:8]
		switch mark, ok := marks[key]; {
		case !ok:
			t.Errorf("es-help.js has no %s, in English: %s", key, english)
		case mark != want:
			t.Errorf("es-help.js: the English of %s has changed; see whether the Spanish still says the same, and write // %s before it: %s", key, want, english)
		}
		delete(marks, key)
	}
	for _, s := range config.Schema() {
		check(s.Type, s.Help)
		for _, o := range s.Options {
			check(s.Type+"."+o.Name, o.Help)
		}
	}
	for key := range marks {
		t.Errorf("es-help.js: there is no %s", key)
	}
}
