package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"globalnet/lab/control"
	"globalnet/lab/labtest"
)

// commandVariable makes the test program be the lab command.
const commandVariable = "GLOBALNET_LAB_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(commandVariable) != "" {
		main()
	}
	labtest.Main(m)
}

// home is where one test's labs are. Everything they start carries its mark in the environment.
type home struct {
	t    *testing.T
	dir  string
	mark string
}

func newHome(t *testing.T) *home {
	labtest.Require(t)
	dir, err := os.MkdirTemp("", "gl") // t.TempDir is too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	h := &home{t, dir, fmt.Sprintf("GLOBALNET_LAB_TEST_MARK=%s-%d", t.Name(), os.Getpid())}
	t.Cleanup(func() {
		for _, pid := range h.processes() {
			unix.Kill(pid, unix.SIGKILL)
		}
		os.RemoveAll(dir)
	})
	return h
}

func (h *home) command(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = append([]string{"lab"}, args...)
	cmd.Env = append(os.Environ(), commandVariable+"=1", h.mark, "XDG_RUNTIME_DIR="+h.dir)
	return cmd
}

// lab runs the command to its end.
func (h *home) lab(args ...string) (status int, stdout, stderr string) {
	h.t.Helper()
	var out, errs bytes.Buffer
	cmd := h.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func (h *home) must(args ...string) string {
	h.t.Helper()
	status, stdout, stderr := h.lab(args...)
	if status != 0 {
		h.t.Fatalf("lab %s: status %d: %s", strings.Join(args, " "), status, stderr)
	}
	return stdout
}

// processes lists those that carry the mark.
func (h *home) processes() (pids []int) {
	entries, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range entries {
		env, err := os.ReadFile(path)
		if err == nil && bytes.Contains(env, []byte(h.mark+"\x00")) {
			var pid int
			fmt.Sscanf(path, "/proc/%d/environ", &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}

// clean fails the test if a process, mount or file of a lab is left.
func (h *home) clean(mountsBefore string) {
	h.t.Helper()
	end := time.Now().Add(10 * time.Second)
	for len(h.processes()) > 0 {
		if time.Now().After(end) {
			h.t.Fatalf("processes %v are left", h.processes())
		}
		time.Sleep(time.Millisecond)
	}
	for line := range strings.Lines(mounts(h.t)) {
		if !strings.Contains(mountsBefore, line) {
			h.t.Errorf("a mount is left: %s", line)
		}
	}
	left, _ := filepath.Glob(filepath.Join(h.dir, "globalnet-lab*"))
	if len(left) > 0 {
		h.t.Errorf("files %v are left", left)
	}
}

func mounts(t *testing.T) string {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestUsage(t *testing.T) {
	h := newHome(t)
	for _, c := range commands {
		if c.hidden {
			continue
		}
		if out := h.must(c.name, "--help"); !strings.Contains(out, c.summary) {
			t.Errorf("%s --help says %q", c.name, out)
		}
		if out := h.must("help"); !strings.Contains(out, c.name+" ") {
			t.Errorf("help does not list %s", c.name)
		}
	}
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"fly", 2, "no command"},
		{"serve-inside", 2, "no command"},
		{"up", 2, "one FILE"},
		{"up --agent none nosuchfile", 1, "five"},
		{"up --agent /nosuch five", 1, "make build"},
		{"up --agent none --name ../x five", 1, "no name for a lab"},
		{"exec a", 2, "NODE -- CMD"},
		{"exec a -- true", 126, "lab up"},
		{"status", 1, "lab up"},
		{"down", 1, "no lab is up"},
		{"net cut a b", 1, "lab up"},
		{"bench", 2, "one NAME"},
		{"bench fly", 2, "no benchmark"},
		{"run --nosuch", 2, "--help"},
	} {
		status, _, stderr := h.lab(strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(stderr, c.says) {
			t.Errorf("lab %s: status %d, %q; want %d and %q", c.args, status, stderr, c.status, c.says)
		}
	}
}

func TestUpExecDown(t *testing.T) {
	h := newHome(t)
	before := mounts(t)
	h.must("up", "--agent", "none", "two")
	if status, _, stderr := h.lab("up", "--agent", "none", "two"); status != 1 || !strings.Contains(stderr, "already") {
		t.Errorf("a second lab: status %d, %q", status, stderr)
	}
	if out := h.must("status"); !strings.Contains(out, "a ") || !strings.Contains(out, "router") {
		t.Errorf("status says %q", out)
	}
	if out := h.must("status", "--json"); !strings.Contains(out, `"kind": "router"`) {
		t.Errorf("status --json says %q", out)
	}

	// Programs: where they run, what they inherit, how they end.
	if out := h.must("exec", "a", "--", "cat", "/proc/net/dev"); !strings.Contains(out, "radio1:") {
		t.Errorf("no radio in a: %q", out)
	}
	if out := h.must("exec", "a", "--", "uname", "-n"); out != "a\n" {
		t.Errorf("host name %q", out)
	}
	wd, _ := os.Getwd()
	if out := h.must("exec", "a", "--", "sh", "-c", "pwd; echo $"+strings.SplitN(h.mark, "=", 2)[0]); out != wd+"\n"+strings.SplitN(h.mark, "=", 2)[1]+"\n" {
		t.Errorf("directory and environment %q", out)
	}
	cat := h.command("exec", "b", "--", "sh", "-c", "cat; echo oops >&2; exit 7")
	cat.Stdin = strings.NewReader("through a pipe\n")
	var out, errs bytes.Buffer
	cat.Stdout, cat.Stderr = &out, &errs
	cat.Run()
	if out.String() != "through a pipe\n" || errs.String() != "oops\n" || cat.ProcessState.ExitCode() != 7 {
		t.Errorf("status %d, %q, %q", cat.ProcessState.ExitCode(), &out, &errs)
	}
	for _, c := range []struct {
		args   []string
		status int
	}{
		{[]string{"exec", "a", "--", "sh", "-c", "kill -9 $$"}, 128 + 9},
		{[]string{"exec", "a", "--", "/nosuch/program"}, 127},
		{[]string{"exec", "nobody", "--", "true"}, 126},
	} {
		if status, _, stderr := h.lab(c.args...); status != c.status {
			t.Errorf("%v: status %d, want %d: %s", c.args, status, c.status, stderr)
		}
	}

	// A program that left its parent must not survive the lab.
	h.must("exec", "a", "--", "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &")
	h.must("net", "cut", "a", "b")
	if status, _, stderr := h.lab("net", "cut", "a", "nobody"); status != 1 || !strings.Contains(stderr, "nobody") {
		t.Errorf("a bad change: status %d, %q", status, stderr)
	}
	h.must("down")
	h.clean(before)
}

// A signal to `lab exec` reaches the program; without anyone waiting the program is hung up.
func TestExecSignals(t *testing.T) {
	h := newHome(t)
	h.must("up", "--agent", "none", "two")
	defer h.lab("down")
	script := "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"
	cmd := h.command("exec", "a", "--", "sh", "-c", script)
	awaitReady(t, cmd)
	cmd.Process.Signal(unix.SIGTERM)
	cmd.Wait()
	if cmd.ProcessState.ExitCode() != 9 {
		t.Errorf("status %d, want 9", cmd.ProcessState.ExitCode())
	}

	before := len(h.processes())
	cmd = h.command("exec", "a", "--", "sh", "-c", "echo ready; sleep 1000")
	awaitReady(t, cmd)
	cmd.Process.Kill()
	cmd.Wait()
	for end := time.Now().Add(10 * time.Second); len(h.processes()) > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the program goes on although nobody waits for it")
		}
	}
}

func awaitReady(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	expect(t, r, "ready")
}

// expect reads until a text appears.
func expect(t *testing.T, r *os.File, text string) {
	t.Helper()
	type read struct {
		b   []byte
		err error
	}
	var got []byte
	next := make(chan read)
	timeout := time.After(10 * time.Second)
	for !bytes.Contains(got, []byte(text)) {
		go func() {
			b := make([]byte, 1000)
			n, err := r.Read(b)
			next <- read{b[:n], err}
		}()
		select {
		case x := <-next:
			got = append(got, x.b...)
			if x.err != nil {
				t.Fatalf("%v, after %q, while waiting for %q", x.err, got, text)
			}
		case <-timeout:
			t.Fatalf("printed %q, not %q", got, text)
		}
	}
}

// A program gets a terminal of its own: its size, what is typed, Ctrl-C.
func TestExecTerminal(t *testing.T) {
	h := newHome(t)
	h.must("up", "--agent", "none", "two")
	defer h.lab("down")
	for _, c := range []struct {
		name, script string
		steps        []string // expected, typed, expected, …
		status       int
	}{
		{"size and input", "test -t 2 && stty size; read x; echo got $x; exit 5", []string{"33 101", "hello\r", "got hello"}, 5},
		{"interrupt", "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done", []string{"ready", "\x03", "caught"}, 9},
		{"end of input", "echo ready; cat; echo over", []string{"ready", "\x04", "over"}, 0},
		{"job control", "exec sh -im -c 'sleep 0 & wait; echo done'", []string{"done"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			master, slave, err := control.OpenTerminal()
			if err != nil {
				t.Fatal(err)
			}
			defer master.Close()
			size := &unix.Winsize{Row: 33, Col: 101}
			if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, size); err != nil {
				t.Fatal(err)
			}
			cmd := h.command("exec", "a", "--", "sh", "-c", c.script)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
			for i, s := range c.steps {
				if i%2 == 0 {
					expect(t, master, s)
				} else if _, err := master.WriteString(s); err != nil {
					t.Fatal(err)
				}
			}
			slave.Close()
			cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != c.status {
				t.Errorf("status %d, want %d", got, c.status)
			}
		})
	}
}

// A lab that is killed leaves nothing that the next one minds, and no process.
func TestCrash(t *testing.T) {
	for _, victim := range []string{"serve-inside", "run"} {
		t.Run(victim, func(t *testing.T) {
			h := newHome(t)
			before := mounts(t)
			cmd := h.command("run", "--agent", "none", "two")
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			expect(t, stdout.(*os.File), "2 routers")
			h.must("exec", "a", "--", "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &")
			pid := cmd.Process.Pid
			if victim != "run" {
				children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
				if err != nil {
					t.Skip("this kernel does not list children: ", err)
				}
				fmt.Sscan(string(children), &pid)
			}
			unix.Kill(pid, unix.SIGKILL)
			cmd.Wait()
			for end := time.Now().Add(10 * time.Second); len(h.processes()) > 0; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("processes %v are left", h.processes())
				}
			}
			h.must("up", "--agent", "none", "two")
			h.must("down")
			h.clean(before)
		})
	}
}

