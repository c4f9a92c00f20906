package flash

import (
	"archive/tar"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a package and of what is inside: routers are smaller.
const (
	maxPackage  = 32 << 20
	maxUnpacked = 128 << 20
	maxEntries  = 4096
)

// Archive is a package file, taken apart.
type Archive struct {
	Name, Version, Arch string
	APK                 bool  // else an .ipk
	Size                int64 // of the file
	Installed           int64 // of the files in it
	Files               []ArchiveFile
	Scripts             map[string]string
}

// ArchiveFile is a file or a symbolic link of a package.
type ArchiveFile struct {
	Path    string // absolute
	Mode    uint32
	Link    string
	Content []byte
}

var errArchive = errors.New("not a package")

// ParseArchive reads an .ipk or .apk.
func ParseArchive(file []byte) (*Archive, error) {
	if len(file) > maxPackage {
		return nil, fmt.Errorf("reading package: %d bytes, at most %d", len(file), maxPackage)
	}
	var a *Archive
	var err error
	switch {
	case bytes.HasPrefix(file, []byte("ADB")):
		a, err = parseAPK(file)
	case bytes.HasPrefix(file, []byte{0x1f, 0x8b}):
		a, err = parseIPK(file)
	default:
		err = errArchive
	}
	if err != nil {
		return nil, fmt.Errorf("reading package: %w", err)
	}
	if a.Name == "" || a.Version == "" || a.Arch == "" {
		return nil, fmt.Errorf("reading package: %w: it does not say its name, version and architecture", errArchive)
	}
	a.Size = int64(len(file))
	for i, f := range a.Files {
		a.Files[i].Path = path.Clean("/" + f.Path)
		if strings.ContainsAny(f.Path, "\n\r'\"\\") {
			return nil, fmt.Errorf("reading package: a file named %q", f.Path)
		}
		a.Installed += int64(len(f.Content))
	}
	return a, nil
}

// Paths are the absolute names of the files.
func (a *Archive) Paths() []string {
	var names []string
	for _, f := range a.Files {
		names = append(names, f.Path)
	}
	return names
}

// Content returns a file's bytes.
func (a *Archive) Content(name string) []byte {
	i := slices.IndexFunc(a.Files, func(f ArchiveFile) bool { return f.Path == name })
	if i < 0 {
		return nil
	}
	return a.Files[i].Content
}

func untar(file []byte, each func(h *tar.Header, content []byte) error) error {
	z, err := gzip.NewReader(bytes.NewReader(file))
	if err != nil {
		return err
	}
	t := tar.NewReader(io.LimitReader(z, maxUnpacked))
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n > maxEntries {
			return fmt.Errorf("%w: more than %d files", errArchive, maxEntries)
		}
		content, err := io.ReadAll(t)
		if err != nil {
			return err
		}
		if err := each(h, content); err != nil {
			return err
		}
	}
}

func parseIPK(file []byte) (*Archive, error) {
	a := &Archive{Scripts: make(map[string]string)}
	err := untar(file, func(h *tar.Header, content []byte) error {
		switch strings.TrimPrefix(h.Name, "./") {
		case "data.tar.gz":
			return untar(content, a.data)
		case "control.tar.gz":
			return untar(content, a.control)
		}
		return nil
	})
	return a, err
}

func (a *Archive) data(h *tar.Header, content []byte) error {
	switch h.Typeflag {
	case tar.TypeReg:
		a.Files = append(a.Files, ArchiveFile{Path: h.Name, Mode: uint32(h.Mode) & 0o7777, Content: content})
	case tar.TypeSymlink:
		a.Files = append(a.Files, ArchiveFile{Path: h.Name, Link: h.Linkname})
	}
	return nil
}

