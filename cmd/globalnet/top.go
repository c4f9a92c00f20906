package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"

	"globalnet/agent/control"
	"globalnet/internal/identity"
	"globalnet/mesh"
)

const (
	topInterval = 2 * time.Second
	topLeast    = 200 * time.Millisecond
)

// topRow is a link in a round of top.
type topRow struct {
	Node  identity.NodeID `json:"node"`
	State string          `json:"state"`
	Class string          `json:"class"`
	Via   string          `json:"via"`
	Cost  uint16          `json:"cost"`
	RTT   time.Duration   `json:"rtt_ns"`
	Rx    float64         `json:"rx_bytes_per_second"`
	Tx    float64         `json:"tx_bytes_per_second"`
}

// topRound is what is shown at a time.
type topRound struct {
	Verdict string               `json:"verdict"`
	Text    string               `json:"text"`
	Links   []topRow             `json:"links"`
	Onion   *control.OnionStatus `json:"onion,omitempty"`
	LAN     *control.LANStatus   `json:"lan,omitempty"`
}

// round compares two states; the first one has no rates. Of a link that began anew in
// between, all that it carried counts.
func round(before *mesh.Status, now mesh.Status, passed time.Duration) topRound {
	v := judge(now)
	r := topRound{Verdict: v.Word, Text: v.Text, Links: []topRow{}}
	for _, n := range now.Neighbours {
		row := topRow{Node: n.Node, State: n.State, Class: n.Class, Via: n.Via, Cost: n.Cost, RTT: n.RTT}
		if before != nil && passed > 0 {
			was := mesh.Neighbour{}
			i := slices.IndexFunc(before.Neighbours, func(b mesh.Neighbour) bool { return b.Node == n.Node })
			if i >= 0 && before.Neighbours[i].RxBytes <= n.RxBytes && before.Neighbours[i].TxBytes <= n.TxBytes {
				was = before.Neighbours[i]
			}
			row.Rx = float64(n.RxBytes-was.RxBytes) / passed.Seconds()
			row.Tx = float64(n.TxBytes-was.TxBytes) / passed.Seconds()
		}
		r.Links = append(r.Links, row)
	}
	sort.SliceStable(r.Links, func(i, j int) bool { // the busiest first
		a, b := r.Links[i], r.Links[j]
		if x, y := a.Rx+a.Tx, b.Rx+b.Tx; x != y {
			return x > y
		}
		return a.Node.String() < b.Node.String()
	})
	return r
}

func (r topRound) print(w io.Writer) error {
	fmt.Fprintln(w, r.Text)
	if o := r.Onion; o != nil {
		fmt.Fprintf(w, "onion  %s, %s of ours, %d carried for others, %s for others\n",
			count(o.Relays, "relay"), count(o.Ready+o.Used, "circuit"), o.Carried, count(int(o.Streams), "stream"))
	}
	if l := r.LAN; l != nil && len(l.Networks) > 0 {
		fmt.Fprintf(w, "LAN    %s, %s, %s\n", count(len(l.Clients), "client"), count(l.Streams, "stream"), count(l.Names, "name"))
	}
	if len(r.Links) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := table{{"NEIGHBOUR", "STATE", "CLASS", "VIA", "COST", "RTT", "IN/S", "OUT/S"}}
	for _, l := range r.Links {
		t = append(t, []string{l.Node.String()[:8], l.State, l.Class, l.Via, metric(l.Cost), roundTrip(l.RTT), byteCount(uint64(l.Rx)), byteCount(uint64(l.Tx))})
	}
	return t.print(w)
}

func top(ctx context.Context, in *invocation) error {
	if in.interval < topLeast {
		return usageError{fmt.Errorf("an interval of %s: want %s or more", in.interval, topLeast)}
	}
	client, err := in.client()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	live := isTerminal(in.stdout) && !in.json
	var before *mesh.Status
	var at time.Time
	ticker := time.NewTicker(in.interval)
	defer ticker.Stop()
	for {
		s, err := client.Status(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return in.unreached(err)
		}
		now := time.Now()
		r := round(before, s, now.Sub(at))
		before, at = &s, now
		if o, err := client.Onion(ctx); err == nil {
			r.Onion = &o
		}
		if l, err := client.LAN(ctx); err == nil {
			r.LAN = &l
		}
		if err := in.showRound(r, live); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// showRound writes a screen at once, so that it does not flicker.
func (in *invocation) showRound(r topRound, live bool) error {
	if in.json {
		return in.printJSON(r)
	}
	var b strings.Builder
	if live {
		b.WriteString("\x1b[H\x1b[2J") // the cursor to the corner, the screen empty
	}
	if err := r.print(&b); err != nil {
		return err
	}
	if !live {
		b.WriteString("\n")
	}
	_, err := io.WriteString(in.stdout, b.String())
	return err
}
