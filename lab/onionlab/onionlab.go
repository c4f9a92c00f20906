// Package onionlab runs onions for measurements, each node a process: ours without
// the mesh below it, and Debian's tor as a private network. Both stand in the same
// World, all on one loopback or behind links that take time, and are used through
// SOCKS in the same way. Nothing leaves the sandbox it must be called in.
//
// A World owns namespaces and links, an Onion its processes, both until Close.
package onionlab

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Where things are in a World.
const (
	Server = 0  // the file server
	Client = 1  // and who measures
	first  = 2  // of the relays
	host   = 10 // of hidden services
	places = 12
)

// Onion is a network of relays, and clients that come and go.
type Onion interface {
	// Name is what tables call it.
	Name() string

	// Connect starts the client with nothing remembered and returns where its SOCKS
	// listens. There is one at a time.
	Connect() (netip.AddrPort, error)

	// Build has the client make a circuit of three hops and returns how long that took.
	Build(ctx context.Context) (time.Duration, error)

	// ClientPid and RelayPids are the processes.
	ClientPid() int
	RelayPids() []int

	Close()
}

// Services is an Onion with a node beside the relays that offers a hidden service.
type Services interface {
	Onion

	// Offer has the host offer a service with a new key in place of the one before,
	// which leads to the file server, and returns its name and port. It may not be
	// reachable yet.
	Offer(ctx context.Context) (address string, err error)

	// Fresh returns for whom a connection is to be asked, so that the client begins
	// with nothing, or, if it is cached, with a descriptor and no rendezvous.
	Fresh(ctx context.Context, cached bool) (who string, err error)
}

// process is one process of an onion.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{}
}

// spawn starts a command at a place of the world; it is killed when this process ends.
func (w *World) spawn(place int, cmd *exec.Cmd, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log of a process: %w", err)
	}
	defer out.Close()
	cmd.Stderr = out
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := w.start(place, cmd); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	go func() {
		cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends processes at once: there is nothing that they should save.
func stop(all ...*process) {
	var ended sync.WaitGroup
	for _, p := range all {
		if p == nil {
			continue
		}
		p.cmd.Process.Kill()
		ended.Go(func() { <-p.ended })
	}
	ended.Wait()
}
