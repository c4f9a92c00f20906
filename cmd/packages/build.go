package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"globalnet/board"
	"globalnet/openwrt/pack"
)

// packBudget is the largest package for a router with 16 MB of flash.
const packBudget = 4_200_000

const (
	project     = "globalnet"
	description = `A network of routers that nobody owns
It finds neighbouring routers, encrypts every link, routes between them and carries
anonymous traffic. Links are fast with kmod-wireguard, and work with kmod-tun.`
)

func packageVersion(describe string, when time.Time) (string, error) {
	return pack.Version(describe, when)
}

// built is one architecture's part of the output.
type built struct {
	arch     board.Arch
	ipk, apk int
}

func (o *options) build(stdout io.Writer) error {
	files, err := pack.ReadTree(filepath.Join(o.feed, "files"))
	if err != nil {
		return fmt.Errorf("reading the feed: %w", err)
	}
	luci, err := o.luciApp()
	if err != nil {
		return fmt.Errorf("reading LuCI's application: %w", err)
	}
	page, err := o.write(luci)
	if err != nil {
		return err
	}
	all := make([]built, len(o.arches))
	errs := make([]error, len(o.arches))
	// Compressing is most of the work, and done once for what several packages have;
	// the packer bounds its memory, and each package in work takes 60 MB besides.
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for i, a := range o.arches {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			all[i], errs[i] = o.buildArch(a, files, page)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := o.keys.publish(o.out); err != nil {
		return err
	}
	if err := o.billsOfMaterials(); err != nil {
		return err
	}
	if err := o.checksums(); err != nil {
		return err
	}
	return o.report(all, page, stdout)
}

// pkg returns the package of one architecture.
func (o *options) pkg(a board.Arch, files []pack.File) (pack.Package, error) {
	binary, err := os.ReadFile(filepath.Join(o.binaries, project+"-"+a.Binary))
	if err != nil {
		return pack.Package{}, fmt.Errorf("%s: %w; `make build-all` makes it", a.Name, err)
	}
	if err := checkMachine(binary, a); err != nil {
		return pack.Package{}, err
	}
	script := func(name string) string {
		text, readErr := os.ReadFile(filepath.Join(o.feed, "scripts", name))
		err = errors.Join(err, readErr)
		return string(text)
	}
	p := pack.Package{
		Name: project, Version: o.version, Arch: a.Name, Section: "net", License: "Apache-2.0",
		Description: description, Time: o.time, Packer: o.packer,
		Files: slices.Concat(files, []pack.File{
			{Path: "usr/sbin/globalnet", Mode: 0o755, Content: binary},
			{Path: "usr/bin/gn", Link: "../sbin/globalnet"},
		}),
		ConfFiles:    []string{"/etc/config/globalnet"},
		AfterInstall: script("after-install.sh"),
		BeforeRemove: script("before-remove.sh"),
	}
	return p, err
}

// written is a package in both forms.
type written struct {
	pack.Package
	ipk, apk []byte
}

func (o *options) write(p pack.Package) (w written, err error) {
	w.Package = p
	if w.ipk, err = p.IPK(); err == nil {
		w.apk, err = p.APK(o.keys.apk)
	}
	return w, err
}

// buildArch writes the feed of an architecture: the agent, and what runs everywhere.
func (o *options) buildArch(a board.Arch, files []pack.File, page written) (built, error) {
	p, err := o.pkg(a, files)
	if err != nil {
		return built{}, err
	}
	agent, err := o.write(p)
	if err != nil {
		return built{}, err
	}
	var ipks, apks []pack.Entry
	out := make(map[string][]byte)
	for _, w := range []written{agent, page} {
		ipks = append(ipks, pack.Entry{Package: w.Package, Bytes: w.ipk})
		apks = append(apks, pack.Entry{Package: w.Package, Bytes: w.apk})
		out[w.IPKName()], out[w.APKName()] = w.ipk, w.apk
	}
	packages, compressed, err := pack.OpkgIndex(ipks)
	if err != nil {
		return built{}, err
	}
	index, err := pack.APKIndex(project+" "+o.version, apks, o.keys.apk)
	if err != nil {
		return built{}, err
	}
	out["Packages"], out["Packages.gz"], out["packages.adb"] = packages, compressed, index
	if o.keys.usign != nil {
		out["Packages.sig"] = o.keys.usign.Sign(packages)
	}
	dir := filepath.Join(o.out, a.Name)
	// What an earlier version left would be in the checksums, and in no index.
	if err := os.RemoveAll(dir); err != nil {
		return built{}, err
	}
	return built{a, len(agent.ipk), len(agent.apk)}, writeAll(dir, out)
}

func writeAll(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// report prints the sizes beside the budget, which `make sizes` judges: a package
// above it still serves routers with more flash. x86 machines have disks.
func (o *options) report(all []built, page written, stdout io.Writer) error {
	fmt.Fprintf(stdout, "%-28s %10s %10s   of %d\n", o.version, ".ipk", ".apk", packBudget)
	for _, b := range all {
		note := ""
		onDisk := b.arch.GOARCH == "amd64" || b.arch.GOARCH == "386"
		if largest := max(b.ipk, b.apk); largest > packBudget && !onDisk {
			note = fmt.Sprintf("   %d over", largest-packBudget)
		}
		fmt.Fprintf(stdout, "%-28s %10d %10d%s\n", b.arch.Name, b.ipk, b.apk, note)
	}
	fmt.Fprintf(stdout, "%-28s %10d %10d   of %d\n", page.Name, len(page.ipk), len(page.apk), luciBudget)
	return o.keys.report(stdout)
}
