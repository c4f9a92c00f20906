package inside

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"globalnet/mesh"
)

// Binary is the router's program in the machine.
const Binary = "/globalnet"

// Agent is a process of the router's program in a radio's namespace.
type Agent struct {
	Radio   *Radio
	Address netip.Addr
	dir     string
	cmd     *exec.Cmd
	exited  chan error
}

// NewAgent makes the configuration of an agent, and its key if there is none; Start
// starts it.
// Options are more lines for the configuration.
func NewAgent(r *Radio, dir string, options ...string) (*Agent, error) {
	a := &Agent{Radio: r, dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	text := "config globalnet 'main'\n" +
		"\toption state_dir '" + dir + "'\n" +
		"\toption socket '" + a.socket() + "'\n" +
		"\toption wireguard 'kernel'\n" +
		"\tlist interface 'wlan*'\n"
	for _, o := range options {
		text += "\t" + o + "\n"
	}
	if err := os.WriteFile(a.configFile(), []byte(text), 0o600); err != nil {
		return nil, err
	}
	if _, err := a.call("key", "show", "--config", a.configFile()); err != nil {
		if _, err := a.call("key", "new", "--config", a.configFile()); err != nil {
			return nil, err
		}
	}
	out, err := a.call("key", "address", "--config", a.configFile())
	if err != nil {
		return nil, err
	}
	a.Address, err = netip.ParseAddr(strings.TrimSpace(out))
	return a, err
}

func (a *Agent) socket() string     { return a.dir + ".socket" }
func (a *Agent) configFile() string { return filepath.Join(a.dir, "config") }
func (a *Agent) logFile() string    { return a.dir + ".log" }

func (a *Agent) call(args ...string) (string, error) {
	out, err := exec.Command(Binary, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("globalnet %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// Start starts the process.
func (a *Agent) Start() error {
	log, err := os.OpenFile(a.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(Binary, "run", "--config", a.configFile())
	cmd.Stdout, cmd.Stderr = log, log
	if err := a.Radio.Start(cmd); err != nil {
		return fmt.Errorf("starting an agent: %w", err)
	}
	a.cmd, a.exited = cmd, make(chan error, 1)
	go func() { a.exited <- cmd.Wait() }()
	return nil
}

// Cleanup removes what a killed process left.
func (a *Agent) Cleanup() error {
	out := a.Show(Binary, "cleanup", "--config", a.configFile())
	if a.Radio.Links() != 0 {
		return fmt.Errorf("cleanup left an interface: %s", out)
	}
	return nil
}

// Stop asks the process to end, and waits for it.
func (a *Agent) Stop(patience time.Duration) error { return a.end(unix.SIGTERM, patience) }

// Kill ends the process at once.
func (a *Agent) Kill() { _ = a.end(unix.SIGKILL, time.Minute) }

func (a *Agent) end(s syscall.Signal, patience time.Duration) error {
	if a.cmd == nil {
		return nil
	}
	_ = a.cmd.Process.Signal(s)
	select {
	case err := <-a.exited:
		a.cmd = nil
		return err
	case <-time.After(patience):
		return fmt.Errorf("the agent still runs %v after %v", patience, s)
	}
}

// Log is what the process has printed.
func (a *Agent) Log() string {
	b, _ := os.ReadFile(a.logFile())
	return string(b)
}

// Status asks the agent.
func (a *Agent) Status(ctx context.Context) (mesh.Status, error) {
	var s mesh.Status
	out, err := exec.CommandContext(ctx, Binary, "status", "--json", "--socket", a.socket()).Output()
	if err != nil {
		return s, fmt.Errorf("asking the agent: %w", err)
	}
	return s, json.Unmarshal(out, &s)
}

// Memory is what the process occupies, in bytes: now, of it what is not of files,
// and the most it ever was.
func (a *Agent) Memory() (rss, anonymous, peak int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	if err != nil {
		return 0, 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[2] != "kB" {
			continue
		}
		kb, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "VmRSS:":
			rss = kb << 10
		case "RssAnon:":
			anonymous = kb << 10
		case "VmHWM:":
			peak = kb << 10
		}
	}
	return rss, anonymous, peak, nil
}

// Show runs a program in the namespace of the agent.
func (a *Agent) Show(argv ...string) string {
	var out strings.Builder
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := a.Radio.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		fmt.Fprintln(&out, err)
	}
	return out.String()
}
