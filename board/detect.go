package board

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// maxRead bounds every file that is read: those of /proc and /tmp are small.
const maxRead = 64 << 10

// Found is what a machine says of itself, and what follows from it.
type Found struct {
	Name    string   `json:"name"` // board name; empty on what is not OpenWrt
	Model   string   `json:"model,omitempty"`
	Known   bool     `json:"known"` // Board is from the table; else it was made up from what was found
	Board   Board    `json:"board"`
	Release string   `json:"release,omitempty"` // of OpenWrt
	CPU     string   `json:"cpu,omitempty"`
	RAMKiB  uint64   `json:"ram_kib"`
	Phys    []string `json:"phys,omitempty"`  // radios the kernel has
	Ports   []string `json:"ports,omitempty"` // of /etc/board.json, as role=ifname
	LED     string   `json:"led,omitempty"`   // below /sys/class/leds
	TUN     bool     `json:"tun"`
	Profile Profile  `json:"profile"`
	Why     []string `json:"why"` // one sentence a decision
}

func (f *Found) because(format string, args ...any) {
	f.Why = append(f.Why, fmt.Sprintf(format, args...))
}

// Detect reads the files below root, which is / on the device itself. It never
// fails: what cannot be read is unknown, and Why says so.
func Detect(root string) Found {
	d := detector{root}
	var f Found
	f.RAMKiB = d.memTotal()
	f.CPU = d.cpu()
	f.Phys = d.names("sys/class/ieee80211")
	_, err := os.Stat(filepath.Join(root, "dev/net/tun"))
	f.TUN = err == nil
	release := d.shellFile("etc/openwrt_release")
	f.Release = release["DISTRIB_RELEASE"]
	d.board(&f, release["DISTRIB_ARCH"])
	d.led(&f)
	d.profile(&f)
	return f
}

type detector struct{ root string }

func (d detector) read(name string) []byte {
	file, err := os.Open(filepath.Join(d.root, name))
	if err != nil {
		return nil
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxRead))
	if err != nil {
		return nil
	}
	return text
}

// line is the first line of a file, without what device trees end strings with.
func (d detector) line(name string) string {
	text, _, _ := bytes.Cut(d.read(name), []byte{'\n'})
	return strings.TrimSpace(strings.Trim(string(text), "\x00"))
}

func (d detector) names(dir string) []string {
	entries, err := os.ReadDir(filepath.Join(d.root, dir))
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// shellFile reads lines NAME='value'.
func (d detector) shellFile(name string) map[string]string {
	values := make(map[string]string)
	for line := range strings.Lines(string(d.read(name))) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			values[key] = strings.Trim(value, `'"`)
		}
	}
	return values
}

func (d detector) memTotal() uint64 {
	for line := range strings.Lines(string(d.read("proc/meminfo"))) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "MemTotal:" {
			kib, _ := strconv.ParseUint(fields[1], 10, 64)
			return kib
		}
	}
	return 0
}

// cpu is the line of /proc/cpuinfo that names the processor; which it is
// depends on the architecture.
func (d detector) cpu() string {
	info := make(map[string]string)
	for line := range strings.Lines(string(d.read("proc/cpuinfo"))) {
		key, value, _ := strings.Cut(line, ":")
		if key = strings.TrimSpace(key); info[key] == "" {
			info[key] = strings.TrimSpace(value)
		}
	}
	for _, key := range []string{"cpu model", "model name", "Processor", "Hardware", "system type"} {
		if info[key] != "" {
			return info[key]
		}
	}
	return ""
}

