// Package globalnet_test keeps the shape of the project: who may import whom,
// what every package and file has, and that the documents tell the truth.
package globalnet_test

import (
	"bytes"
	"encoding/json"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "globalnet"

// maxLines bounds a file: one idea each.
const maxLines = 700

// layers says what of ours a package may import. The longest matching folder
// counts; a folder allows itself, and "/..." all below it.
var layers = map[string][]string{
	"cmd":               {"agent/...", "mesh/...", "onion/...", "openwrt/...", "board", "lab/...", "internal/..."},
	"cmd/globalnet":     {"agent/...", "mesh/...", "onion/...", "openwrt/...", "board", "internal/identity"},
	"openwrt":           {"openwrt/uci", "agent/...", "mesh/...", "onion/...", "board", "internal/identity"},
	"openwrt/pack":      {"openwrt/pack/deflate"},
	"openwrt/usign":     {},
	"openwrt/archive":   {},
	"openwrt/guard":     {"openwrt/archive"},
	"openwrt/upgrade":   {"openwrt/archive", "openwrt/guard", "openwrt/usign"},
	"openwrt/flash":     {"board", "openwrt/..."},
	"openwrt/uci":       {},
	"agent":             {"agent/...", "mesh/...", "onion/...", "board", "internal/identity", "internal/blind", "internal/clock"},
	"agent/config":      {"internal/identity", "onion/path", "onion/policy", "onion/service/key"},
	"agent/edit":        {"agent/config", "onion/service/key", "openwrt/uci", "internal/identity"},
	"agent/files":       {},
	"agent/control":     {"agent/config", "agent/metrics", "mesh", "internal/identity"},
	"agent/metrics":     {},
	"agent/console":     {"agent/control", "agent/config", "mesh", "internal/identity"},
	"agent/web":         {"agent/config", "agent/control", "mesh", "mesh/peers", "internal/identity"},
	"mesh":              {"mesh/beacon", "mesh/link", "mesh/babel", "mesh/peers", "internal/identity"},
	"mesh/beacon":       {"internal/identity"},
	"mesh/link":         {"mesh/link/signal", "internal/identity"},
	"mesh/link/signal":  {},
	"mesh/babel":        {"mesh/babel/wire"},
	"mesh/babel/wire":   {},
	"mesh/peers":        {"internal/identity"},
	"mesh/dht":          {"mesh/dht/...", "internal/identity", "internal/blind"},
	"mesh/dht/wire":     {},
	"mesh/kernel":       {"mesh", "mesh/kernel/...", "internal/identity"},
	"onion":             {"onion/...", "internal/identity", "internal/chacha", "internal/gate", "internal/clock"},
	"onion/service":     {"onion/...", "internal/identity", "internal/blind"},
	"onion/cell":        {},
	"onion/ntor":        {},
	"onion/layer":       {"onion/cell", "internal/chacha"},
	"board":             {},
	"internal/identity": {"internal/blind"},
	"internal":          {"internal/..."},
	"internal/sizes":    {"openwrt/pack/deflate"},
	"lab":               {"lab/...", "agent/...", "mesh/...", "internal/..."},
	"lab/router":        {"openwrt/..."},
	"lab/bench":         {"lab/...", "agent/...", "mesh/...", "openwrt/...", "internal/..."},
	"lab/onionlab":      {"lab/netns", "agent/servicetable", "mesh/dht", "onion/...", "internal/identity"},

	"openwrt/imagebuilder": {"board", "openwrt/..."},
}

// forbidden must not be linked into the router binary; docs/decisions tells why.
var forbidden = []string{
	"runtime/cgo", "plugin", "html/template", "text/template", "net/http/pprof", "expvar",
	"github.com/miekg/dns", "github.com/prometheus", "github.com/spf13/cobra",
	"github.com/quic-go", "gvisor.dev", "github.com/libp2p", "golang.org/x/tools",
	"globalnet/lab", "globalnet/internal/sizes", "globalnet/openwrt/pack", "globalnet/openwrt/flash", "archive/tar",
}

type listed struct {
	ImportPath, Dir string
	Imports         []string
}

// list runs `go list` as the router binary is built.
func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Imports", "-tags=nethttpomithttp2"}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p listed
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestImports(t *testing.T) {
	for _, p := range list(t, "./...") {
		from := strings.TrimPrefix(p.ImportPath, module+"/")
		if from == module {
			continue
		}
		allowed, ok := allowedFor(from)
		if !ok {
			t.Errorf("%s is in no layer: say in arch_test.go what it may import", from)
			continue
		}
		for _, i := range p.Imports {
			to, ours := strings.CutPrefix(i, module+"/")
			if ours && to != from && !permits(allowed, to) {
				t.Errorf("%s imports %s, allowed are %v", from, to, allowed)
			}
		}
	}
}

func allowedFor(pkg string) ([]string, bool) {
	for folder := pkg; folder != "."; folder = filepath.Dir(folder) {
		if allowed, ok := layers[folder]; ok {
			return allowed, true
		}
	}
	return nil, false
}

func permits(allowed []string, pkg string) bool {
	return slices.ContainsFunc(allowed, func(a string) bool {
		folder, tree := strings.CutSuffix(a, "/...")
		return pkg == folder || tree && strings.HasPrefix(pkg, folder+"/")
	})
}

func TestPermits(t *testing.T) {
	for _, tt := range []struct {
		allowed, pkg string
		want         bool
	}{
		{"mesh", "mesh", true}, {"mesh", "mesh/babel", false}, {"mesh/...", "mesh", true},
		{"mesh/...", "mesh/babel/wire", true}, {"mesh/...", "meshwork", false},
	} {
		if got := permits([]string{tt.allowed}, tt.pkg); got != tt.want {
			t.Errorf("%s permits %s: %v", tt.allowed, tt.pkg, got)
		}
	}
}

func TestRouterBinaryLinksNothingForbidden(t *testing.T) {
	for _, p := range list(t, "-deps", "./cmd/globalnet") {
		for _, f := range forbidden {
			if p.ImportPath == f || strings.HasPrefix(p.ImportPath, f+"/") {
				t.Errorf("cmd/globalnet links %s", p.ImportPath)
			}
		}
	}
}

func TestEveryPackageHasAComment(t *testing.T) {
	for _, p := range list(t, "./...") {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		commented := slices.ContainsFunc(files, func(name string) bool {
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments|parser.PackageClauseOnly)
			if err != nil {
				t.Fatal(err)
			}
			return f.Doc != nil && (!strings.HasSuffix(name, "_test.go") || onlyTests(files))
		})
		if !commented {
			t.Errorf("package %s has no comment", p.ImportPath)
		}
	}
}

func onlyTests(files []string) bool {
	return !slices.ContainsFunc(files, func(name string) bool { return !strings.HasSuffix(name, "_test.go") })
}

// sources calls f with each Go file of the project.
func sources(t *testing.T, f func(name string, text []byte)) {
	t.Helper()
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		text, err := os.ReadFile(name)
		if err == nil {
			f(name, text)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreShort(t *testing.T) {
	sources(t, func(name string, text []byte) {
		if n := bytes.Count(text, []byte("\n")); n > maxLines {
			t.Errorf("%s has %d lines, at most %d", name, n, maxLines)
		}
	})
}

func TestNoCgo(t *testing.T) {
	sources(t, func(name string, text []byte) {
		f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			return
		}
		for _, i := range f.Imports {
			if i.Path.Value == `"C"` {
				t.Errorf("%s uses cgo", name)
			}
		}
	})
}
