package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"globalnet/mesh"
)

// maxAnswer bounds what a client reads: the routes of a large mesh are some MiB.
const maxAnswer = 64 << 20

// Error is the body of every answer that is not a success.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"error"`
	Hint    string `json:"hint"`
	Option  string `json:"option,omitempty"` // section.option that is wrong
}

func (e *Error) Error() string { return e.Message }

// Reloaded is the answer to a reload.
type Reloaded struct {
	Live    []string `json:"live"`    // options applied at once
	Restart []string `json:"restart"` // options that hold only after a restart
}

// ErrNotRunning says that no agent answers on the socket.
var ErrNotRunning = errors.New("no agent is running")

// Client asks an agent. It keeps no connection open.
//
// It writes its requests itself: http.Client can do far more than one request on a
// Unix socket needs, and costs a router 200 KB (decision 0002).
type Client struct{ socket string }

// NewClient returns a client of the agent on the Unix socket at path.
func NewClient(path string) *Client { return &Client{path} }

// exchange sends a request on a connection of its own and reads the head of the answer.
// Reading ends when ctx does. The caller calls done.
func (c *Client) exchange(ctx context.Context, method, path string, body []byte) (answer *http.Response, done func(), err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", c.socket)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, nil, ErrNotRunning
	}
	if err != nil {
		return nil, nil, fmt.Errorf("asking the agent: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	done = func() {
		stop()
		conn.Close()
	}
	request := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", method, path, len(body))
	// An agent that refuses what it has not read to the end still answers.
	_, errWrite := conn.Write(append(request, body...))
	answer, err = http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil {
		return answer, done, nil
	}
	done()
	if errWrite != nil {
		err = errWrite
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return nil, nil, fmt.Errorf("asking the agent: %w", err)
}

// last begins a request that lasts. There is no answer where ctx has ended, which is no
// error, or where the agent refuses. The caller calls done.
func (c *Client) last(ctx context.Context, method, path string, body []byte) (answer *http.Response, done func(), err error) {
	answer, done, err = c.exchange(ctx, method, path, body)
	if ctx.Err() != nil || err != nil {
		if err == nil {
			done()
		}
		if ctx.Err() != nil {
			err = nil
		}
		return nil, nil, err
	}
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
		done()
		return nil, nil, errorOf(answer.Status, text)
	}
	return answer, done, nil
}

// Status asks for the whole state.
func (c *Client) Status(ctx context.Context) (mesh.Status, error) {
	var s mesh.Status
	return s, c.call(ctx, http.MethodGet, "/v1/status", nil, &s)
}

// Reload makes the agent read its configuration again.
func (c *Client) Reload(ctx context.Context) (Reloaded, error) {
	var r Reloaded
	return r, c.call(ctx, http.MethodPost, "/v1/reload", nil, &r)
}

func (c *Client) call(ctx context.Context, method, path string, send, into any) error {
	var text []byte
	if send != nil {
		var err error
		if text, err = json.Marshal(send); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime+time.Second)
	defer cancel()
	answer, done, err := c.exchange(ctx, method, path, text)
	if err != nil {
		return err
	}
	defer done()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("reading the agent's answer: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return errorOf(answer.Status, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("reading the agent's answer: %w", err)
	}
	return nil
}

// errorOf reads the body of an answer that is not a success.
func errorOf(status string, body []byte) error {
	e := &Error{}
	if json.Unmarshal(body, e) != nil || e.Message == "" {
		e.Code, e.Message = "unknown", "the agent answered "+status
	}
	return e
}

// slotConn gives its slot back when it is closed, once.
type slotConn struct {
	net.Conn
	release chan struct{}
	once    sync.Once
}

func (c *slotConn) Close() error {
	c.once.Do(func() { <-c.release })
	return c.Conn.Close()
}
