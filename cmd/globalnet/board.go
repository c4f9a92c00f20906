package main

import (
	"context"
	"fmt"
	"strings"

	"globalnet/board"
)

func showBoard(_ context.Context, in *invocation) error {
	f := board.Detect(in.root)
	if in.json {
		return in.printJSON(f)
	}
	rows := table{
		{"board", f.Name}, {"model", f.Model}, {"known as", knownAs(f)}, {"release", f.Release},
		{"packages", f.Board.Arch}, {"cpu", f.CPU},
		{"memory", fmt.Sprintf("%d MiB usable", f.RAMKiB>>10)}, {"flash", flash(f.Board)},
	}
	for _, r := range f.Board.Radios {
		bands := ""
		if r.Bands != "" {
			bands = r.Bands + " GHz, "
		}
		rows = append(rows, []string{"radio", fmt.Sprintf("%s%s: 802.11s %s, ad-hoc %s", bands, r.Driver, r.Mesh, r.AdHoc)})
	}
	rows = append(rows,
		[]string{"radios seen", strings.Join(f.Phys, " ")}, []string{"ports", strings.Join(f.Ports, " ")},
		[]string{"light", f.LED}, []string{"notes", f.Board.Notes},
	)
	var shown table
	for _, r := range rows {
		if r[1] != "" {
			shown = append(shown, r)
		}
	}
	if err := shown.print(in.stdout); err != nil {
		return err
	}
	fmt.Fprintln(in.stdout)
	for _, why := range f.Why {
		if _, err := fmt.Fprintf(in.stdout, "- %s\n", printable(why)); err != nil {
			return err
		}
	}
	return nil
}

func knownAs(f board.Found) string {
	if f.Known {
		return f.Board.Title
	}
	return "not in the table"
}

func flash(b board.Board) string {
	switch {
	case b.Flash == 0:
		return ""
	case b.NAND:
		return fmt.Sprintf("%d MiB NAND", b.Flash)
	}
	return fmt.Sprintf("%d MiB", b.Flash)
}
