package control

import (
	"bytes"
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
type Client struct{ http *http.Client }

// NewClient returns a client of the agent on the Unix socket at path.
func NewClient(path string) *Client {
	return &Client{&http.Client{
		Timeout: requestTime + time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", path)
			},
		},
	}}
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
	r, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	answer, err := c.http.Do(r)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return ErrNotRunning
	}
	if err != nil {
		return fmt.Errorf("asking the agent: %w", err)
	}
	defer answer.Body.Close()
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
