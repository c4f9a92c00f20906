package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"globalnet/agent/control"
	"globalnet/internal/identity"
)

func showOnion(ctx context.Context, in *invocation) error {
	s, err := ask(ctx, in, (*control.Client).Onion)
	if err != nil {
		return err
	}
	if in.json {
		return in.printJSON(s)
	}
	fmt.Fprintln(in.stdout, onionVerdict(s))
	exit := "nothing leaves here for the internet"
	if s.Exit != "" {
		exit = s.Exit
	}
	carried := "not for others"
	if s.Relay {
		carried = fmt.Sprintf("%s of others, %s of theirs that end here", count(int(s.Carried), "circuit"), count(int(s.Streams), "stream"))
	}
	t := table{
		{"relays known", fmt.Sprintf("%d, %s among them", s.Relays, count(s.Exits, "exit"))},
		{"carries", carried}, {"exit", exit},
		{"own circuits", fmt.Sprintf("%d in use, %d ready", s.Used, s.Ready)},
		{"channels", fmt.Sprint(s.Channels)},
	}
	for _, d := range s.Doors {
		state := "open at " + d.Where
		if !d.Open {
			state = "not open: " + d.Error
		}
		t = append(t, []string{d.Kind + " " + d.Name, state})
	}
	for _, rule := range s.Relaxed {
		t = append(t, []string{"path", rule})
	}
	return t.print(in.stdout)
}

// onionVerdict answers "is it anonymous?".
func onionVerdict(s control.OnionStatus) string {
	switch {
	case s.Relays == 0:
		return "No other relay is known yet: circuits need at least one, and three to hide who talks to whom."
	case s.Relays < s.Hops:
		return fmt.Sprintf("Circuits can have %s of the %d that are wanted: who runs them can see who talks to whom.", count(s.Relays, "hop"), s.Hops)
	case s.Short > 0:
		return fmt.Sprintf("The last circuit had %s of the %d that are wanted.", count(s.Short, "hop"), s.Hops)
	case s.Exits == 0:
		return fmt.Sprintf("Circuits of %d hops are possible inside the network. No exit is known: the internet is out of reach.", s.Hops)
	}
	return fmt.Sprintf("The onion works: circuits of %d hops, %s to the internet.", s.Hops, count(s.Exits, "exit"))
}

func showRelays(ctx context.Context, in *invocation) error {
	list, err := ask(ctx, in, (*control.Client).Relays)
	if err != nil {
		return err
	}
	t := table{{"NODE", "KNOWN FOR", "BANDWIDTH", "CIRCUITS", "FAILED", "VOUCHES", "EXIT"}}
	for _, r := range list {
		bandwidth := "-"
		if r.Bandwidth > 0 {
			bandwidth = byteCount(uint64(r.Bandwidth)) + "/s"
		}
		t = append(t, []string{r.Node.String(), duration(r.Known), bandwidth, fmt.Sprint(r.Tries), fmt.Sprint(r.Failures), fmt.Sprint(r.Vouches), r.Exit})
	}
	return in.list(list, len(list), "no relays are known", t)
}

func showCircuits(ctx context.Context, in *invocation) error {
	list, err := ask(ctx, in, (*control.Client).Circuits)
	if err != nil {
		return err
	}
	t := table{{"ID", "PATH", "FOR", "AGE", "STREAMS", "RECEIVED", "SENT", "RTT", ""}}
	for _, c := range list {
		note := ""
		switch {
		case c.Closing:
			note = "closing"
		case !c.Used:
			note = "ready"
		}
		t = append(t, []string{fmt.Sprint(c.ID), hops(c.Path), c.Purpose, duration(c.Age), fmt.Sprint(c.Streams),
			byteCount(c.RxBytes), byteCount(c.TxBytes), roundTrip(c.RTT), note})
	}
	return in.list(list, len(list), "no circuits", t)
}

func hops(path []identity.NodeID) string {
	short := make([]string, len(path))
	for i, node := range path {
		short[i] = node.Short()
	}
	return strings.Join(short, ">")
}

func closeCircuit(ctx context.Context, in *invocation) error {
	id, err := strconv.ParseUint(in.args[0], 10, 32)
	if err != nil {
		return usageError{fmt.Errorf("%q is no number of a circuit; `globalnet circuits` lists them", in.args[0])}
	}
	return in.done(ctx, fmt.Sprintf("circuit %d is closed", id), func(c *control.Client, ctx context.Context) error {
		return c.CloseCircuit(ctx, uint32(id))
	})
}

func newIdentity(ctx context.Context, in *invocation) error {
	return in.done(ctx, "new connections take new circuits; open ones stay", (*control.Client).NewIdentity)
}

// done carries something out and says so.
func (in *invocation) done(ctx context.Context, text string, do func(*control.Client, context.Context) error) error {
	_, err := ask(ctx, in, func(c *control.Client, ctx context.Context) (struct{}, error) { return struct{}{}, do(c, ctx) })
	if err != nil {
		return err
	}
	if in.json {
		return in.printJSON(struct{}{})
	}
	_, err = fmt.Fprintln(in.stdout, text)
	return err
}

// tunnel has the agent serve a path for as long as this command runs.
func tunnel(ctx context.Context, in *invocation) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := in.client()
	if err != nil {
		return err
	}
	err = client.Tunnel(ctx, in.args[0], func(e control.TunnelEvent) { in.printEvent(e) })
	if err != nil {
		return in.unreached(err)
	}
	return nil
}

func (in *invocation) printEvent(e control.TunnelEvent) {
	switch {
	case in.json:
		in.printJSON(e)
	case e.Error != "":
		fmt.Fprintf(in.stderr, "a connection did not come about: %s\n", printable(e.Error))
	default:
		io.WriteString(in.stdout, "open at "+e.Listen+"; Ctrl-C closes it\n")
	}
}
