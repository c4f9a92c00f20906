package main

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, n int, random bool) string {
		text := make([]byte, n)
		if random {
			rand.Read(text)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	small := write("small", 1000, true)
	tests := []struct {
		name  string
		files []string
		want  string // of the error; empty for none
	}{
		{"none", nil, "no binary named"},
		{"missing", []string{filepath.Join(dir, "x")}, "no such file"},
		{"small", []string{small}, ""},
		{"too large", []string{small, write("large", budget+1, false)}, "large has 13900001 bytes, 1 over"},
		{"large on a disk", []string{small, write("large-amd64", budget+1, false)}, ""},
		{"too large compressed", []string{write("dense", packBudget, true)}, "compressed"},
		{"far too large on ARM", []string{write("dense-arm7", packBudget*11/10, true)}, "compressed, "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			err := run(tt.files, &out)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if tt.want == "" && !strings.Contains(out.String(), " 1000 ") {
				t.Errorf("printed:\n%s", out.String())
			}
		})
	}
}
