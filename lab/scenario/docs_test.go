package scenario

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"globalnet/agent/control"
	"globalnet/lab"
	"globalnet/lab/labtest"
)

// elsewhere are commands of the documents that other tests run, or that cannot run in a lab.
var elsewhere = []struct{ begin, why string }{
	{"globalnet run ", "every router of a lab does"},
	{"globalnet radio ", "needs a radio: lab/vm"},
	{"globalnet setup", "needs OpenWrt: openwrt, lab/router"},
	{"globalnet upgrade", "replaces the program: cmd/globalnet, openwrt/flash"},
	{"globalnet cleanup", "refuses beside an agent: cmd/globalnet, openwrt"},
	{"globalnet web password", "asks on the terminal: cmd/globalnet"},
	{"globalnet service export", "asks on the terminal: cmd/globalnet"},
	{"globalnet service import", "asks on the terminal: cmd/globalnet"},
}

// lasting commands end with Ctrl-C; they must say something first.
var lasting = regexp.MustCompile(`^globalnet (tunnel|proxy|top)\b`)

var (
	fences    = regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```$")
	clientKey = regexp.MustCompile(`client-\S+`)
)

// TestDocuments types what the documents say, on two routers: "there" and "other" in the
// comment of a line mean the second one.
func TestDocuments(t *testing.T) {
	l := start(t, "router a b c d e\nsegment hall a b c d e\n")
	for _, name := range names(l) {
		knows(t, l, name, 4, 0)
	}
	r := &reader{l: l, path: t.TempDir(), files: t.TempDir()}
	must(t, os.Symlink(labtest.Agent(t)[0], filepath.Join(r.path, "globalnet")))
	must(t, os.MkdirAll(filepath.Join(r.files, "photos"), 0o755))
	must(t, os.MkdirAll(filepath.Join(r.files, "www"), 0o755))
	ran := 0
	for _, name := range []string{"README.md", "docs/operations.md", "docs/faq.md"} {
		text, err := os.ReadFile("../../" + name)
		must(t, err)
		for _, block := range fences.FindAllStringSubmatch(string(text), -1) {
			for line := range strings.Lines(block[1]) {
				line, comment, _ := strings.Cut(strings.TrimSpace(line), " #")
				line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
				if strings.HasPrefix(line, "globalnet ") && !isElsewhere(line) {
					r.types(t, name, line, comment)
					ran++
				}
			}
		}
	}
	if ran < 25 {
		t.Errorf("%d commands were run", ran)
	}
}

func isElsewhere(line string) bool {
	for _, e := range elsewhere {
		if strings.HasPrefix(line, e.begin) {
			return true
		}
	}
	return false
}

// reader is somebody who follows the documents.
type reader struct {
	l           *lab.Lab
	path, files string
	client      string // the key that was printed last
}

func (r *reader) types(t *testing.T, document, line, comment string) {
	t.Helper()
	where := "a"
	if strings.Contains(comment, "there") || strings.Contains(comment, "other") {
		where = "b"
	}
	if rest, ok := strings.CutPrefix(line, "globalnet service add "); ok {
		owns(t, r.l, where, "service", "remove", strings.Fields(rest)[0]) // it may be there from a line before
	} else if strings.HasPrefix(line, "globalnet service") {
		r.haveService(t, where)
	}
	id, err := r.l.Node("a").ID()
	must(t, err)
	typed := strings.NewReplacer("<NodeID>", id.String(), "/srv/", r.files+"/", "client-…", r.client).Replace(line)
	if strings.Contains(typed, "<") {
		r.haveService(t, "a")
		typed = regexp.MustCompile(`<[^>]*>`).ReplaceAllString(typed, reachable(t, r.l, "a", "web"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args := []string{"PATH=" + r.path + ":" + os.Getenv("PATH"), "GLOBALNET_CONFIG=" + r.l.Node(where).ConfigPath(), "sh", "-c", typed}
	if lasting.MatchString(line) {
		args[len(args)-1] = "exec " + typed // the signal is for the command, not for a shell
		args = append([]string{"timeout", "--preserve-status", "-s", "INT", "4", "env"}, args...)
	} else {
		args = append([]string{"env"}, args...)
	}
	out, err := r.l.Node(where).Exec(ctx, args[0], args[1:]...)
	if err != nil || len(out) == 0 {
		t.Errorf("%s: on %s: %s\n(%s): %v\n%s", document, where, line, typed, err, out)
	}
	if key := clientKey.FindString(string(out)); key != "" {
		r.client = key
	}
}

// haveService offers what a line before may have removed.
func (r *reader) haveService(t *testing.T, where string) {
	t.Helper()
	out := owner(t, r.l, where, "service", "list", "--json")
	var list []control.Service
	must(t, json.Unmarshal([]byte(out), &list))
	for _, s := range list {
		if s.Name == "web" {
			return
		}
	}
	owner(t, r.l, where, "service", "add", "web", "--to", "127.0.0.1:8080", "--port", "80")
}
