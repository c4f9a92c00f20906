package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"globalnet/internal/identity"
	"globalnet/lab"
)

func TestView(t *testing.T) {
	b, c := identity.NodeID{1}, identity.NodeID{2}
	names := map[string]string{b.String(): "b"}
	r := row{name: "a", agent: "running"}
	r.fill(lab.Status{
		Neighbours: []lab.Neighbour{
			{Node: c, State: "connecting"},
			{Node: b, State: "up", Class: "radio", Cost: 256, RTT: 1500 * time.Microsecond},
			{Node: b, State: "up", Class: "wire", Cost: 0xffff, Ifname: "z"},
		},
		Routes: []lab.Route{
			{Destination: netip.PrefixFrom(b.Address(), 128), Metric: 256, Selected: true},
			{Destination: netip.PrefixFrom(b.Address(), 128), Metric: 300},
			{Destination: netip.PrefixFrom(c.Address(), 128), Metric: 0xffff, Selected: true},
		},
	}, names)
	r.reaches, r.far, r.farMetric, r.farRTT = 1, "b", 256, 2*time.Millisecond
	v := view{title: "test", time: 90 * time.Second, rows: []row{r, {name: "b", agent: "ended: signal: killed"}, {name: "c", agent: "running"}}, pairs: 1}

	got := v.draw(200, 40)
	for _, want := range []string{
		`lab "test": 3 routers, up 1m30s`,
		"b radio 256 1.5 ms", "b wire ∞", c.Short() + " (connecting)",
		"1       1 of 2   b 256 2.0 ms",
		"agent ended: signal: killed", "agent does not answer yet",
		"1 of 6 pairs", "lab net cut a b", "lab ping a c",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if line := v.line(); line != "1 of 6 pairs reach each other; 3 neighbours, 1 routes" {
		t.Errorf("line %q", line)
	}
	if v.complete() {
		t.Error("one of six pairs is not all")
	}
}

// A picture never exceeds its terminal, whatever the number of routers.
func TestViewFits(t *testing.T) {
	v := view{title: "big"}
	for range 50 {
		v.rows = append(v.rows, row{name: "router", agent: "running", answers: true, sees: []string{strings.Repeat("x", 300)}})
	}
	for _, size := range [][2]int{{80, 24}, {40, 10}, {20, 3}, {200, 100}} {
		lines := strings.Split(strings.TrimSuffix(v.draw(size[0], size[1]), clearLine), clearLine)
		if len(lines) >= size[1] {
			t.Errorf("%v: %d lines", size, len(lines))
		}
		for _, l := range lines {
			if n := len([]rune(l)); n > size[0] {
				t.Errorf("%v: a line of %d characters", size, n)
			}
		}
	}
	if !strings.Contains(v.draw(80, 24), "more") {
		t.Error("rows were left out without a word")
	}
}
