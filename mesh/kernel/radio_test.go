package kernel

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
)

func TestFrequency(t *testing.T) {
	for _, tt := range []struct {
		band    string
		channel int
		want    int
	}{
		{"2g", 1, 2412}, {"2g", 13, 2472}, {"2g", 14, 2484}, {"2g", 15, 0}, {"2g", 0, 0}, {"2g", 36, 0},
		{"5g", 36, 5180}, {"5g", 177, 5885}, {"5g", 1, 0}, {"5g", 200, 0}, {"6g", 5, 5975}, {"60g", 1, 0}, {"", 1, 0},
	} {
		if got := Frequency(tt.band, tt.channel); got != tt.want {
			t.Errorf("channel %d of %s: %d MHz, want %d", tt.channel, tt.band, got, tt.want)
		}
	}
}

func TestRadioIsChecked(t *testing.T) {
	for want, r := range map[string]Radio{
		"mode \"ap\"":    {Ifname: "lo", Mode: "ap", Frequency: 2412},
		"0 MHz":          {Ifname: "lo", Mode: RadioMesh},
		"33 bytes":       {Ifname: "lo", Mode: RadioMesh, Frequency: 2412, ID: strings.Repeat("x", 33)},
		"is no BSSID":    {Ifname: "lo", Mode: RadioAdHoc, Frequency: 2412, BSSID: net.HardwareAddr{2}},
		"no such interf": {Ifname: "nothing9", Mode: RadioMesh, Frequency: 2412},
	} {
		if err := JoinRadio(t.Context(), r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", r, err, want)
		}
	}
}

// TestNotARadio: the loopback interface is none, whatever the kernel can.
func TestNotARadio(t *testing.T) {
	err := JoinRadio(t.Context(), Radio{Ifname: "lo", Mode: RadioAdHoc, Frequency: 2412})
	if !errors.Is(err, errNoRadio) {
		t.Errorf("joined by lo: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := LeaveRadio(ctx, "lo"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestCellBSSID(t *testing.T) {
	if len(CellBSSID) != 6 || CellBSSID[0]&3 != 2 {
		t.Errorf("%v is not a local address of one station", CellBSSID)
	}
}