// A lab whose agents fail says so, and what they printed.
func TestOnceExplains(t *testing.T) {
	h := newHome(t)
	before := mounts(t)
	agent := filepath.Join(h.dir, "agent")
	if err := os.WriteFile(agent, []byte("#!/bin/sh\necho no such luck with $*\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	status, _, stderr := h.lab("run", "--once", "--timeout", "1s", "--agent", agent, "two")
	if status != 1 {
		t.Errorf("status %d", status)
	}
	for _, want := range []string{"2 of 2 pairs", "a→b", "exit status 3", "no such luck with run --config"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in the explanation:\n%s", want, stderr)
		}
	}
	h.clean(before)
}

// SIGTERM to the command ends all cleanly.
func TestRunEndsOnSignal(t *testing.T) {
	h := newHome(t)
	before := mounts(t)
	cmd := h.command("run", "--agent", "none", "five")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	expect(t, stdout.(*os.File), "5 routers")
	cmd.Process.Signal(unix.SIGTERM)
	expect(t, stdout.(*os.File), "Ending")
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	h.clean(before)
}

// What the kernel forbids is named, with what allows it.
func TestForbidden(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, forbid string
		flags        uintptr
		says         string
	}{
		{"user namespaces", "echo 0 >/proc/sys/user/max_user_namespaces", 0, "sysctl -w user.max_user_namespaces=10000"},
		{"no tun", "mount -t tmpfs none /dev/net", unix.CLONE_NEWNS, "modprobe tun"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHome(t)
			cmd := exec.Command("sh", "-c", c.forbid+` && exec "$0" "$@"`, self, "run", "--once", "--agent", "none", "two")
			cmd.Env = append(h.command().Env, "LAB_USERNS=1")
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  unix.CLONE_NEWUSER | c.flags,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
			}
			out, _ := cmd.CombinedOutput()
			if status := cmd.ProcessState.ExitCode(); status != 1 || !strings.Contains(string(out), c.says) {
				t.Errorf("status %d, %q; want %q in it", status, out, c.says)
			}
		})
	}
}
