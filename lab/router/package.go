package router

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"time"

	"globalnet/openwrt/pack"
)

// ballast makes the agent of tests as large as what does not fit twice.
var ballast = func() []byte {
	b := make([]byte, 300<<10)
	rand.Read(b)
	return b
}()

// Package is the package of the feed with the agent of tests; sabotage
// changes it.
func Package(t Test, m Model, version string, sabotage func(*pack.Package)) []byte {
	t.Helper()
	feed := source("openwrt/feed/globalnet")
	files, err := pack.ReadTree(feed + "/files")
	if err != nil {
		t.Fatal(err)
	}
	text := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	program := []byte(text(source("lab/router/testdata/agent.sh")) + "# " + version + "\n")
	p := pack.Package{
		Name: "globalnet", Version: version, Arch: m.Arch, Time: time.Unix(1_790_000_000, 0), Description: "test",
		Files: append(files, pack.File{Path: "usr/bin/gn", Link: "../sbin/globalnet"},
			pack.File{Path: "usr/sbin/globalnet", Mode: 0o755, Content: append(program, ballast...)}),
		ConfFiles:    []string{"/etc/config/globalnet"},
		AfterInstall: text(feed + "/scripts/after-install.sh"), BeforeRemove: text(feed + "/scripts/before-remove.sh"),
	}
	if sabotage != nil {
		sabotage(&p)
	}
	var out []byte
	if m.APK {
		out, err = p.APK(nil)
	} else {
		out, err = p.IPK()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Offer puts a package into the folder of packages.
func (r *Router) Offer(version string, sabotage func(*pack.Package)) {
	r.t.Helper()
	dir := filepath.Join(r.Packages, r.Model.Arch)
	name := "globalnet_" + version + "_" + r.Model.Arch + ".ipk"
	if r.Model.APK {
		name = "globalnet-" + version + ".apk"
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), Package(r.t, r.Model, version, sabotage), 0o644); err != nil {
		r.t.Fatal(err)
	}
}
