package board

import (
	"regexp"
	"testing"
)

// models has one line a board name that owners were promised.
var models = []struct {
	name, target, arch string
	flash, ram         int
	mode               string // of the first radio
}{
	{"glinet,gl-ar150", "ath79/generic", "mips_24kc", 16, 64, "mesh"},
	{"glinet,gl-ar300m16", "ath79/generic", "mips_24kc", 16, 128, "mesh"},
	{"glinet,gl-ar300m-nand", "ath79/generic", "mips_24kc", 16, 128, "mesh"},
	{"glinet,gl-ar750", "ath79/generic", "mips_24kc", 16, 128, "mesh"},
	{"tplink,archer-c7-v2", "ath79/generic", "mips_24kc", 16, 128, "mesh"},
	{"tplink,archer-a7-v5", "ath79/generic", "mips_24kc", 16, 128, "mesh"},
	{"tplink,cpe210-v3", "ath79/generic", "mips_24kc", 8, 64, "mesh"},
	{"tplink,cpe510-v1", "ath79/generic", "mips_24kc", 8, 64, "mesh"},
	{"tplink,cpe710-v1", "ath79/generic", "mips_24kc", 16, 128, "mesh"},
	{"ubnt,unifiac-mesh", "ath79/generic", "mips_24kc", 16, 128, "mesh"},
	{"ubnt,nanostation-m-xw", "ath79/generic", "mips_24kc", 8, 64, "mesh"},
	{"librerouter,librerouter-v1", "ath79/generic", "mips_24kc", 16, 128, "mesh"},
	{"glinet,gl-mt300n-v2", "ramips/mt76x8", "mipsel_24kc", 16, 128, "mesh"},
	{"glinet,gl-mt1300", "ramips/mt7621", "mipsel_24kc", 32, 256, "mesh"},
	{"xiaomi,mi-router-4a-gigabit-v2", "ramips/mt7621", "mipsel_24kc", 16, 128, "mesh"},
	{"glinet,gl-b1300", "ipq40xx/generic", "arm_cortex-a7_neon-vfpv4", 32, 256, "mesh"},
	{"mikrotik,hap-ac2", "ipq40xx/mikrotik", "arm_cortex-a7_neon-vfpv4", 16, 0, "mesh"},
	{"netgear,r7800", "ipq806x/generic", "arm_cortex-a15_neon-vfpv4", 128, 512, "mesh"},
	{"linksys,wrt3200acm", "mvebu/cortexa9", "arm_cortex-a9_vfpv3-d16", 128, 512, ""},
	{"glinet,gl-mt3000", "mediatek/filogic", "aarch64_cortex-a53", 256, 512, "mesh"},
	{"openwrt,one", "mediatek/filogic", "aarch64_cortex-a53", 256, 1024, "mesh"},
	{"xiaomi,mi-router-ax3000t", "mediatek/filogic", "aarch64_cortex-a53", 128, 256, "mesh"},
	{"cudy,wr3000-v1", "mediatek/filogic", "aarch64_cortex-a53", 128, 256, "mesh"},
	{"raspberrypi,3-model-b", "bcm27xx/bcm2710", "aarch64_cortex-a53", 0, 1024, ""},
	{"raspberrypi,4-model-b", "bcm27xx/bcm2711", "aarch64_cortex-a72", 0, 0, ""},
	{"raspberrypi,5-model-b", "bcm27xx/bcm2712", "aarch64_cortex-a76", 0, 0, ""},
	{"qemu-standard-pc-q35-ich9-2009", "x86/64", "x86_64", 0, 0, "none"},
}

func TestModels(t *testing.T) {
	tested := make(map[string]bool)
	for _, m := range models {
		b, ok := Lookup(m.name)
		if !ok {
			t.Errorf("%s is not in the table", m.name)
			continue
		}
		tested[b.Names[0]] = true
		if b.Target != m.target || b.Arch != m.arch || b.Flash != m.flash || b.RAM != m.ram {
			t.Errorf("%s: %+v", m.name, b)
		}
		mode := "none"
		if len(b.Radios) > 0 {
			mode = b.Radios[0].MeshMode()
		}
		if mode != m.mode {
			t.Errorf("%s: mode %q, want %q", m.name, mode, m.mode)
		}
	}
	for _, b := range All() {
		if !tested[b.Names[0]] {
			t.Errorf("%s has no line in models", b.Names[0])
		}
	}
	if _, ok := Lookup(""); ok {
		t.Error("no name is a board")
	}
}

