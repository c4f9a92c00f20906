package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"globalnet/agent/config"
	"globalnet/agent/control"
)

// Exit codes, part of the interface: scripts branch on them.
const (
	exitOK         = 0
	exitFailed     = 1
	exitUsage      = 2
	exitNotRunning = 3
	exitConfig     = 4
)

const exitCodes = `Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no agent is running, 4 wrong configuration.`

// errors that choose the exit code; the rest exit with 1.
type (
	usageError  struct{ error }
	configError struct{ error }
)

func (e usageError) Unwrap() error  { return e.error }
func (e configError) Unwrap() error { return e.error }

// invocation is one run of one command.
type invocation struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	args           []string // what is left after the flags

	json       bool
	path, raw  bool
	onion      bool
	configPath string
	socket     string
	identity   string
	root       string
	interval   time.Duration
	run        runFlags
	service    serviceFlags
	radio      radioFlags
}

// command is a row of the table of commands.
type command struct {
	name    string // one to three words
	args    string // after the name, in the usage line
	least   int    // how many arguments it takes
	most    int
	summary string
	detail  string
	example string
	flags   string // which of the flags it has: any of "json path raw config socket identity root interval connect slow", of serviceFlags and radioFlags
	run     func(ctx context.Context, in *invocation) error
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd, rest, err := find(args)
	if err != nil {
		fmt.Fprintf(stderr, "globalnet: %v\n", err)
		return exitUsage
	}
	in := &invocation{stdin: os.Stdin, stdout: stdout, stderr: stderr}
	err = in.parse(cmd, rest)
	if errors.Is(err, flag.ErrHelp) {
		cmd.usage(stdout)
		return exitOK
	}
	if err == nil {
		stop := func() {}
		if cmd.has("slow") {
			stop = sync.OnceFunc(waiting(stderr, cmd.name))
			in.stdout = &answerWriter{stdout, stop}
		}
		err = cmd.run(ctx, in)
		stop()
	}
	if err != nil {
		fmt.Fprintf(stderr, "globalnet %s: %s\n", cmd.name, explain(err))
	}
	return exitCode(err)
}

func exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case isType[usageError](err):
		return exitUsage
	case errors.Is(err, control.ErrNotRunning):
		return exitNotRunning
	case isType[configError](err):
		return exitConfig
	}
	return exitFailed
}

func isType[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// explain is the error and, where there is one, what to do about it.
func explain(err error) string {
	text := err.Error()
	if e, ok := errors.AsType[*control.Error](err); ok && e.Hint != "" {
		text += "\n" + e.Hint
	}
	return text
}

// find returns the command that args begin with, most words first.
func find(args []string) (command, []string, error) {
	if len(args) == 0 || args[0] == "-h" || args[0] == "-help" || args[0] == "--help" {
		args = append([]string{"help"}, args[min(len(args), 1):]...)
	}
	if args[0] == "--version" {
		args = append([]string{"version"}, args[1:]...)
	}
	for words := min(len(args), 3); words > 0; words-- {
		name := strings.Join(args[:words], " ")
		for _, c := range commands() {
			if c.name == name {
				return c, args[words:], nil
			}
		}
	}
	for words := min(len(args), 2); words > 0; words-- {
		var group []string
		name := strings.Join(args[:words], " ")
		for _, c := range commands() {
			if rest, ok := strings.CutPrefix(c.name, name+" "); ok {
				group = append(group, rest)
			}
		}
		if group != nil {
			return command{}, nil, fmt.Errorf("%s what? one of: %s", name, strings.Join(group, ", "))
		}
	}
	return command{}, nil, fmt.Errorf("no command %q; `globalnet help` lists them", args[0])
}

// parse takes flags before, between and after the arguments.
func (in *invocation) parse(c command, args []string) error {
	fs := in.flagSet(c)
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return err
			}
			return usageError{fmt.Errorf("%w\nusage: %s", err, c.synopsis())}
		}
		if fs.NArg() == 0 {
			break
		}
		in.args = append(in.args, fs.Arg(0))
		args = fs.Args()[1:]
	}
	if n := len(in.args); n < c.least || n > c.most {
		return usageError{fmt.Errorf("usage: %s", c.synopsis())}
	}
	return nil
}

