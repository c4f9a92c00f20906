package main

import (
	"bytes"
	"crypto/rand"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	text := make([]byte, 1000)
	rand.Read(text)
	small := filepath.Join(dir, "small-arm7")
	if err := os.WriteFile(small, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		files []string
		want  string // of the error; empty for none
	}{
		{"none", nil, "no binary named"},
		{"missing", []string{filepath.Join(dir, "x")}, "no such file"},
		{"small", []string{small}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			err := run(tt.files, &out)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if tt.want == "" && !regexp.MustCompile(`small-arm7 +1000 +0 % +10\d\d +0 % +(10\d\d|-) +(10\d\d|-)`).MatchString(out.String()) {
				t.Errorf("printed:\n%s", out.String())
			}
		})
	}
}

func TestBudgets(t *testing.T) {
	for _, tt := range []struct {
		size size
		want string
	}{
		{size{name: "globalnet-mips", bytes: budget, packed: packBudget}, ""},
		{size{name: "globalnet-mips", bytes: budget + 7}, "13250007 bytes, 7 over"},
		{size{name: "globalnet-mips", packed: packBudget + 5}, "4200005 bytes in a package, 5 over"},
		{size{name: "globalnet-arm7", packed: packBudget + 5}, ""},
		{size{name: "globalnet-arm7", packed: packBudget * 11 / 10}, "in a package, "},
		{size{name: "globalnet-amd64", bytes: budget + 1, packed: packBudget + 1}, ""},
		{size{name: "globalnet-386", bytes: budget + 1}, ""},
	} {
		err := tt.size.check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want %q", tt.size, err, tt.want)
		}
	}
}
