package flash

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"globalnet/board"
)

//go:embed detect.sh
var detectScript string

// Router is what a router says of itself.
type Router struct {
	Board     string      `json:"board"`
	Title     string      `json:"title"`
	Known     bool        `json:"known"` // the table of boards has it
	Release   string      `json:"release"`
	Target    string      `json:"target,omitempty"`
	Arches    []string    `json:"architectures"`
	Manager   string      `json:"manager"` // "apk" or "opkg"
	Overlay   string      `json:"overlay"` // its file system
	OverlayK  int64       `json:"overlay_free_kib"`
	TempK     int64       `json:"tmp_free_kib"`
	RAMK      int64       `json:"ram_kib"`
	FreeK     int64       `json:"ram_available_kib"`
	TUN       bool        `json:"tun"`
	WireGuard bool        `json:"wireguard"`
	Installed string      `json:"installed,omitempty"` // version of the agent's package
	ProgramK  int64       `json:"program_kib,omitempty"`
	Running   bool        `json:"running"`
	Radios    []RadioFact `json:"radios,omitempty"`
	LAN       []string    `json:"lan,omitempty"` // devices of the network lan

	uid, rootfs, distribution string
	identity                  string // digest of the key file
	databaseK                 int64
	armed                     int // seconds in which another flash undoes itself; 0 for none
	files                     []string
	board                     board.Board
}

// RadioFact is a wifi-device of the configuration.
type RadioFact struct {
	Name     string `json:"name"`
	Band     string `json:"band,omitempty"`
	Channel  string `json:"channel,omitempty"`
	Disabled bool   `json:"disabled,omitempty"`
	Mode     string `json:"mode,omitempty"` // what it can do for a mesh: "mesh", "adhoc", or nothing
}

func detect(ctx context.Context, c *conn) (*Router, error) {
	out, err := c.run(ctx, "sh", strings.NewReader(unix(detectScript)))
	if err != nil {
		return nil, err
	}
	return parseFacts(out), nil
}

// unix undoes what a checkout on Windows does to scripts.
func unix(script string) string { return strings.ReplaceAll(script, "\r\n", "\n") }

// parseFacts reads lines KEY=VALUE.
func parseFacts(out string) *Router {
	facts := make(map[string]string)
	r := new(Router)
	for line := range strings.Lines(out) {
		key, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		if !ok {
			continue
		}
		switch key {
		case "wireless":
			r.radio(value)
		case "file":
			r.files = append(r.files, value)
		case "arch":
			r.Arches = append(r.Arches, strings.Fields(value)...)
		default:
			facts[key] = value
		}
	}
	number := func(key string) int64 {
		n, _ := strconv.ParseInt(facts[key], 10, 64)
		return n
	}
	var system struct {
		Board  string `json:"board_name"`
		Model  string `json:"model"`
		RootFS string `json:"rootfs_type"`
	}
	_ = json.Unmarshal([]byte(facts["system"]), &system) // old releases have less in it
	r.Board, r.Title, r.rootfs = facts["board"], facts["model"], system.RootFS
	if r.Board == "" {
		r.Board = system.Board
	}
	if r.Title == "" {
		r.Title = system.Model
	}
	r.uid, r.distribution, r.Release, r.Target = facts["uid"], facts["distribution"], facts["release"], facts["target"]
	r.Manager, r.Overlay = facts["manager"], facts["overlayfs"]
	r.OverlayK, r.TempK, r.RAMK, r.FreeK = number("overlayfree"), number("tmpfree"), number("memtotal"), number("memavailable")
	r.ProgramK, r.databaseK, r.armed = number("program")/1024, number("database"), int(number("armed"))
	r.TUN, r.WireGuard, r.Running = facts["tun"] == "1", facts["wireguard"] == "1", facts["running"] == "1"
	r.Installed = facts["installed"]
	r.LAN, r.identity = strings.Fields(facts["lan"]), facts["identity"]
	if a := facts["release_arch"]; slices.Contains(r.Arches, a) { // first, so that it is preferred
		r.Arches = slices.Insert(slices.DeleteFunc(r.Arches, func(s string) bool { return s == a }), 0, a)
	}
	r.Arches = slices.DeleteFunc(r.Arches, func(s string) bool { return s == "all" || s == "noarch" })
	if r.board, r.Known = board.Lookup(r.Board); r.Known {
		r.Title = r.board.Title
	}
	for i := range r.Radios {
		if i < len(r.board.Radios) {
			r.Radios[i].Mode = r.board.Radios[i].MeshMode()
		}
	}
	return r
}

// radio takes a line of `uci show wireless`; sections come before their options.
func (r *Router) radio(line string) {
	name, value, _ := strings.Cut(line, "=")
	value = strings.Trim(value, "'")
	parts := strings.Split(name, ".")
	if len(parts) == 2 && value == "wifi-device" {
		r.Radios = append(r.Radios, RadioFact{Name: parts[1]})
	}
	if len(parts) != 3 {
		return
	}
	for i := range r.Radios {
		d := &r.Radios[i]
		switch {
		case d.Name != parts[1]:
		case parts[2] == "band":
			d.Band = value
		case parts[2] == "channel":
			d.Channel = value
		case parts[2] == "disabled":
			d.Disabled = value == "1"
		}
	}
}

// String is one line about the router.
func (r *Router) String() string {
	name := r.Title
	if name == "" {
		name = r.Board
	}
	return fmt.Sprintf("%s, OpenWrt %s (%s), %s free on %s, %d MiB RAM", name, r.Release, r.Manager, kib(r.OverlayK), r.Overlay, r.RAMK>>10)
}

func kib(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d KiB", n)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/1024)
}
