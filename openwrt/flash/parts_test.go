package flash

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"globalnet/lab/router"
	"globalnet/openwrt/archive"
	"globalnet/openwrt/usign"
)

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
	a := &archive.Archive{Arch: "mips_24kc", Size: 4 << 20, Installed: 12 << 20}
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
	file := router.Package(t, router.AR300M, "1.0-r1", nil)
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
