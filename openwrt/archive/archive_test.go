package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"

	"globalnet/lab/router"
	"globalnet/openwrt/archive"
)

func TestRead(t *testing.T) {
	for _, m := range []router.Model{router.AR300M, router.MT3000} {
		file := router.Package(t, m, "1.2-r1", nil)
		a, err := archive.Read(bytes.NewReader(file), nil)
		if err != nil {
			t.Fatal(err)
		}
		if a.Name != "globalnet" || a.Version != "1.2-r1" || a.Arch != m.Arch || a.APK != m.APK || a.Size != int64(len(file)) || a.Installed < 300<<10 {
			t.Errorf("%s %s %s, apk %v, %d of %d bytes", a.Name, a.Version, a.Arch, a.APK, a.Installed, a.Size)
		}
		if paths := a.Paths(); !slices.Contains(paths, "/etc/init.d/globalnet") || !bytes.HasPrefix(a.File("/usr/sbin/globalnet").Content, []byte("#!/bin/sh")) {
			t.Errorf("files %v", paths)
		}
		if f := a.File("/usr/sbin/globalnet"); f.Sum != sha256.Sum256(f.Content) || f.Size != int64(len(f.Content)) || f.Mode != 0o755 {
			t.Errorf("the program: mode %o, %d bytes", f.Mode, f.Size)
		}
		if b, err := archive.Read(bytes.NewReader(file), func(string) bool { return false }); err != nil || b.File("/usr/sbin/globalnet").Content != nil || b.File("/usr/sbin/globalnet").Sum != a.File("/usr/sbin/globalnet").Sum {
			t.Errorf("without contents: %v", err)
		}
		if f := a.File("/usr/bin/gn"); f == nil || f.Link != "../sbin/globalnet" {
			t.Errorf("the link: %+v", f)
		}
		if _, err := archive.Read(bytes.NewReader(file[:len(file)/2]), nil); err == nil {
			t.Error("half a package was read")
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("ADB.pckg\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xe0"))
	f.Add([]byte("\x1f\x8b"))
	f.Add([]byte("ADBd"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if a, err := archive.Read(bytes.NewReader(file), nil); err == nil && a.Name == "" {
			t.Error("a package without a name")
		}
	})
}

func TestCompareVersions(t *testing.T) {
	ordered := []string{"0_git20260101000000~abc-r1", "0_git20260102000000~0bc-r1", "0.9-r1", "1.0_alpha1-r1", "1.0_beta-r1", "1.0_rc2-r1", "1.0-r1", "1.0-r2", "1.0_git20260101000000~12-r1", "1.0.1-r1", "1.2-r1", "1.10-r1", "2-r1"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got, want := archive.CompareVersions(a, b), min(max(i-j, -1), 1); got != want {
				t.Errorf("%s and %s: %d, want %d", a, b, got, want)
			}
		}
	}
}

// TestTar: what others write is read as archive/tar means it.
func TestTar(t *testing.T) {
	long := "usr/share/" + strings.Repeat("a-long-folder/", 12) + "file"
	var data bytes.Buffer
	z := gzip.NewWriter(&data)
	w := tar.NewWriter(z)
	for _, h := range []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./" + long, Typeflag: tar.TypeReg, Mode: 0o640, Size: 3, Format: tar.FormatGNU},
		{Name: "./short", Typeflag: tar.TypeReg, Mode: 0o644, Size: 3, Format: tar.FormatUSTAR, ModTime: time.Unix(1, 0)},
		{Name: "./link", Typeflag: tar.TypeSymlink, Linkname: "/" + long, Format: tar.FormatGNU},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			w.Write([]byte("abc"))
		}
	}
	w.Close()
	z.Close()
	var control bytes.Buffer
	z = gzip.NewWriter(&control)
	w = tar.NewWriter(z)
	text := "Package: x\nVersion: 1\nArchitecture: all\n"
	w.WriteHeader(&tar.Header{Name: "./control", Typeflag: tar.TypeReg, Size: int64(len(text))})
	w.Write([]byte(text))
	w.Close()
	z.Close()
	var file bytes.Buffer
	z = gzip.NewWriter(&file)
	w = tar.NewWriter(z)
	for name, part := range map[string][]byte{"data.tar.gz": data.Bytes(), "control.tar.gz": control.Bytes()} {
		w.WriteHeader(&tar.Header{Name: "./" + name, Typeflag: tar.TypeReg, Size: int64(len(part))})
		w.Write(part)
	}
	w.Close()
	z.Close()
	a, err := archive.Read(&file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if f := a.File("/" + long); f == nil || f.Mode != 0o640 || string(f.Content) != "abc" {
		t.Errorf("the file with the long name: %+v of %v", f, a.Paths())
	}
	if f := a.File("/link"); f == nil || f.Link != "/"+long {
		t.Errorf("the link: %+v", f)
	}
	if len(a.Files) != 3 {
		t.Errorf("files %v", a.Paths())
	}
}
