package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"globalnet/lab/bench"
	"globalnet/lab/netns"
	"globalnet/lab/onionlab"
)

var benchCommand = &command{
	name: "bench", args: "NAME", summary: "measure, and print one JSON object with -json",
	help: func() string {
		var b strings.Builder
		b.WriteString("Benchmarks:\n")
		for _, x := range bench.All() {
			fmt.Fprintf(&b, "  %-15s %s\n", x.Name, x.Summary)
			for _, p := range x.Parts {
				fmt.Fprintf(&b, "    %-13s %s\n", p.Name, p.Summary)
			}
		}
		b.WriteString("\n  lab bench mesh -json\n  lab bench mesh -only convergence,tcp -n 3")
		return b.String()
	}(),
	run: func(c *call) error {
		var s settings
		var asJSON bool
		var n int
		var only string
		err := c.parse(func(f *flag.FlagSet) {
			s.define(f)
			f.BoolVar(&asJSON, "json", false, "print one JSON object")
			f.IntVar(&n, "n", 0, "how `often` to repeat; 0 is the benchmark's own choice")
			f.StringVar(&only, "only", "", "measure only these `parts`, separated by commas")
		})
		if err != nil {
			return err
		}
		if len(c.args) != 1 {
			return c.usageError("bench takes one NAME")
		}
		if _, ok := bench.Find(c.args[0]); !ok {
			return c.usageError("no benchmark %q", c.args[0])
		}
		agent, err := findAgent(s.agent)
		if err != nil {
			return err
		}
		p, err := netns.Sandbox{
			Args: []string{"lab", benchInside.name, "--agent", agent, "--n", strconv.Itoa(n), "--only", only,
				"--json=" + strconv.FormatBool(asJSON), c.args[0]},
			Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		}.Start()
		if err != nil {
			return err
		}
		if code, err := p.Wait(); err != nil || code != 0 {
			return &status{code, err}
		}
		return nil
	},
}

// benchInside runs a benchmark in its sandbox.
var benchInside = &command{name: "bench-inside", hidden: true, run: func(c *call) error {
	var agent, only string
	var asJSON bool
	env := bench.Env{Progress: c.stderr}
	err := c.parse(func(f *flag.FlagSet) {
		f.StringVar(&agent, "agent", "", "")
		f.IntVar(&env.N, "n", 0, "")
		f.StringVar(&only, "only", "", "")
		f.BoolVar(&asJSON, "json", false, "")
	})
	if err != nil {
		return err
	}
	env.Agent = agentCommand(agent)
	env.Only = strings.FieldsFunc(only, func(r rune) bool { return r == ',' })
	b, ok := bench.Find(c.args[0])
	if !ok {
		return c.usageError("no benchmark %q", c.args[0])
	}
	ctx, cancel := signal.NotifyContext(c, unix.SIGINT, unix.SIGTERM)
	defer cancel()
	report, err := bench.Measure(ctx, b, env)
	switch {
	case asJSON:
		e := json.NewEncoder(c.stdout)
		e.SetIndent("", "  ")
		e.Encode(report)
	case b.Print != nil:
		b.Print(report, c.stdout)
	default:
		report.Table(c.stdout)
	}
	return err
}}

// onionNode is a node of the onion that is measured alone.
var onionNode = &command{name: onionlab.NodeCommand, hidden: true, process: true, run: func(c *call) error {
	return onionlab.Main(c, os.Stdin, c.stdout)
}}
