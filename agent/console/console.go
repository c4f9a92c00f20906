// Package console answers line commands on a TCP port of loopback, for a person with
// netcat: what the node sees and counts, in words. It changes nothing, since whoever has
// an account on the machine can connect.
//
// docs/protocols/control.md describes it. The server holds no state but its connections.
package console

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"globalnet/agent/control"
	"globalnet/internal/identity"
)

const (
	maxConnections = 4
	maxLine        = 256
	idleTime       = 5 * time.Minute
	askTime        = 10 * time.Second
	prompt         = "> "
)

// Serve answers on l until ctx ends, and closes it; it returns nil then, with no
// connection left.
func Serve(ctx context.Context, l net.Listener, agent control.Agent, log *slog.Logger) error {
	var open sync.WaitGroup
	defer open.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	slots := make(chan struct{}, maxConnections)
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("console: %w", err)
		}
		select {
		case slots <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		open.Go(func() {
			defer func() { <-slots }()
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			if err := talk(ctx, conn, agent); err != nil {
				log.Debug("the console closed a connection", "err", err)
			}
		})
	}
}

// talk reads commands and answers until the other side goes.
func talk(ctx context.Context, conn net.Conn, agent control.Agent) error {
	lines := bufio.NewReaderSize(conn, maxLine)
	text := "GlobalNet; help lists the commands.\n" + prompt
	for {
		conn.SetDeadline(time.Now().Add(idleTime))
		if _, err := io.WriteString(conn, text); err != nil {
			return err
		}
		line, err := lines.ReadSlice('\n')
		if err != nil {
			return err
		}
		if bytes.Contains(line, []byte("HTTP/")) { // a browser that a page has sent here
			return fmt.Errorf("a request of HTTP")
		}
		words := strings.Fields(string(line))
		if len(words) == 1 && (words[0] == "quit" || words[0] == "exit") {
			return nil
		}
		asked, cancel := context.WithTimeout(ctx, askTime)
		text = Answer(asked, agent, words) + prompt
		cancel()
	}
}

// Answer carries out one command and returns lines.
func Answer(ctx context.Context, agent control.Agent, words []string) string {
	if len(words) == 0 {
		return ""
	}
	command := strings.Join(words, " ")
	for _, c := range commands {
		if c.name != command && c.short != command {
			continue
		}
		var b strings.Builder
		if err := c.run(ctx, agent, &b); err != nil {
			return "error: " + clean(err.Error()) + "\n"
		}
		return b.String()
	}
	return "no such command; help lists them\n"
}

// clean keeps text from elsewhere from steering the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

type command struct {
	name, short, help string
	run               func(ctx context.Context, agent control.Agent, w io.Writer) error
}

var commands []command

func init() { // help reads the table
	commands = []command{
		{"status", "", "node, neighbours, nodes in reach", status},
		{"list peers", "peers", "the nodes one hop away", peers},
		{"list routes", "routes", "the routes in use", routes},
		{"list circuits", "circuits", "this node's circuits", circuits},
		{"list relays", "relays", "the relays that are known", relays},
		{"list services", "services", "the hidden services of this node", services},
		{"stats", "", "what was done and refused since the start", stats},
		{"help", "?", "this list", help},
		{"quit", "exit", "close the connection", nil},
	}
}

func help(_ context.Context, _ control.Agent, w io.Writer) error {
	for _, c := range commands {
		fmt.Fprintf(w, "%-14s %s\n", c.name, c.help)
	}
	return nil
}

func status(ctx context.Context, agent control.Agent, w io.Writer) error {
	s, err := agent.Status(ctx)
	if err != nil {
		return err
	}
	up := 0
	for _, n := range s.Neighbours {
		if n.State == "up" {
			up++
		}
	}
	fmt.Fprintf(w, "node %s\naddress %s\nnetwork %s\nup for %s\nneighbours %d of %d\nroutes %d\nnodes known %d\n",
		s.Node, s.Address, clean(s.Network), s.Uptime.Round(time.Second), up, len(s.Neighbours), len(s.Routes), s.Known)
	return nil
}

func peers(ctx context.Context, agent control.Agent, w io.Writer) error {
	s, err := agent.Status(ctx)
	if err != nil {
		return err
	}
	for _, n := range s.Neighbours {
		fmt.Fprintf(w, "%s %s %s via %s cost %d rtt %s in %d out %d\n", n.Node, n.State, n.Class, clean(n.Via), n.Cost,
			n.RTT.Round(100*time.Microsecond), n.RxBytes, n.TxBytes)
	}
	return counted(w, len(s.Neighbours), "peer")
}

func routes(ctx context.Context, agent control.Agent, w io.Writer) error {
	s, err := agent.Status(ctx)
	if err != nil {
		return err
	}
	used := 0
	for _, r := range s.Routes {
		if r.Selected {
			used++
			fmt.Fprintf(w, "%s metric %d via %s\n", r.Destination.Addr(), r.Metric, r.Ifname)
		}
	}
	return counted(w, used, "route")
}

var errOff = fmt.Errorf("the onion is switched off")

func circuits(_ context.Context, agent control.Agent, w io.Writer) error {
	o := agent.Onion()
	if o == nil {
		return errOff
	}
	list := o.Circuits()
	for _, c := range list {
		fmt.Fprintf(w, "%d %s path %s age %s streams %d in %d out %d\n", c.ID, c.Purpose, nodes(c.Path), c.Age.Round(time.Second),
			c.Streams, c.RxBytes, c.TxBytes)
	}
	return counted(w, len(list), "circuit")
}

func nodes(path []identity.NodeID) string {
	short := make([]string, len(path))
	for i, n := range path {
		short[i] = n.String()[:8]
	}
	return strings.Join(short, ">")
}

func relays(_ context.Context, agent control.Agent, w io.Writer) error {
	o := agent.Onion()
	if o == nil {
		return errOff
	}
	list := o.Relays()
	for _, r := range list {
		fmt.Fprintf(w, "%s bandwidth %d exit %s\n", r.Node, r.Bandwidth, clean(r.Exit))
	}
	return counted(w, len(list), "relay")
}

func services(_ context.Context, agent control.Agent, w io.Writer) error {
	s := agent.Services()
	if s == nil {
		return errOff
	}
	list := s.Services()
	for _, v := range list {
		fmt.Fprintf(w, "%s %s points %d clients %d %s\n", clean(v.Name), v.Address, len(v.Points), v.Clients, clean(v.Error))
	}
	return counted(w, len(list), "service")
}

func stats(ctx context.Context, agent control.Agent, w io.Writer) error {
	s, err := agent.Status(ctx)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Counters)) {
		fmt.Fprintf(w, "%s %d\n", name, s.Counters[name])
	}
	return nil
}

func counted(w io.Writer, n int, noun string) error {
	if n != 1 {
		noun += "s"
	}
	_, err := fmt.Fprintf(w, "%d %s\n", n, noun)
	return err
}
