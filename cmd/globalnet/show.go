package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"globalnet/mesh"
)

func (in *invocation) status(ctx context.Context) (mesh.Status, error) {
	client, err := in.client()
	if err != nil {
		return mesh.Status{}, err
	}
	s, err := client.Status(ctx)
	if err != nil {
		return s, in.unreached(err)
	}
	return s, nil
}

// unreached adds to an error of the client what the user can do.
func (in *invocation) unreached(err error) error {
	if exitCode(err) == exitNotRunning {
		return fmt.Errorf("%w (asked on %s)\nstart it with `globalnet run`, or name its socket with --socket or its file with --config", err, in.socket)
	}
	return err
}

func showStatus(ctx context.Context, in *invocation) error {
	s, err := in.status(ctx)
	if err != nil {
		return err
	}
	v := judge(s)
	if in.json {
		return in.printJSON(struct {
			verdict
			mesh.Status
		}{v, s})
	}
	fmt.Fprintln(in.stdout, v.Text)
	if v.Next != "" {
		fmt.Fprintln(in.stdout, v.Next)
	}
	fmt.Fprintf(in.stdout, "\nnode        %s\naddress     %s\nnetwork     %s\nup for      %s\ninterfaces  %s\n",
		s.Node, s.Address, printable(s.Network), duration(s.Uptime), interfaces(s))
	if len(s.Neighbours) > 0 {
		fmt.Fprintln(in.stdout)
		return neighbourTable(s.Neighbours).print(in.stdout)
	}
	return nil
}

func interfaces(s mesh.Status) string {
	var names []string
	for _, i := range s.Interfaces {
		name := i.Name
		switch {
		case i.Error != "":
			name += " (" + printable(i.Error) + ")"
		case !i.Up:
			name += " (down)"
		case i.Radio:
			name += " (radio)"
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func showNeighbours(ctx context.Context, in *invocation) error {
	s, err := in.status(ctx)
	if err != nil {
		return err
	}
	return in.list(s.Neighbours, len(s.Neighbours), "no neighbours", neighbourTable(s.Neighbours))
}

// list prints v as JSON, or a table of n rows.
func (in *invocation) list(v any, n int, none string, t table) error {
	if in.json {
		return in.printJSON(v)
	}
	if n == 0 {
		_, err := fmt.Fprintln(in.stdout, none)
		return err
	}
	return t.print(in.stdout)
}

func neighbourTable(neighbours []mesh.Neighbour) table {
	t := table{{"NODE", "STATE", "FOR", "CLASS", "VIA", "COST", "RTT", "HANDSHAKE", "RECEIVED", "SENT", "ENDPOINT"}}
	for _, n := range neighbours {
		t = append(t, []string{
			n.Node.Short(), n.State, duration(n.Since), n.Class, n.Via, metric(n.Cost), roundTrip(n.RTT),
			age(n.LastHandshake), byteCount(n.RxBytes), byteCount(n.TxBytes), n.Endpoint,
		})
	}
	return t
}

func showRoutes(ctx context.Context, in *invocation) error {
	s, err := in.status(ctx)
	if err != nil {
		return err
	}
	t := table{{"", "DESTINATION", "METRIC", "NEXT HOP", "INTERFACE", "SEQNO", "AGE", ""}}
	for _, r := range s.Routes {
		mark, note := "", ""
		if r.Selected {
			mark = "*"
		}
		if !r.Feasible {
			note = "not feasible"
		}
		next := ""
		if len(r.Neighbour) >= 8 {
			next = r.Neighbour[:8]
		} else if r.Gateway.IsValid() {
			next = r.Gateway.String()
		}
		t = append(t, []string{
			mark, strings.TrimSuffix(r.Destination.String(), "/128"), metric(r.Metric), next, r.Ifname,
			fmt.Sprint(r.Seqno), duration(r.Age), note,
		})
	}
	return in.list(s.Routes, len(s.Routes), "no routes", t)
}

func showPeers(ctx context.Context, in *invocation) error {
	s, err := in.status(ctx)
	if err != nil {
		return err
	}
	peers := []mesh.Neighbour{}
	for _, n := range s.Neighbours {
		if n.Class == "internet" || n.Class == "mesh" {
			peers = append(peers, n)
		}
	}
	if in.json {
		return in.printJSON(struct {
			Known int              `json:"known_nodes"`
			Peers []mesh.Neighbour `json:"peers"`
		}{s.Known, peers})
	}
	fmt.Fprintf(in.stdout, "%s known\n", count(s.Known, "node"))
	if len(peers) == 0 {
		_, err := fmt.Fprintln(in.stdout, "no link over the internet or through the mesh")
		return err
	}
	return neighbourTable(peers).print(in.stdout)
}

func showCounters(ctx context.Context, in *invocation) error {
	s, err := in.status(ctx)
	if err != nil {
		return err
	}
	var t table
	for _, name := range slices.Sorted(maps.Keys(s.Counters)) {
		t = append(t, []string{name, fmt.Sprint(s.Counters[name])})
	}
	return in.list(s.Counters, len(t), "nothing counted yet", t)
}

func reload(ctx context.Context, in *invocation) error {
	client, err := in.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := client.Reload(ctx)
	if err != nil {
		return in.unreached(err)
	}
	if in.json {
		return in.printJSON(r)
	}
	if len(r.Live)+len(r.Restart) == 0 {
		fmt.Fprintln(in.stdout, "nothing changed")
	}
	if len(r.Live) > 0 {
		fmt.Fprintf(in.stdout, "applied: %s\n", strings.Join(r.Live, ", "))
	}
	if len(r.Restart) > 0 {
		fmt.Fprintf(in.stdout, "after a restart: %s\n", strings.Join(r.Restart, ", "))
	}
	return nil
}