func (in *invocation) flagSet(c command) *flag.FlagSet {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	if c.has("json") {
		fs.BoolVar(&in.json, "json", false, "print JSON")
	}
	if c.has("path") {
		fs.BoolVar(&in.path, "path", false, "show every node that was asked, in that order")
	}
	if c.has("onion") {
		fs.BoolVar(&in.onion, "onion", false, "ask through a circuit: who holds the record does not see who asks")
	}
	if c.has("raw") {
		fs.BoolVar(&in.raw, "raw", false, "write the value as it is, unprintable characters included")
	}
	if c.has("config") {
		fs.StringVar(&in.configPath, "config", "", "configuration `FILE` (default $GLOBALNET_CONFIG, then "+config.DefaultPath+")")
	}
	if c.has("socket") {
		fs.StringVar(&in.socket, "socket", "", "control socket `PATH` of the agent (default: the one in the configuration)")
	}
	if c.has("root") {
		fs.StringVar(&in.root, "root", "/", "`FOLDER` that holds the files of the device")
	}
	if c.has("interval") {
		fs.DurationVar(&in.interval, "interval", topInterval, "`TIME` between two rounds")
	}
	if c.has("connect") {
		fs.StringVar(&in.run.listen, "listen", "", "`PORT` of signalling, instead of the configuration's")
		fs.StringVar(&in.run.connect, "connect", "", "nodes to link to over the internet, `NODE@HOST:PORT,…`, beside the configuration's")
	}
	if c.has("identity") {
		fs.StringVar(&in.identity, "identity", "", "key `FILE` (default: the one in the configuration)")
	}
	in.service.define(fs, c)
	in.radio.define(fs, c)
	return fs
}

func (c command) has(name string) bool { return slices.Contains(strings.Fields(c.flags), name) }

func (c command) synopsis() string {
	return strings.Join(strings.Fields("globalnet "+c.name+" [flags] "+c.args), " ")
}

func (c command) usage(w io.Writer) {
	fmt.Fprintf(w, "%s\n\nusage: %s\n", c.summary, c.synopsis())
	if c.detail != "" {
		fmt.Fprintf(w, "\n%s\n", c.detail)
	}
	if c.flags != "" {
		fmt.Fprintf(w, "\nFlags:\n")
		new(invocation).flagSet(c).VisitAll(func(f *flag.Flag) {
			value, text := flag.UnquoteUsage(f)
			fmt.Fprintf(w, "  %-22s %s\n", strings.TrimSpace("--"+f.Name+" "+value), text)
		})
	}
	fmt.Fprintf(w, "\nExamples:\n")
	for line := range strings.Lines(c.example) {
		fmt.Fprintf(w, "  %s", line)
	}
	fmt.Fprintf(w, "\n\n%s\n", exitCodes)
}

// config reads the configuration: --config, $GLOBALNET_CONFIG, the file of a
// router; where there is none of them, the defaults. Warnings go to stderr.
func (in *invocation) config() (config.Config, error) {
	path := in.configPath
	if path == "" {
		path = os.Getenv("GLOBALNET_CONFIG")
	}
	if path == "" {
		if _, err := os.Stat(config.DefaultPath); errors.Is(err, os.ErrNotExist) {
			return config.Default(), nil
		}
		path = config.DefaultPath
	}
	in.configPath = path
	c, warnings, err := config.Load(path)
	for _, w := range warnings {
		fmt.Fprintf(in.stderr, "warning: %v\n", w)
	}
	if err != nil {
		return c, configError{err}
	}
	return c, nil
}

// client returns a client of the agent that --socket or the configuration names.
func (in *invocation) client() (*control.Client, error) {
	if in.socket == "" {
		c, err := in.config()
		if err != nil {
			return nil, err
		}
		in.socket = c.Socket
	}
	return control.NewClient(in.socket), nil
}

// printJSON prints v as the answer of a command with --json.
func (in *invocation) printJSON(v any) error {
	e := json.NewEncoder(in.stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
