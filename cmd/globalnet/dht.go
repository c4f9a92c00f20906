package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"globalnet/agent/control"
	"globalnet/internal/identity"
)

const dhtPatience = 30 * time.Second

// errNoRecord makes the exit code 1 where nothing was found.
var (
	errNoRecord  = errors.New("no such record is found")
	errWithdrawn = errors.New("the record was withdrawn")
)

func dhtStatus(ctx context.Context, in *invocation) error {
	s, err := ask(ctx, in, (*control.Client).DHTStatus)
	if err != nil {
		return err
	}
	if in.json {
		return in.printJSON(s)
	}
	if s.Problem != "" {
		fmt.Fprintf(in.stdout, "The hash table does not run: %s.\nThe agent goes on trying.\n", s.Problem)
		return nil
	}
	if s.CutOff {
		fmt.Fprintln(in.stdout, "No other node is reached.")
	}
	c := s.Counters
	return table{
		{"mode", s.Mode}, {"key", s.Key}, {"nodes", fmt.Sprint(s.Nodes)},
		{"contacts", fmt.Sprintf("%d in the table, %d siblings, %d known, %d lost", s.Contacts, s.Siblings, s.Known, s.Graveyard)},
		{"stored here", fmt.Sprintf("%s, %s", count(s.Records, "record"), byteCount(uint64(s.Bytes)))},
		{"published", fmt.Sprintf("%s of ours, again every %v", count(s.Published, "record"), s.Republish.Round(time.Second))},
		{"contacts' age", fmt.Sprintf("half of them have been there for %v", s.MedianAge.Round(time.Second))},
		{"gets", fmt.Sprintf("%d found, %d in vain", c["dht_gets_found"], c["dht_gets_missed"])},
		{"puts", fmt.Sprintf("%d of %d stored", c["dht_puts_stored"], c["dht_puts"])},
		{"traffic", fmt.Sprintf("%s received, %s sent", byteCount(c["dht_bytes_received"]), byteCount(c["dht_bytes_sent"]))},
		{"round trip", roundTrip(s.RTT)},
	}.print(in.stdout)
}

func dhtGet(ctx context.Context, in *invocation) error {
	node, err := identity.ParseNodeID(in.args[0])
	if err != nil {
		return usageError{err}
	}
	name := ""
	if len(in.args) > 1 {
		if name = in.args[1]; name == "" {
			return usageError{errors.New("the name is empty; without a name, the node's own record is shown")}
		}
	}
	r, err := ask(ctx, in, func(c *control.Client, ctx context.Context) (control.DHTRecord, error) {
		return c.DHTGet(ctx, node, name, in.onion)
	})
	if err != nil {
		return err
	}
	switch {
	case in.json:
		err = in.printJSON(r)
	case !r.Found:
		err = in.lookupTable(r.Lookup)
		if r.Withdrawn && err == nil {
			err = errWithdrawn
		}
	default:
		err = errors.Join(in.printRecord(r), in.lookupTable(r.Lookup))
	}
	if err == nil && !r.Found {
		err = errNoRecord
	}
	return err
}

func (in *invocation) printRecord(r control.DHTRecord) error {
	switch {
	case in.raw:
		_, err := in.stdout.Write(r.Value)
		return err
	case r.NodeRecord != nil:
		t := table{{"node", r.Node.String()}, {"roles", strings.Join(r.NodeRecord.Roles, ", ")}, {"version", fmt.Sprint(r.Seq)}}
		for _, a := range r.NodeRecord.Addresses {
			t = append(t, []string{"address", a.String()})
		}
		return t.print(in.stdout)
	}
	for line := range strings.Lines(string(r.Value)) {
		fmt.Fprintln(in.stdout, printable(strings.TrimSuffix(line, "\n")))
	}
	return nil
}

