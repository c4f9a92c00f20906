package main

import (
	"bytes"
	"log/slog"
	"testing"
)

// logd keeps one line a write, puts a time before it, and a priority by where it came from.
func TestLogForProcd(t *testing.T) {
	var out, err bytes.Buffer
	level := new(slog.LevelVar)
	log := slog.New(newHandler("procd", &out, &err, level)).With("node", "n1")
	log.Debug("not wanted")
	log.Info("a link is up", "level", "two")
	log.WithGroup("kernel").Warn("no WireGuard", "time", 3)
	level.Set(slog.LevelDebug)
	log.Debug("wanted now")
	log.Error("the end")
	if want := "msg=\"a link is up\" node=n1 level=two\nlevel=DEBUG msg=\"wanted now\" node=n1\n"; out.String() != want {
		t.Errorf("stdout %q, want %q", out.String(), want)
	}
	if want := "level=WARN msg=\"no WireGuard\" node=n1 kernel.time=3\nlevel=ERROR msg=\"the end\" node=n1\n"; err.String() != want {
		t.Errorf("stderr %q, want %q", err.String(), want)
	}
	out.Reset()
	slog.New(newHandler("", &out, &err, level)).Info("as usual")
	if out.Len() != 0 || !bytes.Contains(err.Bytes(), []byte(`level=INFO msg="as usual"`)) || !bytes.Contains(err.Bytes(), []byte("time=")) {
		t.Errorf("without procd: stdout %q, stderr %q", out.String(), err.String())
	}
}
