package pack

import (
	"bytes"
	"compress/flate"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The reader below was written from the text of the format, not from the writer:
// it walks a file by names of fields.

type schema struct {
	fields []string
	sub    map[string]*schema
	list   *schema // of an array
}

var (
	leaf      = &schema{}
	depSchema = &schema{fields: []string{"name", "version", "match"}}
	aclSchema = &schema{fields: []string{"mode", "user", "group", "xattrs"}}
	fileShape = &schema{fields: []string{"name", "acl", "size", "mtime", "hash", "target"}, sub: map[string]*schema{"acl": aclSchema}}
	dirSchema = &schema{fields: []string{"name", "acl", "files"}, sub: map[string]*schema{"acl": aclSchema, "files": {list: fileShape}}}
	pkgInfo   = &schema{
		fields: []string{
			"name", "version", "unique-id", "description", "arch", "license", "origin", "maintainer", "url", "commit",
			"build-time", "installed-size", "file-size", "priority", "depends", "provides",
		},
		sub: map[string]*schema{"depends": {list: depSchema}},
	}
	scriptNames = &schema{fields: []string{"trigger", "pre-install", "post-install", "pre-deinstall", "post-deinstall", "pre-upgrade", "post-upgrade"}}
	pkgSchema   = &schema{
		fields: []string{"info", "paths", "scripts"},
		sub:    map[string]*schema{"info": pkgInfo, "paths": {list: dirSchema}, "scripts": scriptNames},
	}
	indexSchema = &schema{fields: []string{"description", "packages"}, sub: map[string]*schema{"packages": {list: pkgInfo}}}
)

type object map[string]any

// read turns a value into string, uint64, object or []any.
func (s *schema) read(db []byte, v uint32) any {
	at := int(v & (1<<28 - 1))
	le := binary.LittleEndian
	switch v >> 28 {
	case 0:
		return nil
	case 1:
		return uint64(at)
	case 2:
		return uint64(le.Uint32(db[at:]))
	case 3:
		return le.Uint64(db[at:])
	case 8:
		return string(db[at+1:][:db[at]])
	case 9:
		return string(db[at+2:][:le.Uint16(db[at:])])
	case 10:
		return string(db[at+4:][:le.Uint32(db[at:])])
	case 13, 14:
		if at%4 != 0 {
			panic("an object at an odd place")
		}
		n := int(le.Uint32(db[at:])) - 1
		slots := make([]uint32, n)
		for i := range slots {
			slots[i] = le.Uint32(db[at+4+4*i:])
		}
		if s.list != nil {
			all := []any{}
			for _, slot := range slots {
				all = append(all, s.list.read(db, slot))
			}
			return all
		}
		o := object{}
		for i, slot := range slots {
			sub := s.sub[s.fields[i]]
			if sub == nil {
				sub = leaf
			}
			if x := sub.read(db, slot); x != nil {
				o[s.fields[i]] = x
			}
		}
		return o
	}
	panic(fmt.Sprintf("value %08x", v))
}

// opened is an ADB file taken apart.
type opened struct {
	schema string
	db     []byte
	root   object
	sigs   [][]byte
	data   [][]byte
}

func open(t *testing.T, file []byte, s *schema) opened {
	t.Helper()
	if !bytes.HasPrefix(file, []byte("ADBd")) {
		t.Fatalf("begins with %q", file[:4])
	}
	inner, err := io.ReadAll(flate.NewReader(bytes.NewReader(file[4:])))
	if err != nil {
		t.Fatal(err)
	}
	if string(inner[:4]) != "ADB." {
		t.Fatalf("inside begins with %q", inner[:4])
	}
	o := opened{schema: string(inner[4:8])}
	if len(inner)%8 != 0 {
		t.Errorf("%d bytes", len(inner))
	}
	for rest, last := inner[8:], uint32(0); len(rest) > 0; {
		word := binary.LittleEndian.Uint32(rest)
		kind, size := word>>30, int(word&(1<<30-1))
		payload := rest[4:size]
		switch {
		case kind == 0 && o.db == nil:
			o.db = payload
		case kind == 1:
			o.sigs = append(o.sigs, payload)
		case kind == 2:
			o.data = append(o.data, payload)
		default:
			t.Fatalf("block of type %d", kind)
		}
		if kind < last {
			t.Error("blocks out of order")
		}
		last = kind
		rest = rest[(size+7)&^7:]
	}
	if o.db[0] != 0 || o.db[1] != 0 {
		t.Error("database of a version that nobody knows")
	}
	o.root = s.read(o.db, binary.LittleEndian.Uint32(o.db[4:])).(object)
	return o
}

// verify checks the signature as a router would.
func (o *opened) verify(t *testing.T, key *SigningKey) {
	t.Helper()
	if len(o.sigs) != 1 {
		t.Fatalf("%d signatures", len(o.sigs))
	}
	sig, public := o.sigs[0], &key.private.PublicKey
	point, _ := public.Bytes()
	id := sha512.Sum512(point)
	if sig[0] != 0 || sig[1] != 4 || !bytes.Equal(sig[2:18], id[:16]) {
		t.Errorf("signature header %x", sig[:18])
	}
	digest := sha512.Sum512(o.db)
	message := slices.Concat([]byte(o.schema), sig[:18], digest[:])
	if sum := sha512.Sum512(message); !ecdsa.VerifyASN1(public, sum[:], sig[18:]) {
		t.Error("wrong signature")
	}
}

func TestAPK(t *testing.T) {
	key, err := NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	p := sample()
	file, err := p.APK(key)
	if err != nil {
		t.Fatal(err)
	}
	o := open(t, file, pkgSchema)
	o.verify(t, key)
	info := o.root["info"].(object)
	for field, want := range map[string]any{
		"name": "sample", "version": p.Version, "arch": "mips_24kc", "description": "A sample", "license": "Apache-2.0", "origin": "sample",
		"url": p.URL, "maintainer": p.Maintainer,
	} {
		if info[field] != want {
			t.Errorf("%s is %q, want %q", field, info[field], want)
		}
	}
	deps := info["depends"].([]any)
	if len(deps) != 2 || deps[0].(object)["name"] != "ca-bundle" || deps[1].(object)["name"] != "libc" {
		t.Errorf("depends %v", deps)
	}
	blank := bytes.Clone(o.db)
	at := bytes.Index(blank, []byte(info["unique-id"].(string)))
	clear(blank[at : at+20])
	if sum := sha256.Sum256(blank); string(sum[:20]) != info["unique-id"] {
		t.Error("the identity is not the digest")
	}
	scripts := o.root["scripts"].(object)
	if names := slices.Sorted(maps.Keys(scripts)); !slices.Equal(names, []string{"post-install", "post-upgrade", "pre-deinstall"}) {
		t.Errorf("scripts %v", names)
	}
	if s := scripts["post-upgrade"].(string); !strings.Contains(s, "export PKG_UPGRADE=1\n") || !strings.HasSuffix(s, p.AfterInstall) {
		t.Errorf("post-upgrade:\n%s", s)
	}
	compareFiles(t, &o, p, info["installed-size"].(uint64))
}

// compareFiles compares the folders, files and data blocks with the package.
func compareFiles(t *testing.T, o *opened, p Package, installed uint64) {
	t.Helper()
	want := make(map[string]File)
	for _, f := range p.Files {
		want[f.Path] = f
	}
	lastDir, total, blocks := "", 0, o.data
	for i, d := range o.root["paths"].([]any) {
		dir := d.(object)
		name, _ := dir["name"].(string)
		if i > 0 && name <= lastDir {
			t.Errorf("folder %q after %q", name, lastDir)
		}
		lastDir = name
		files, _ := dir["files"].([]any)
		lastFile := ""
		for j, x := range files {
			f := x.(object)
			if f["name"].(string) <= lastFile {
				t.Errorf("%s/%s after %s", name, f["name"], lastFile)
			}
			lastFile = f["name"].(string)
			full := filepath.Join(name, lastFile)
			w, ok := want[full]
			delete(want, full)
			if !ok && !strings.HasPrefix(full, "lib/apk/packages/sample.") {
				t.Errorf("%s was not in the package", full)
			}
			if w.Link != "" {
				if f["target"] != "\x00\xa0"+w.Link || f["hash"] != nil {
					t.Errorf("%s: target %q", full, f["target"])
				}
				continue
			}
			size, _ := f["size"].(uint64)
			if ok && (f["acl"].(object)["mode"] != uint64(w.Mode) || size != uint64(len(w.Content))) {
				t.Errorf("%s: %v", full, f)
			}
			total += int(size)
			if size == 0 {
				continue
			}
			b := blocks[0]
			blocks = blocks[1:]
			if binary.LittleEndian.Uint32(b) != uint32(i+1) || binary.LittleEndian.Uint32(b[4:]) != uint32(j+1) {
				t.Errorf("%s: block of %d, %d", full, binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:]))
			}
			if sum := sha256.Sum256(b[8:]); string(sum[:]) != f["hash"] {
				t.Errorf("%s: wrong content", full)
			}
			if full == "lib/apk/packages/sample.list" {
				checkList(t, string(b[8:]), p)
			}
		}
	}
	if len(want) > 0 || len(blocks) > 0 || uint64(total) != installed {
		t.Errorf("left over: %v, %d blocks; %d bytes of %d", slices.Collect(maps.Keys(want)), len(blocks), total, installed)
	}
}

