package board

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root makes a device of files; a name that ends in @ is a link to its text.
func root(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, strings.TrimSuffix(name, "@"))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if strings.HasSuffix(name, "@") {
			err = os.Symlink(text, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	meminfo128 = "MemTotal:         125608 kB\nMemFree:           70000 kB\n"
	cpuMIPS    = "system type\t\t: Qualcomm Atheros QCA9563 ver 1 rev 0\nmachine\t\t\t: TP-Link\nprocessor\t\t: 0\ncpu model\t\t: MIPS 74Kc V5.0\n"
	boardJSON  = `{"model":{"id":"tplink,archer-c7-v5","name":"TP-Link Archer C7 v5"},"network":{"lan":{"ports":["eth0.1"],"protocol":"static"},"wan":{"device":"eth0.2"}}}`
)

func TestDetectKnown(t *testing.T) {
	f := Detect(root(t, map[string]string{
		"tmp/sysinfo/board_name":                "tplink,archer-c7-v5\n",
		"tmp/sysinfo/model":                     "TP-Link Archer C7 v5\n",
		"etc/board.json":                        boardJSON,
		"etc/openwrt_release":                   "DISTRIB_ID='OpenWrt'\nDISTRIB_RELEASE='25.12.5'\nDISTRIB_ARCH='mips_24kc'\n",
		"proc/meminfo":                          meminfo128,
		"proc/cpuinfo":                          cpuMIPS,
		"proc/device-tree/aliases/led-running":  "/leds/system\x00",
		"proc/device-tree/leds/system/label":    "green:system\x00",
		"sys/class/leds/tp-link:green:system/x": "",
		"sys/class/leds/ath10k-phy0/x":          "",
		"sys/class/ieee80211/phy0/x":            "",
		"dev/net/tun":                           "",
	}))
	if !f.Known || f.Name != "tplink,archer-c7-v5" || f.Board.Arch != "mips_24kc" || f.Release != "25.12.5" {
		t.Errorf("found %+v", f)
	}
	if f.CPU != "MIPS 74Kc V5.0" || f.RAMKiB != 125608 || f.Profile.Class != 128 || !f.TUN || len(f.Phys) != 1 {
		t.Errorf("found %+v", f)
	}
	if f.LED != "tp-link:green:system" {
		t.Errorf("LED %q", f.LED)
	}
	if got := strings.Join(f.Ports, " "); got != "lan=eth0.1 wan=eth0.2" {
		t.Errorf("ports %q", got)
	}
}

func TestDetectSources(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		board string
		known bool
		arch  string
		why   string // one of the reasons
	}{
		{"board.json alone", map[string]string{"etc/board.json": boardJSON}, "tplink,archer-c7-v5", true, "mips_24kc", "says /etc/board.json"},
		{"device tree alone", map[string]string{"proc/device-tree/compatible": "openwrt,one\x00mediatek,mt7981\x00"}, "openwrt,one", true, "aarch64_cortex-a53", "says the device tree"},
		{"sysinfo wins", map[string]string{"tmp/sysinfo/board_name": "glinet,gl-ar150", "etc/board.json": boardJSON}, "glinet,gl-ar150", true, "mips_24kc", "GL-AR150"},
		{
			"damaged board.json",
			map[string]string{"etc/board.json": boardJSON[:40], "tmp/sysinfo/board_name": "openwrt,one\n"},
			"openwrt,one", true, "aarch64_cortex-a53", "damaged",
		},
		{
			"unknown board", map[string]string{
				"tmp/sysinfo/board_name":                   "acme,rocket-9\n",
				"etc/openwrt_release":                      "DISTRIB_ARCH=\"mipsel_24kc\"\n",
				"sys/class/ieee80211/phy0/device/driver@":  "../../../bus/pci/drivers/mt7915e",
				"sys/class/ieee80211/phy1/device/driver@":  "../../../bus/platform/drivers/ath9k",
				"sys/class/ieee80211/phy2/device/nothing.": "",
			}, "acme,rocket-9", false, "mipsel_24kc", "no board of the table",
		},
		{
			"other architecture", map[string]string{
				"tmp/sysinfo/board_name": "glinet,gl-mt3000", "etc/openwrt_release": "DISTRIB_ARCH='aarch64_generic'",
			}, "glinet,gl-mt3000", true, "aarch64_generic", "packages are of the former",
		},
		{"nothing", nil, "", false, archOfThis(), "no board name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := Detect(root(t, tt.files))
			if f.Name != tt.board || f.Known != tt.known || f.Board.Arch != tt.arch {
				t.Errorf("name %q, known %v, arch %q", f.Name, f.Known, f.Board.Arch)
			}
			if !strings.Contains(strings.Join(f.Why, "\n"), tt.why) {
				t.Errorf("why:\n%s", strings.Join(f.Why, "\n"))
			}
			if tt.name == "unknown board" {
				if len(f.Board.Radios) != 2 || f.Board.Radios[0].AdHoc != No || f.Board.Radios[1].AdHoc != Good {
					t.Errorf("radios %+v", f.Board.Radios)
				}
			}
		})
	}
}

func archOfThis() string {
	if f := Detect("/nonexistent"); f.Board.Arch != "" {
		return f.Board.Arch
	}
	return "?"
}

func TestDetectReadsNoGiants(t *testing.T) {
	long := strings.Repeat("x", maxRead*2)
	f := Detect(root(t, map[string]string{"tmp/sysinfo/board_name": long, "proc/meminfo": long, "etc/board.json": long}))
	if len(f.Name) > maxRead || f.RAMKiB != 0 {
		t.Errorf("name of %d bytes, %d KiB", len(f.Name), f.RAMKiB)
	}
}

func TestLEDAliasStaysInside(t *testing.T) {
	f := Detect(root(t, map[string]string{
		"proc/device-tree/aliases/led-running": "/../../secret",
		"secret/label":                         "green:x",
		"sys/class/leds/green:x/b":             "",
	}))
	if f.LED != "" {
		t.Errorf("LED %q", f.LED)
	}
}

func FuzzDetect(f *testing.F) {
	f.Add("tplink,archer-c7-v5\n", boardJSON, meminfo128, cpuMIPS, "DISTRIB_ARCH='mips_24kc'\n")
	f.Add("", "{}", "MemTotal: -1 kB", "cpu model\n:", "=\n'")
	f.Add("x", `{"network":{"lan":null,"wan":{"ports":[""]}}}`, "MemTotal:", ":", "DISTRIB_ARCH")
	f.Fuzz(func(t *testing.T, name, boardJSON, meminfo, cpuinfo, release string) {
		found := Detect(root(t, map[string]string{
			"tmp/sysinfo/board_name": name, "etc/board.json": boardJSON, "proc/meminfo": meminfo, "proc/cpuinfo": cpuinfo,
			"etc/openwrt_release": release,
		}))
		if found.Known != (len(found.Board.Names) > 0 && found.Board.Target != "") {
			t.Errorf("known %v: %+v", found.Known, found.Board)
		}
		if found.Profile.Class == 0 || len(found.Why) == 0 {
			t.Errorf("no decision: %+v", found)
		}
	})
}
