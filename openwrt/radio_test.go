package openwrt

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"globalnet/board"
)

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestRadios(t *testing.T) {
	d := newDevice(t, nil)
	d.Board.Board = both
	radios, err := d.Radios()
	if err != nil || len(radios) != 2 {
		t.Fatal(radios, err)
	}
	home, other := radios[0], radios[1]
	if home.Name != "radio0" || home.Band != "2g" || home.Channel != "6" || home.Known.Driver != "ath9k" ||
		!slices.Equal(home.Uses, []Use{{Section: "@wifi-iface[0]", Mode: "ap", Name: "home"}}) {
		t.Errorf("%+v", home)
	}
	if other.Band != "5g" || other.Country != "DE" || other.Uses != nil {
		t.Errorf("%+v", other)
	}
	for _, tt := range []struct{ band, hwmode, channel, want string }{
		{"", "11a", "auto", "5g"}, {"", "11g", "1", "2g"}, {"", "", "36", "5g"}, {"6g", "11a", "1", "6g"}, {"", "", "", "2g"},
	} {
		if got := band(tt.band, tt.hwmode, tt.channel); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

func TestConflicts(t *testing.T) {
	ap := Use{Section: "home", Mode: "ap", Name: "home"}
	good := board.Radio{Driver: "ath9k", Mesh: board.Good, AdHoc: board.Good}
	for _, tt := range []struct {
		name  string
		radio Radio
		given given
		want  string // of the error, or "mode channel"
		note  string
	}{
		{"alone", Radio{Band: "2g", Channel: "auto", Known: good}, given{mode: "auto"}, "mesh 1", ""},
		{"alone, fixed", Radio{Band: "2g", Channel: "9", Known: good}, given{mode: "auto"}, "mesh 9", ""},
		{"alone, moved", Radio{Band: "2g", Channel: "9", Known: good}, given{mode: "adhoc", channel: 3}, "adhoc 3", ""},
		{"beside", Radio{Band: "2g", Channel: "6", Known: good, Uses: []Use{ap}}, given{mode: "auto"}, "mesh 6", "shares its air time"},
		{"beside, elsewhere", Radio{Band: "2g", Channel: "6", Known: good, Uses: []Use{ap}}, given{mode: "auto", channel: 1}, `access point "home" is on channel 6`, ""},
		{"beside one that chooses", Radio{Band: "2g", Channel: "auto", Known: good, Uses: []Use{ap}}, given{mode: "auto"}, "--channel 1 moves both", ""},
		{"beside one that chooses, told", Radio{Band: "2g", Channel: "auto", Known: good, Uses: []Use{ap}}, given{mode: "auto", channel: 11}, "mesh 11", "moves to channel 11"},
		{"ad-hoc beside", Radio{Band: "2g", Channel: "6", Known: good, Uses: []Use{ap}}, given{mode: "adhoc"}, "does not work beside", ""},
		{"beside one that is off", Radio{Band: "2g", Channel: "6", Known: good, Uses: []Use{{Mode: "ap", Disabled: true}}}, given{mode: "adhoc"}, "adhoc 6", ""},
		{"on a radio that is off", Radio{Band: "2g", Channel: "auto", Disabled: true, Known: good, Uses: []Use{ap}}, given{mode: "auto"}, "mesh 1", ""},
		{"beside a client", Radio{Band: "2g", Channel: "6", Known: good, Uses: []Use{{Section: "up", Mode: "sta", Name: "café"}}}, given{mode: "auto"}, "the other side decides", ""},
		{"beside a mesh", Radio{Band: "2g", Channel: "6", Known: good, Uses: []Use{{Section: "m", Mode: "mesh", Name: "street"}}}, given{mode: "auto"}, "already", ""},
		{"beside ours", Radio{Band: "2g", Channel: "6", Known: good, Uses: []Use{{Mode: "mesh", Ours: true}}}, given{mode: "auto"}, "mesh 6", ""},
		{"no such channel", Radio{Band: "2g", Channel: "auto", Known: good}, given{mode: "auto", channel: 36}, "has no channel 36", ""},
		{"radar", Radio{Band: "5g", Channel: "auto", Country: "DE", Known: good}, given{mode: "auto", channel: 100}, "mesh 100", "radar"},
		{"no country", Radio{Band: "5g", Channel: "auto", Known: good}, given{mode: "auto"}, "mesh 36", "no country"},
		{"6 GHz", Radio{Band: "6g", Channel: "auto", Known: good}, given{mode: "auto"}, "no open mesh", ""},
		{"unknown driver", Radio{Band: "2g", Channel: "auto"}, given{mode: "auto"}, "mesh 1", "nothing is known"},
		{"hopeless driver", Radio{Band: "2g", Channel: "auto", Known: board.Radio{Driver: "brcmfmac", Mesh: board.No, AdHoc: board.No}}, given{mode: "auto"}, "does neither", ""},
		{"mesh only", Radio{Band: "2g", Channel: "auto", Known: board.Radio{Driver: "ath10k-ct", Mesh: board.Good, AdHoc: board.No}}, given{mode: "adhoc"}, "no ad-hoc", ""},
		{"poor ad-hoc", Radio{Band: "2g", Channel: "auto", Known: board.Radio{Driver: "mt76", Mesh: board.Good, AdHoc: board.Poor}}, given{mode: "adhoc"}, "adhoc 1", "several stations"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.radio.Name = "radio0"
			a, err := decide(tt.radio, tt.given)
			got := ""
			if err != nil {
				var c *Conflict
				if got = err.Error(); !errors.As(err, &c) || c.Radio != "radio0" {
					t.Errorf("no conflict: %v", err)
				}
			} else {
				got = fmt.Sprint(a.mode, " ", a.channel)
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if notes := strings.Join(a.notes, "; "); tt.note == "" && notes != "" || !strings.Contains(notes, tt.note) {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
		})
	}
}

// TestConflictsOfSeveral: all are told at once, and nothing is planned.
func TestConflictsOfSeveral(t *testing.T) {
	d := newDevice(t, nil)
	d.Board.Board = both
	_, err := d.Setup(Give{Radio: "radio0", Channel: 1}, Give{Radio: "radio7"}, Give{Radio: "radio1", Mode: "adhoc"})
	for _, want := range []string{"radio0: ", "radio7: /etc/config/wireless has no such radio; it has radio0, radio1", "radio1: its driver, mt7915e"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}
