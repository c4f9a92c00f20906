package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"globalnet/board"
	"globalnet/openwrt/usign"
)

const (
	repository = "../.."
	feed       = repository + "/openwrt/feed/globalnet"
)

// binary builds a program small enough for tests, under the name of the real one.
func binary(t *testing.T, dir, goarch, name, text string) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "main.go")
	must(t, os.WriteFile(source, []byte(fmt.Sprintf("package main\n\nfunc main() { println(%q) }\n", text)), 0o644))
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, name), source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+goarch, "GOMIPS=softfloat", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tree reads all files below dir.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(text)
		return err
	}))
	return files
}

func TestBuild(t *testing.T) {
	dir := t.TempDir()
	binary(t, dir, "mips", "globalnet-mips", "one")
	binary(t, dir, "arm64", "globalnet-arm64", "one")
	keyDir := filepath.Join(dir, "keys")
	var exports bytes.Buffer
	must(t, run([]string{"-keygen", keyDir}, &exports))
	if err := run([]string{"-keygen", keyDir}, &exports); err == nil {
		t.Error("wrote over the keys")
	}
	for _, k := range []string{"apk.pem", "usign.sec"} {
		if info, err := os.Stat(filepath.Join(keyDir, k)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", k, info.Mode(), err)
		}
	}
	t.Setenv(apkVariable, filepath.Join(keyDir, "apk.pem"))
	t.Setenv(usignVariable, filepath.Join(keyDir, "usign.sec"))
	t.Setenv("SOURCE_DATE_EPOCH", "1790000000")
	args := func(out string) []string {
		return []string{
			"-o", filepath.Join(dir, out), "-binaries", dir, "-feed", feed, "-luci", repository + "/openwrt/luci", "-arch", "mips_24kc,aarch64_cortex-a53,aarch64_generic",
			"-version", "v1.2.3",
		}
	}
	var text bytes.Buffer
	must(t, run(args("a"), &text))
	if strings.Contains(text.String(), "not signed") || !strings.Contains(text.String(), "aarch64_generic") {
		t.Errorf("printed:\n%s", text.String())
	}
	must(t, os.WriteFile(filepath.Join(dir, "stale"), nil, 0o600))
	must(t, os.MkdirAll(filepath.Join(dir, "b/mips_24kc"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "b/mips_24kc/globalnet-1.2.2-r1.apk"), nil, 0o600))
	must(t, run(args("b"), &text))
	a := tree(t, filepath.Join(dir, "a"))
	for name, content := range tree(t, filepath.Join(dir, "b")) {
		if a[name] != content {
			t.Errorf("%s differs between two builds, or was left by an earlier version", name)
		}
	}
	checkOutput(t, a)
}

func checkOutput(t *testing.T, files map[string]string) {
	t.Helper()
	for _, name := range []string{
		"mips_24kc/globalnet_1.2.3-r1_mips_24kc.ipk", "mips_24kc/globalnet-1.2.3-r1.apk", "mips_24kc/Packages", "mips_24kc/Packages.gz",
		"mips_24kc/Packages.sig", "mips_24kc/packages.adb", "aarch64_generic/globalnet-1.2.3-r1.apk",
		"mips_24kc/luci-app-globalnet_1.2.3-r1_all.ipk", "mips_24kc/luci-app-globalnet-1.2.3-r1.apk", "keys/globalnet.pem",
		"SHA256SUMS", "SHA256SUMS.sig", "SHA256SUMS.minisig", "sbom/globalnet-mips.cdx.json", "sbom/globalnet-arm64.cdx.json",
	} {
		if files[name] == "" {
			t.Errorf("no %s", name)
		}
	}
	for name, text := range files {
		if strings.Contains(name, "luci-app") && len(text) > luciBudget {
			t.Errorf("%s has %d bytes, at most %d", name, len(text), luciBudget)
		}
	}
	for _, want := range []string{"Package: globalnet\n", "Package: luci-app-globalnet\n", "Architecture: all\n", "Depends: globalnet, luci-base\n"} {
		if !strings.Contains(files["mips_24kc/Packages"], want) {
			t.Errorf("no %q in the index", want)
		}
	}
	public := ""
	for name, text := range files {
		if strings.HasPrefix(name, "keys/") && name != "keys/globalnet.pem" {
			public = text
		}
	}
	for _, s := range []struct{ file, signature string }{
		{"SHA256SUMS", "SHA256SUMS.sig"}, {"SHA256SUMS", "SHA256SUMS.minisig"}, {"mips_24kc/Packages", "mips_24kc/Packages.sig"},
	} {
		if err := usign.Verify([]byte(public), []byte(files[s.file]), []byte(files[s.signature])); err != nil {
			t.Errorf("%s: %v", s.signature, err)
		}
	}
	var sums []string
	for line := range strings.Lines(files["SHA256SUMS"]) {
		sums = append(sums, strings.Fields(line)[1])
	}
	if len(sums) != len(files)-3 || !slices.IsSorted(sums) {
		t.Errorf("%d checksums of %d files", len(sums), len(files))
	}
	var b bill
	if err := json.Unmarshal([]byte(files["sbom/globalnet-mips.cdx.json"]), &b); err != nil || b.Format != "CycloneDX" || len(b.Components) == 0 {
		t.Errorf("bill of materials: %v\n%s", err, files["sbom/globalnet-mips.cdx.json"])
	}
	for name := range files {
		if strings.Contains(name, "sec") || strings.Contains(files[name], "PRIVATE") {
			t.Errorf("%s holds a secret", name)
		}
	}
}

