package kernel

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
)

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