func TestTableIsConsistent(t *testing.T) {
	seen := make(map[string]bool)
	target := regexp.MustCompile(`^[a-z0-9]+/[a-z0-9]+$`)
	for _, b := range All() {
		for _, name := range b.Names {
			if seen[name] {
				t.Errorf("%s is in the table twice", name)
			}
			seen[name] = true
		}
		if _, ok := LookupArch(b.Arch); !ok {
			t.Errorf("%s: no packages are built for %q", b.Title, b.Arch)
		}
		if b.Title == "" || !target.MatchString(b.Target) {
			t.Errorf("%s: title %q, target %q", b.Names[0], b.Title, b.Target)
		}
		for _, r := range b.Radios {
			if r.Bands == "" || r.Driver == "" {
				t.Errorf("%s: radio %+v", b.Title, r)
			}
		}
	}
}

func TestArches(t *testing.T) {
	binaries := make(map[string]Arch)
	for _, a := range Arches() {
		known, again := binaries[a.Binary]
		if a.Name, known.Name = "", ""; again && a != known {
			t.Errorf("two settings for one binary: %+v and %+v", a, known)
		}
		binaries[a.Binary] = a
		if mips := a.GOARCH == "mips" || a.GOARCH == "mipsle"; mips != (a.GOMIPS == "softfloat") {
			t.Errorf("%+v: MIPS routers have no floating point", a)
		}
	}
	if _, ok := LookupArch("mips_4kec"); ok {
		t.Error("mips_4kec is built")
	}
	if a, _ := LookupArch("arm_cortex-a7"); a.GOARM != "5" {
		t.Errorf("arm_cortex-a7 has no floating point in OpenWrt: %+v", a)
	}
}

func TestMeshMode(t *testing.T) {
	for _, tt := range []struct {
		mesh, adhoc Ability
		want        string
	}{
		{Good, Good, "mesh"}, {Good, No, "mesh"}, {Poor, Good, "adhoc"}, {No, Good, "adhoc"},
		{Unknown, Poor, "adhoc"}, {No, No, ""}, {Unknown, Unknown, ""},
	} {
		if got := (Radio{Mesh: tt.mesh, AdHoc: tt.adhoc}).MeshMode(); got != tt.want {
			t.Errorf("mesh %v, ad-hoc %v: %q, want %q", tt.mesh, tt.adhoc, got, tt.want)
		}
	}
}

func TestProfileFor(t *testing.T) {
	for _, tt := range []struct {
		kib          uint64
		class, limit int
		small, relay bool
	}{
		{0, 128, 32, true, true},
		{26 << 10, 64, 24, true, false},
		{59_000, 64, 24, true, false},
		{96<<10 - 1, 64, 24, true, false},
		{96 << 10, 128, 32, true, true},
		{125_608, 128, 32, true, true}, // a UniFi AC Mesh
		{245_000, 256, 64, true, true},
		{500_000, 512, 128, false, true},
		{1_000_000, 512, 244, false, true},
		{4 << 20, 512, 0, false, true},
		{1 << 62, 512, 0, false, true},
	} {
		p := ProfileFor(tt.kib)
		if p.Class != tt.class || p.MemoryLimit != tt.limit || p.SmallBuffers != tt.small || p.Relay != tt.relay {
			t.Errorf("%d KiB: %+v", tt.kib, p)
		}
		if ram := max(tt.kib, 26<<10); tt.kib > 96<<10 && uint64(p.MemoryLimit)<<10 > ram/2 {
			t.Errorf("%d KiB: the heap may take more than half", tt.kib)
		}
	}
}