func dhtPut(ctx context.Context, in *invocation) error {
	value := []byte(in.args[1])
	if in.args[1] == "-" {
		var err error
		// One more than any value may have: the agent says what is too long.
		if value, err = io.ReadAll(io.LimitReader(in.stdin, 4097)); err != nil {
			return fmt.Errorf("reading the value: %w", err)
		}
	}
	s, err := ask(ctx, in, func(c *control.Client, ctx context.Context) (control.DHTStored, error) {
		return c.DHTPut(ctx, in.args[0], value)
	})
	if err != nil {
		return err
	}
	if in.json {
		return in.printJSON(s)
	}
	fmt.Fprintf(in.stdout, "stored on %d of %s, version %d\nread it with `globalnet dht get %s %s`\n",
		s.Stored, count(s.Of, "node"), s.Seq, s.Node, printable(s.Name))
	if s.Stored == 0 {
		fmt.Fprintln(in.stdout, "no node keeps it now; the agent goes on trying")
	}
	return in.lookupTable(s.Lookup)
}

func dhtWithdraw(ctx context.Context, in *invocation) error {
	s, err := ask(ctx, in, func(c *control.Client, ctx context.Context) (control.DHTStored, error) {
		return c.DHTWithdraw(ctx, in.args[0])
	})
	if err != nil {
		return err
	}
	if in.json {
		return in.printJSON(s)
	}
	fmt.Fprintf(in.stdout, "withdrawn on %d of %s\n", s.Stored, count(s.Of, "node"))
	if s.Stored == 0 {
		fmt.Fprintln(in.stdout, "no node is told yet; the agent goes on trying")
	}
	return in.lookupTable(s.Lookup)
}

func dhtList(ctx context.Context, in *invocation) error {
	list, err := ask(ctx, in, (*control.Client).DHTList)
	if err != nil {
		return err
	}
	if in.json {
		return in.printJSON(list)
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(in.stdout, "nothing is published; `globalnet dht put NAME VALUE` does")
		return err
	}
	t := table{{"NAME", "OCTETS", "STORED ON", "VERSION"}}
	for _, p := range list {
		stored := "nobody yet"
		if p.Stored > 0 {
			stored = fmt.Sprintf("%d of %d", p.Stored, p.Of)
		}
		t = append(t, []string{printable(p.Name), fmt.Sprint(p.Size), stored, fmt.Sprint(p.Seq)})
	}
	return t.print(in.stdout)
}

func dhtLookup(ctx context.Context, in *invocation) error {
	l, err := ask(ctx, in, func(c *control.Client, ctx context.Context) (control.DHTLookup, error) {
		return c.DHTLookup(ctx, in.args[0])
	})
	if err != nil {
		return err
	}
	if in.json {
		return in.printJSON(l)
	}
	if len(l.Closest) == 0 {
		fmt.Fprintln(in.stdout, "no node answered")
	}
	for _, a := range l.Closest {
		fmt.Fprintln(in.stdout, a)
	}
	return in.lookupTable(l)
}

// lookupTable prints the path of a lookup if --path is given.
func (in *invocation) lookupTable(l control.DHTLookup) error {
	if !in.path || in.json {
		return nil
	}
	fmt.Fprintf(in.stdout, "\n%s in %s for key %s\n", count(l.Requests, "request"), roundTrip(l.Elapsed), l.Key)
	if l.Suspicious {
		fmt.Fprintln(in.stdout, "the closest nodes are closer together than chance would put them")
	}
	t := table{{"PATH", "NODE", "NAMED BY", "BITS", "RTT", "OUTCOME", "VERSION"}}
	for _, h := range l.Path {
		version := ""
		if h.Seq > 0 {
			version = fmt.Sprint(h.Seq)
		}
		t = append(t, []string{fmt.Sprint(h.Path), h.Node.String(), h.From, fmt.Sprint(h.Prefix), roundTrip(h.RTT), h.Outcome, version})
	}
	return t.print(in.stdout)
}

// ask asks the running agent.
func ask[T any](ctx context.Context, in *invocation, f func(*control.Client, context.Context) (T, error)) (T, error) {
	client, err := in.client()
	if err != nil {
		var none T
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, dhtPatience)
	defer cancel()
	v, err := f(client, ctx)
	if err != nil {
		err = in.unreached(err)
	}
	if e, ok := errors.AsType[*control.Error](err); ok && e.Code == control.BadRequest {
		err = usageError{err}
	}
	return v, err
}
