package control

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"globalnet/lab/topology"
)

// A program is started by one message on the exec socket: a 32-bit big-endian
// length with the program's three descriptors attached (SCM_RIGHTS), and so many
// bytes of JSON, a request. Then JSON values pass both ways: signals there,
// one outcome back. The end of the connection hangs the program up.

type request struct {
	Node     string   `json:"node"`
	Path     string   `json:"path"`
	Args     []string `json:"args"` // with the program's name
	Env      []string `json:"env"`
	Dir      string   `json:"dir"`
	Terminal bool     `json:"terminal"` // the descriptors are a terminal for a session of its own
}

type signalled struct {
	Signal syscall.Signal `json:"signal"`
}

type outcome struct {
	Status int    `json:"status"`
	Error  string `json:"error,omitempty"` // the program could not be started
}

// Exit statuses of a program that was not run, as shells have them.
const (
	StatusNotStarted = 126
	StatusNotFound   = 127
)

// hangUpTime is how long a program may go on after SIGHUP when nobody waits for it any more.
const hangUpTime = 2 * time.Second

func (s *Server) servePrograms(ctx context.Context, l *net.UnixListener) {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return
		}
		all.Go(func() {
			defer conn.Close()
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			json.NewEncoder(conn).Encode(s.program(conn))
		})
	}
}

// program runs one program until its end.
func (s *Server) program(conn *net.UnixConn) outcome {
	q, files, err := receiveRequest(conn)
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if err != nil {
		return outcome{StatusNotStarted, err.Error()}
	}
	n := s.Lab.Node(q.Node)
	if n == nil {
		return outcome{StatusNotStarted, fmt.Sprintf("no node %q", q.Node)}
	}
	env := q.Env
	if n.Kind == topology.Router { // `globalnet status` needs no flag then
		env = append(env, "GLOBALNET_CONFIG="+n.ConfigPath())
	}
	start := func(dir string) (*exec.Cmd, error) {
		cmd := &exec.Cmd{Path: q.Path, Args: q.Args, Env: env, Dir: dir, Stdin: files[0], Stdout: files[1], Stderr: files[2]}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: q.Terminal}
		return cmd, n.Start(cmd)
	}
	cmd, err := start(q.Dir)
	if err != nil {
		cmd, err = start("/") // the directory may be hidden in the node
	}
	for _, f := range files {
		f.Close() // what the program has open decides about its end
	}
	if err != nil {
		status := StatusNotStarted
		if errors.Is(err, os.ErrNotExist) {
			status = StatusNotFound
		}
		return outcome{status, err.Error()}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	hungUp := make(chan struct{})
	go func() {
		defer close(hungUp)
		for d := json.NewDecoder(conn); ; {
			var sig signalled
			if d.Decode(&sig) != nil {
				return
			}
			unix.Kill(-cmd.Process.Pid, sig.Signal)
		}
	}()
	select {
	case err = <-ended:
	case <-hungUp:
		unix.Kill(-cmd.Process.Pid, unix.SIGHUP)
		unix.Kill(-cmd.Process.Pid, unix.SIGCONT)
		select {
		case err = <-ended:
		case <-time.After(hangUpTime):
			unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
			err = <-ended
		}
	}
	return outcome{Status: exitStatus(err)}
}

func exitStatus(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		return StatusNotStarted
	}
	if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return exit.ExitCode()
}

func receiveRequest(conn *net.UnixConn) (q request, files []*os.File, err error) {
	var head [4]byte
	oob := make([]byte, unix.CmsgSpace(3*4))
	n, oobn, flags, _, err := conn.ReadMsgUnix(head[:], oob)
	if err != nil || n != len(head) {
		return q, nil, fmt.Errorf("request cut short: %w", errors.Join(err, io.ErrUnexpectedEOF))
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	for _, m := range messages {
		fds, _ := unix.ParseUnixRights(&m)
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "stdio"))
		}
	}
	if err != nil || len(files) != 3 || flags&unix.MSG_CTRUNC != 0 {
		return q, files, errors.New("a request has three descriptors")
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxRequest {
		return q, files, fmt.Errorf("a request of %d bytes is too long", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(conn, body); err != nil {
		return q, files, fmt.Errorf("request cut short: %w", err)
	}
	if err := json.Unmarshal(body, &q); err != nil {
		return q, files, fmt.Errorf("request: %w", err)
	}
	return q, files, nil
}
