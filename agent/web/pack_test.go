package web

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write static.pack")

// Modules that stay files of their own: who does not want them does not get them.
var apart = []string{"es.js", "es-help.js"}

const mainModule = "app.js"

var (
	static    = regexp.MustCompile(`(?m)^import (\* as )?(\{[^}]*\}|\w+) from '\./([\w.]+)';\n`)
	dynamic   = regexp.MustCompile(`import\('\./([\w.]+)'\)`)
	exported  = regexp.MustCompile(`(?m)^export ((?:async )?function|class|const) (\w+)`)
	remark    = regexp.MustCompile(`(?m)^ *(//.*)?\n`)
	styleNote = regexp.MustCompile(`(?m)^ *(/\*[^*]*\*/)?\n`)
)

// files are what the pack holds: those of a folder, but all modules as one, and without
// the lines that only people read.
func files(dir fs.FS) (map[string][]byte, error) {
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, err
	}
	out := make(map[string][]byte)
	modules := make(map[string]string)
	for _, e := range entries {
		b, err := fs.ReadFile(dir, e.Name())
		if err != nil {
			return nil, err
		}
		switch path.Ext(e.Name()) {
		case ".js":
			modules[e.Name()] = remark.ReplaceAllString(string(b), "")
		case ".css":
			out[e.Name()] = styleNote.ReplaceAll(b, nil)
		default:
			out[e.Name()] = b
		}
	}
	for _, name := range apart {
		if modules[name] != "" {
			out[name] = []byte(modules[name])
		}
		delete(modules, name)
	}
	b := bundle{modules: modules, done: make(map[string]bool)}
	if err := b.add(mainModule); err != nil {
		return nil, err
	}
	for name := range modules {
		if !b.done[name] {
			return nil, fmt.Errorf("%s: no module imports it", name)
		}
	}
	out[mainModule] = b.text.Bytes()
	return out, nil
}

// bundle is all modules in one. Each becomes a function that is called once and returns
// what the module exports, after those that it imports:
//
//	const $map = (() => {
//	const { quality } = $kit;
//	…
//	return { Picture };
//	})();
type bundle struct {
	modules map[string]string
	done    map[string]bool // false: begun
	text    bytes.Buffer
}

func (b *bundle) add(name string) error {
	if done, begun := b.done[name]; begun {
		if !done {
			return fmt.Errorf("%s: modules import each other in a circle", name)
		}
		return nil
	}
	b.done[name] = false
	text, ok := b.modules[name]
	if !ok {
		return fmt.Errorf("there is no module %s", name)
	}
	for _, re := range []*regexp.Regexp{static, dynamic} {
		for _, m := range re.FindAllStringSubmatch(text, -1) {
			if of := m[len(m)-1]; !slices.Contains(apart, of) {
				if err := b.add(of); err != nil {
					return err
				}
			}
		}
	}
	b.done[name] = true
	text = static.ReplaceAllStringFunc(text, func(line string) string {
		m := static.FindStringSubmatch(line)
		return "const " + strings.ReplaceAll(m[2], " as ", ": ") + " = " + variable(m[3]) + ";\n"
	})
	text = dynamic.ReplaceAllStringFunc(text, func(call string) string {
		of := dynamic.FindStringSubmatch(call)[1]
		if slices.Contains(apart, of) {
			return call
		}
		return variable(of)
	})
	var exports []string
	for _, m := range exported.FindAllStringSubmatch(text, -1) {
		exports = append(exports, m[2])
	}
	text = exported.ReplaceAllString(text, "$1 $2")
	// What this does not know, such as a variable that others would see change.
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "export ") || strings.HasPrefix(line, "import ") {
			return fmt.Errorf("%s: the pack has no form for %q", name, line)
		}
	}
	fmt.Fprintf(&b.text, "const %s = (() => {\n%sreturn { %s };\n})();\n", variable(name), text, strings.Join(exports, ", "))
	return nil
}

func variable(module string) string { return "$" + strings.TrimSuffix(module, ".js") }

// The pack holds the files of the folder. It is judged by what is in it: other versions
// of the compressor may write other bytes.
func TestPack(t *testing.T) {
	want, err := files(os.DirFS("static"))
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		writePack(t, want)
	}
	packed, err = os.ReadFile("static.pack")
	if err != nil {
		t.Fatal(err)
	}
	a := loadAssets()
	if len(a.files) != len(want) {
		t.Errorf("%d files in the pack, want %d: go test ./agent/web -update", len(a.files), len(want))
	}
	total := 0
	for name, text := range want {
		if a.files[name] == nil || !bytes.Equal(unzip(a.files[name]), text) {
			t.Errorf("%s is another one in the pack: go test ./agent/web -update", name)
		}
		total += len(a.files[name])
	}
	if total > 100<<10 {
		t.Errorf("the page has %d bytes compressed, at most 100 KiB", total)
	}
}

func writePack(t *testing.T, files map[string][]byte) {
	t.Helper()
	var head, body bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(files)) {
		before := body.Len()
		z, _ := gzip.NewWriterLevel(&body, gzip.BestCompression)
		z.Write(files[name])
		if err := z.Close(); err != nil || strings.ContainsAny(name, " \n") {
			t.Fatal(name, err)
		}
		fmt.Fprintf(&head, "%s %d\n", name, body.Len()-before)
	}
	if err := os.WriteFile("static.pack", append(append(head.Bytes(), '\n'), body.Bytes()...), 0o644); err != nil {
		t.Fatal(err)
	}
}
