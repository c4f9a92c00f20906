package globalnet_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestTwoCommands: from a clone to a flashed router a newcomer types two commands at
// most, which the README shows and which exist.
func TestTwoCommands(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## On a router\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var lines []string
	for line := range commandLines(section, blockPattern) {
		lines = append(lines, line)
	}
	if !ok || len(lines) == 0 || len(lines) > 2 {
		t.Fatalf("the README has %d commands to put it on a router: %q", len(lines), lines)
	}
	last := strings.Fields(lines[len(lines)-1])
	if strings.Join(last[:3], " ") != "go run ./cmd/flash" {
		t.Fatalf("%q is not flash", lines[len(lines)-1])
	}
	if len(lines) == 2 {
		if target, ok := strings.CutPrefix(lines[0], "make "); !ok {
			t.Errorf("%q", lines[0])
		} else if out, err := exec.Command("make", "-n", target).CombinedOutput(); err != nil || !strings.Contains(string(out), "dist/packages") {
			t.Errorf("%s: %v\n%s", lines[0], err, out)
		}
	}
	// The same with a router that is not there: understood, and not reached.
	args := append([]string{"run"}, last[2:len(last)-1]...)
	cmd := exec.Command("go", append(args, "--json", "root@127.0.0.1:1")...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+t.TempDir(), "SSH_AUTH_SOCK=")
	out, err := cmd.Output()
	if err == nil || !strings.Contains(string(out), `"result": "unreachable"`) {
		t.Errorf("%v\n%s", err, out)
	}
}