func checkList(t *testing.T, list string, p Package) {
	t.Helper()
	lines := strings.Fields(list)
	if len(lines) != len(p.Files) || !slices.IsSorted(lines) || !slices.Contains(lines, "/etc/init.d/sample") || !slices.Contains(lines, "/usr/bin/sm") {
		t.Errorf("list:\n%s", list)
	}
}

func TestAPKIndex(t *testing.T) {
	key, err := NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	p := sample()
	file, err := p.APK(key)
	if err != nil {
		t.Fatal(err)
	}
	index, err := APKIndex("a feed", []Entry{{p, file}}, key)
	if err != nil {
		t.Fatal(err)
	}
	o := open(t, index, indexSchema)
	o.verify(t, key)
	packages := o.root["packages"].([]any)
	if o.schema != "indx" || len(packages) != 1 {
		t.Fatalf("%s: %v", o.schema, o.root)
	}
	info := packages[0].(object)
	of := open(t, file, pkgSchema)
	sum := sha256.Sum256(of.db)
	if info["name"] != "sample" || info["file-size"] != uint64(len(file)) || info["unique-id"] != string(sum[:]) {
		t.Errorf("%v; digest %s", info, hex.EncodeToString(sum[:]))
	}
}

func TestWideValues(t *testing.T) {
	for _, n := range []uint64{0, 1, 1<<28 - 1, 1 << 28, 1<<32 - 1, 1 << 32, 1<<64 - 1} {
		d := newDatabase()
		d.text("x") // makes what follows unaligned
		v := d.integer(n)
		if got := leaf.read(d.payload, uint32(v)); got != n {
			t.Errorf("%d read as %v", n, got)
		}
	}
	for _, n := range []int{1, 255, 256, 65535, 65536} {
		d := newDatabase()
		d.text("x")
		text := strings.Repeat("b", n)
		v := d.text(text)
		if got := leaf.read(d.payload, uint32(v)); got != text {
			t.Errorf("blob of %d bytes", n)
		}
	}
}

