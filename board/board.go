// Package board knows the devices that run OpenWrt: what is in them, which
// binary and package they take, and how much the agent may use of their memory.
//
// One file holds one family of devices; each adds itself to the table while the
// package is initialised, and the table is only read afterwards. Names are
// those of OpenWrt: board name, target, package architecture.
package board

import (
	"slices"
	"sort"
)

// Board is a supported device.
type Board struct {
	Names  []string `json:"names"` // as in /tmp/sysinfo/board_name; the first is the usual one
	Title  string   `json:"title"`
	Target string   `json:"target"` // OpenWrt target/subtarget
	Arch   string   `json:"arch"`   // OpenWrt package architecture
	Flash  int      `json:"flash_mib"`
	RAM    int      `json:"ram_mib"` // 0 where models differ: the device itself knows
	NAND   bool     `json:"nand,omitempty"`
	Radios []Radio  `json:"radios,omitempty"`
	LED    string   `json:"led,omitempty"` // that shows the state; empty: the one OpenWrt uses
	Notes  string   `json:"notes,omitempty"`
}

// Radio is a Wi-Fi radio in the order OpenWrt numbers them.
type Radio struct {
	Bands  string  `json:"bands"`
	Driver string  `json:"driver"`
	Mesh   Ability `json:"mesh"`  // 802.11s
	AdHoc  Ability `json:"adhoc"` // IBSS
}

// Ability says how well a radio does a mode.
type Ability uint8

// Unknown is what nobody has tried.
const (
	Unknown Ability = iota
	No
	Poor // works with few stations or with patches
	Good
)

var abilityNames = [...]string{"unknown", "no", "poor", "good"}

// String returns the word for a.
func (a Ability) String() string { return abilityNames[min(int(a), len(abilityNames)-1)] }

// MarshalText encodes a as its word.
func (a Ability) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// Radios by their driver. What each can do is what the mesh projects found: see
// docs/decisions/0030-boards.md.
func ath9k(bands string) Radio  { return Radio{bands, "ath9k", Good, Good} }
func ath10k(bands string) Radio { return Radio{bands, "ath10k-ct", Good, No} }
func mt76(bands string) Radio   { return Radio{bands, "mt76", Good, Poor} }
func mt7915(bands string) Radio { return Radio{bands, "mt7915e", Good, No} }

// boards is the table.
var boards []Board

// add is called by the variable of each family.
func add(family ...Board) bool {
	boards = append(boards, family...)
	return true
}

// All returns every board, by its first name.
func All() []Board {
	all := slices.Clone(boards)
	sort.Slice(all, func(i, j int) bool { return all[i].Names[0] < all[j].Names[0] })
	return all
}

// Lookup returns the board of a board name.
func Lookup(name string) (Board, bool) {
	for _, b := range boards {
		if slices.Contains(b.Names, name) {
			return b, true
		}
	}
	return Board{}, false
}

// MeshMode returns the better mode of r for a mesh: "mesh", "adhoc", or "" where
// it does neither. 802.11s comes first: it works beside an access point.
func (r Radio) MeshMode() string {
	switch {
	case r.Mesh >= Poor && r.Mesh >= r.AdHoc:
		return "mesh"
	case r.AdHoc >= Poor:
		return "adhoc"
	}
	return ""
}
