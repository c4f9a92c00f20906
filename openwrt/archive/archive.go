// Package archive reads OpenWrt packages, .ipk and .apk of the third format, as
// streams: on a router there is no room for what is inside. It follows what opkg
// and apk do, compares versions as they do, and checks signatures of files. It owns
// no state, and is part of the router's binary.
package archive

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Bounds of a package and of what is inside: routers are smaller.
const (
	MaxSize     = 32 << 20
	maxUnpacked = 128 << 20
	maxEntries  = 4096
	maxText     = 4 << 20 // a script, the database of an apk
)

// Archive is a package file, taken apart.
type Archive struct {
	Name, Version, Arch string
	APK                 bool  // else an .ipk
	Size                int64 // of the file
	Installed           int64 // of the files in it
	Files               []File
	Scripts             map[string]string
}

// File is a file or a symbolic link of a package.
type File struct {
	Path    string // absolute
	Mode    uint32
	Link    string
	Size    int64
	Sum     [sha256.Size]byte
	Content []byte // of a file that was to be kept
}

var errArchive = errors.New("not a package")

// Read reads an .ipk or .apk. The contents of those files are kept that keep wants;
// nil is all.
func Read(r io.Reader, keep func(path string) bool) (*Archive, error) {
	a := &Archive{Scripts: make(map[string]string)}
	whole := &counter{r: r}
	b := bufio.NewReader(whole)
	first, _ := b.Peek(3)
	var err error
	switch {
	case string(first) == "ADB":
		a.APK = true
		err = a.apk(b, keep)
	case len(first) > 1 && first[0] == 0x1f && first[1] == 0x8b:
		err = a.ipk(b, keep)
	default:
		err = errArchive
	}
	if err == nil {
		_, err = io.Copy(io.Discard, b)
	}
	if err != nil {
		return nil, fmt.Errorf("reading package: %w", err)
	}
	if a.Name == "" || a.Version == "" || a.Arch == "" {
		return nil, fmt.Errorf("reading package: %w: it does not say its name, version and architecture", errArchive)
	}
	a.Size = whole.n
	for i := range a.Files {
		f := &a.Files[i]
		f.Path = path.Clean("/" + f.Path)
		if strings.ContainsAny(f.Path, "\n\r'\"\\") {
			return nil, fmt.Errorf("reading package: a file named %q", f.Path)
		}
		a.Installed += f.Size
	}
	return a, nil
}

// counter counts a package and bounds it.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.n > MaxSize {
		return 0, fmt.Errorf("more than %d bytes", MaxSize)
	}
	return n, err
}

// Paths are the absolute names of the files.
func (a *Archive) Paths() []string {
	names := make([]string, len(a.Files))
	for i := range a.Files {
		names[i] = a.Files[i].Path
	}
	return names
}

// File returns a file by its path, nil if there is none.
func (a *Archive) File(path string) *File {
	for i := range a.Files {
		if a.Files[i].Path == path {
			return &a.Files[i]
		}
	}
	return nil
}

// take reads the content of a file.
func (f *File) take(r io.Reader, keep func(string) bool) error {
	h := sha256.New()
	var err error
	if keep == nil || keep(path.Clean("/"+f.Path)) {
		if f.Content, err = io.ReadAll(r); err != nil {
			return err
		}
		r = bytes.NewReader(f.Content)
	}
	f.Size, err = io.Copy(h, r)
	h.Sum(f.Sum[:0])
	return err
}

func (a *Archive) ipk(r io.Reader, keep func(string) bool) error {
	z, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	return untar(z, func(h *header, content io.Reader) error {
		inner := func(each func(*header, io.Reader) error) error {
			z, err := gzip.NewReader(content)
			if err != nil {
				return err
			}
			return untar(z, each)
		}
		switch strings.TrimPrefix(h.name, "./") {
		case "data.tar.gz":
			return inner(func(h *header, content io.Reader) error { return a.data(h, content, keep) })
		case "control.tar.gz":
			return inner(a.control)
		}
		return nil
	})
}

func (a *Archive) data(h *header, content io.Reader, keep func(string) bool) error {
	switch h.kind {
	case '0', 0:
		f := File{Path: h.name, Mode: h.mode}
		if err := f.take(content, keep); err != nil {
			return err
		}
		a.Files = append(a.Files, f)
	case '2':
		a.Files = append(a.Files, File{Path: h.name, Link: h.link})
	}
	return nil
}

func (a *Archive) control(h *header, content io.Reader) error {
	if h.kind != '0' && h.kind != 0 {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(content, maxText))
	if err != nil {
		return err
	}
	name := strings.TrimPrefix(h.name, "./")
	if name != "control" {
		a.Scripts[name] = string(text)
		return nil
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch key {
		case "Package":
			a.Name = value
		case "Version":
			a.Version = value
		case "Architecture":
			a.Arch = value
		}
	}
	return nil
}
