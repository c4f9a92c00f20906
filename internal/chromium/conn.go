package chromium

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Environment makes a browser write nowhere but below a folder: not its profile, and not
// the lock that it would leave among temporary files.
func Environment(folder string) []string {
	var env []string
	for _, name := range []string{"HOME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"} {
		env = append(env, name+"="+folder)
	}
	return env
}

// conn is a running browser and the two pipes to it: messages are JSON with a zero
// byte after each. The browser reads file 3 and writes file 4.
type conn struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer // to be read after done
	in     io.WriteCloser
	out    io.ReadCloser
	event  func(session, method string, params json.RawMessage)
	done   chan struct{} // closed when the browser says nothing more
	closed sync.Once

	mu      sync.Mutex
	last    int
	waiting map[int]chan answer
}

type answer struct {
	Result json.RawMessage
	Error  *struct{ Message, Data string }
}

// start runs the command; event is called in order, on the goroutine that reads,
// which ends with the browser.
func start(command []string, home string, event func(session, method string, params json.RawMessage)) (*conn, error) {
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirIn.Close()
	out, theirOut, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, err
	}
	defer theirOut.Close()
	c := &conn{in: in, out: out, event: event, done: make(chan struct{}), waiting: make(map[int]chan answer)}
	c.cmd = exec.Command(command[0], command[1:]...)
	c.cmd.Env = append(os.Environ(), Environment(home)...)
	c.cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	c.cmd.Stderr = &c.stderr
	c.cmd.WaitDelay = time.Second
	// A group of its own: its helpers end with it.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		in.Close()
		out.Close()
		return nil, err
	}
	go c.read()
	return c, nil
}

func (c *conn) read() {
	defer close(c.done)
	for r := bufio.NewReader(c.out); ; {
		line, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID        int
			SessionID string
			Method    string
			Params    json.RawMessage
			answer
		}
		if json.Unmarshal(line[:len(line)-1], &m) != nil {
			continue
		}
		if m.ID == 0 {
			c.event(m.SessionID, m.Method, m.Params)
			continue
		}
		c.mu.Lock()
		w := c.waiting[m.ID]
		delete(c.waiting, m.ID)
		c.mu.Unlock()
		if w != nil {
			w <- m.answer
		}
	}
}

// call calls a method and waits for its answer.
func (c *conn) call(session, method string, params, result any) error {
	w := make(chan answer, 1)
	c.mu.Lock()
	c.last++
	id := c.last
	c.waiting[id] = w
	message, err := json.Marshal(struct {
		ID        int    `json:"id"`
		SessionID string `json:"sessionId,omitempty"`
		Method    string `json:"method"`
		Params    any    `json:"params,omitempty"`
	}{id, session, method, params})
	if err == nil {
		_, err = c.in.Write(append(message, 0))
	}
	c.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case a := <-w:
		if a.Error != nil {
			return errors.New(strings.TrimSpace(a.Error.Message + " " + a.Error.Data))
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(a.Result, result)
	case <-c.done:
		return errors.New("the browser has ended")
	case <-time.After(patience):
		return fmt.Errorf("no answer in %s", patience)
	}
}

// close ends the browser and all that it started, and waits.
func (c *conn) close() {
	c.closed.Do(func() {
		c.in.Close()
		syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
		c.cmd.Wait()
		c.out.Close()
		<-c.done
	})
}

// problem says what an event complains of; empty if nothing.
func problem(method string, params json.RawMessage) string {
	var p struct {
		Type             string // of a call of the console
		Args             []remoteObject
		Entry            struct{ Level, Source, Text, URL string }
		ExceptionDetails exceptionDetails
	}
	if err := json.Unmarshal(params, &p); err != nil {
		return fmt.Sprintf("%s: %v", method, err)
	}
	switch method {
	case "Runtime.exceptionThrown":
		return p.ExceptionDetails.String()
	case "Log.entryAdded":
		if p.Entry.Level == "error" || p.Entry.Level == "warning" {
			return p.Entry.Level + ": " + strings.TrimSpace(p.Entry.Text+" "+p.Entry.URL)
		}
	case "Runtime.consoleAPICalled":
		if p.Type == "error" || p.Type == "warning" || p.Type == "assert" {
			parts := []string{p.Type + ":"}
			for _, a := range p.Args {
				parts = append(parts, a.String())
			}
			return strings.Join(parts, " ")
		}
	}
	return ""
}

// remoteObject is a value of the page.
type remoteObject struct {
	Value       json.RawMessage
	Description string
}

func (o remoteObject) String() string {
	if o.Description != "" {
		return o.Description
	}
	var s string
	if json.Unmarshal(o.Value, &s) == nil {
		return s
	}
	return string(o.Value)
}

type exceptionDetails struct {
	Text       string
	URL        string
	LineNumber int
	Exception  *remoteObject
}

func (e exceptionDetails) String() string {
	s := e.Text
	if e.Exception != nil {
		s += " " + e.Exception.String()
	}
	return fmt.Sprintf("%s (%s:%d)", s, e.URL, e.LineNumber+1)
}