func TestRefusedBinaries(t *testing.T) {
	dir := t.TempDir()
	binary(t, dir, "mipsle", "globalnet-mips", "of the other order of bytes")
	t.Setenv("SOURCE_DATE_EPOCH", "1790000000")
	for _, tt := range []struct{ arch, version, want string }{
		{"mips_24kc", "v1", "is of EM_MIPS"},
		{"aarch64_generic", "v1", "make build-all"},
		{"mips_4kec", "v1", `no architecture "mips_4kec"; there are mips_24kc`},
		{"mips_24kc", "unknown", `version "unknown"`},
	} {
		err := run([]string{"-o", filepath.Join(dir, "out"), "-binaries", dir, "-feed", feed, "-luci", repository + "/openwrt/luci", "-arch", tt.arch, "-version", tt.version}, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: %v, want %q", tt.arch, tt.version, err, tt.want)
		}
	}
	self, err := os.ReadFile(filepath.Join(dir, "globalnet-mips"))
	must(t, err)
	mipsel, _ := board.LookupArch("mipsel_24kc")
	must(t, checkMachine(self, mipsel))
	if err := checkMachine(self[:40], mipsel); err == nil {
		t.Error("half a file is a binary")
	}
}

func TestKeysThatCannotBeRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(path, []byte("not a key"), 0o600))
	for _, variable := range []string{apkVariable, usignVariable} {
		for _, value := range []string{path, path + "-missing"} {
			if _, err := loadKeys(func(v string) string {
				if v == variable {
					return value
				}
				return ""
			}); err == nil || !strings.HasPrefix(err.Error(), variable+": ") {
				t.Errorf("%s=%s: %v", variable, value, err)
			}
		}
	}
}

// TestFeedAgreesWithThePackage: the SDK's recipe and this program ship the same.
func TestFeedAgreesWithThePackage(t *testing.T) {
	text, err := os.ReadFile(feed + "/Makefile")
	must(t, err)
	for _, want := range []string{
		"$(CP) ./files/* $(1)/", "$(1)/usr/sbin/", "$(LN) ../sbin/globalnet $(1)/usr/bin/gn", "/etc/config/globalnet", "scripts/after-install.sh", "scripts/before-remove.sh",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in the feed's Makefile", want)
		}
	}
}

// TestLuCIAgreesWithTheFeed: the same of LuCI's application.
func TestLuCIAgreesWithTheFeed(t *testing.T) {
	text, err := os.ReadFile(repository + "/openwrt/feed/luci-app-globalnet/Makefile")
	must(t, err)
	for _, want := range []string{
		"PKG_NAME:=luci-app-globalnet\n", "+globalnet +luci-base\n", "PKGARCH:=all\n", "htdocs/* $(1)/www/", "root/* $(1)/", "scripts/after-install.sh", "scripts/before-remove.sh",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in the feed's Makefile", want)
		}
	}
	o := options{luci: repository + "/openwrt/luci", version: "1.0-r1", time: time.Unix(1_790_000_000, 0)}
	p, err := o.luciApp()
	must(t, err)
	for _, f := range p.Files {
		if !strings.HasPrefix(f.Path, "www/luci-static/resources/") && !strings.HasPrefix(f.Path, "usr/share/") || f.Mode != 0o644 {
			t.Errorf("%s, mode %o", f.Path, f.Mode)
		}
	}
	ipk, err := p.IPK()
	must(t, err)
	t.Logf("%d files, %d bytes", len(p.Files), len(ipk))
}
