package control

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Exec runs a program in a node with the caller's terminal or, where standard
// input or output is none, with its three descriptors as they are. It returns
// the program's exit status; an error means that the program did not run.
func (d Dir) Exec(node string, args []string) (status int, err error) {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return StatusNotFound, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return StatusNotStarted, err
	}
	wd, err := os.Getwd()
	if err != nil {
		wd = "/"
	}
	q := request{Node: node, Path: path, Args: args, Env: os.Environ(), Dir: wd}
	q.Terminal = term.IsTerminal(0) && term.IsTerminal(1)
	if q.Terminal {
		return d.execTerminal(q)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	defer signal.Stop(signals)
	conn, err := d.send(q, []int{0, 1, 2})
	if err != nil {
		return StatusNotStarted, err
	}
	defer conn.Close()
	go func() {
		e := json.NewEncoder(conn)
		for s := range signals {
			e.Encode(signalled{s.(syscall.Signal)})
		}
	}()
	return receiveOutcome(conn)
}

// execTerminal gives the program a terminal of its own and joins it with the caller's.
func (d Dir) execTerminal(q request) (int, error) {
	master, slave, err := OpenTerminal()
	if err != nil {
		return StatusNotStarted, err
	}
	defer master.Close()
	resize(master)
	fd := int(slave.Fd())
	conn, err := d.send(q, []int{fd, fd, fd})
	slave.Close()
	if err != nil {
		return StatusNotStarted, err
	}
	defer conn.Close()
	raw, err := term.MakeRaw(0)
	if err != nil {
		return StatusNotStarted, fmt.Errorf("terminal: %w", err)
	}
	defer term.Restore(0, raw)
	sizes := make(chan os.Signal, 1)
	signal.Notify(sizes, unix.SIGWINCH)
	defer signal.Stop(sizes)
	go func() {
		for range sizes {
			resize(master)
		}
	}()
	go io.Copy(master, os.Stdin)
	printed := make(chan struct{})
	go func() {
		io.Copy(os.Stdout, master) // ends with EIO when the program's side is closed
		close(printed)
	}()
	status, err := receiveOutcome(conn)
	select {
	case <-printed:
	case <-time.After(time.Second): // something in the background still holds the terminal
	}
	return status, err
}

func resize(master *os.File) {
	if ws, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err == nil {
		unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, ws)
	}
}

// OpenTerminal makes a pseudo terminal (pty(7)).
func OpenTerminal() (master, slave *os.File, err error) {
	m, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("opening a terminal: %w", err)
	}
	master = os.NewFile(uintptr(m), "/dev/ptmx")
	if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
		master.Close()
		return nil, nil, fmt.Errorf("unlocking the terminal: %w", err)
	}
	number, err := unix.IoctlGetUint32(m, unix.TIOCGPTN)
	if err != nil {
		master.Close()
		return nil, nil, fmt.Errorf("naming the terminal: %w", err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.FormatUint(uint64(number), 10), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		master.Close()
		return nil, nil, fmt.Errorf("opening the terminal: %w", err)
	}
	return master, slave, nil
}

func (d Dir) send(q request, fds []int) (*net.UnixConn, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: filepath.Join(string(d), execSocket), Net: "unix"})
	if notRunning(err) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("asking the lab: %w", err)
	}
	head := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	_, _, err = conn.WriteMsgUnix(head, unix.UnixRights(fds...), nil)
	if err == nil {
		_, err = conn.Write(body)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("asking the lab: %w", err)
	}
	return conn, nil
}

func receiveOutcome(conn net.Conn) (int, error) {
	var o outcome
	if err := json.NewDecoder(conn).Decode(&o); err != nil {
		return StatusNotStarted, errors.New("the lab has ended")
	}
	if o.Error != "" {
		return o.Status, errors.New(o.Error)
	}
	return o.Status, nil
}
