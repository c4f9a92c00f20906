package board

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of boards into the document")

const (
	document   = "../docs/operations.md"
	tableBegin = "<!-- boards: go test ./board -update -->\n"
	tableEnd   = "<!-- end of boards -->\n"
)

// TestTable: the document for owners says of every board what this package knows.
func TestTable(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no table of boards", document)
	}
	want := before + tableBegin + table() + tableEnd + after
	if want == string(text) {
		return
	}
	if !*update {
		t.Fatalf("the table of boards in %s is not what this package knows: go test ./board -update", document)
	}
	if err := os.WriteFile(document, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

func table() string {
	var b strings.Builder
	b.WriteString("| board | target | flash, RAM (MiB) | radios: band (GHz), driver, mode | expect |\n|---|---|---|---|---|\n")
	for _, d := range All() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", d.Title, d.Target, memory(d), radios(d), expect(d))
	}
	return b.String()
}

func memory(d Board) string {
	size := func(n int) string {
		if n == 0 {
			return "varies"
		}
		return fmt.Sprint(n)
	}
	flash := size(d.Flash)
	if d.NAND {
		flash += " NAND"
	}
	return flash + ", " + size(d.RAM)
}

func radios(d Board) string {
	if len(d.Radios) == 0 {
		return "none: by cable"
	}
	var all []string
	for _, r := range d.Radios {
		mode := r.MeshMode()
		switch {
		case mode == "" && r.Mesh == Unknown:
			mode = "untried"
		case mode == "":
			mode = "no mesh"
		case mode == "adhoc" && r.AdHoc == Poor, mode == "mesh" && r.Mesh == Poor:
			mode += ", poor"
		}
		all = append(all, r.Bands+" "+r.Driver+" "+mode)
	}
	return strings.Join(all, "; ")
}

// expect is what follows from flash and RAM.
func expect(d Board) string {
	var all []string
	if d.Flash > 0 && d.Flash <= 8 {
		all = append(all, "flash too small for a stock image and the agent")
	}
	switch p := ProfileFor(uint64(d.RAM) << 10); {
	case d.RAM == 0:
	case !p.Relay:
		all = append(all, "routes; carries no circuits of others")
	default:
		all = append(all, "routes and relays")
	}
	if d.Notes != "" {
		all = append(all, d.Notes)
	}
	return strings.Join(all, "; ")
}
