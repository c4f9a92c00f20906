package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"globalnet/mesh"
)

func TestJudge(t *testing.T) {
	up := []mesh.InterfaceStatus{{Name: "eth0", Up: true}, {Name: "eth1"}}
	tests := []struct {
		name             string
		status           mesh.Status
		word, text, next string
	}{
		{"working", working(), "working", "1 neighbour, 2 nodes in reach", ""},
		{"connecting", mesh.Status{Interfaces: up, Neighbours: []mesh.Neighbour{{State: "connecting"}}}, "connecting", "to 1 neighbour.", "Wait"},
		{"failed", mesh.Status{Interfaces: up, Neighbours: []mesh.Neighbour{{State: "connecting"}, {State: "failed"}}}, "connecting", "to 2 neighbours.", "firewall"},
		{"alone", mesh.Status{Interfaces: up, Network: "x"}, "alone", "found yet on eth0.", `network "x"`},
		{"no interface", mesh.Status{}, "no interface", "no interface", "list interface"},
		{"down", mesh.Status{Interfaces: up[1:]}, "no interface", "no interface", "eth1 is down"},
		{"broken", mesh.Status{Interfaces: []mesh.InterfaceStatus{{Name: "a"}, {Name: "b", Error: "port in use"}}}, "no interface", "", "b: port in use"},
		{"peer without interface", mesh.Status{Neighbours: []mesh.Neighbour{{State: "up"}}}, "working", "1 neighbour, 0 nodes", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := judge(tt.status)
			if v.Word != tt.word || !strings.Contains(v.Text, tt.text) || !strings.Contains(v.Next, tt.next) || (tt.next == "") != (v.Next == "") {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestFormats(t *testing.T) {
	for _, tt := range [][2]string{
		{duration(-time.Second), "0 s"}, {duration(59 * time.Second), "59 s"}, {duration(time.Minute), "1 min"},
		{duration(90 * time.Minute), "1 h"}, {duration(47 * time.Hour), "47 h"}, {duration(50 * time.Hour), "2 days"},
		{age(-1), "never"}, {age(0), "0 s"}, {roundTrip(0), "-"}, {roundTrip(150 * time.Microsecond), "0.1 ms"},
		{metric(96), "96"}, {metric(65535), "unreachable"},
		{byteCount(0), "0 B"}, {byteCount(999), "999 B"}, {byteCount(1000), "1.0 kB"}, {byteCount(9949), "9.9 kB"}, {byteCount(9950), "10 kB"},
		{byteCount(999_499), "999 kB"}, {byteCount(999_500), "1.0 MB"}, {byteCount(1<<64 - 1), "18 EB"},
		{count(1, "node"), "1 node"}, {count(0, "node"), "0 nodes"},
		{printable("a\x1b[31m\nb\u202eä"), "a?[31m?b?ä"},
	} {
		if tt[0] != tt[1] {
			t.Errorf("got %q, want %q", tt[0], tt[1])
		}
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := (table{{"A", "LONG", "C"}, {"wide cell", "", ""}, {"", "x", "\x1b]0;title"}}).print(&b); err != nil {
		t.Fatal(err)
	}
	want := "A          LONG  C\nwide cell  -\n           x     ?]0;title\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
