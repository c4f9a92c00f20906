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
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// maxAnswer bounds what is read from a lab.
const maxAnswer = 64 << 20

// Status asks a lab about its nodes.
func (d Dir) Status(ctx context.Context) (nodes []NodeStatus, err error) {
	return nodes, d.call(ctx, "GET", "/v1/status", nil, &nodes)
}

// Change changes a lab; see lab.ChangeUsage for the words.
func (d Dir) Change(ctx context.Context, words []string) error {
	return d.call(ctx, "POST", "/v1/change", words, nil)
}

// Wait returns when all routers reach each other.
func (d Dir) Wait(ctx context.Context) error { return d.call(ctx, "POST", "/v1/wait", nil, nil) }

// Ping pings a router from another.
func (d Dir) Ping(ctx context.Context, from, to string) (rtt time.Duration, err error) {
	q := url.Values{"from": {from}, "to": {to}}
	return rtt, d.call(ctx, "POST", "/v1/ping?"+q.Encode(), nil, &rtt)
}

// Down asks a lab to end. It returns before the lab has ended.
func (d Dir) Down(ctx context.Context) error { return d.call(ctx, "POST", "/v1/down", nil, nil) }

func (d Dir) call(ctx context.Context, method, path string, body, into any) error {
	var text bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&text).Encode(body); err != nil {
			return err
		}
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(string(d), httpSocket))
		},
	}}
	r, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, &text)
	if err != nil {
		return err
	}
	got, err := client.Do(r)
	if notRunning(err) {
		return ErrNotRunning
	}
	if err != nil {
		return fmt.Errorf("asking the lab: %w", err)
	}
	defer got.Body.Close()
	limited := io.LimitReader(got.Body, maxAnswer)
	if got.StatusCode != http.StatusOK {
		reason, _ := io.ReadAll(limited)
		return errors.New(strings.TrimSpace(string(reason)))
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(limited).Decode(into)
}

func notRunning(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}