// boardFile is what we read of /etc/board.json.
type boardFile struct {
	Model struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"model"`
	Network map[string]struct {
		Device string   `json:"device"`
		Ports  []string `json:"ports"`
	} `json:"network"`
}

// board finds the board name, and the board of it.
func (d detector) board(f *Found, arch string) {
	var file boardFile
	if text := d.read("etc/board.json"); text != nil {
		if err := json.Unmarshal(text, &file); err != nil {
			f.because("/etc/board.json is damaged and was left aside: %v", err)
			file = boardFile{}
		}
	}
	for _, role := range []string{"lan", "wan"} {
		n := file.Network[role]
		for _, ifname := range append(n.Ports, n.Device) {
			if ifname != "" {
				f.Ports = append(f.Ports, role+"="+ifname)
			}
		}
	}
	for _, source := range []struct{ where, name string }{
		{"/tmp/sysinfo/board_name", d.line("tmp/sysinfo/board_name")},
		{"/etc/board.json", file.Model.ID},
		{"the device tree", d.compatible()},
	} {
		if source.name != "" {
			f.Name = source.name
			f.because("board %s, says %s", f.Name, source.where)
			break
		}
	}
	for _, f.Model = range []string{d.line("tmp/sysinfo/model"), file.Model.Name, d.line("proc/device-tree/model")} {
		if f.Model != "" {
			break
		}
	}
	if f.Board, f.Known = Lookup(f.Name); f.Known {
		f.because("it is in the table of boards: %s", f.Board.Title)
		if arch != "" && arch != f.Board.Arch {
			f.because("but its system is for %s, not %s: packages are of the former", arch, f.Board.Arch)
			f.Board.Arch = arch
		}
		return
	}
	f.Board = d.unknown(f, arch)
}

// compatible is the first, most exact name of the device tree.
func (d detector) compatible() string {
	name, _, _ := bytes.Cut(d.read("proc/device-tree/compatible"), []byte{0})
	return strings.TrimSpace(string(name))
}

// unknown makes a board of what the machine shows.
func (d detector) unknown(f *Found, arch string) Board {
	b := Board{Title: f.Model, Arch: arch}
	if b.Title == "" {
		b.Title = "unknown"
	}
	switch {
	case f.Name != "":
		b.Names = []string{f.Name}
		f.because("no board of the table has that name: it is run as what it shows")
	default:
		f.because("no board name: not a router with OpenWrt, or a container")
	}
	if arch == "" {
		b.Arch = archOf(runtime.GOARCH)
		f.because("no /etc/openwrt_release names the package architecture; %s would run this binary", b.Arch)
	}
	for _, phy := range f.Phys {
		driver, err := os.Readlink(filepath.Join(d.root, "sys/class/ieee80211", phy, "device/driver"))
		if err == nil {
			b.Radios = append(b.Radios, byDriver(filepath.Base(driver)))
		}
	}
	return b
}

// archOf is the plainest architecture for which a binary of goarch is made.
func archOf(goarch string) string {
	for _, a := range arches {
		if a.GOARCH == goarch {
			return a.Name
		}
	}
	return ""
}

// byDriver is the radio of a driver that the kernel names.
func byDriver(driver string) Radio {
	var r Radio
	switch {
	case driver == "ath9k" || driver == "ath9k_htc":
		r = ath9k("")
	case strings.HasPrefix(driver, "ath10k"), strings.HasPrefix(driver, "ath11k"):
		r = ath10k("")
	case strings.HasPrefix(driver, "mt7915"), strings.HasPrefix(driver, "mt798"), strings.HasPrefix(driver, "mt7996"):
		r = mt7915("")
	case strings.HasPrefix(driver, "mt7"):
		r = mt76("")
	case driver == "mac80211_hwsim":
		r = Radio{Mesh: Good, AdHoc: Good}
	}
	r.Driver = driver
	return r
}

// led finds the light that OpenWrt shows the state with: the table's, or the
// alias led-running of the device tree, as OpenWrt's own scripts do.
func (d detector) led(f *Found) {
	lights := d.names("sys/class/leds")
	for _, name := range []string{f.Board.LED, d.aliasLED()} {
		for _, l := range lights {
			if name != "" && (l == name || strings.HasSuffix(l, ":"+name)) {
				f.LED = l
				return
			}
		}
	}
}

func (d detector) aliasLED() string {
	node := d.line("proc/device-tree/aliases/led-running")
	if node == "" || strings.Contains(node, "..") {
		return ""
	}
	dir := filepath.Join("proc/device-tree", node)
	if label := d.line(filepath.Join(dir, "label")); label != "" {
		return label
	}
	return d.line(filepath.Join(dir, "chan-name"))
}

func (d detector) profile(f *Found) {
	f.Profile = ProfileFor(f.RAMKiB)
	p := f.Profile
	switch {
	case f.RAMKiB == 0:
		f.because("/proc/meminfo does not say how much memory there is: taken for %d MiB", p.Class)
	default:
		f.because("%d MiB of memory are usable: the profile of %d MiB", f.RAMKiB>>10, p.Class)
	}
	if p.MemoryLimit > 0 {
		f.because("the Go heap is kept below %d MiB with GOGC %d", p.MemoryLimit, p.GCPercent)
	}
	if p.SmallBuffers {
		f.because("user-space WireGuard, if it is needed, runs with small buffers: large ones fill this memory at the first download")
	}
	if !p.Relay {
		f.because("too little memory to carry circuits of others")
	}
	if !f.TUN {
		f.because("there is no /dev/net/tun: links need WireGuard in the kernel (kmod-wireguard) or kmod-tun")
	}
	if f.Board.Flash > 0 && f.Board.Flash <= 8 {
		f.because("%d MiB of flash: the package does not fit beside a stock image", f.Board.Flash)
	}
}
