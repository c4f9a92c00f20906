package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// command is one of the QEMU Machine Protocol.
type command struct {
	Execute   string         `json:"execute"`
	Arguments map[string]any `json:"arguments,omitempty"`
}

// control has a QEMU carry out commands, and waits until a migration, which they
// begin, has ended.
func control(ctx context.Context, monitor string, commands ...command) error {
	var c net.Conn
	for {
		var err error
		if c, err = new(net.Dialer).DialContext(ctx, "unix", monitor); err == nil {
			break
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("reaching QEMU's monitor: %w", err)
		}
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	r := bufio.NewScanner(c)
	for _, step := range append([]command{{"qmp_capabilities", nil}}, commands...) {
		if _, err := ask(c, r, step); err != nil {
			return fmt.Errorf("asking QEMU to %s: %w", step.Execute, err)
		}
	}
	for {
		switch status, err := ask(c, r, command{"query-migrate", nil}); {
		case err != nil:
			return fmt.Errorf("asking QEMU how far it is: %w", err)
		case status == "completed":
			return nil
		case status == "failed" || status == "cancelled":
			return errors.New("freezing or thawing the machine: it is " + status)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(50 * time.Millisecond):
		return nil
	}
}

// ask returns the status in an answer, if it has one.
func ask(c net.Conn, r *bufio.Scanner, q command) (status string, err error) {
	if err := json.NewEncoder(c).Encode(q); err != nil {
		return "", err
	}
	for r.Scan() {
		var m struct {
			Return *struct{ Status string }
			Error  *struct{ Desc string }
		}
		if err := json.Unmarshal(r.Bytes(), &m); err != nil {
			return "", err
		}
		if m.Error != nil {
			return "", errors.New(m.Error.Desc)
		}
		if m.Return != nil { // the rest are events and the greeting
			return m.Return.Status, nil
		}
	}
	return "", errors.Join(r.Err(), errors.New("no answer"))
}
