package config

import (
	"os"
	"strings"
	"testing"
)

func TestServiceSection(t *testing.T) {
	text, err := os.ReadFile("../../openwrt/feed/globalnet/files/etc/config/globalnet")
	if err != nil {
		t.Fatal(err)
	}
	shipped, want := parse(t, string(text)), Default()
	want.LANs = []LAN{{Name: "lan", Interfaces: []string{"br-lan"}, Mode: LANNames}}
	if d := Compare(want, shipped); !d.Empty() {
		t.Errorf("what the package ships differs from the defaults and a LAN: %v", d)
	}
	for option, want := range map[string]string{
		"enabled maybe": "want 1 or 0", "memlimit 64MiB": "want a number", "gc -1": "want a number", "maxprocs 2000": "to 1024",
		"manage_firewall 2": "want 1 or 0",
	} {
		_, _, err := Parse("f", []byte("config service 'service'\n\toption "+option+"\n"))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", option, err, want)
		}
	}
	if _, warnings, err := Parse("f", []byte("config service\n\toption memlimmit 1\n")); err != nil || len(warnings) != 1 {
		t.Errorf("a misspelt option: %v, %v", warnings, err)
	}
}
