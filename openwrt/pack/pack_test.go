package pack

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sample is a package with everything that the formats treat differently.
func sample() Package {
	return Package{
		Name: "sample", Version: "1.2.3_git20261121000000~0123abc-r1", Arch: "mips_24kc", Section: "net", License: "Apache-2.0",
		Maintainer: "Owner <owner@example.org>", URL: "https://example.org/", Description: "A sample\nIt has two lines.",
		Depends: []string{"libc", "ca-bundle"}, Time: time.Unix(1_790_000_000, 0),
		Files: []File{
			{Path: "usr/sbin/sample", Mode: 0o755, Content: bytes.Repeat([]byte("program "), 40_000)},
			{Path: "usr/bin/sm", Link: "../sbin/sample"},
			{Path: "etc/config/sample", Mode: 0o600, Content: []byte("config sample 'main'\n")},
			{Path: "etc/init.d/sample", Mode: 0o755, Content: []byte("#!/bin/sh /etc/rc.common\n")},
			{Path: "etc/init.d-x", Mode: 0o644, Content: []byte("sorts between")},
			{Path: "etc/empty", Mode: 0o644},
			{Path: "top", Mode: 0o644, Content: bytes.Repeat([]byte("t"), 300)},
		},
		ConfFiles:    []string{"/etc/config/sample"},
		AfterInstall: "# after\n" + strings.Repeat("# a long body has a length of two bytes\n", 20) + "true\n",
		BeforeRemove: "# before\ntrue\n",
	}
}

func write(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// tool returns the path of a real program, named by an environment variable or
// in PATH.
func tool(t *testing.T, variable, name string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		var err error
		if path, err = exec.LookPath(name); err != nil {
			t.Skipf("no %s here: %v", name, err)
		}
	}
	return path
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

func TestSameBytesEachTime(t *testing.T) {
	key, err := NewSigningKey()
	if err != nil {
		t.Fatal(err)
	}
	a, b := sample(), sample()
	b.Files[0], b.Files[3] = b.Files[3], b.Files[0]
	for name, make := range map[string]func(Package) ([]byte, error){
		"ipk":          Package.IPK,
		"apk":          func(p Package) ([]byte, error) { return p.APK(key) },
		"unsigned apk": func(p Package) ([]byte, error) { return p.APK(nil) },
	} {
		first, err := make(a)
		if err != nil {
			t.Fatal(err)
		}
		second, err := make(b)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Errorf("%s: different bytes for the same files in another order", name)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Package){
		"name":           func(p *Package) { p.Name = "Sample" },
		"version":        func(p *Package) { p.Version = "1.0-alpha.1" },
		"architecture":   func(p *Package) { p.Arch = "mips/24kc" },
		"two lines":      func(p *Package) { p.Maintainer = "a\nDepends: evil" },
		"absolute path":  func(p *Package) { p.Files[0].Path = "/usr/x" },
		"path upwards":   func(p *Package) { p.Files[0].Path = "../x" },
		"unclean path":   func(p *Package) { p.Files[0].Path = "usr//x" },
		"twice":          func(p *Package) { p.Files[0].Path = p.Files[1].Path },
		"mode":           func(p *Package) { p.Files[0].Mode = 0o100755 },
		"link with text": func(p *Package) { p.Files[0].Link = "x" },
		"conffile":       func(p *Package) { p.ConfFiles = []string{"/etc/config/other"} },
		"exit":           func(p *Package) { p.AfterInstall = "true\nexit 0\n" },
		"time":           func(p *Package) { p.Time = time.Time{} },
	} {
		p := sample()
		spoil(&p)
		if _, err := p.IPK(); err == nil {
			t.Errorf("%s: written as ipk", name)
		}
		if _, err := p.APK(nil); err == nil {
			t.Errorf("%s: written as apk", name)
		}
	}
}

func TestVersion(t *testing.T) {
	commit := time.Date(2026, 11, 21, 23, 59, 58, 0, time.UTC)
	for _, tt := range []struct{ describe, want string }{
		{"v1.2.3", "1.2.3-r1"},
		{"1.2", "1.2-r1"},
		{"v0.1.0-alpha.1", "0.1.0_alpha1-r1"},
		{"v0.1.0-rc2-5-gabcdef1", "0.1.0_rc2_git20261121235958~abcdef1-r1"},
		{"v0.1.0-5-gabcdef1", "0.1.0_git20261121235958~abcdef1-r1"},
		{"abcdef1", "0_git20261121235958~abcdef1-r1"},
		{"1234567", "0_git20261121235958~1234567-r1"},
		{"abcdef1-dirty", "0_git20261121235958~abcdef1-r1"},
		{"v1.2.3-dirty", "1.2.3_git20261121235958-r1"},
		{"unknown", ""}, {"", ""}, {"v", ""}, {"v1.2.3+x", ""}, {"v1..2", ""}, {"v1.0\n", ""},
	} {
		got, err := Version(tt.describe, commit)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q: %q, %v; want %q", tt.describe, got, err, tt.want)
		}
	}
}

// TestVersionsAreOrdered asks the real apk.
func TestVersionsAreOrdered(t *testing.T) {
	apk := tool(t, "APK", "apk")
	commit := time.Date(2026, 11, 21, 23, 59, 58, 0, time.UTC)
	last := ""
	for _, step := range []struct {
		describe string
		at       time.Time
	}{
		{"abcdef1", commit}, {"1234567", commit.Add(time.Second)}, {"v0.1.0-alpha.1", commit}, {"v0.1.0-rc1", commit},
		{"v0.1.0", commit}, {"v0.1.0-1-gfffffff", commit}, {"v0.1.0-2-g1111111", commit.Add(time.Hour)}, {"v0.1.1", commit},
	} {
		v, err := Version(step.describe, step.at)
		if err != nil {
			t.Fatal(err)
		}
		output(t, apk, "version", "--check", v)
		if last != "" {
			if got := strings.TrimSpace(output(t, apk, "version", "--test", last, v)); got != "<" {
				t.Errorf("%s %s %s", last, got, v)
			}
		}
		last = v
	}
}

// fails runs what must fail.
func fails(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err == nil {
		t.Errorf("%s %s did not fail:\n%s", name, strings.Join(args, " "), out)
	}
	return string(out)
}

func FuzzVersion(f *testing.F) {
	f.Add("v1.2.3-rc1-4-gabcdef1-dirty", int64(1_790_000_000))
	f.Add("abcdef1", int64(0))
	f.Fuzz(func(t *testing.T, describe string, at int64) {
		v, err := Version(describe, time.Unix(at, 0))
		if (err == nil) != ValidVersion(v) || strings.ContainsAny(v, " \n/") {
			t.Errorf("%q: %q, %v", describe, v, err)
		}
	})
}
