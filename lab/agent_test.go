package lab_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"globalnet/lab"
	"globalnet/lab/labtest"
)

// A stand-in for the agent, which tells of its life in its log.
func standIn(script string) lab.Options {
	return lab.Options{Agent: []string{"sh", "-c", script, "{node}", "{config}"}}
}

func logs(t *testing.T, n *lab.Node, want string) {
	t.Helper()
	until(t, n.Name+" logs "+want, func() bool {
		b, _ := os.ReadFile(n.LogPath())
		return strings.Contains(string(b), want)
	})
}

func TestSupervise(t *testing.T) {
	l := start(t, "router a b\nhost h\nradio a b", standIn("trap 'echo goodbye; exit 0' TERM; echo $0 lives; while :; do sleep 0.02; done"))
	a, b := l.Node("a"), l.Node("b")
	logs(t, a, "a lives")
	logs(t, b, "b lives")
	if a.AgentState() != "running" || a.Pid() == 0 || l.Node("h").AgentState() != "none" {
		t.Errorf("a is %q, pid %d; h is %q", a.AgentState(), a.Pid(), l.Node("h").AgentState())
	}
	apply(t, l, "suspend a")
	if a.AgentState() != "suspended" {
		t.Errorf("a is %q", a.AgentState())
	}
	apply(t, l, "resume a")
	first := a.Pid()
	apply(t, l, "restart a")
	logs(t, a, "goodbye\na lives")
	if a.Pid() == first || a.AgentState() != "running" {
		t.Errorf("a is %q with pid %d, before %d", a.AgentState(), a.Pid(), first)
	}
	apply(t, l, "kill a")
	if s := a.AgentState(); !strings.Contains(s, "killed") || a.Pid() != 0 {
		t.Errorf("a is %q", s)
	}
	if err := a.Kill(); err == nil {
		t.Error("a dead agent was killed")
	}
	apply(t, l, "suspend b")
	if err := b.Terminate(5 * time.Second); err != nil {
		t.Errorf("a suspended agent did not end: %v", err)
	}
	if err := l.Node("h").Restart(); err == nil {
		t.Error("a host started an agent")
	}
}

// A program that left its parent and ignores signals ends with the lab; so does the directory.
func TestStopLeavesNothing(t *testing.T) {
	l := start(t, "router a\nhost b", lab.Options{})
	mark := fmt.Sprintf("GLOBALNET_LAB_TEST_MARK=%s-%d", t.Name(), os.Getpid())
	cmd := exec.Command("sh", "-c", "setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 0.1; done' >/dev/null 2>&1 &")
	cmd.Env = append(os.Environ(), mark)
	if err := l.Node("b").Start(cmd); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	marked := func() (pids []string) {
		paths, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, path := range paths {
			if env, err := os.ReadFile(path); err == nil && strings.Contains(string(env), mark) {
				pids = append(pids, path)
			}
		}
		return pids
	}
	if len(marked()) == 0 {
		t.Fatal("the program did not start")
	}
	dir := l.Dir
	if err := l.Stop(); err != nil {
		t.Fatal(err)
	}
	until(t, "every process ended", func() bool { return len(marked()) == 0 })
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", dir, err)
	}
	if err := l.Stop(); err != nil {
		t.Errorf("a second stop: %v", err)
	}
}

func TestExec(t *testing.T) {
	l := start(t, "host a", lab.Options{})
	out, err := l.Node("a").Exec(t.Context(), "uname", "-n")
	if err != nil || string(out) != "a\n" {
		t.Errorf("%q, %v", out, err)
	}
	if _, err := l.Node("a").Exec(t.Context(), "sh", "-c", "echo why >&2; exit 4"); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("%v should tell why", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := l.Node("a").Exec(ctx, "sleep", "1000"); err == nil {
		t.Error("a program outlived its context")
	}
}

func TestConfig(t *testing.T) {
	l := start(t, `router a b
		radio a b
		uplink b
		peer a b
		set * hello_interval 2
		set * log_level debug
		set a hello_interval 1
		set a exclude eth*
		set b interface radio1`, standIn("cat $1; while :; do sleep 0.02; done"))
	id, err := l.Node("b").ID()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(l.Dir, "nodes", "a")
	want := []string{
		"config globalnet 'main'",
		"option identity '" + dir + "/identity.key'",
		"option state_dir '" + dir + "/state'",
		"option socket '" + dir + "/agent.sock'",
		"list interface 'radio*'",
		"list interface 'wire-*'",
		"option log_level 'debug'",
		"option hello_interval '1'",
		"list exclude 'eth*'",
		"",
		"config peer",
		"option node '" + id.String() + "'",
		"option address '198.51.100.2:18245'",
	}
	logs(t, l.Node("a"), want[len(want)-1])
	b, err := os.ReadFile(l.Node("a").LogPath())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(b)) {
		got = append(got, strings.TrimSpace(line))
	}
	if !slices.Equal(got, want) {
		t.Errorf("configuration\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	logs(t, l.Node("b"), "list interface 'radio1'")
	if b, _ := os.ReadFile(l.Node("b").LogPath()); strings.Contains(string(b), "radio*") {
		t.Error("b's own interfaces do not replace the usual ones")
	}
}

// Five routers in a street, the real agent: all reach all, one dies and comes
// back, the way across the corner serves meanwhile.
//
//	a ~ b ~ c ~ d ~ e, b ~ d
func TestNeighbourhood(t *testing.T) {
	l := start(t, "router a b c d e\nradio a b c d e\nradio b d", lab.Options{Agent: labtest.Agent(t)})
	reach := func(names ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := l.WaitPairs(ctx, names); err != nil {
			for _, n := range l.Routers() {
				b, _ := os.ReadFile(n.LogPath())
				t.Logf("%s (%s):\n%s", n.Name, n.AgentState(), b)
			}
			t.Fatal(err)
		}
	}
	reach("a", "b", "c", "d", "e")
	st, err := l.Node("a").Status(t.Context())
	if err != nil || len(st.Neighbours) != 1 || st.Neighbours[0].State != "up" {
		t.Errorf("status of a: %+v, %v", st.Neighbours, err)
	}
	apply(t, l, "kill c")
	reach("a", "b", "d", "e")
	apply(t, l, "restart c")
	reach("a", "b", "c", "d", "e")
	for _, n := range l.Routers() {
		if err := n.Terminate(5 * time.Second); err != nil {
			t.Errorf("%s: %v", n.Name, err)
		}
		if left, err := n.Interfaces(); err != nil || len(left) != 2 {
			t.Errorf("%s leaves interfaces %v, %v; want lo and radio1", n.Name, left, err)
		}
	}
}

func TestWaitAllPairsNamesTheUnreached(t *testing.T) {
	l := start(t, "router a b\nradio a b", standIn("while :; do sleep 0.02; done"))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	var u *lab.Unreached
	if err := l.WaitAllPairs(ctx); !errors.As(err, &u) || len(u.Pairs) != 2 || u.Pairs[0] != (lab.Pair{From: "a", To: "b"}) {
		t.Errorf("%v", err)
	}
	if !errors.Is(u, context.DeadlineExceeded) {
		t.Errorf("%v does not tell why waiting ended", u)
	}
}
