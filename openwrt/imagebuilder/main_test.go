package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"globalnet/lab/router"
	"globalnet/openwrt/pack"
)

func TestMain(m *testing.M) { os.Exit(router.Main(m.Run)) }

// standIn behaves as an ImageBuilder does: profiles by `make info`, packages from its
// folder, no image where it is too big.
const standIn = `info:
	@echo 'Current Target: "ath79/generic"'
	@echo 'Available Profiles:'
	@echo
	@printf 'glinet_gl-ar300m16:\n    GL.iNet GL-AR300M16\n    Packages: kmod-usb2\ntplink_cpe210-v1:\n    TP-Link CPE210 v1\nglinet_gl-ar150:\n    GL.iNet GL-AR150\n'

image:
	@test -n "$(PROFILE)" && test -n "$(FILES)"
	@ls packages | grep -q '^globalnet[_-].*' || { echo "no package globalnet" >&2; exit 1; }
	@echo "$(PROFILE): $(PACKAGES)" >>calls
	@rm -rf seen && cp -a "$(FILES)" seen
	@if [ -e too-big ]; then echo "WARNING: Image file is too big: 17000000 > 16384000" >&2; else \
		cp image.bin "$(BIN_DIR)/openwrt-24.10.6-ath79-generic-$(PROFILE)-squashfs-sysupgrade.bin"; fi
`

type world struct {
	t                  *testing.T
	dir, packages, out string
}

func newWorld(t *testing.T, m router.Model) *world {
	t.Helper()
	w := &world{t, t.TempDir(), t.TempDir(), t.TempDir()}
	config := "CONFIG_TARGET_BOARD=\"ath79\"\nCONFIG_TARGET_ARCH_PACKAGES=\"" + m.Arch + "\"\n"
	name := "globalnet_1.0-r1_" + m.Arch + ".ipk"
	if m.APK {
		config += "CONFIG_USE_APK=y\n"
		name = "globalnet-1.0-r1.apk"
	}
	w.write(w.dir, ".config", []byte(config))
	w.write(w.dir, "Makefile", []byte(standIn))
	w.write(w.dir, "image.bin", image(64<<10, `"glinet,gl-ar300m16"`))
	w.write(w.dir, "packages/globalnet_0.1-r1_x.ipk", []byte("an older one"))
	w.write(w.packages, filepath.Join(m.Arch, name), router.Package(t, m, "1.0-r1", nil))
	return w
}

func (w *world) write(dir, name string, text []byte) {
	w.t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o644)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(name string) string {
	text, _ := os.ReadFile(filepath.Join(w.dir, name))
	return string(text)
}

func (w *world) run(args ...string) (string, error) {
	var out bytes.Buffer
	err := run(context.Background(), append([]string{"-dir", w.dir, "-packages", w.packages, "-out", w.out}, args...), &out)
	return out.String(), err
}

// image is one with metadata at its end.
func image(size int, devices string) []byte {
	part := append(make([]byte, 8), `{"metadata_version":"1.1","supported_devices":[`+devices+`],"version":{"dist":"OpenWrt","version":"24.10.6"}}`...)
	trailer := append([]byte("FWx0\x00\x00\x00\x00\x01\x00\x00\x00"), binary.BigEndian.AppendUint32(nil, uint32(len(part)+16))...)
	return slices.Concat(make([]byte, size), part, trailer)
}

func TestImage(t *testing.T) {
	for _, m := range []router.Model{router.AR300M, router.MT3000} {
		w := newWorld(t, m)
		w.write(w.dir, "secret", []byte("five random words it is\n"))
		out, err := w.run("-profile", "glinet_gl-ar300m16", "-more", "kmod-wireguard -ppp", "-mesh-radio", "radio0", "-channel", "6", "-lan", "names", "-network", "street", "-passphrase-file", filepath.Join(w.dir, "secret"))
		if err != nil || !strings.Contains(out, "16 MiB of flash") || !strings.Contains(out, "--image "+w.out) {
			t.Fatalf("%v\n%s", err, out)
		}
		if calls := w.read("calls"); calls != "glinet_gl-ar300m16: globalnet kmod-wireguard -ppp\n" {
			t.Errorf("calls: %s", calls)
		}
		if names, _ := filepath.Glob(filepath.Join(w.dir, "packages", "*")); len(names) != 1 || !strings.Contains(names[0], "1.0-r1") {
			t.Errorf("packages: %v", names)
		}
		if w.read("seen/etc/globalnet/passphrase") != "five random words it is\n" || strings.Contains(w.read("seen/etc/uci-defaults/95-globalnet-first"), "random") {
			t.Error("the passphrase is not where it belongs")
		}
		if info, err := os.Stat(filepath.Join(w.dir, "seen/etc/globalnet/passphrase")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the passphrase: %v", err)
		}
	}
}

