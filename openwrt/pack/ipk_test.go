package pack

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestIPKLayout(t *testing.T) {
	p := sample()
	ipk, err := p.IPK()
	if err != nil {
		t.Fatal(err)
	}
	outer := members(t, ipk)
	if string(outer["./debian-binary"].text) != "2.0\n" {
		t.Errorf("debian-binary %q", outer["./debian-binary"].text)
	}
	control := members(t, outer["./control.tar.gz"].text)
	data := members(t, outer["./data.tar.gz"].text)
	fields := string(control["./control"].text)
	for _, want := range []string{
		"Package: sample\n", "Version: " + p.Version + "\n", "Depends: libc, ca-bundle\n", "Architecture: mips_24kc\n",
		"SourceDateEpoch: 1790000000\n", fmt.Sprintf("Installed-Size: %d\n", data[""].size), "Description: A sample\n It has two lines.\n",
	} {
		if !strings.Contains(fields, want) {
			t.Errorf("no %q in\n%s", want, fields)
		}
	}
	if got := string(control["./conffiles"].text); got != "/etc/config/sample\n" {
		t.Errorf("conffiles %q", got)
	}
	for _, script := range []string{"./postinst", "./prerm", "./postinst-pkg", "./prerm-pkg"} {
		if m := control[script]; m.mode != "0000755" || len(m.text) == 0 {
			t.Errorf("%s: mode %s, %d bytes", script, m.mode, len(m.text))
		}
	}
	for _, f := range p.Files {
		m, ok := data["./"+f.Path]
		if !ok || m.link != f.Link || !bytes.Equal(m.text, f.Content) {
			t.Errorf("%s: %v, link %q, %d bytes", f.Path, ok, m.link, len(m.text))
		}
		if f.Link == "" && m.mode != fmt.Sprintf("%07o", f.Mode) {
			t.Errorf("%s: mode %s", f.Path, m.mode)
		}
	}
	for _, dir := range []string{"./", "./etc/", "./etc/config/", "./usr/sbin/"} {
		if m, ok := data[dir]; !ok || m.mode != "0000755" {
			t.Errorf("folder %s: %+v", dir, m)
		}
	}
}

type member struct {
	mode, link string
	text       []byte
	size       int // of the whole, under ""
}

// members reads a gzipped tar by the offsets of its header, as tar(5) lists them.
func members(t *testing.T, packed []byte) map[string]member {
	t.Helper()
	if !bytes.HasPrefix(packed, []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0}) {
		t.Fatalf("gzip header %x has a name or a time", packed[:10])
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]member{"": {size: len(raw)}}
	last := ""
	for rest := raw; len(rest) >= 512 && rest[0] != 0; {
		h := rest[:512]
		field := func(from, n int) string { return string(bytes.TrimRight(h[from:from+n], "\x00 ")) }
		if magic := string(h[257:265]); magic != "ustar  \x00" {
			t.Errorf("magic %q is not that of GNU tar", magic)
		}
		if field(108, 8) != "0000000" || field(116, 8) != "0000000" || field(265, 64) != "" {
			t.Errorf("owner %s %s %s", field(108, 8), field(116, 8), field(265, 64))
		}
		if field(136, 12) != fmt.Sprintf("%011o", 1_790_000_000) {
			t.Errorf("time %s", field(136, 12))
		}
		name := field(0, 100)
		if name == last {
			t.Errorf("%s twice", name)
		}
		last = name
		var size int
		fmt.Sscanf(field(124, 12), "%o", &size)
		all[name] = member{mode: field(100, 8), link: field(157, 100), text: rest[512 : 512+size]}
		rest = rest[512+(size+511)/512*512:]
	}
	return all
}

func TestOpkgIndex(t *testing.T) {
	p := sample()
	ipk, err := p.IPK()
	if err != nil {
		t.Fatal(err)
	}
	other := sample()
	other.Name = "another"
	packages, compressed, err := OpkgIndex([]Entry{{p, ipk}, {other, nil}})
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || !bytes.Equal(text, packages) {
		t.Errorf("Packages.gz holds something else: %v", err)
	}
	paragraphs := strings.Split(strings.TrimSpace(string(packages)), "\n\n")
	if len(paragraphs) != 2 || !strings.HasPrefix(paragraphs[0], "Package: another\n") {
		t.Fatalf("index:\n%s", packages)
	}
	for _, want := range []string{
		"\nFilename: " + p.IPKName() + "\n", fmt.Sprintf("\nSize: %d\n", len(ipk)), fmt.Sprintf("\nSHA256sum: %x\n", sha256.Sum256(ipk)),
	} {
		if !strings.Contains(paragraphs[1], want) {
			t.Errorf("no %q in\n%s", want, paragraphs[1])
		}
	}
}

// TestRealTar lets another program unpack it.
func TestRealTar(t *testing.T) {
	tar := tool(t, "TAR", "tar")
	p := sample()
	ipk, err := p.IPK()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := write(t, dir, "p.ipk", ipk)
	output(t, tar, "-xzf", path, "-C", dir)
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	output(t, tar, "-xpzf", filepath.Join(dir, "data.tar.gz"), "-C", root)
	installed(t, root, p)
}

// TestRealOpkg lets opkg install, upgrade from a feed, and remove.
func TestRealOpkg(t *testing.T) {
	opkg := tool(t, "OPKG", "opkg")
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	feed := filepath.Join(dir, "feed")
	conf := write(t, dir, "opkg.conf", []byte("dest root /\nlists_dir ext /var/opkg-lists\narch all 1\narch mips_24kc 10\nsrc/gz ours file://"+feed+"\n"))
	write(t, dir, "root/usr/lib/opkg/status", nil)
	write(t, dir, "root/var/lock/opkg.lock", nil)
	base := []string{"--conf", conf, "--offline-root", root, "--tmp-dir", dir}
	p := sample()
	p.Depends = nil
	ipk, err := p.IPK()
	if err != nil {
		t.Fatal(err)
	}
	output(t, opkg, append(slices.Clip(base), "install", write(t, dir, p.IPKName(), ipk))...)
	installed(t, root, p)

	write(t, dir, "root/etc/config/sample", []byte("edited\n"))
	p.Version = "1.2.4-r1"
	p.Files[0].Content = []byte("newer")
	if ipk, err = p.IPK(); err != nil {
		t.Fatal(err)
	}
	_, index, err := OpkgIndex([]Entry{{p, ipk}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, feed, p.IPKName(), ipk)
	write(t, feed, "Packages.gz", index)
	output(t, opkg, append(slices.Clip(base), "update")...)
	output(t, opkg, append(slices.Clip(base), "upgrade", "sample")...)
	if text, err := os.ReadFile(filepath.Join(root, "usr/sbin/sample")); err != nil || string(text) != "newer" {
		t.Errorf("after the upgrade: %.20q, %v", text, err)
	}
	if text, err := os.ReadFile(filepath.Join(root, "etc/config/sample")); err != nil || string(text) != "edited\n" {
		t.Errorf("the owner's file: %q, %v", text, err)
	}
	output(t, opkg, append(slices.Clip(base), "remove", "sample")...)
	if _, err := os.Stat(filepath.Join(root, "usr/sbin/sample")); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
	p.Arch = "mipsel_24kc"
	if ipk, err = p.IPK(); err != nil {
		t.Fatal(err)
	}
	if out := fails(t, opkg, append(slices.Clip(base), "install", write(t, dir, p.IPKName(), ipk))...); !strings.Contains(out, "architecture") {
		t.Errorf("another architecture: %s", out)
	}
}
