package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"globalnet/lab"
	"globalnet/lab/control"
	"globalnet/lab/topology"
)

// serveInside is the lab itself, in its sandbox. `lab run` and `lab up` start it
// with the lock as descriptor 3 and, as descriptor 4, for up a pipe, for run a listener.
var serveInside = &command{name: "serve-inside", hidden: true, run: func(c *call) error {
	var (
		dir, agent, title  string
		watch, once, ready bool
		page               bool
		timeout            time.Duration
	)
	err := c.parse(func(f *flag.FlagSet) {
		f.StringVar(&dir, "dir", "", "")
		f.StringVar(&agent, "agent", "", "")
		f.StringVar(&title, "title", "", "")
		f.BoolVar(&watch, "watch", false, "")
		f.BoolVar(&once, "once", false, "")
		f.BoolVar(&ready, "ready", false, "")
		f.BoolVar(&page, "page", false, "")
		f.DurationVar(&timeout, "timeout", time.Minute, "")
	})
	if err != nil {
		return err
	}
	unix.CloseOnExec(3)
	say := func(string) {}
	if ready {
		unix.CloseOnExec(4)
		pipe := os.NewFile(4, "ready")
		say = func(s string) { pipe.WriteString(s); pipe.Close() }
	}
	var listener net.Listener
	if page {
		file := os.NewFile(4, "page")
		if listener, err = net.FileListener(file); err != nil {
			return fmt.Errorf("listener of the page: %w", err)
		}
		file.Close()
		defer listener.Close()
	}
	ctx, cancel := signal.NotifyContext(c, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer cancel()
	l, err := makeLab(control.Dir(dir), agent, c)
	server := &control.Server{Lab: l, Down: cancel}
	if err == nil {
		err = l.Start(ctx)
	}
	if err == nil {
		defer l.Stop()
		err = server.Listen(control.Dir(dir))
	}
	if err != nil {
		say(err.Error())
		if ready {
			return &status{code: 1}
		}
		return err
	}
	serve, end := context.WithCancel(ctx)
	defer end()
	var all errgroup.Group
	all.Go(func() error {
		defer cancel()
		return server.Run(serve)
	})
	where := ""
	if page {
		router := l.Routers()[0]
		where = fmt.Sprintf("page of %s: http://%s/#/map", router.Name, listener.Addr())
		all.Go(func() error { return servePage(serve, listener, router) })
	}
	say("ready")
	var result error
	switch {
	case once:
		result = waitOnce(ctx, l, timeout, where, c)
	case watch:
		watchLab(ctx, l, title, where, c.stdout)
	default:
		<-ctx.Done()
	}
	if watch && !once {
		fmt.Fprintln(c.stdout, "Ending the lab.")
	}
	err = l.Stop()
	end()
	return errors.Join(result, err, all.Wait())
}}

func makeLab(dir control.Dir, agent string, c *call) (*lab.Lab, error) {
	text, err := os.ReadFile(dir.Topology())
	if err != nil {
		return nil, err
	}
	t, err := topology.Parse(string(text))
	if err != nil {
		return nil, err
	}
	o := lab.Options{Dir: string(dir), Log: slog.New(slog.NewTextHandler(c.stderr, nil))}
	if agent != "none" {
		o.Agent = agentCommand(agent)
		// So that `exec a -- globalnet status` finds the program.
		os.Setenv("PATH", filepath.Dir(agent)+":"+os.Getenv("PATH"))
	}
	return lab.New(t, o), nil
}

func agentCommand(path string) []string { return []string{path, "run", "--config", "{config}"} }

// waitOnce waits until all routers reach each other, and says what is wrong if they do not.
func waitOnce(ctx context.Context, l *lab.Lab, timeout time.Duration, page string, c *call) error {
	began := time.Now()
	n := len(l.Routers())
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	fmt.Fprintf(c.stdout, "%d routers started; waiting until each reaches every other.\n", n)
	if page != "" {
		fmt.Fprintf(c.stdout, "Meanwhile, the web %s\n", page)
	}
	err := l.WaitAllPairs(ctx)
	if err == nil {
		fmt.Fprintf(c.stdout, "Every router reaches every other: %d pings answered, %.1f s after the start.\n",
			n*(n-1), time.Since(began).Seconds())
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return &status{130, errors.New("interrupted")}
	}
	fmt.Fprintf(c.stderr, "lab: after %v, %v\n", timeout, err)
	explainAgents(l, c.stderr)
	return &status{code: 1}
}
