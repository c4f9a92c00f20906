package pack

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const luciFolder = "../luci"

// luciApp is the package of LuCI's application.
func luciApp(t *testing.T, version string) Package {
	t.Helper()
	p := Package{Name: "luci-app-globalnet", Version: version, Arch: AllArches, Time: time.Unix(1_790_000_000, 0), Description: "test"}
	for folder, to := range map[string]string{"htdocs": "www/", "root": ""} {
		files, err := ReadTree(luciFolder + "/" + folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			f.Path = to + f.Path
			p.Files = append(p.Files, f)
		}
	}
	for name, body := range map[string]*string{"after-install.sh": &p.AfterInstall, "before-remove.sh": &p.BeforeRemove} {
		text, err := os.ReadFile(luciFolder + "/scripts/" + name)
		if err != nil {
			t.Fatal(err)
		}
		*body = string(text)
	}
	return p
}

// TestLuCI: what LuCI and rpcd keep is renewed, and removal leaves nothing.
func TestLuCI(t *testing.T) {
	bothManagers(t, func(t *testing.T, r *router) {
		everything := func() string {
			var all []string
			filepath.WalkDir(r.root, func(path string, d fs.DirEntry, _ error) error {
				if !d.IsDir() && !strings.Contains(path, infoDir) {
					all = append(all, strings.TrimPrefix(path, r.root))
				}
				return nil
			})
			return strings.Join(all, "\n")
		}
		before := everything()
		caches := func() {
			r.write("tmp/luci-indexcache.0123.json", "{}", 0o600)
			r.write("tmp/luci-modulecache/menu", "", 0o600)
		}
		renewed := func(what string) {
			t.Helper()
			if r.has("tmp/luci-indexcache.0123.json") || r.has("tmp/luci-modulecache") || !strings.Contains(r.log(), "rpcd reload") {
				t.Errorf("%s: LuCI shows its old menu, or rpcd was not told", what)
			}
		}
		caches()
		r.install(luciApp(t, "1.0-r1"))
		renewed("installed")
		caches()
		r.install(luciApp(t, "1.1-r1"))
		renewed("upgraded")
		if !r.has("www/luci-static/resources/view/globalnet/status.js") || !r.has("usr/share/luci/menu.d/luci-app-globalnet.json") {
			t.Error("after the upgrade the application is not there")
		}
		caches()
		r.remove()
		renewed("removed")
		if after := everything(); after != before {
			t.Errorf("left after removal:\n%s\nwas\n%s", after, before)
		}
	})
}
