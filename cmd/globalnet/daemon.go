package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"globalnet/agent"
	"globalnet/agent/config"
	"globalnet/agent/edit"
	"globalnet/agent/firewall"
	"globalnet/board"
	"globalnet/openwrt"
)

// stopTime is how long the agent may take to end.
const stopTime = 5 * time.Second

func runAgent(ctx context.Context, in *invocation) error {
	c, err := in.config()
	undone, errUndo := edit.Undo(in.configPath)
	if undone {
		c, err = in.config()
	}
	if err != nil {
		return err
	}
	adjust, err := in.adjust(c)
	if err != nil {
		return err
	}
	adjust(&c)
	level := new(slog.LevelVar)
	level.Set(c.LogLevel)
	log := slog.New(newHandler(os.Getenv(logEnv), in.stdout, in.stderr, level))
	if undone || errUndo != nil {
		log.Warn("a change of the configuration was not confirmed: the old one is put back", "err", errUndo)
	}
	machine := board.Detect("/")
	profile := profileFor(c.Memory, machine.Profile)
	limitMemory(profile)
	log.Debug("the machine", "board", machine.Name, "ram_kib", machine.RAMKiB, "memory_limit_mib", profile.MemoryLimit)

	lock, err := lockNamespace()
	if err != nil {
		return err
	}
	defer lock.Close()
	recoverSetup(ctx, log)
	k, err := openKernel(c, profile.SmallBuffers, log)
	if err != nil {
		return err
	}
	defer k.Close()
	a, err := agent.New(agent.Options{ConfigPath: in.configPath, Config: c, Log: log, Level: level, Kernel: k, Adjust: adjust,
		SmallMemory: profile.SmallBuffers, Version: version, Radios: freeRadios, Saved: tellOpenWrt})
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

// profileFor is what the machine allows; the owner's word wins.
func profileFor(m config.Memory, machine board.Profile) board.Profile {
	switch m {
	case config.MemorySmall:
		if !machine.SmallBuffers {
			return board.ProfileFor(128 << 10)
		}
	case config.MemoryLarge:
		machine.SmallBuffers, machine.MemoryLimit = false, 0
	}
	return machine
}

// limitMemory makes the collector work harder; the owner's environment wins.
func limitMemory(p board.Profile) {
	if p.MemoryLimit == 0 {
		return
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(p.MemoryLimit) << 20)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(p.GCPercent)
	}
}

func cleanup(ctx context.Context, in *invocation) error {
	lock, err := lockNamespace()
	if err != nil {
		return err
	}
	defer lock.Close()
	k, err := openKernel(config.Default(), false, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer k.Close()
	if err := errors.Join(k.Cleanup(ctx), firewall.New(nil).Remove()); err != nil {
		return fmt.Errorf("cleaning up: %w", err)
	}
	plan := new(openwrt.Plan)
	if in.radio.uci {
		if plan, err = in.cleanupUCI(ctx); err != nil {
			return fmt.Errorf("cleaning up OpenWrt's configuration: %w", err)
		}
	}
	if in.json {
		return in.printJSON(struct {
			Clean   bool             `json:"clean"`
			Changes []openwrt.Change `json:"changes,omitempty"`
		}{true, plan.Changes})
	}
	if in.radio.uci {
		in.printPlan(plan)
	}
	_, err = fmt.Fprintln(in.stdout, "nothing of GlobalNet is left in the kernel")
	return err
}
