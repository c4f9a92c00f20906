package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"globalnet/agent"
	"globalnet/agent/config"
)

// stopTime is how long the agent may take to end.
const stopTime = 5 * time.Second

func runAgent(ctx context.Context, in *invocation) error {
	c, err := in.config()
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	level.Set(c.LogLevel)
	log := slog.New(slog.NewTextHandler(in.stderr, &slog.HandlerOptions{Level: level}))
	small := smallMemory(c.Memory)
	if small {
		limitMemory()
	}

	lock, err := lockNamespace()
	if err != nil {
		return err
	}
	defer lock.Close()
	k, err := openKernel(c, log)
	if err != nil {
		return err
	}
	defer k.Close()
	a, err := agent.New(agent.Options{ConfigPath: in.configPath, Config: c, Log: log, Level: level, Kernel: k, SmallMemory: small})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	return serve(ctx, a, log, hangup, stop)
}

// runner is what serve needs of agent.Agent.
type runner interface {
	Run(ctx context.Context) error
	Reload(ctx context.Context) (config.Diff, error)
}

// serve runs the agent, reloads it at each hangup, and gives it stopTime to end.
func serve(ctx context.Context, a runner, log *slog.Logger, hangup <-chan os.Signal, stop func()) error {
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	for {
		select {
		case err := <-ended:
			return err
		case <-hangup:
			d, err := a.Reload(ctx)
			if err != nil {
				log.Error("configuration not reloaded, the old one stays", "err", err)
			} else {
				log.Info("configuration reloaded", "changes", d.String())
			}
		case <-ctx.Done():
			stop() // a second signal ends the process at once
			select {
			case err := <-ended:
				return err
			case <-time.After(stopTime):
				return fmt.Errorf("the agent did not end within %v", stopTime)
			}
		}
	}
}

// smallMemory reports whether buffers are to be small.
func smallMemory(m config.Memory) bool {
	if m != config.MemoryAuto {
		return m == config.MemorySmall
	}
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return false
	}
	defer f.Close()
	kib, ok := memTotal(f)
	return ok && kib < 256<<10
}

// memTotal reads the MemTotal line of /proc/meminfo, in KiB.
func memTotal(r io.Reader) (kib uint64, ok bool) {
	for s := bufio.NewScanner(r); s.Scan(); {
		if value, found := strings.CutPrefix(s.Text(), "MemTotal:"); found {
			_, err := fmt.Sscanf(value, "%d kB", &kib)
			return kib, err == nil
		}
	}
	return 0, false
}

// limitMemory makes the collector work harder; the owner's environment wins.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(32 << 20)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

func cleanup(ctx context.Context, in *invocation) error {
	lock, err := lockNamespace()
	if err != nil {
		return err
	}
	defer lock.Close()
	k, err := openKernel(config.Default(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer k.Close()
	if err := k.Cleanup(ctx); err != nil {
		return fmt.Errorf("cleaning up: %w", err)
	}
	if in.json {
		return in.printJSON(struct {
			Clean bool `json:"clean"`
		}{true})
	}
	_, err = fmt.Fprintln(in.stdout, "nothing of GlobalNet is left in the kernel")
	return err
}
