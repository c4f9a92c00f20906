package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"globalnet/agent"
	"globalnet/agent/control"
	"globalnet/agent/firewall"
)

// lanStatus shows what LAN clients use of this node.
func lanStatus(ctx context.Context, in *invocation) error {
	s, err := ask(ctx, in, (*control.Client).LAN)
	if err != nil {
		return err
	}
	if in.json {
		return in.printJSON(s)
	}
	fmt.Fprintln(in.stdout, lanVerdict(s))
	t := table{}
	for _, n := range s.Networks {
		text := n.Mode + " on " + strings.Join(n.Interfaces, ", ")
		for _, extra := range []struct {
			on   bool
			text string
		}{{n.DNS, "DNS"}, {n.UDP, "UDP"}, {n.Mesh, "mesh"}} {
			if extra.on {
				text += ", " + extra.text
			}
		}
		t = append(t, []string{"network " + n.Name, text})
		for _, c := range n.Clients {
			t = append(t, []string{"", c})
		}
	}
	t = append(t, []string{"names", fmt.Sprintf("%d with addresses", s.Names)}, []string{"streams", fmt.Sprintf("%d, %s of datagrams", s.Streams, count(s.Flows, "flow"))})
	for _, c := range s.Clients {
		t = append(t, []string{"client " + c.Addr.String(), count(c.Streams, "connection")})
	}
	for _, reason := range slices.Sorted(maps.Keys(s.Blocked)) {
		if n := s.Blocked[reason]; n > 0 {
			t = append(t, []string{"refused", fmt.Sprintf("%s: %s", reason, count(int(n), "packet"))})
		}
	}
	return t.print(in.stdout)
}

func lanVerdict(s control.LANStatus) string {
	all := slices.ContainsFunc(s.Networks, func(n control.LANNetwork) bool { return n.Mode == "all" })
	switch {
	case len(s.Networks) == 0:
		return "No LAN is served: the configuration has no lan section."
	case s.Off:
		return "Switched off until the next reload or start: clients' traffic leaves this router as it is."
	case s.Error != "":
		return "The rules are not as they should be: " + s.Error
	case all:
		return "Clients in mode all reach the world through circuits, or not at all."
	}
	return "Clients reach names below gnet.alt; the rest of their traffic is not touched."
}

// lanGuard puts the rules in place without an agent.
func lanGuard(_ context.Context, in *invocation) error {
	c, err := in.config()
	if err != nil {
		return err
	}
	if err := agent.GuardLAN(c); err != nil {
		return fmt.Errorf("putting the rules in place: %w", err)
	}
	if in.json {
		return in.printJSON(struct {
			Networks int `json:"networks"`
		}{len(c.LANs)})
	}
	_, err = fmt.Fprintf(in.stdout, "the rules of %s are in place\n", count(len(c.LANs), "LAN"))
	return err
}

// lanOff opens the LAN, with or without an agent.
func lanOff(ctx context.Context, in *invocation) error {
	client, err := in.client()
	if err != nil {
		return err
	}
	err = client.LANOff(ctx)
	if errors.Is(err, control.ErrNotRunning) {
		err = firewall.New(nil).Remove()
	} else if err != nil {
		return in.unreached(err)
	}
	if err != nil {
		return fmt.Errorf("removing the rules: %w", err)
	}
	if in.json {
		return in.printJSON(struct {
			Off bool `json:"off"`
		}{true})
	}
	_, err = io.WriteString(in.stdout, "The rules of the LAN are removed. What clients send now leaves this router as it is: not through\n"+
		"circuits, visible to the provider. The next reload or start of the agent brings the rules back,\n"+
		"unless option mode of section lan is off.\n")
	return err
}
