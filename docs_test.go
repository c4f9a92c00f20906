package globalnet_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The documents tell the truth: their links lead somewhere, their make targets
// and commands exist, and commands that cost nothing run.

// documents returns the Markdown files of the project.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			texts[name] = string(text)
		}
	}
	return texts
}

var (
	linkPattern  = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	blockPattern = regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```$")
	shPattern    = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	makePattern  = regexp.MustCompile("`make ([a-z][a-z0-9/-]*)")
)

func TestLinksLeadSomewhere(t *testing.T) {
	for name, text := range documents(t) {
		for _, m := range linkPattern.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			}
		}
	}
}

func TestMakeTargetsExist(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	targets := regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(string(makefile), -1)
	known := make(map[string]bool)
	for _, m := range targets {
		known[m[1]] = true
	}
	for name, text := range documents(t) {
		var named []string
		for _, m := range makePattern.FindAllStringSubmatch(text, -1) {
			named = append(named, m[1])
		}
		for line := range commandLines(text, shPattern) {
			if words := strings.Fields(line); len(words) > 1 && words[0] == "make" {
				named = append(named, words[1])
			}
		}
		for _, target := range named {
			if !known[target] && !strings.HasPrefix(target, "dist/") {
				t.Errorf("%s names `make %s`, which is not in the Makefile", name, target)
			}
		}
	}
}

// cheap are commands of the documents that tests may run as they are.
var cheap = regexp.MustCompile(`^bin/globalnet (version|help|config (check|show))\b`)

func TestCommandsInDocuments(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "globalnet")
	if out, err := exec.Command("go", "build", "-o", binary, "./cmd/globalnet").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	ran := 0
	for name, text := range documents(t) {
		for line := range commandLines(text, shPattern) {
			if cheap.MatchString(line) {
				ran++
				runs(t, name, binary, line)
			}
		}
		for line := range commandLines(text, blockPattern) {
			if rest, ok := strings.CutPrefix(strings.TrimPrefix(line, "bin/"), "globalnet "); ok {
				exists(t, name, binary, rest)
			}
		}
	}
	if ran == 0 {
		t.Error("no document has a command to run")
	}
}

// commandLines yields the lines of the blocks that pattern finds, without comments.
func commandLines(text string, pattern *regexp.Regexp) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, m := range pattern.FindAllStringSubmatch(text, -1) {
			for line := range strings.Lines(m[1]) {
				line, _, _ = strings.Cut(line, " #")
				line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
				if line != "" && !yield(line) {
					return
				}
			}
		}
	}
}

func runs(t *testing.T, document, binary, line string) {
	t.Helper()
	args := strings.Fields(line)[1:]
	if out, err := exec.Command(binary, args...).CombinedOutput(); err != nil {
		t.Errorf("%s: %s: %v\n%s", document, line, err, out)
	}
}

// exists asks for the help of the command that rest begins with, of one to three words.
func exists(t *testing.T, document, binary, rest string) {
	t.Helper()
	var words []string
	for _, w := range strings.Fields(rest) {
		if len(words) == 3 || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz") != "" {
			break
		}
		words = append(words, w)
	}
	for n := len(words); n > 0; n-- {
		if exec.Command(binary, append(words[:n:n], "--help")...).Run() == nil {
			return
		}
	}
	t.Errorf("%s: there is no command `globalnet %s`", document, rest)
}
