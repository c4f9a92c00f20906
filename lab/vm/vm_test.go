package vm

import (
	"context"
	"os"
	"testing"
	"time"
)

func require(t *testing.T) context.Context {
	t.Helper()
	if os.Getenv("LAB_VM") == "" {
		t.Skip("boots a virtual machine: make vm-test, or LAB_VM=1")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestBoot(t *testing.T) {
	ctx := require(t)
	log, rc, err := Run(ctx, Spec{
		Programs: []string{"ip"},
		Modules:  []string{"wireguard", "mac80211_hwsim radios=2"},
		Script:   "ip link add wg0 type wireguard && ip -o link; free -m; dmesg|tail -5; exit 7",
		Output:   os.Stderr,
	})
	t.Log(log)
	if rc != 7 || err != nil {
		t.Fatal(rc, err)
	}
}