func (a *Archive) control(h *tar.Header, content []byte) error {
	name := strings.TrimPrefix(h.Name, "./")
	if name != "control" {
		if h.Typeflag == tar.TypeReg {
			a.Scripts[name] = string(content)
		}
		return nil
	}
	for line := range strings.Lines(string(content)) {
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

// adb is a file of apk's third format: a database, then the files' contents.
type adb struct{ db []byte }

// Types of its values, in the high four bits; docs of apk-tools, doc/apk-v3.5.scd.
func (d adb) blob(v uint32) ([]byte, error) {
	at, size := uint64(v&(1<<28-1)), uint64(0)
	le := binary.LittleEndian
	rest := d.db[min(at, uint64(len(d.db))):]
	switch kind := v >> 28; {
	case v == 0:
		return nil, nil
	case kind == 8 && len(rest) >= 1:
		size, rest = uint64(rest[0]), rest[1:]
	case kind == 9 && len(rest) >= 2:
		size, rest = uint64(le.Uint16(rest)), rest[2:]
	case kind == 10 && len(rest) >= 4:
		size, rest = uint64(le.Uint32(rest)), rest[4:]
	default:
		return nil, errArchive
	}
	if size > uint64(len(rest)) {
		return nil, errArchive
	}
	return rest[:size], nil
}

func (d adb) text(v uint32) string {
	b, err := d.blob(v)
	if err != nil {
		return ""
	}
	return string(b)
}

func (d adb) number(v uint32) uint64 {
	if v>>28 == 1 {
		return uint64(v & (1<<28 - 1))
	}
	return 0
}

// slots are the values of an object or an array; slots[0] is the first field.
func (d adb) slots(v uint32) ([]uint32, error) {
	if v == 0 {
		return nil, nil
	}
	at := int(v & (1<<28 - 1))
	if kind := v >> 28; kind != 13 && kind != 14 || at+4 > len(d.db) {
		return nil, errArchive
	}
	n := int(binary.LittleEndian.Uint32(d.db[at:])) - 1
	if n < 0 || n > maxEntries || at+4+4*n > len(d.db) {
		return nil, errArchive
	}
	all := make([]uint32, n)
	for i := range all {
		all[i] = binary.LittleEndian.Uint32(d.db[at+4+4*i:])
	}
	return all, nil
}

// object returns at least n slots.
func (d adb) object(v uint32, n int) ([]uint32, error) {
	slots, err := d.slots(v)
	for len(slots) < n {
		slots = append(slots, 0)
	}
	return slots, err
}

func parseAPK(file []byte) (*Archive, error) {
	inner := file
	switch {
	case bytes.HasPrefix(file, []byte("ADBd")):
		var err error
		if inner, err = io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(file[4:])), maxUnpacked)); err != nil {
			return nil, err
		}
	case !bytes.HasPrefix(file, []byte("ADB.")):
		return nil, fmt.Errorf("%w of a compression that routers read", errArchive)
	}
	if len(inner) < 8 || string(inner[:8]) != "ADB.pckg" {
		return nil, errArchive
	}
	a := &Archive{APK: true, Scripts: make(map[string]string)}
	var dirs [][]int // by folder and file, the index in a.Files
	for rest := inner[8:]; len(rest) > 0; {
		if len(rest) < 4 {
			return nil, errArchive
		}
		word := binary.LittleEndian.Uint32(rest)
		kind, size := word>>30, int(word&(1<<30-1))
		if size < 4 || size > len(rest) || kind > 2 {
			return nil, errArchive
		}
		payload := rest[4:size]
		rest = rest[min((size+7)&^7, len(rest)):]
		switch {
		case kind == 0 && dirs == nil && len(payload) >= 8:
			var err error
			if dirs, err = a.database(adb{payload}); err != nil {
				return nil, err
			}
		case kind == 2 && len(payload) >= 8:
			dir, file := binary.LittleEndian.Uint32(payload), binary.LittleEndian.Uint32(payload[4:])
			if dir-1 >= uint32(len(dirs)) || file-1 >= uint32(len(dirs[dir-1])) {
				return nil, errArchive
			}
			a.Files[dirs[dir-1][file-1]].Content = payload[8:]
		case kind != 1:
			return nil, errArchive
		}
	}
	return a, nil
}