// TestRealAPK lets apk itself judge, install, upgrade from a feed, and remove.
func TestRealAPK(t *testing.T) {
	apk := tool(t, "APK", "apk")
	key, err := NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "root/etc/apk/keys/ours.pem", public)
	write(t, dir, "root/etc/apk/arch", []byte("mips_24kc\n"))
	write(t, dir, "root/etc/apk/world", nil)
	root := filepath.Join(dir, "root")
	p := sample()
	p.Depends = nil // the empty root has none of them
	file, err := p.APK(key)
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, dir, p.APKName(), file)
	if out := output(t, apk, "--keys-dir", filepath.Join(root, "etc/apk/keys"), "verify", path); !strings.Contains(out, "OK") {
		t.Errorf("verify says %q", out)
	}
	base := []string{"--root", root, "--no-network", "--no-scripts", "--no-logfile"}
	if os.Geteuid() != 0 {
		base = append(base, "--usermode")
	}
	output(t, apk, append(slices.Clip(base), "--initdb", "add", path)...)
	installed(t, root, p)

	p.Version = "1.2.4-r1"
	p.Files[0].Content = []byte("newer")
	if file, err = p.APK(key); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "feed/"+p.APKName(), file)
	index, err := APKIndex("feed", []Entry{{p, file}}, key)
	if err != nil {
		t.Fatal(err)
	}
	feed := write(t, dir, "feed/packages.adb", index)
	write(t, dir, "root/etc/config/sample", []byte("edited\n"))
	output(t, apk, append(base, "--repository", feed, "add", "--upgrade", "sample")...)
	if text, err := os.ReadFile(filepath.Join(root, "usr/sbin/sample")); err != nil || string(text) != "newer" {
		t.Errorf("after the upgrade: %.20q, %v", text, err)
	}
	if text, err := os.ReadFile(filepath.Join(root, "etc/config/sample")); err != nil || string(text) != "edited\n" {
		t.Errorf("the owner's file: %q, %v", text, err)
	}
	output(t, apk, append(base, "del", "sample")...)
	if _, err := os.Stat(filepath.Join(root, "usr/sbin/sample")); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}

	file[len(file)/2] ^= 1
	broken := write(t, dir, "broken.apk", file)
	if out := fails(t, apk, append(base, "add", broken)...); out == "" {
		t.Error("a damaged package without a word")
	}
}

// installed compares a root with the package.
func installed(t *testing.T, root string, p Package) {
	t.Helper()
	for _, f := range p.Files {
		path := filepath.Join(root, f.Path)
		if f.Link != "" {
			if to, err := os.Readlink(path); err != nil || to != f.Link {
				t.Errorf("%s -> %s, %v", f.Path, to, err)
			}
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(text, f.Content) {
			t.Errorf("%s: %d bytes, %v", f.Path, len(text), err)
			continue
		}
		if info, err := os.Stat(path); err != nil || uint32(info.Mode().Perm()) != f.Mode {
			t.Errorf("%s: %v, %v", f.Path, info.Mode(), err)
		}
	}
}
