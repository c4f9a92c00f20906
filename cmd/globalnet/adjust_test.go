package main

import (
	"strings"
	"testing"

	"globalnet/agent/config"
)

func TestAdjust(t *testing.T) {
	a, b := node(1), node(2)
	c := config.Default()
	c.Names = []config.Name{{Name: "bob", Node: b}}
	c.Peers = []config.Peer{{Node: a, Addresses: []config.Address{{Host: "old", Port: 1}}}}
	in := &invocation{identity: "/key", run: runFlags{listen: "9000", connect: a.String() + "@[2001:db8::1]:9000, bob@example.org, bob@192.0.2.1:7"}}
	adjust, err := in.adjust(c)
	if err != nil {
		t.Fatal(err)
	}
	before := c.Peers[0]
	adjust(&c)
	if c.ListenPort != 9000 || c.Identity != "/key" || len(c.Peers) != 2 {
		t.Fatalf("%+v", c)
	}
	for i, want := range [][]string{{"[2001:db8::1]:9000"}, {"example.org:18245", "192.0.2.1:7"}} {
		for n, at := range c.Peers[i].Addresses {
			if at.String() != want[n] || len(c.Peers[i].Addresses) != len(want) {
				t.Errorf("peer %d: %v, want %v", i, c.Peers[i].Addresses, want)
			}
		}
	}
	if before.Addresses[0].Host != "old" {
		t.Error("the configuration that was read is changed")
	}
	again := config.Default()
	if adjust(&again); len(again.Peers) != 2 {
		t.Error("a reload forgets the peers")
	}
}

func TestAdjustRefuses(t *testing.T) {
	for flags, want := range map[runFlags]string{
		{listen: "0"}:                               "1 to 65535",
		{listen: "x"}:                               "1 to 65535",
		{connect: "example.org:1"}:                  "NODE@HOST:PORT",
		{connect: "alice@example.org:1"}:            "no name",
		{connect: node(1).String() + "@"}:           "IP address or a name",
		{connect: node(1).String() + "@host:70000"}: "port",
	} {
		_, err := (&invocation{run: flags}).adjust(config.Default())
		if err == nil || !strings.Contains(err.Error(), want) || !isType[usageError](err) {
			t.Errorf("%+v: %v, want %q", flags, err, want)
		}
	}
}
