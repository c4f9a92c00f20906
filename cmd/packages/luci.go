package main

import (
	"os"
	"path/filepath"
	"strings"

	"globalnet/openwrt/pack"
)

// luciBudget is the largest package of LuCI's application.
const luciBudget = 40_000

const luciDescription = `GlobalNet in LuCI
The state of the node, its LAN, its hidden services and its configuration, in the pages
of the router.`

// luciApp is the package of LuCI's application: the same for all architectures.
func (o *options) luciApp() (pack.Package, error) {
	p := pack.Package{
		Name: "luci-app-" + project, Version: o.version, Arch: pack.AllArches, Section: "luci", License: "Apache-2.0",
		Description: luciDescription, Time: o.time, Packer: o.packer, Depends: []string{project, "luci-base"},
	}
	for folder, to := range map[string]string{"htdocs": "www/", "root": ""} {
		files, err := pack.ReadTree(filepath.Join(o.luci, folder))
		if err != nil {
			return p, err
		}
		for _, f := range files {
			f.Path, f.Mode = to+f.Path, 0o644
			f.Content = squeeze(f)
			p.Files = append(p.Files, f)
		}
	}
	for name, body := range map[string]*string{"after-install.sh": &p.AfterInstall, "before-remove.sh": &p.BeforeRemove} {
		text, err := os.ReadFile(filepath.Join(o.luci, "scripts", name))
		if err != nil {
			return p, err
		}
		*body = string(text)
	}
	return p, nil
}

// squeeze takes the indentation off scripts: flash is scarce. Nothing else is changed, so
// that lines have the numbers they have in the repository.
func squeeze(f pack.File) []byte {
	if !strings.HasSuffix(f.Path, ".js") {
		return f.Content
	}
	var b strings.Builder
	for line := range strings.Lines(string(f.Content)) {
		b.WriteString(strings.TrimLeft(line, "\t"))
	}
	return []byte(b.String())
}
