// Command lab runs networks of routers on this machine, each router a namespace
// with the real agent in it. `lab help` lists its commands, docs/lab.md tells
// more. Package lab does the work; this command wires it to a terminal.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"globalnet/lab/netns"
	"globalnet/lab/router"
)

func main() {
	netns.Hook()
	router.Hook()
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// command is a row of the table of commands.
type command struct {
	name    string
	args    string
	summary string
	help    string // after the options
	hidden  bool   // runs inside a sandbox; started by another command
	process bool   // hidden, and runs wherever it is started
	run     func(c *call) error
}

// call is one run of a command.
type call struct {
	context.Context
	command *command
	flags   *flag.FlagSet
	args    []string
	stdout  io.Writer
	stderr  io.Writer
}

// status ends a command with an exit status and, if it has one, a message.
type status struct {
	code int
	err  error
}

func (s *status) Error() string {
	if s.err == nil {
		return fmt.Sprintf("status %d", s.code)
	}
	return s.err.Error()
}

var commands []*command

func init() {
	commands = []*command{
		runCommand, upCommand, statusCommand, execCommand, netCommand, pingCommand, waitCommand, benchCommand, downCommand,
		serveInside, benchInside, onionNode,
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		if len(args) > 1 {
			args = []string{args[1], "--help"}
		} else {
			usage(stdout)
			return 0
		}
	}
	for _, c := range commands {
		if c.name != args[0] || c.hidden != netns.Inside() && !c.process {
			continue
		}
		err := c.run(&call{Context: ctx, command: c, args: args[1:], stdout: stdout, stderr: stderr})
		var s *status
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return 0
		case errors.As(err, &s):
			if s.err != nil {
				fmt.Fprintf(stderr, "lab: %v\n", s.err)
			}
			return s.code
		}
		fmt.Fprintf(stderr, "lab: %v\n", err)
		return 1
	}
	fmt.Fprintf(stderr, "lab: no command %q; `lab help` lists them\n", args[0])
	return 2
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "lab runs networks of routers on this machine, without root.\n\nCommands:")
	for _, c := range commands {
		if !c.hidden {
			fmt.Fprintf(w, "  %-28s %s\n", c.name+" "+c.args, c.summary)
		}
	}
	fmt.Fprint(w, `
Each command has --help. To begin:
  lab run                            five routers that find each other; Ctrl-C ends them
  lab ping a e                       in another terminal: from one end to the other
  lab exec a -- bash                 a shell, or any program, inside router a
  lab net cut b c                    take a link away and watch the routes change
`)
}

// parse reads the options that define names, wherever they stand before "--",
// and leaves the other words in c.args. It answers --help.
func (c *call) parse(define func(*flag.FlagSet)) error {
	c.flags = flag.NewFlagSet("lab "+c.command.name, flag.ContinueOnError)
	c.flags.SetOutput(io.Discard)
	if define != nil {
		define(c.flags)
	}
	var words []string
	rest := c.args
	for {
		if err := c.flags.Parse(rest); errors.Is(err, flag.ErrHelp) {
			c.help()
			return err
		} else if err != nil {
			return &status{2, fmt.Errorf("%w; `lab %s --help` tells more", err, c.command.name)}
		}
		used := len(rest) - c.flags.NArg()
		dashes := used > 0 && rest[used-1] == "--"
		rest = c.flags.Args()
		if len(rest) == 0 || dashes {
			break
		}
		words, rest = append(words, rest[0]), rest[1:]
	}
	c.args = append(words, rest...)
	return nil
}

func (c *call) help() {
	fmt.Fprintf(c.stdout, "lab %s %s\n\n%s.\n", c.command.name, c.command.args, c.command.summary)
	options := false
	c.flags.VisitAll(func(f *flag.Flag) {
		if !options {
			fmt.Fprintln(c.stdout, "\nOptions:")
			options = true
		}
		kind, text := flag.UnquoteUsage(f)
		fmt.Fprintf(c.stdout, "  --%-20s %s", strings.TrimSpace(f.Name+" "+kind), text)
		if f.DefValue != "" && f.DefValue != "false" {
			fmt.Fprintf(c.stdout, " (default %s)", f.DefValue)
		}
		fmt.Fprintln(c.stdout)
	})
	if c.command.help != "" {
		fmt.Fprintf(c.stdout, "\n%s\n", strings.TrimSpace(c.command.help))
	}
}

// usageError is a command used wrongly.
func (c *call) usageError(format string, args ...any) error {
	return &status{2, fmt.Errorf("%s; `lab %s --help` tells more", fmt.Sprintf(format, args...), c.command.name)}
}
