// Package peers runs mesh programs on the routers of a lab, all in the same
// namespaces over the same wires, so that they can be measured side by side: our
// agent, babeld and yggdrasil. The lab owns the processes' namespaces and kills
// what is left in them; a Mesh owns the processes themselves until Stop.
package peers

import (
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

	"golang.org/x/sys/unix"

	"globalnet/lab"
)

// Program is a mesh program that can run on every router of a lab.
type Program interface {
	// Name is what tables call it.
	Name() string

	// Check returns nil if the program is installed, or an error that says how to install it.
	Check() error

	// Prepare does what takes time before a start: keys, addresses, configurations.
	Prepare(ctx context.Context, l *lab.Lab) (Mesh, error)
}

// Mesh is a program on all routers of one lab.
type Mesh interface {
	// Start starts the program on all routers at once.
	Start() error

	// Stop ends it everywhere. It may be called twice.
	Stop()

	// Address is where the other routers reach this one through the mesh.
	Address(router string) netip.Addr

	// Pid is the process on a router, or 0.
	Pid(router string) int
}

// Missing is the error of Check.
type Missing struct {
	Program, Install string
}

func (m *Missing) Error() string {
	return fmt.Sprintf("%s is not installed; on Debian: %s", m.Program, m.Install)
}

// find looks for an executable in the path and where daemons are.
func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	path := filepath.Join("/usr/sbin", name)
	if _, err := os.Stat(path); err != nil {
		return "", err
	}
	return path, nil
}

// check is Program.Check for a Debian package that has the program's name.
func check(name string) error {
	if _, err := find(name); err != nil {
		return &Missing{name, "apt-get install " + name}
	}
	return nil
}

// daemons is a Mesh of processes that we start ourselves.
type daemons struct {
	lab     *lab.Lab
	name    string
	address map[string]netip.Addr
	command map[string][]string

	mu      sync.Mutex
	running map[string]*daemon
}

type daemon struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

func newDaemons(l *lab.Lab, name string) *daemons {
	return &daemons{lab: l, name: name, address: map[string]netip.Addr{},
		command: map[string][]string{}, running: map[string]*daemon{}}
}

// Start starts the prepared commands.
func (d *daemons) Start() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, n := range d.lab.Routers() {
		errs = append(errs, d.startOne(n))
	}
	return errors.Join(errs...)
}

func (d *daemons) startOne(n *lab.Node) error {
	log, err := os.Create(filepath.Join(n.Dir(), d.name+".log"))
	if err != nil {
		return fmt.Errorf("log of %s on %s: %w", d.name, n.Name, err)
	}
	defer log.Close()
	words := d.command[n.Name]
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.Start(cmd); err != nil {
		return fmt.Errorf("starting %s on %s: %w", d.name, n.Name, err)
	}
	one := &daemon{cmd: cmd, ended: make(chan struct{})}
	d.running[n.Name] = one
	go func() {
		cmd.Wait()
		close(one.ended)
	}()
	return nil
}

// patience is how long a program may take to end.
const patience = 3 * time.Second

// Stop asks all to end, and kills those that do not.
func (d *daemons) Stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.running {
		one.cmd.Process.Signal(unix.SIGTERM)
	}
	timeout := time.After(patience)
	for name, one := range d.running {
		select {
		case <-one.ended:
		case <-timeout:
			for _, left := range d.running {
				left.cmd.Process.Kill()
			}
			<-one.ended
		}
		delete(d.running, name)
	}
}

func (d *daemons) Address(router string) netip.Addr { return d.address[router] }

func (d *daemons) Pid(router string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	one := d.running[router]
	if one == nil {
		return 0
	}
	select {
	case <-one.ended:
		return 0
	default:
		return one.cmd.Process.Pid
	}
}

// wires lists a router's wired interfaces.
func wires(n *lab.Node) ([]string, error) {
	all, err := n.Interfaces()
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range all {
		if strings.HasPrefix(name, "wire-") {
			names = append(names, name)
		}
	}
	return names, nil
}
