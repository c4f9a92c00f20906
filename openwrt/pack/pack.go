// Package pack writes OpenWrt packages without OpenWrt's tools: .ipk for opkg,
// signed .apk of the third format for apk, and the index files of both.
//
// The same Package gives the same bytes: files are sorted, belong to root, and
// carry the one time that the caller names. It owns no state: what is remembered is in
// the Packer that a caller gives. It is not part of the router's binary.
package pack

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"globalnet/openwrt/pack/deflate"
)

// Package is what both formats are written from.
type Package struct {
	Name        string
	Version     string // see Version: both managers accept and order it alike
	Arch        string // of OpenWrt's packages; AllArches for what runs everywhere
	Section     string
	License     string
	Maintainer  string
	URL         string
	Description string // the first line is the title
	Depends     []string
	Time        time.Time // of everything inside; SOURCE_DATE_EPOCH
	Files       []File
	ConfFiles   []string // absolute paths of files an upgrade leaves alone once edited

	// Bodies of the maintainer scripts. opkg runs AfterInstall before the services
	// are enabled and started, apk afterwards; BeforeRemove the same with stopping.
	// apk puts them inside a longer script: they must not exit.
	AfterInstall string
	BeforeRemove string

	// Packer compresses, and knows a large file again that was in an earlier package;
	// nil for one that knows nothing.
	Packer *deflate.Packer
}

func (p *Package) packer() *deflate.Packer {
	if p.Packer == nil {
		return deflate.New()
	}
	return p.Packer
}

// AllArches marks a package without machine code.
const AllArches = "all"

// File is a regular file, or a symbolic link if Link is set. Folders above it
// are made as needed, mode 0755.
type File struct {
	Path    string // relative: usr/sbin/globalnet
	Mode    uint32 // permission bits
	Content []byte
	Link    string
}

var (
	nameFormat = regexp.MustCompile(`^[a-z0-9][a-z0-9.+_-]*$`)
	archFormat = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)
)

// check finds what either manager would refuse, and sorts the files.
func (p *Package) check() error {
	if !nameFormat.MatchString(p.Name) {
		return fmt.Errorf("package name %q", p.Name)
	}
	if !ValidVersion(p.Version) {
		return fmt.Errorf("package version %q", p.Version)
	}
	if !archFormat.MatchString(p.Arch) {
		return fmt.Errorf("package architecture %q", p.Arch)
	}
	for _, v := range []string{p.Section, p.License, p.Maintainer, p.URL} {
		if strings.ContainsAny(v, "\n\r") {
			return fmt.Errorf("field %q has two lines", v)
		}
	}
	if p.Time.Unix() < 0 || p.Time.Unix() >= 1<<33 {
		return fmt.Errorf("time %v", p.Time)
	}
	p.Files = slices.Clone(p.Files)
	slices.SortFunc(p.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for i, f := range p.Files {
		if f.Path == "" || f.Path[0] == '/' || path.Clean(f.Path) != f.Path || strings.HasPrefix(f.Path, "../") || f.Path == "." {
			return fmt.Errorf("path %q: want a clean relative one", f.Path)
		}
		if i > 0 && p.Files[i-1].Path == f.Path {
			return fmt.Errorf("%s is in the package twice", f.Path)
		}
		if f.Mode > 0o7777 {
			return fmt.Errorf("%s: mode %o", f.Path, f.Mode)
		}
		if f.Link != "" && len(f.Content) > 0 {
			return fmt.Errorf("%s: a link with content", f.Path)
		}
	}
	return p.checkConfFiles()
}

func (p *Package) checkConfFiles() error {
	for _, c := range p.ConfFiles {
		if _, ok := p.file(strings.TrimPrefix(c, "/")); !ok || c[0] != '/' {
			return fmt.Errorf("configuration file %s is not in the package", c)
		}
	}
	if strings.Contains("\n"+p.AfterInstall+p.BeforeRemove, "\nexit") {
		return errors.New("a script body exits: that would end the script around it")
	}
	return nil
}

func (p *Package) file(name string) (File, bool) {
	for _, f := range p.Files {
		if f.Path == name {
			return f, true
		}
	}
	return File{}, false
}

// size is the sum of the files' sizes.
func (p *Package) size() (n int64) {
	for _, f := range p.Files {
		n += int64(len(f.Content))
	}
	return n
}

// folders lists the folders of files, sorted, without the root.
func folders(files []File) []string {
	seen := make(map[string]bool)
	for _, f := range files {
		for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
			seen[dir] = true
		}
	}
	all := make([]string, 0, len(seen))
	for dir := range seen {
		all = append(all, dir)
	}
	slices.Sort(all)
	return all
}

// title is the first line of the description.
func (p *Package) title() string {
	title, _, _ := strings.Cut(p.Description, "\n")
	return title
}
