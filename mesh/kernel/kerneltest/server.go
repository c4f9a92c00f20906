package kerneltest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/rpc"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"globalnet/mesh"
	"globalnet/mesh/kernel"
)

// Server is the node's side of the calls.
type Server struct {
	k        *kernel.Kernel
	children []*exec.Cmd
}

func serveNode() error {
	s := &Server{}
	srv := rpc.NewServer()
	if err := srv.Register(s); err != nil {
		return err
	}
	if path := os.Getenv("KERNELTEST_PROFILE"); path != "" {
		f, err := os.Create(fmt.Sprintf("%s.%d", path, os.Getpid()))
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	srv.ServeConn(pipe{os.Stdin, os.Stdout})
	if s.k != nil {
		return s.k.Close()
	}
	return nil
}

type AddressArgs struct {
	Ifname string
	Prefix netip.Prefix
}

type PingArgs struct {
	To       netip.Addr
	Patience time.Duration
}

type SendArgs struct {
	To       netip.AddrPort
	Duration time.Duration
}

// LinkArgs is mesh.LinkConfig with its secrets in clear: mesh.Secret refuses to be encoded.
type LinkArgs struct {
	Link                     mesh.LinkConfig
	PrivateKey, PresharedKey [32]byte
}

func linkArgsOf(l mesh.LinkConfig) LinkArgs {
	a := LinkArgs{Link: l, PrivateKey: l.PrivateKey, PresharedKey: l.PresharedKey}
	a.Link.PrivateKey, a.Link.PresharedKey = mesh.Secret{}, mesh.Secret{}
	return a
}

// Open makes the kernel.
func (s *Server) Open(o Options, _ *struct{}) (err error) {
	level := slog.LevelError
	if os.Getenv("KERNELTEST_DEBUG") != "" {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	if o.Small {
		// What the agent does on a small machine.
		debug.SetGCPercent(50)
		debug.SetMemoryLimit(28 << 20)
	}
	s.k, err = kernel.New(kernel.Config{Log: log, ForceUserspace: o.Userspace, SmallMemory: o.Small})
	return err
}

// Close closes the kernel and ends the node's children.
func (s *Server) Close(struct{}, *struct{}) error {
	for _, c := range s.children {
		_ = c.Process.Kill()
		_ = c.Wait()
	}
	return s.k.Close()
}

// Adopt renames an interface that was moved here and brings it up.
func (s *Server) Adopt(names [2]string, _ *struct{}) error {
	l, err := netlink.LinkByName(names[0])
	if err != nil {
		return err
	}
	// Kernels before 6.2 rename no interface that is up.
	if err := netlink.LinkSetDown(l); err != nil {
		return err
	}
	if err := netlink.LinkSetName(l, names[1]); err != nil {
		return err
	}
	// No duplicate detection, so that its address is there at once.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+names[1]+"/accept_dad", []byte("0"), 0); err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// AddAddress adds an address to an interface.
func (s *Server) AddAddress(a AddressArgs, _ *struct{}) error {
	l, err := netlink.LinkByName(a.Ifname)
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(a.Prefix.String())
	if err != nil {
		return err
	}
	if a.Prefix.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	return netlink.AddrReplace(l, addr)
}

// SetAddress and the following pass a call on.
func (s *Server) SetAddress(a netip.Addr, _ *struct{}) error {
	return s.k.SetAddress(context.Background(), a)
}

// SetLink passes the call on.
func (s *Server) SetLink(a LinkArgs, _ *struct{}) error {
	a.Link.PrivateKey, a.Link.PresharedKey = a.PrivateKey, a.PresharedKey
	return s.k.SetLink(context.Background(), a.Link)
}

// RemoveLink passes the call on.
func (s *Server) RemoveLink(name string, _ *struct{}) error {
	return s.k.RemoveLink(context.Background(), name)
}

// ReplaceRoute passes the call on.
func (s *Server) ReplaceRoute(r mesh.Route, _ *struct{}) error {
	return s.k.ReplaceRoute(context.Background(), r)
}

// RemoveRoute passes the call on.
func (s *Server) RemoveRoute(p netip.Prefix, _ *struct{}) error {
	return s.k.RemoveRoute(context.Background(), p)
}

// Cleanup passes the call on.
func (s *Server) Cleanup(struct{}, *struct{}) error { return s.k.Cleanup(context.Background()) }

// LinkStats passes the call on.
func (s *Server) LinkStats(_ struct{}, reply *map[string]mesh.LinkStats) (err error) {
	*reply, err = s.k.LinkStats(context.Background())
	return err
}

// Exec runs a program.
func (s *Server) Exec(argv []string, reply *string) error {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	*reply = string(out)
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return nil
}

// HoldArgs are those of HoldPort.
type HoldArgs struct {
	Port uint16
	For  time.Duration
}

// HoldPort returns as soon as the port is bound.
func (s *Server) HoldPort(a HoldArgs, _ *struct{}) error {
	c, err := net.ListenUDP("udp6", &net.UDPAddr{Port: int(a.Port)})
	if err != nil {
		return err
	}
	time.AfterFunc(a.For, func() { c.Close() })
	return nil
}

// Babel sends and receives on a speaker.
func (s *Server) Babel(a [2]string, reply *string) error {
	conn, err := s.k.OpenSpeaker(context.Background(), a[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	// Repeated, because the other side may open its socket later.
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			_ = conn.Send([]byte(a[1]), netip.MustParseAddr("ff02::1:6"))
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	timer := time.AfterFunc(10*time.Second, func() { conn.Close() })
	defer timer.Stop()
	buf := make([]byte, 1500)
	n, from, err := conn.Receive(buf)
	if err != nil {
		return err
	}
	*reply = from.String() + " " + string(buf[:n])
	// Once more, for a neighbour that has opened its socket only now.
	return conn.Send([]byte(a[1]), from)
}

// Usage reads /proc.
func (s *Server) Usage(trim bool, u *Usage) error {
	if trim {
		debug.FreeOSMemory()
	}
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[2] == "kB" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			switch f[0] {
			case "VmRSS:":
				u.RSS = kb << 10
			case "VmHWM:":
				u.PeakRSS = kb << 10
			}
		}
	}
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return err
	}
	u.CPU = time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	u.Goroutines = runtime.NumGoroutine()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	u.Files = len(fds)
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			u.Sockets++
		}
	}
	return nil
}

// Sink starts a sink process.
func (s *Server) Sink(_ struct{}, port *int) error {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Env = append(os.Environ(), roleEnv+"=sink")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.children = append(s.children, cmd)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return err
	}
	*port, err = strconv.Atoi(strings.TrimSpace(line))
	return err
}

// SendTCP runs a sender process.
func (s *Server) SendTCP(a SendArgs, rate *float64) error {
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Env = append(os.Environ(), roleEnv+"=send", "KERNELTEST_TO="+a.To.String(), "KERNELTEST_FOR="+a.Duration.String())
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return errors.Join(err, errors.New(stderr.String()))
	}
	*rate, err = strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	return err
}
