package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"globalnet/internal/identity"
	"globalnet/lab/netns"
	"globalnet/lab/topology"
)

// Node is one namespace of a lab and, if it is a router, its agent.
type Node struct {
	topology.Node

	lab *Lab
	ns  *netns.Namespace
	dir string
	id  identity.NodeID // of a router

	mu    sync.Mutex
	agent *agent
}

// agent is one run of a router's agent.
type agent struct {
	cmd       *exec.Cmd
	started   time.Time
	suspended bool
	ended     chan struct{} // closed after err is set
	err       error
}

// Namespace is the node's namespace. It belongs to the lab.
func (n *Node) Namespace() *netns.Namespace { return n.ns }

// Dir is the node's directory: configuration, state, log.
func (n *Node) Dir() string { return n.dir }

// LogPath is the file that holds what the agent printed.
func (n *Node) LogPath() string { return filepath.Join(n.dir, "agent.log") }

// Start starts a program in the node. The caller waits for it.
func (n *Node) Start(cmd *exec.Cmd) error {
	if cmd.Dir == "" {
		cmd.Dir = "/"
	}
	return n.ns.Start(cmd)
}

// Exec runs a program in the node and returns what it printed. It is killed when ctx ends.
func (n *Node) Exec(ctx context.Context, name string, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second
	if err := n.Start(cmd); err != nil {
		return nil, fmt.Errorf("starting %s in %s: %w", name, n.Name, err)
	}
	if err := cmd.Wait(); err != nil {
		return stdout.Bytes(), fmt.Errorf("%s in %s: %w: %s", name, n.Name, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// ID returns the router's NodeID. The lab makes the key before the agent first starts.
func (n *Node) ID() (identity.NodeID, error) {
	if n.id.IsZero() {
		return n.id, fmt.Errorf("%s is no router: it has no identity", n.Name)
	}
	return n.id, nil
}

// Address returns the router's mesh address.
func (n *Node) Address() (netip.Addr, error) {
	id, err := n.ID()
	if err != nil {
		return netip.Addr{}, err
	}
	return id.Address(), nil
}

func (n *Node) socket() string { return filepath.Join(n.dir, "agent.sock") }

// Restart starts the router's agent, after a running one was told to end.
func (n *Node) Restart() error {
	if n.Kind != topology.Router || len(n.lab.options.Agent) == 0 {
		return fmt.Errorf("%s runs no agent", n.Name)
	}
	n.stop(stopTime)
	config, err := n.writeConfig()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(n.LogPath(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("log of %s: %w", n.Name, err)
	}
	defer log.Close()
	fill := strings.NewReplacer("{config}", config, "{node}", n.Name, "{dir}", n.dir)
	args := make([]string, len(n.lab.options.Agent))
	for i, a := range n.lab.options.Agent {
		args[i] = fill.Replace(a)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the lab alone
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.Start(cmd); err != nil {
		return fmt.Errorf("starting the agent of %s: %w", n.Name, err)
	}
	a := &agent{cmd: cmd, started: time.Now(), ended: make(chan struct{})}
	n.agent = a
	go func() {
		a.err = cmd.Wait()
		close(a.ended)
	}()
	return nil
}

// signal reports an error if no agent runs.
func (n *Node) signal(s syscall.Signal) (*agent, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.agent == nil || n.agent.over() {
		return nil, fmt.Errorf("no agent runs on %s", n.Name)
	}
	switch s {
	case unix.SIGSTOP:
		n.agent.suspended = true
	case unix.SIGCONT:
		n.agent.suspended = false
	}
	return n.agent, n.agent.cmd.Process.Signal(s)
}

func (a *agent) over() bool {
	select {
	case <-a.ended:
		return true
	default:
		return false
	}
}

// Kill ends the agent as a power cut would, and waits for its end.
func (n *Node) Kill() error { return n.end(unix.SIGKILL) }

// Quit ends the agent, which writes into its log what its goroutines do.
func (n *Node) Quit() error { return n.end(unix.SIGQUIT) }

func (n *Node) end(s unix.Signal) error {
	a, err := n.signal(s)
	if err != nil {
		return err
	}
	<-a.ended
	return nil
}

// Suspend stops the agent in its tracks; Resume lets it go on.
func (n *Node) Suspend() error { _, err := n.signal(unix.SIGSTOP); return err }

// Resume undoes Suspend.
func (n *Node) Resume() error { _, err := n.signal(unix.SIGCONT); return err }

// Terminate asks the agent to end, and reports how it did. After patience it is killed.
func (n *Node) Terminate(patience time.Duration) error {
	a, err := n.signal(unix.SIGTERM)
	if err != nil {
		return err
	}
	a.cmd.Process.Signal(unix.SIGCONT)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-a.ended:
		return a.err
	case <-timer.C:
	}
	a.cmd.Process.Signal(unix.SIGKILL)
	<-a.ended
	return fmt.Errorf("the agent of %s did not end within %v", n.Name, patience)
}

func (n *Node) stop(patience time.Duration) {
	if err := n.Terminate(patience); err != nil {
		n.lab.log.Debug("agent ended", "node", n.Name, "err", err)
	}
}

// Pid is the process id of the agent, or 0 if none runs.
func (n *Node) Pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.agent == nil || n.agent.over() {
		return 0
	}
	return n.agent.cmd.Process.Pid
}

// AgentState says in a word what the agent does: none, running, suspended, or how it ended.
func (n *Node) AgentState() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch a := n.agent; {
	case a == nil:
		return "none"
	case a.over() && a.err != nil:
		return "ended: " + a.err.Error()
	case a.over():
		return "ended"
	case a.suspended:
		return "suspended"
	}
	return "running"
}

// Counter is what went through an interface, as the node sees it.
type Counter struct {
	RxBytes, TxBytes, RxPackets, TxPackets uint64
}

// Interfaces reads the counters of the node's interfaces, by name.
func (n *Node) Interfaces() (map[string]Counter, error) {
	h, err := n.ns.Netlink()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("listing interfaces of %s: %w", n.Name, err)
	}
	counters := map[string]Counter{}
	for _, link := range links {
		if s := link.Attrs().Statistics; s != nil {
			counters[link.Attrs().Name] = Counter{s.RxBytes, s.TxBytes, s.RxPackets, s.TxPackets}
		}
	}
	return counters, nil
}
