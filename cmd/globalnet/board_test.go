package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"globalnet/board"
)

func TestBoard(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"tmp/sysinfo/board_name": "glinet,gl-ar150\n",
		"tmp/sysinfo/model":      "GL-AR150 \x1b[31m\n",
		"proc/meminfo":           "MemTotal: 59000 kB\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"board", "--root", dir}, &out, &errs); code != exitOK {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	for _, want := range []string{"GL.iNet GL-AR150\n", "mips_24kc", "57 MiB usable", "16 MiB\n", "802.11s good", "profile of 64 MiB", "no /dev/net/tun"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("the model steers the terminal")
	}
	out.Reset()
	run(t.Context(), []string{"board", "--root", dir, "--json"}, &out, &errs)
	var f struct {
		Name    string        `json:"name"`
		Profile board.Profile `json:"profile"`
	}
	if err := json.Unmarshal(out.Bytes(), &f); err != nil || f.Name != "glinet,gl-ar150" || f.Profile.MemoryLimit != 24 {
		t.Errorf("%v: %s", err, out.String())
	}
}
