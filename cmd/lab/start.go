package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"globalnet/lab/control"
	"globalnet/lab/examples"
	"globalnet/lab/netns"
	"globalnet/lab/topology"
)

// settings are the options that the commands which start a lab share.
type settings struct {
	name    string
	agent   string
	once    bool
	keep    bool
	timeout time.Duration
	page    string // of run: where this machine gets the page of the first router
}

func (s *settings) define(f *flag.FlagSet) {
	defineName(f, &s.name)
	f.StringVar(&s.agent, "agent", "", "`program` that routers run (default: globalnet beside lab, or in PATH; none: run no agents)")
}

func defineName(f *flag.FlagSet, name *string) {
	f.StringVar(name, "name", "default", "`name` of the lab, where several are up")
}

var runCommand = &command{
	name: "run", args: "[FILE]", summary: "start a lab and show it live until Ctrl-C",
	help: `FILE is a topology (docs/lab.md) or the name of an example; without it, five
routers on radios. With --once the lab ends with status 0 as soon as every
router has an answer to a ping from every other. The web page of the first router
is at http://127.0.0.1:8080/ on this machine; what is printed says where, if that
port is taken.

  lab run
  lab run --once
  lab run grid25
  lab run my-village.lab`,
	run: func(c *call) error {
		var s settings
		err := c.parse(func(f *flag.FlagSet) {
			s.define(f)
			f.BoolVar(&s.once, "once", false, "end as soon as all routers reach each other")
			f.DurationVar(&s.timeout, "timeout", time.Minute, "with --once: how `long` to wait")
			f.StringVar(&s.page, "page", defaultPage, "`address` on this machine of the first router's web page, or the next free port; none: no page")
			f.BoolVar(&s.keep, "keep", false, "keep logs and configurations afterwards")
		})
		if err != nil {
			return err
		}
		return c.start(s, false)
	},
}

var upCommand = &command{
	name: "up", args: "FILE", summary: "start a lab in the background",
	help: `FILE is a topology (docs/lab.md) or the name of an example. The lab stays up
until "lab down".

  lab up villages
  lab status
  lab exec phone -- ip addr
  lab down`,
	run: func(c *call) error {
		var s settings
		if err := c.parse(s.define); err != nil {
			return err
		}
		if len(c.args) != 1 {
			return c.usageError("up takes one FILE")
		}
		return c.start(s, true)
	},
}

// start starts this program again in a sandbox, as a lab.
func (c *call) start(s settings, background bool) error {
	file := examples.Default
	if len(c.args) > 1 {
		return c.usageError("one FILE at most")
	} else if len(c.args) == 1 {
		file = c.args[0]
	}
	text, err := examples.Read(file)
	if err != nil {
		return err
	}
	if _, err := topology.Parse(text); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	agent, err := findAgent(s.agent)
	if err != nil {
		return err
	}
	dir, err := control.Find(s.name)
	if err != nil {
		return err
	}
	lock, err := dir.Claim()
	if errors.Is(err, control.ErrRunning) {
		return fmt.Errorf("%w; `lab down` ends it, --name starts another beside it", err)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	var page *os.File
	if s.page != "" && s.page != "none" && agent != "none" {
		listener, at, err := listenPage(s.page)
		if err != nil {
			dir.Release()
			return err
		}
		defer listener.Close()
		if with, ok := withPage(text, at); ok {
			text, page = with, listener
		}
	}
	if err := os.WriteFile(dir.Topology(), []byte(text), 0o600); err != nil {
		dir.Release()
		return fmt.Errorf("keeping the topology: %w", err)
	}
	box := netns.Sandbox{
		Args: []string{"lab", serveInside.name, "--dir", string(dir), "--agent", agent, "--title", strings.TrimSuffix(filepath.Base(file), ".lab")},
	}
	if !s.keep {
		box.Remove = string(dir)
	}
	if background {
		return c.startBackground(box, dir, lock)
	}
	box.Stdin, box.Stdout, box.Stderr, box.Files = os.Stdin, os.Stdout, os.Stderr, []*os.File{lock}
	box.Args = append(box.Args, "--watch", "--timeout", s.timeout.String())
	if page != nil {
		box.Files = append(box.Files, page)
		box.Args = append(box.Args, "--page")
	}
	if s.once {
		box.Args = append(box.Args, "--once")
	}
	p, err := box.Start()
	if err != nil {
		dir.Release()
		return err
	}
	code, err := p.Wait()
	if s.keep {
		fmt.Fprintf(c.stderr, "lab: logs and configurations are in %s until the next start\n", dir)
	} else {
		err = errors.Join(err, dir.Release())
	}
	if err != nil || code == 0 {
		return err
	}
	return &status{code: code}
}

func (c *call) startBackground(box netns.Sandbox, dir control.Dir, lock *os.File) error {
	log, err := os.Create(dir.Log())
	if err != nil {
		dir.Release()
		return fmt.Errorf("log of the lab: %w", err)
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		dir.Release()
		return err
	}
	defer r.Close()
	box.Stdout, box.Stderr, box.Background = log, log, true
	box.Files = []*os.File{lock, w}
	box.Args = append(box.Args, "--ready")
	p, err := box.Start()
	w.Close()
	if err != nil {
		dir.Release()
		return err
	}
	// The lab says "ready", or why it is not, and closes the pipe.
	said, err := io.ReadAll(r)
	if string(said) == "ready" {
		p.Release()
		fmt.Fprintf(c.stdout, "The lab is up. Next: lab status, lab exec NODE -- CMD, lab net, lab down.\n")
		return nil
	}
	p.Wait()
	printed, _ := os.ReadFile(dir.Log())
	dir.Release()
	return fmt.Errorf("the lab did not start: %s", strings.TrimSpace(string(said)+"\n"+string(printed)+errText(err)))
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// findAgent returns the absolute path of the agent, or "none".
func findAgent(given string) (string, error) {
	if given == "none" {
		return given, nil
	}
	if given == "" {
		if self, err := os.Executable(); err == nil {
			beside := filepath.Join(filepath.Dir(self), "globalnet")
			if unix.Access(beside, unix.X_OK) == nil {
				return beside, nil
			}
		}
		given = "globalnet"
	}
	path, err := exec.LookPath(given)
	if err != nil {
		return "", fmt.Errorf("no agent to run: %w; `make build` makes it, --agent names another", err)
	}
	return filepath.Abs(path)
}
