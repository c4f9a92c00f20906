package config

import (
	"fmt"
	"strconv"
	"strings"
)

// serviceOptions are those of `config service`. OpenWrt's init script acts on them
// before there is an agent; here they are only judged, so that `config check` finds
// a wrong one.
var serviceOptions = []option[struct{}]{
	{name: "enabled", set: judgeBool},
	{name: "memlimit", set: judgeNumber(1 << 20)},
	{name: "gc", set: judgeNumber(10000)},
	{name: "maxprocs", set: judgeNumber(1024)},
	{name: "jail", set: judgeBool},
	{name: "manage_firewall", set: judgeBool},
	{name: "manage_dns", set: judgeBool},
	{name: "manage_wireless", set: judgeBool},
	{name: "led", set: judgeLED},
}

func judgeLED(_ *reader, _ *struct{}, v string) error {
	if len(v) > 64 || strings.ContainsAny(v, "/ ") {
		return fmt.Errorf("%q: want a name below /sys/class/leds", v)
	}
	return nil
}

func judgeBool(_ *reader, _ *struct{}, v string) error {
	_, err := parseBool(v)
	return err
}

func judgeNumber(most int) func(*reader, *struct{}, string) error {
	return func(_ *reader, _ *struct{}, v string) error {
		if n, err := strconv.Atoi(v); err != nil || n < 0 || n > most {
			return fmt.Errorf("%q: want a number from 0 to %d", v, most)
		}
		return nil
	}
}
