package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestManual(t *testing.T) {
	code, out, errs := globalnet(t, "manual")
	if code != 0 || errs != "" {
		t.Fatal(code, errs)
	}
	for _, c := range commands() {
		if !strings.Contains(out, ".B "+roff(c.synopsis())+"\n") {
			t.Errorf("%s is not in it", c.name)
		}
	}
	mandoc, err := exec.LookPath("mandoc")
	if err != nil {
		t.Skip("mandoc is not installed")
	}
	cmd := exec.Command(mandoc, "-Tlint", "-Wwarning")
	cmd.Stdin = strings.NewReader(out)
	text, _ := cmd.CombinedOutput()
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "missing date") { // a page of no date is the same in every build
			t.Error(line)
		}
	}
}

func TestCompletionOfBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	_, script, _ := globalnet(t, "completion", "bash")
	file := filepath.Join(t.TempDir(), "completion")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"globalnet stat":               "status",
		"globalnet dht wi":             "withdraw",
		"globalnet circuits cl":        "close",
		"globalnet circuits close --j": "--json",
		"globalnet dht get --ra":       "--raw",
		"globalnet dht --json l":       "list lookup",
		"globalnet key ":               "show new address",
		"globalnet service client a":   "add",
	} {
		words := strings.Split(line, " ")
		cmd := exec.Command(bash, "--norc", "-c", `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _globalnet; echo "${COMPREPLY[@]}"`)
		cmd.Args = append(append(cmd.Args, file), words...)
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q completes to %q (%v), want %q", line, got, err, want)
		}
	}
}

func TestCompletionOfFish(t *testing.T) {
	fish, err := exec.LookPath("fish")
	if err != nil {
		t.Skip("fish is not installed")
	}
	_, script, _ := globalnet(t, "completion", "fish")
	cmd := exec.Command(fish, "--no-config", "-c", script+"\ncomplete -C 'globalnet stat'\ncomplete -C 'globalnet dht wi'\ncomplete -C 'globalnet status --js'")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	for _, want := range []string{"status\t", "withdraw\t", "--json\t"} {
		if err != nil || !bytes.Contains(out, []byte(want)) {
			t.Errorf("no %q (%v) in\n%s", want, err, out)
		}
	}
}

func TestCompletionOfZshIsThatOfBash(t *testing.T) {
	_, bash, _ := globalnet(t, "completion", "bash")
	_, zsh, _ := globalnet(t, "completion", "zsh")
	if strings.Replace(zsh, "autoload -U +X bashcompinit && bashcompinit\n", "", 1) != bash {
		t.Error("they differ")
	}
	if code, _, errs := globalnet(t, "completion", "csh"); code != exitUsage || !strings.Contains(errs, "fish") {
		t.Errorf("%d %s", code, errs)
	}
}