// TestRefused: what does not fit, or is not there, is said before anything is built,
// and what came out too big afterwards.
func TestRefused(t *testing.T) {
	w := newWorld(t, router.AR300M)
	large := make([]byte, 2<<20)
	rand.Read(large)
	w.write(w.packages, filepath.Join(router.AR300M.Arch, "globalnet_1.0-r2_mips_24kc.ipk"), router.Package(t, router.AR300M, "1.0-r2", func(p *pack.Package) {
		p.Files = append(p.Files, pack.File{Path: "usr/share/large", Mode: 0o644, Content: large})
	}))
	for want, args := range map[string][]string{
		"say which":      {},
		"has no profile": {"-profile", "glinet_gl-ar300"},
		"and about":      {"-profile", "tplink_cpe210-v1"}, // 8 MiB
		"--lan":          {"-profile", "glinet_gl-ar300m16", "-lan", "some"},
		"no such file":   {"-profile", "glinet_gl-ar300m16", "-passphrase-file", "/nothing"},
		"--mesh-radio":   {"-profile", "glinet_gl-ar300m16", "-mesh-radio", "radio0; reboot"},
	} {
		if out, err := w.run(args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
	if w.read("calls") != "" {
		t.Errorf("it was asked to build: %s", w.read("calls"))
	}
	good := []string{"-profile", "glinet_gl-ar300m16"}
	w.write(w.dir, "too-big", nil)
	if out, err := w.run(good...); err == nil || !strings.Contains(err.Error(), "too big") {
		t.Errorf("without an image: %v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(w.dir, "too-big")); err != nil {
		t.Fatal(err)
	}
	w.write(w.dir, "image.bin", image(16<<20-300<<10, `"glinet,gl-ar300m16"`))
	if _, err := w.run(good...); err == nil || !strings.Contains(err.Error(), "leaves 300") {
		t.Errorf("a full flash: %v", err)
	}
	w.write(w.dir, "image.bin", image(1<<20, `"glinet,gl-ar750"`))
	if _, err := w.run(good...); err == nil || !strings.Contains(err.Error(), "is for glinet,gl-ar750") {
		t.Errorf("another board's image: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(w.packages, router.AR300M.Arch)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.run(good...); err == nil || !strings.Contains(err.Error(), "make packages ARCH=mips_24kc") {
		t.Errorf("without a package: %v", err)
	}
	if err := os.Remove(filepath.Join(w.dir, ".config")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.run(good...); err == nil || !strings.Contains(err.Error(), "is no ImageBuilder") {
		t.Errorf("without a .config: %v", err)
	}
}

// TestFirstBoot: a router that starts with the first configuration of an image is in
// the mesh, with its open access point off; it is sourced as OpenWrt does.
func TestFirstBoot(t *testing.T) {
	for _, radio := range []string{"auto", "radio0"} {
		w := newWorld(t, router.AR300M)
		if out, err := w.run("-profile", "glinet_gl-ar300m16", "-mesh-radio", radio, "-lan", "names", "-network", "street"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		r := router.New(t, router.AR300M)
		r.Write("etc/package", string(router.Package(t, router.AR300M, "1.0-r1", nil)))
		r.Write("etc/uci-defaults/95-globalnet-first", w.read("seen/etc/uci-defaults/95-globalnet-first"))
		out, err := r.Command("/bin/sh", "-c", "opkg install /etc/package && cd /etc/uci-defaults && ( . ./95-globalnet-first ) && rm 95-globalnet-first").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for file, want := range map[string]string{"globalnet": "option network 'street'", "wireless": "wifi-iface 'globalnet_radio0'", "dhcp": "/gnet.alt/"} {
			if !strings.Contains(r.Read("etc/config/"+file), want) {
				t.Errorf("%s: no %q in %s:\n%s", radio, want, file, r.Read("etc/config/"+file))
			}
		}
		// A router whose radio is not known yet tries again at its next start.
		r.Write("etc/config/wireless", "")
		r.Write("etc/config/globalnet", "config globalnet 'main'\n")
		if err := r.Command("/bin/sh", "-c", "( . /etc/again )").Run(); err == nil {
			t.Error("a script that is not there succeeds")
		}
		r.Write("etc/again", w.read("seen/etc/uci-defaults/95-globalnet-first"))
		if err := r.Command("/bin/sh", "-c", "( . /etc/again )").Run(); err == nil {
			t.Errorf("%s: without a radio it succeeds", radio)
		}
		if _, ok := exec.LookPath("shellcheck"); ok == nil {
			check := exec.Command("shellcheck", "-s", "dash", "-e", "SC2317", "-")
			check.Stdin = strings.NewReader(strings.ReplaceAll(w.read("seen/etc/uci-defaults/95-globalnet-first"), "return ", "exit "))
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("%s", out)
			}
		}
	}
}
