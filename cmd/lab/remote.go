package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os/signal"
	"slices"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"globalnet/lab"
	"globalnet/lab/control"
)

// remote parses the options of a command that talks to a running lab.
func (c *call) remote(define func(*flag.FlagSet)) (control.Dir, error) {
	var name string
	err := c.parse(func(f *flag.FlagSet) {
		defineName(f, &name)
		if define != nil {
			define(f)
		}
	})
	if err != nil {
		return "", err
	}
	return control.Find(name)
}

// hint adds to an error what to do about it.
func hint(err error) error {
	if errors.Is(err, control.ErrNotRunning) {
		return fmt.Errorf("%w; `lab up FILE` or `lab run` starts one", err)
	}
	return err
}

var downCommand = &command{
	name: "down", summary: "end the lab and remove everything of it",
	run: func(c *call) error {
		dir, err := c.remote(nil)
		if err != nil {
			return err
		}
		if !dir.Running() {
			return hint(control.ErrNotRunning)
		}
		ctx, cancel := context.WithTimeout(c, 30*time.Second)
		defer cancel()
		if err := dir.Down(ctx); err != nil {
			return hint(err)
		}
		for dir.Running() {
			select {
			case <-ctx.Done():
				return errors.New("the lab does not end")
			case <-time.After(20 * time.Millisecond):
			}
		}
		return dir.Release()
	},
}

var execCommand = &command{
	name: "exec", args: "NODE -- CMD [ARG…]", summary: "run any program inside a node, with this terminal",
	help: `The program sees the node's interfaces, routes and host name, and this machine's
files. Its exit status is that of exec. Routers are known by name: ping e.

  lab exec a -- bash
  lab exec a -- ip -6 route show table all
  lab exec internet -- tcpdump -ni up0`,
	run: func(c *call) error {
		// Options of the program are not ours: what follows NODE is taken as it is.
		words := c.args
		if i := slices.Index(words, "--"); i >= 0 {
			c.args = words[:i]
			words = words[i+1:]
		} else {
			words = nil
		}
		dir, err := c.remote(nil)
		if err != nil {
			return err
		}
		if len(c.args) > 1 && words == nil {
			c.args, words = c.args[:1], c.args[1:]
		}
		if len(c.args) != 1 || len(words) == 0 {
			return c.usageError("exec takes NODE -- CMD")
		}
		code, err := dir.Exec(c.args[0], words)
		if err != nil || code != 0 {
			return &status{code, hint(err)}
		}
		return nil
	},
}

var netCommand = &command{
	name: "net", args: "CHANGE…", summary: "change the network or an agent while it runs",
	help: "Changes:\n" + lab.ChangeUsage + `

  lab net loss a b 30%
  lab net partition a,b / c,d,e
  lab net kill c`,
	run: func(c *call) error {
		dir, err := c.remote(nil)
		if err != nil {
			return err
		}
		if len(c.args) == 0 {
			return c.usageError("which change?")
		}
		return hint(dir.Change(c, c.args))
	},
}

var waitCommand = &command{
	name: "wait", summary: "wait until all routers reach each other",
	run: func(c *call) error {
		var timeout time.Duration
		dir, err := c.remote(func(f *flag.FlagSet) {
			f.DurationVar(&timeout, "timeout", time.Minute, "how `long` to wait")
		})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c, timeout)
		defer cancel()
		err = dir.Wait(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("not all routers reach each other after %v; `lab status` tells more", timeout)
		}
		return hint(err)
	},
}

var statusCommand = &command{
	name: "status", summary: "show the nodes of the lab and what their agents say",
	run: func(c *call) error {
		var asJSON bool
		dir, err := c.remote(func(f *flag.FlagSet) { f.BoolVar(&asJSON, "json", false, "print JSON") })
		if err != nil {
			return err
		}
		nodes, err := dir.Status(c)
		if err != nil {
			return hint(err)
		}
		if asJSON {
			e := json.NewEncoder(c.stdout)
			e.SetIndent("", "  ")
			return e.Encode(nodes)
		}
		w := tabwriter.NewWriter(c.stdout, 0, 8, 2, ' ', 0)
		fmt.Fprintln(w, "NODE\tKIND\tAGENT\tADDRESS\tNEIGHBOURS\tROUTES")
		for _, n := range nodes {
			if n.Kind != "router" {
				fmt.Fprintf(w, "%s\t%s\n", n.Name, n.Kind)
				continue
			}
			neighbours, routes := "-", "-"
			if n.Status != nil {
				neighbours, routes = fmt.Sprint(len(n.Status.Neighbours)), fmt.Sprint(selected(*n.Status))
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, n.Kind, n.Agent, n.Address, neighbours, routes)
		}
		return w.Flush()
	},
}

var pingCommand = &command{
	name: "ping", args: "FROM TO", summary: "ping a router's mesh address from another router, without any program",
	help: "  lab ping a e\n  lab ping --count 3 a e",
	run: func(c *call) error {
		var count int
		dir, err := c.remote(func(f *flag.FlagSet) { f.IntVar(&count, "count", 0, "end after so `many`; 0 goes on until Ctrl-C") })
		if err != nil {
			return err
		}
		if len(c.args) != 2 {
			return c.usageError("ping takes FROM and TO")
		}
		ctx, cancel := signal.NotifyContext(c, unix.SIGINT, unix.SIGTERM)
		defer cancel()
		lost := false
		for i := 1; ; i++ {
			rtt, err := dir.Ping(ctx, c.args[0], c.args[1])
			switch {
			case ctx.Err() != nil:
				return nil
			case errors.Is(err, control.ErrNotRunning):
				return hint(err)
			case err != nil:
				lost = true
				fmt.Fprintf(c.stdout, "%d: %v\n", i, err)
			default:
				fmt.Fprintf(c.stdout, "%d: %s → %s in %.2f ms\n", i, c.args[0], c.args[1], float64(rtt)/float64(time.Millisecond))
			}
			if i == count {
				break
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Second):
			}
		}
		if lost {
			return &status{code: 1}
		}
		return nil
	},
}
