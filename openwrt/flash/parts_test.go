package flash

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"globalnet/openwrt/usign"
)

func TestParseArchive(t *testing.T) {
	for _, m := range []model{ar300m, mt3000} {
		file := agentPackage(t, m, "1.2-r1", nil)
		a, err := ParseArchive(file)
		if err != nil {
			t.Fatal(err)
		}
		if a.Name != "globalnet" || a.Version != "1.2-r1" || a.Arch != m.arch || a.APK != m.apk || a.Size != int64(len(file)) || a.Installed < 300<<10 {
			t.Errorf("%s %s %s, apk %v, %d of %d bytes", a.Name, a.Version, a.Arch, a.APK, a.Installed, a.Size)
		}
		if paths := a.Paths(); !slices.Contains(paths, "/etc/init.d/globalnet") || !strings.HasPrefix(string(a.Content("/usr/sbin/globalnet")), "#!/bin/sh") {
			t.Errorf("files %v", paths)
		}
		if links := a.links(); !slices.Contains(links, "/etc/rc.d/S90globalnet") || !slices.Contains(links, "/etc/rc.d/K10globalnet") {
			t.Errorf("links %v", links)
		}
		if _, err := ParseArchive(file[:len(file)/2]); err == nil {
			t.Error("half a package was read")
		}
	}
}

func FuzzParseArchive(f *testing.F) {
	f.Add([]byte("ADB.pckg\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xe0"))
	f.Add([]byte("\x1f\x8b"))
	f.Add([]byte("ADBd"))
	f.Fuzz(func(t *testing.T, file []byte) {
		if a, err := ParseArchive(file); err == nil && a.Name == "" {
			t.Error("a package without a name")
		}
	})
}

func TestCompareVersions(t *testing.T) {
	ordered := []string{"0_git20260101000000~abc-r1", "0_git20260102000000~0bc-r1", "0.9-r1", "1.0_alpha1-r1", "1.0_beta-r1", "1.0_rc2-r1", "1.0-r1", "1.0-r2", "1.0_git20260101000000~12-r1", "1.0.1-r1", "1.2-r1", "1.10-r1", "2-r1"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got, want := compareVersions(a, b), min(max(i-j, -1), 1); got != want {
				t.Errorf("%s and %s: %d, want %d", a, b, got, want)
			}
		}
	}
}

func image(devices string) []byte {
	part := append(make([]byte, 8), `{"metadata_version":"1.1","supported_devices":[`+devices+`],"version":{"dist":"OpenWrt","version":"25.12.6"}}`...)
	trailer := append([]byte("FWx0\x00\x00\x00\x00\x01\x00\x00\x00"), binary.BigEndian.AppendUint32(nil, uint32(len(part)+16))...)
	signature := append([]byte("a signature"), "FWx0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x1b"...)
	return slices.Concat(make([]byte, 64<<10), part, trailer, signature)
}

func TestImageMetadata(t *testing.T) {
	m, err := ImageMetadata(image(`"openwrt,one"`))
	if err != nil || !slices.Equal(m.Devices, []string{"openwrt,one"}) || m.Version.Version != "25.12.6" {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := ImageMetadata(make([]byte, 1000)); err == nil {
		t.Error("zeros have metadata")
	}
}

// TestRefusals: what would not go well is refused before anything changes, with
// what would.
func TestRefusals(t *testing.T) {
	good := func() *Router {
		return &Router{Board: "x", Manager: "opkg", distribution: "OpenWrt", uid: "0", rootfs: "squashfs", Arches: []string{"mips_24kc"}, Overlay: "jffs2", OverlayK: 8 << 10, TempK: 60 << 10, RAMK: 120 << 10, FreeK: 60 << 10}
	}
	a := &Archive{Arch: "mips_24kc", Size: 4 << 20, Installed: 12 << 20}
	if why, _ := fits(good(), a); why != "" {
		t.Errorf("refused: %s", why)
	}
	for want, spoil := range map[string]func(r *Router){
		"no OpenWrt":         func(r *Router) { r.Manager, r.distribution = "", "" },
		"not root":           func(r *Router) { r.uid = "1000" },
		"from memory":        func(r *Router) { r.rootfs = "tmpfs" },
		"no package is made": func(r *Router) { r.Arches = []string{"powerpc_464fp"} },
		"is for mips_24kc":   func(r *Router) { r.Arches = []string{"mipsel_24kc"} },
		"package manager":    func(r *Router) { r.Manager = "apk" },
		"enough flash":       func(r *Router) { r.OverlayK = 3 << 10 },
		"5.7 MiB needed, 5":  func(r *Router) { r.OverlayK = 5 << 10 },
		"12.5 MiB needed":    func(r *Router) { r.Overlay = "ext4" }, // which does not compress
		"room in /tmp":       func(r *Router) { r.TempK = 4 << 10 },
		"enough memory":      func(r *Router) { r.FreeK = 30 << 10 },
	} {
		r := good()
		spoil(r)
		if why, advice := fits(r, a); !strings.Contains(why, want) || advice == "" {
			t.Errorf("want %q, got %q, %q", want, why, advice)
		}
	}
}

func TestSignature(t *testing.T) {
	dir := t.TempDir()
	key, err := usign.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	file := agentPackage(t, ar300m, "1.0-r1", nil)
	name := filepath.Join(dir, "g.ipk")
	put := func(name string, text []byte) {
		if err := os.WriteFile(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put(name, file)
	o := Options{PublicKey: key.Public()}
	if _, err := o.open(name, dir); err == nil {
		t.Error("a package without a signature was taken")
	}
	put(name+".sig", key.Sign(file))
	if c, err := o.open(name, dir); err != nil || !c.signed {
		t.Errorf("signed, but %v", err)
	}
	put(name, append(file, 0))
	if _, err := o.open(name, dir); err == nil {
		t.Error("a changed package was taken")
	}
	put(name, file)
	put(filepath.Join(dir, "SHA256SUMS"), []byte("00  g.ipk\n"))
	if _, err := o.open(name, dir); err == nil || !strings.Contains(err.Error(), "SHA256SUMS") {
		t.Errorf("against the checksums: %v", err)
	}
}
