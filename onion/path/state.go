package path

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"globalnet/internal/identity"
)

// The state is text: stateHeader and the Unix time, a line a guard, and a checksum
// of all before. docs/protocols/paths.md has the fields.
const (
	stateHeader = "globalnet-guards-1"
	maxState    = 16 << 10
	maxOff      = 30 * 24 * time.Hour // switched off for longer is taken for a clock gone wrong
)

// plausible is when no clock that was ever set can be before: 2026-01-01.
const plausible = 1767225600

// Changed reports whether guards came, went or proved themselves since Save: only
// then is it worth a write to flash.
func (c *Chooser) Changed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set.changed
}

// Save returns the guards for Load.
func (c *Chooser) Save(now time.Time) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(now)
	c.set.changed = false
	b := fmt.Appendf(nil, "%s %d\n", stateHeader, now.Unix())
	for _, g := range c.set.guards {
		spare := 0
		if g.spare {
			spare = 1
		}
		b = fmt.Appendf(b, "%s %d %d %d %d %d %d %d\n", g.node, seconds(g.age), seconds(g.missing), g.confirmed,
			spare, g.circuits, g.failed, seconds(max(0, g.resting-c.run)))
	}
	return appendSum(b)
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

func appendSum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return fmt.Appendf(b, "sum %s\n", hex.EncodeToString(sum[:16]))
}

// Load replaces the guards by those that Save returned. After an error they are as
// they were: without the file a node draws new ones.
func (c *Chooser) Load(now time.Time, state []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(now)
	set, err := parseState(state, now, c.run)
	if err != nil {
		return fmt.Errorf("reading guards: %w", err)
	}
	c.set = set
	return nil
}

func parseState(state []byte, now time.Time, run time.Duration) (set guardSet, err error) {
	if len(state) > maxState {
		return set, fmt.Errorf("%d bytes, at most %d", len(state), maxState)
	}
	end := bytes.LastIndex(state, []byte("sum "))
	if end < 0 || !bytes.HasPrefix(state, []byte(stateHeader+" ")) {
		return set, errors.New("torn, or not a file of guards")
	}
	if !bytes.Equal(appendSum(bytes.Clone(state[:end])), state) {
		return set, errors.New("wrong checksum")
	}
	lines := strings.Split(strings.TrimSuffix(string(state[:end]), "\n"), "\n")
	saved, err := strconv.ParseInt(strings.TrimPrefix(lines[0], stateHeader+" "), 10, 64)
	if err != nil {
		return set, fmt.Errorf("line 1: %w", err)
	}
	if len(lines)-1 > maxSample {
		return set, fmt.Errorf("%d guards, at most %d", len(lines)-1, maxSample)
	}
	// How long we were switched off only a right clock knows; a wrong one makes
	// guards last longer, never shorter.
	off := time.Duration(0)
	if at := now.Unix(); saved >= plausible && at > saved && at-saved <= seconds(maxOff) {
		off = time.Duration(at-saved) * time.Second
	}
	for n, line := range lines[1:] {
		g, err := parseGuard(line, off, run)
		if err == nil && set.find(g.node) != nil {
			err = errors.New("a guard twice")
		}
		if err != nil {
			return guardSet{}, fmt.Errorf("line %d: %w", n+2, err)
		}
		set.guards = append(set.guards, g)
		set.confirmed = max(set.confirmed, g.confirmed)
	}
	set.success = run
	return set, nil
}

func parseGuard(line string, off, run time.Duration) (*guard, error) {
	fields := strings.Split(line, " ")
	if len(fields) != 8 {
		return nil, fmt.Errorf("%d fields, want 8", len(fields))
	}
	node, err := identity.ParseNodeID(fields[0])
	if err != nil {
		return nil, err
	}
	var n [7]int64
	for i, f := range fields[1:] {
		if n[i], err = strconv.ParseInt(f, 10, 32); err != nil || n[i] < 0 {
			return nil, fmt.Errorf("%q is no number that belongs here", f)
		}
	}
	g := &guard{node: node, age: time.Duration(n[0])*time.Second + off, missing: time.Duration(n[1]) * time.Second,
		confirmed: int(n[2]), spare: n[3] != 0, circuits: int(n[4]), failed: int(n[5])}
	if g.circuits > biasMemory || g.failed > g.circuits {
		return nil, errors.New("more circuits than are remembered")
	}
	if left := min(time.Duration(n[6])*time.Second, rest) - off; left > 0 {
		g.resting = run + left
	}
	return g, nil
}
