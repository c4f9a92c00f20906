package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"globalnet/mesh"
)

// unreachable is Babel's infinite metric (RFC 8966 section 3.5.2).
const unreachable = 0xffff

// verdict answers "is it working?".
type verdict struct {
	Word string `json:"verdict"` // "working", "connecting", "alone", "no interface"
	Text string `json:"text"`
	Next string `json:"next"` // the next step; empty when there is nothing to do
}

func judge(s mesh.Status) verdict {
	up := countFunc(s.Neighbours, func(n mesh.Neighbour) bool { return n.State == "up" })
	searched := upInterfaces(s)
	switch {
	case up > 0:
		return verdict{
			Word: "working",
			Text: fmt.Sprintf("GlobalNet is working: %s, %s in reach.", count(up, "neighbour"), count(reachable(s), "node")),
		}
	case len(s.Neighbours) > 0:
		v := verdict{
			Word: "connecting",
			Text: fmt.Sprintf("GlobalNet is connecting to %s.", count(len(s.Neighbours), "neighbour")),
			Next: "Wait a few seconds and ask again.",
		}
		if slices.ContainsFunc(s.Neighbours, func(n mesh.Neighbour) bool { return n.State == "failed" }) {
			v.Next = "A link failed: a firewall may block TCP 18245 and UDP 18245, 18250-18313. `globalnet counters` shows what was refused."
		}
		return v
	case len(searched) == 0:
		return verdict{
			Word: "no interface",
			Text: "GlobalNet has no interface to look for neighbours on.",
			Next: noInterfaceHint(s),
		}
	}
	return verdict{
		Word: "alone",
		Text: "GlobalNet is running, but no neighbour has been found yet on " + strings.Join(searched, ", ") + ".",
		Next: fmt.Sprintf("Is another router in reach, on the same radio channel or cable, with network %q and the same passphrase? Or add a `peer` to the configuration.", s.Network),
	}
}

func noInterfaceHint(s mesh.Status) string {
	for _, i := range s.Interfaces {
		if i.Error != "" {
			return fmt.Sprintf("%s: %s", i.Name, i.Error)
		}
	}
	if len(s.Interfaces) > 0 {
		return fmt.Sprintf("%s is down: set it up, or plug the cable in.", s.Interfaces[0].Name)
	}
	return "Name one in the configuration with `list interface`; `globalnet config show` shows what is used and left out."
}

func upInterfaces(s mesh.Status) []string {
	var names []string
	for _, i := range s.Interfaces {
		if i.Up {
			names = append(names, i.Name)
		}
	}
	return names
}

// reachable counts the other nodes that a selected route leads to.
func reachable(s mesh.Status) int {
	nodes := make(map[netip.Prefix]bool)
	for _, r := range s.Routes {
		if r.Selected && r.Metric < unreachable && r.Destination.Addr() != s.Address {
			nodes[r.Destination] = true
		}
	}
	return len(nodes)
}

func countFunc[T any](s []T, f func(T) bool) int {
	n := 0
	for _, v := range s {
		if f(v) {
			n++
		}
	}
	return n
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