var apkScripts = []string{"trigger", "pre-install", "post-install", "pre-deinstall", "post-deinstall", "pre-upgrade", "post-upgrade"}

func (a *Archive) database(d adb) ([][]int, error) {
	root, err := d.object(binary.LittleEndian.Uint32(d.db[4:]), 3)
	if err != nil {
		return nil, err
	}
	info, err := d.object(root[0], 5)
	if err != nil {
		return nil, err
	}
	a.Name, a.Version, a.Arch = d.text(info[0]), d.text(info[1]), d.text(info[4])
	scripts, err := d.object(root[2], len(apkScripts))
	if err != nil {
		return nil, err
	}
	for i, name := range apkScripts {
		if text := d.text(scripts[i]); text != "" {
			a.Scripts[name] = text
		}
	}
	paths, err := d.slots(root[1])
	if err != nil {
		return nil, err
	}
	dirs := make([][]int, 0, len(paths))
	for _, p := range paths {
		indexes, err := a.folder(d, p)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, indexes)
	}
	return dirs, nil
}

func (a *Archive) folder(d adb, v uint32) ([]int, error) {
	dir, err := d.object(v, 3)
	if err != nil {
		return nil, err
	}
	files, err := d.slots(dir[2])
	if err != nil {
		return nil, err
	}
	var indexes []int
	for _, slot := range files {
		f, err := d.object(slot, 6)
		if err != nil || len(a.Files) >= maxEntries {
			return nil, errArchive
		}
		acl, err := d.object(f[1], 1)
		if err != nil {
			return nil, err
		}
		entry := ArchiveFile{Path: d.text(dir[0]) + "/" + d.text(f[0]), Mode: uint32(d.number(acl[0]))}
		if target, err := d.blob(f[5]); err == nil && len(target) > 2 {
			entry.Link = string(target[2:])
		}
		indexes = append(indexes, len(a.Files))
		a.Files = append(a.Files, entry)
	}
	return indexes, nil
}

// compareVersions compares versions as both managers do those of our packages: numbers by
// value, a suffix such as _rc1 before nothing, _git after. It returns -1, 0 or 1.
func compareVersions(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a = versionPart(a)
		y, b = versionPart(b)
		if x == y {
			continue
		}
		n, errX := strconv.ParseUint(x, 10, 64)
		m, errY := strconv.ParseUint(y, 10, 64)
		if errX == nil && errY == nil {
			if n != m {
				return sign(n > m)
			}
			continue
		}
		if rx, ry := rank(x), rank(y); rx != ry {
			return sign(rx > ry)
		}
		return sign(x > y)
	}
	return 0
}

func sign(greater bool) int {
	if greater {
		return 1
	}
	return -1
}

// versionPart cuts a run of digits, or of letters with what separates them.
func versionPart(v string) (part, rest string) {
	isDigit := func(c byte) bool { return c >= '0' && c <= '9' }
	if v == "" {
		return "", ""
	}
	if v[0] == '~' { // the hash of a commit orders nothing
		if i := strings.IndexByte(v, '-'); i > 0 {
			return versionPart(v[i:])
		}
		return "", ""
	}
	i := 1
	for i < len(v) && isDigit(v[i]) == isDigit(v[0]) && !strings.ContainsRune("~.-_", rune(v[i])) {
		i++
	}
	return v[:i], v[i:]
}

// rank orders what may follow a number.
func rank(part string) int {
	switch part {
	case "_alpha":
		return -4
	case "_beta":
		return -3
	case "_pre":
		return -2
	case "_rc":
		return -1
	case "":
		return 0
	case "-r":
		return 1
	case ".":
		return 3
	}
	return 2
}
