package kerneltest

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/rpc"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"globalnet/mesh"
)

// Node is a node's process, seen from the program that started it.
type Node struct {
	cmd    *exec.Cmd
	client *rpc.Client
	stdin  io.Closer
}

// Options say how a node works.
type Options struct {
	Userspace bool     // userspace WireGuard, even if the kernel has it
	Mixed     bool     // in a line, only every second node is in user space
	Small     bool     // small-memory mode of userspace WireGuard
	Env       []string // more environment, such as GOMAXPROCS=1
}

// Start starts a node in a network namespace of its own.
func Start(o Options) (*Node, error) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Env = append(append(os.Environ(), o.Env...), roleEnv+"=node")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a node: %w", err)
	}
	n := &Node{cmd: cmd, stdin: in, client: rpc.NewClient(pipe{out, in})}
	if err := n.call("Open", o, nil); err != nil {
		n.Kill()
		return nil, err
	}
	return n, nil
}

// pipe is the two pipes of a child as one connection.
type pipe struct {
	io.ReadCloser
	io.WriteCloser
}

func (p pipe) Close() error { return errors.Join(p.ReadCloser.Close(), p.WriteCloser.Close()) }

// PID is the process of the node.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Stop closes the node's kernel and waits for its process to end.
func (n *Node) Stop() error {
	err := n.call("Close", struct{}{}, nil)
	n.client.Close()
	return errors.Join(err, n.cmd.Wait())
}

// Kill ends the node as kill -9 does.
func (n *Node) Kill() {
	_ = n.cmd.Process.Kill()
	n.client.Close()
	_ = n.cmd.Wait()
}

func (n *Node) call(method string, args, reply any) error {
	if reply == nil {
		reply = new(struct{})
	}
	return n.client.Call("Server."+method, args, reply)
}

// Join connects two nodes by a veth pair, both ends of the given name, up.
func Join(a, b *Node, ifname string) error {
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "kt0"}, PeerName: "kt1"}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("creating a veth pair: %w", err)
	}
	for temporary, n := range map[string]*Node{"kt0": a, "kt1": b} {
		l, err := netlink.LinkByName(temporary)
		if err == nil {
			err = netlink.LinkSetNsPid(l, n.PID())
		}
		if err != nil {
			return fmt.Errorf("moving a veth end: %w", err)
		}
		if err := n.call("Adopt", [2]string{temporary, ifname}, nil); err != nil {
			return err
		}
	}
	return nil
}

// AddAddress adds an address to an interface of the node.
func (n *Node) AddAddress(ifname string, p netip.Prefix) error {
	return n.call("AddAddress", AddressArgs{ifname, p}, nil)
}

// SetAddress calls mesh.Kernel.SetAddress on the node.
func (n *Node) SetAddress(a netip.Addr) error { return n.call("SetAddress", a, nil) }

// SetLink calls mesh.Kernel.SetLink on the node.
func (n *Node) SetLink(l mesh.LinkConfig) error { return n.call("SetLink", linkArgsOf(l), nil) }

// RemoveLink calls mesh.Kernel.RemoveLink on the node.
func (n *Node) RemoveLink(name string) error { return n.call("RemoveLink", name, nil) }

// ReplaceRoute calls mesh.Kernel.ReplaceRoute on the node.
func (n *Node) ReplaceRoute(r mesh.Route) error { return n.call("ReplaceRoute", r, nil) }

// RemoveRoute calls mesh.Kernel.RemoveRoute on the node.
func (n *Node) RemoveRoute(p netip.Prefix) error { return n.call("RemoveRoute", p, nil) }

// Cleanup calls mesh.Kernel.Cleanup on the node.
func (n *Node) Cleanup() error { return n.call("Cleanup", struct{}{}, nil) }

// LinkStats calls mesh.Kernel.LinkStats on the node.
func (n *Node) LinkStats() (map[string]mesh.LinkStats, error) {
	var reply map[string]mesh.LinkStats
	err := n.call("LinkStats", struct{}{}, &reply)
	return reply, err
}

// Exec runs a program in the node's namespace and returns what it printed.
func (n *Node) Exec(argv ...string) (string, error) {
	var reply string
	err := n.call("Exec", argv, &reply)
	return reply, err
}

// Ping sends ICMPv6 echo requests, ten a second, until one is answered; the time
// is that of the one answered.
func (n *Node) Ping(to netip.Addr, patience time.Duration) (time.Duration, error) {
	var rtt time.Duration
	err := n.call("Ping", PingArgs{to, patience}, &rtt)
	return rtt, err
}

// Usage is what a node's process uses.
type Usage struct {
	RSS, PeakRSS int64 // bytes
	CPU          time.Duration
	Goroutines   int
	Sockets      int
	Files        int // descriptors of any kind
}

// Usage tells what the node's process uses; if trim is set, what it need not keep
// is given back first.
func (n *Node) Usage(trim bool) (Usage, error) {
	var u Usage
	err := n.call("Usage", trim, &u)
	return u, err
}

// Sink starts a TCP server on the node, a process of its own, that reads and
// counts; it ends with the node.
func (n *Node) Sink() (port int, err error) {
	err = n.call("Sink", struct{}{}, &port)
	return port, err
}

// SendTCP sends from the node to a sink for a while, with a process of its own, and
// returns the bits per second that arrived.
func (n *Node) SendTCP(to netip.AddrPort, d time.Duration) (float64, error) {
	var rate float64
	err := n.call("SendTCP", SendArgs{to, d}, &rate)
	return rate, err
}

// HoldPort binds a UDP port of the node as ICE does, and frees it after a while.
func (n *Node) HoldPort(port uint16, d time.Duration) error {
	return n.call("HoldPort", HoldArgs{port, d}, nil)
}

// Babel opens a speaker on ifname, sends one packet to ff02::1:6, and returns the
// first packet it receives as "address packet".
func (n *Node) Babel(ifname, packet string) (string, error) {
	var reply string
	err := n.call("Babel", [2]string{ifname, packet}, &reply)
	return reply, err
}
