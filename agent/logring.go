package agent

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"globalnet/agent/control"
)

// Bounds of what is kept of the log: 256 lines of at most 1 KiB.
const (
	keptLines    = 256
	maxLogAnswer = 200
	maxLogText   = 200 // of a message or value
	maxLogAttrs  = 4
)

// logRing keeps the last lines of the log in RAM, for who has no other way to it.
type logRing struct {
	mu    sync.Mutex
	lines [keptLines]control.LogLine
	last  uint64
}

// tee returns a handler that keeps what next writes, and all of importance.
func (r *logRing) tee(next slog.Handler) slog.Handler { return &ringHandler{next: next, ring: r} }

// after returns the lines after one, the newest if there are too many.
func (r *logRing) after(n uint64) control.Log {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := control.Log{First: max(r.last, keptLines) - keptLines + 1, Last: r.last, Lines: []control.LogLine{}}
	from := max(n+1, l.First, max(r.last, maxLogAnswer)-maxLogAnswer+1)
	for i := from; i <= r.last && n < r.last; i++ {
		l.Lines = append(l.Lines, r.lines[i%keptLines])
	}
	return l
}

func (r *logRing) add(line control.LogLine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	line.N = r.last
	r.lines[r.last%keptLines] = line
}

type ringHandler struct {
	next  slog.Handler
	ring  *logRing
	attrs []slog.Attr
}

// Enabled implements slog.Handler.
func (h *ringHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler. Secrets have no text of their own (config.Secret).
func (h *ringHandler) Handle(ctx context.Context, record slog.Record) error {
	line := control.LogLine{Time: record.Time.UTC().Round(time.Millisecond), Level: level(record.Level), Message: cut(record.Message),
		Attrs: make(map[string]string)}
	add := func(a slog.Attr) bool {
		if len(line.Attrs) < maxLogAttrs {
			line.Attrs[a.Key] = cut(a.Value.Resolve().String())
		}
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	record.Attrs(add)
	h.ring.add(line)
	if !h.next.Enabled(ctx, record.Level) {
		return nil
	}
	return h.next.Handle(ctx, record)
}

func level(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "error"
	case l >= slog.LevelWarn:
		return "warn"
	case l >= slog.LevelInfo:
		return "info"
	}
	return "debug"
}

// cut copies, so that nothing longer is kept alive.
func cut(s string) string { return string([]byte(s[:min(len(s), maxLogText)])) }

// WithAttrs implements slog.Handler.
func (h *ringHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &ringHandler{h.next.WithAttrs(attrs), h.ring, append(slices.Clone(h.attrs), attrs...)}
}

// WithGroup implements slog.Handler; this program has no groups.
func (h *ringHandler) WithGroup(name string) slog.Handler {
	return &ringHandler{h.next.WithGroup(name), h.ring, h.attrs}
}

// Log returns what the agent said lately.
func (a *Agent) Log(after uint64) control.Log { return a.logs.after(after) }
