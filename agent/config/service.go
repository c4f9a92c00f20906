package config

import (
	"fmt"
	"strings"
)

// serviceOptions are those of `config service`. OpenWrt's init script acts on them
// before there is an agent; here they are only judged, so that `config check` finds
// a wrong one.
var serviceOptions = []option{
	{name: "enabled", set: setBool(new(bool))},
	{name: "memlimit", set: setNumber(new(int), 0, 1<<20)},
	{name: "gc", set: setNumber(new(int), 0, 10000)},
	{name: "maxprocs", set: setNumber(new(int), 0, 1024)},
	{name: "jail", set: setBool(new(bool))},
	{name: "manage_firewall", set: setBool(new(bool))},
	{name: "manage_dns", set: setBool(new(bool))},
	{name: "manage_wireless", set: setBool(new(bool))},
	{name: "led", set: judgeLED},
}

func judgeLED(_ *reader, v string) error {
	if len(v) > 64 || strings.ContainsAny(v, "/ ") {
		return fmt.Errorf("%q: want a name below /sys/class/leds", v)
	}
	return nil
}
