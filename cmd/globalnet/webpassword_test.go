package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWebPassword(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "globalnet.uci")
	writeFile(t, file, "config globalnet 'main'\n\toption state_dir '.'\n")
	c, rest, err := find([]string{"web", "password", "--config", file})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		given string
		right bool
	}{{"correct horse\nnot read\n", true}, {"no newline at the end", true}, {"short\n", false}, {"", false}} {
		path := filepath.Join(dir, "web.password")
		os.Remove(path)
		var out bytes.Buffer
		in := &invocation{stdin: strings.NewReader(tt.given), stdout: &out, stderr: &out}
		if err := in.parse(c, rest); err != nil {
			t.Fatal(err)
		}
		err := c.run(t.Context(), in)
		if (err == nil) != tt.right {
			t.Errorf("%q: %v", tt.given, err)
		}
		text, _ := os.ReadFile(path)
		if (len(text) > 0) != tt.right || strings.Contains(string(text)+out.String(), "horse") {
			t.Errorf("%q: written %q, said %q", tt.given, text, out.String())
		}
		if info, err := os.Stat(path); err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
	}
}
