package flash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"globalnet/openwrt/guard"
)

// health is what we read of `globalnet status --json`.
type health struct {
	Node       string        `json:"node"`
	Network    string        `json:"network"`
	Uptime     time.Duration `json:"uptime_ns"`
	Interfaces []struct {
		Name  string `json:"name"`
		Up    bool   `json:"up"`
		Error string `json:"error"`
	} `json:"interfaces"`
	Neighbours []json.RawMessage `json:"neighbours"`
}

// verify waits, over connections of its own, until the router has applied its
// configuration and the agent has run for a while and sees what it should.
func (s *session) verify(ctx context.Context) error {
	// Before the router's own time is over, so that we decide and not it.
	ctx, cancel := context.WithTimeoutCause(ctx, s.limit()*3/4, errUnhealthy)
	defer cancel()
	why := errors.New("the router did not come back")
	for first := true; ; first = false {
		err := s.healthy(ctx, first)
		if err == nil {
			return nil
		}
		if _, ok := errors.AsType[*Failure](err); ok {
			return err
		}
		if ctx.Err() == nil {
			why = err
		}
		if sleep(ctx, s.o.times.poll) != nil {
			if errors.Is(context.Cause(ctx), errUnhealthy) {
				return fmt.Errorf("it was not seen to work in %s: %w", s.limit()*3/4, why)
			}
			return ctx.Err()
		}
	}
}

var errUnhealthy = errors.New("not healthy in time")

// healthy is one look; a command that hangs costs its connection.
func (s *session) healthy(ctx context.Context, first bool) error {
	if first || s.conn == nil {
		dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		if err := s.fresh(dialCtx); err != nil {
			if _, ok := errors.AsType[*HostKeyError](err); ok {
				return &Failure{Kind: Undone, Err: err}
			}
			return err
		}
	}
	runCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	err := s.ask(runCtx)
	if _, isExit := errors.AsType[*exitError](err); err != nil && !isExit && runCtx.Err() != nil || errors.Is(err, errLink) {
		s.conn.close()
		s.conn = nil
		if runCtx.Err() != nil && ctx.Err() == nil {
			return errors.New("`globalnet status` does not answer")
		}
	}
	return err
}

// errLink is a connection that is of no more use.
var errLink = errors.New("the connection was cut")

func (s *session) ask(ctx context.Context) error {
	applied, err := s.conn.run(ctx, "cat "+guard.Applied, nil)
	if _, isExit := errors.AsType[*exitError](err); isExit {
		return errors.New("the router is still applying its configuration")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errLink, err)
	}
	if applied != "ok" {
		return &Failure{Kind: Undone, Err: errors.New(printable(applied))}
	}
	out, err := s.conn.run(ctx, "globalnet status --json </dev/null", nil)
	if err != nil {
		if _, isExit := errors.AsType[*exitError](err); isExit {
			return fmt.Errorf("the agent does not run: %w", err)
		}
		return fmt.Errorf("%w: %w", errLink, err)
	}
	var h health
	if err := json.Unmarshal([]byte(out), &h); err != nil || h.Node == "" {
		return errors.New("the agent answers what is no status")
	}
	if err := s.sees(&h); err != nil {
		return err
	}
	if was := s.facts.identity; was != "" {
		now, err := s.conn.run(ctx, "sha256sum </etc/globalnet/identity.key", nil)
		if err != nil || strings.Fields(now + " -")[0] != was {
			return &Failure{Kind: Undone, Err: errors.New("the key of the node is not the same as before")}
		}
	}
	s.report.Node = h.Node
	s.note("node %s, %d neighbours", printable(h.Node), len(h.Neighbours))
	return nil
}

// sees judges a status.
func (s *session) sees(h *health) error {
	if s.o.Network != "" && h.Network != s.o.Network {
		return fmt.Errorf("the agent is in the network %q", printable(h.Network))
	}
	for _, name := range s.air {
		why := "it does not see " + name
		for _, i := range h.Interfaces {
			switch {
			case i.Name != name:
			case i.Up:
				why = ""
			case i.Error != "":
				why = name + ": " + printable(i.Error)
			default:
				why = name + " is down"
			}
		}
		if why != "" {
			return errors.New("the agent runs, but " + why)
		}
	}
	if s.pkg != nil && h.Uptime > time.Since(s.since) {
		return errors.New("the old agent runs on")
	}
	if h.Uptime < s.o.times.settle {
		return fmt.Errorf("the agent runs since %s", h.Uptime.Round(time.Second))
	}
	return nil
}

// printable is text of a router for a terminal.
func printable(s string) string {
	var l limited
	l.WriteString(s)
	return l.tail()
}
