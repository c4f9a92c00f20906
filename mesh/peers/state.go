package peers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"globalnet/internal/identity"
)

// The state file is text: stateHeader, then one line for each node:
//
//	node good last-success failures address[,address…]
const (
	stateHeader  = "globalnet-peers-1"
	stateEntries = 64
	maxStateFile = 64 << 10
	maxStateLine = 512

	saveInterval = 6 * time.Hour   // flash wears out
	saveAnyway   = 24 * time.Hour  // when the same nodes were reached
	saveAtOnce   = 4               // unless one in so many entries changed
	saveGap      = 5 * time.Minute // and even then
)

// saved is what the state file holds, as far as we know.
type saved struct {
	at    time.Time
	nodes map[identity.NodeID]bool
}

// Append appends the state of the best entries to dst.
func (b *Book) Append(dst []byte, now time.Time) []byte {
	dst = append(dst, stateHeader+"\n"...)
	for _, r := range b.keepers(now) {
		last := int64(0)
		if !r.LastSuccess.IsZero() {
			last = max(0, r.LastSuccess.Unix())
		}
		dst = fmt.Appendf(dst, "%v %d %d %d ", r.Node, r.Good, last, r.Failures)
		for i, a := range clean(r.Addrs, public) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = a.AppendTo(dst)
		}
		dst = append(dst, '\n')
	}
	return dst
}

// keepers are the entries worth a line: those that have worked. What is in the
// configuration with a private address is kept there.
func (b *Book) keepers(now time.Time) []*record {
	var list []*record
	for _, r := range b.ranked(now) {
		if r.Good > 0 && len(list) < stateEntries && slices.ContainsFunc(r.Addrs, public) {
			list = append(list, r)
		}
	}
	return list
}

// Parse adds the entries of a state file to the book and returns how many lines
// it had to skip. What can be read of a damaged file is read.
func (b *Book) Parse(now time.Time, text []byte) (skipped int) {
	if len(text) > maxStateFile {
		text = text[:maxStateFile]
		skipped++
	}
	read := 0
	for line := range bytes.Lines(text) {
		line := strings.TrimRight(string(line), "\r\n")
		if line == stateHeader || line == "" {
			continue
		}
		if read >= stateEntries || !b.parseLine(now, line) {
			skipped++
			continue
		}
		read++
	}
	return skipped
}

func (b *Book) parseLine(now time.Time, line string) bool {
	fields := strings.Fields(line)
	if len(line) > maxStateLine || len(fields) != 5 {
		return false
	}
	node, err := identity.ParseNodeID(fields[0])
	if err != nil || node == b.self {
		return false
	}
	points, err1 := strconv.ParseUint(fields[1], 10, 31)
	last, err2 := strconv.ParseUint(fields[2], 10, 40)
	failures, err3 := strconv.ParseUint(fields[3], 10, 31)
	if errors.Join(err1, err2, err3) != nil || points == 0 {
		return false
	}
	var addrs []netip.AddrPort
	for _, s := range strings.Split(fields[4], ",") {
		a, err := netip.ParseAddrPort(s)
		if err != nil {
			return false
		}
		addrs = append(addrs, a)
	}
	if addrs = clean(addrs, public); len(addrs) == 0 {
		return false
	}
	r := b.records[node]
	if r == nil {
		if len(b.records) >= maxEntries && !b.evict(now) {
			return false
		}
		r = b.insert(node)
		r.Addrs = addrs
	}
	r.Good = min(int(points), maxGood)
	r.Failures = min(int(failures), hopeless)
	if t := time.Unix(int64(last), 0); last > 0 && t.Before(now) { // the clock may have been wrong, or be
		r.LastSuccess = t
	}
	return true
}

// LoadFile reads a state file. That there is none is no error.
func (b *Book) LoadFile(path string, now time.Time) (skipped int, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading peers: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxStateFile+1))
	if err != nil {
		return 0, fmt.Errorf("reading peers: %w", err)
	}
	skipped = b.Parse(now, text)
	b.noteSaved(now)
	return skipped, nil
}

// NeedsSaving reports whether the state is worth a write to flash: it changed by
// a quarter, or at all and the last write is six hours old, or that is a day old.
func (b *Book) NeedsSaving(now time.Time) bool {
	keepers := b.keepers(now)
	changed := 0
	for _, r := range keepers {
		if !b.state.nodes[r.Node] {
			changed++
		}
	}
	changed += max(0, len(b.state.nodes)-(len(keepers)-changed))
	age := now.Sub(b.state.at)
	switch {
	case b.state.at.IsZero():
		return changed > 0
	case age < saveGap:
		return false
	case changed*saveAtOnce >= max(len(keepers), 1):
		return changed > 0
	}
	if changed > 0 {
		return age >= saveInterval
	}
	return age >= saveAnyway && len(keepers) > 0
}

func (b *Book) noteSaved(now time.Time) {
	b.state = saved{now, make(map[identity.NodeID]bool)}
	for _, r := range b.keepers(now) {
		b.state.nodes[r.Node] = true
	}
}

// Save returns the state to write, and takes it for written.
func (b *Book) Save(now time.Time) []byte {
	text := b.Append(nil, now)
	b.noteSaved(now)
	return text
}

// SaveFile writes the state to path; see WriteFile.
func (b *Book) SaveFile(path string, now time.Time) error {
	if err := WriteFile(path, b.Append(nil, now)); err != nil {
		return err
	}
	b.noteSaved(now)
	return nil
}

// WriteFile writes text beside path, flushes it, and renames it to path: at
// every moment there is one whole file.
func WriteFile(path string, text []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".state-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer os.Remove(f.Name())                                       // in vain if it was renamed
	_ = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) // what is not locked is a leftover
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
	return nil
}
