package config

import (
	"strings"
	"testing"
)

func TestLAN(t *testing.T) {
	text := "config lan 'home'\n\toption mode 'all'\n\tlist interface 'br-lan'\n\tlist interface 'br-iot'\n\toption udp '1'\n" +
		"\toption client_rate '8'\n\tlist client '02:00:5E:00:53:01=off'\n\tlist client 'fd00::7=block'\n" +
		"config lan 'guest'\n\tlist interface 'br-guest'\nconfig lan 'none'\n\toption enabled '0'\n\tlist interface 'x'\n"
	c, warnings, err := Parse("t", []byte(text))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	if len(c.LANs) != 2 {
		t.Fatalf("%+v", c.LANs)
	}
	home, guest := c.LANs[0], c.LANs[1]
	if home.Mode != LANAll || len(home.Interfaces) != 2 || !home.UDP || home.ClientRate != 1e6 || home.DNS || home.Mesh {
		t.Errorf("%+v", home)
	}
	if len(home.Clients) != 2 || home.Clients[0].String() != "02:00:5e:00:53:01=off" || home.Clients[1].String() != "fd00::7=block" {
		t.Errorf("clients %v", home.Clients)
	}
	if guest.Mode != LANNames || guest.Name != "guest" {
		t.Errorf("%+v", guest)
	}

	// What is shown reads back as the same.
	again, _, err := Parse("t", AppendFile(nil, c.File()))
	if err != nil {
		t.Fatal(err)
	}
	if d := Compare(c, again); !d.Empty() {
		t.Errorf("shown and read again: %v", d)
	}
	again.LANs[1].Mesh = true
	if d := Compare(c, again); strings.Join(d.Live, " ") != "lan" || len(d.Restart) > 0 {
		t.Errorf("a change of one option: %v", d)
	}
	if now := WithLive(c, again); !now.LANs[1].Mesh {
		t.Error("not taken over by a reload")
	}
}

func TestLANRefusals(t *testing.T) {
	for _, tt := range []struct{ options, want string }{
		{"", "interface"},
		{"\tlist interface 'br-*'\n", "no name of an interface"},
		{"\tlist interface 'gn-abc'\n", "no LAN"},
		{"\tlist interface 'lo'\n", "no LAN"},
		{"\tlist interface 'a'\n\tlist interface 'a'\n", "twice"},
		{"\tlist interface 'used'\n", "in lan 'first' already"},
		{"\tlist interface 'a'\n\toption mode 'some'\n", "want one of"},
		{"\tlist interface 'a'\n\toption mode 'block'\n", "want one of"},
		{"\tlist interface 'a'\n\toption client_rate '-1'\n", "Mbit/s"},
		{"\tlist interface 'a'\n\toption client_rate 'NaN'\n", "Mbit/s"},
		{"\tlist interface 'a'\n\tlist client '10.0.0.1'\n", "a mode"},
		{"\tlist interface 'a'\n\tlist client 'phone=off'\n", "MAC or IP"},
		{"\tlist interface 'a'\n\tlist client 'fe80::1%eth0=off'\n", "MAC or IP"},
	} {
		text := "config lan 'first'\n\tlist interface 'used'\nconfig lan 'second'\n" + tt.options
		if _, _, err := Parse("t", []byte(text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.options, err, tt.want)
		}
	}
}
