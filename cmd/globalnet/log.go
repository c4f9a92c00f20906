package main

import (
	"context"
	"io"
	"log/slog"
)

// logEnv names the variable that says how lines of the log look.
const logEnv = "GLOBALNET_LOG"

// newHandler writes lines of a log: with time and level to stderr, or, where style is
// "procd", as the system log of a router wants them. That has a time for each line
// already, and two priorities: daemon.info for what comes from stdout, daemon.err for stderr.
func newHandler(style string, stdout, stderr io.Writer, level slog.Leveler) slog.Handler {
	if style != "procd" {
		return slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})
	}
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: withoutTime}
	return procdHandler{info: slog.NewTextHandler(stdout, o), err: slog.NewTextHandler(stderr, o)}
}

// withoutTime drops what the system log says anyhow.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	known := len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey && a.Value.String() == slog.LevelInfo.String())
	if known {
		return slog.Attr{}
	}
	return a
}

// procdHandler is a slog.Handler for a process that procd reads both outputs of.
type procdHandler struct{ info, err slog.Handler }

func (h procdHandler) of(l slog.Level) slog.Handler {
	if l >= slog.LevelWarn {
		return h.err
	}
	return h.info
}

func (h procdHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.of(l).Enabled(ctx, l) }

func (h procdHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.of(r.Level).Handle(ctx, r)
}

func (h procdHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return procdHandler{h.info.WithAttrs(attrs), h.err.WithAttrs(attrs)}
}

func (h procdHandler) WithGroup(name string) slog.Handler {
	return procdHandler{h.info.WithGroup(name), h.err.WithGroup(name)}
}
