package agent

import (
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/agent/edit"
)

// Bounds of the time in which a change is confirmed.
const (
	minConfirm = 10 * time.Second
	maxConfirm = 10 * time.Minute
)

// settings change the configuration by request, and put it back where nobody confirms.
// They are control.Settings.
type settings struct {
	path   string // of the configuration
	reload func(context.Context) (config.Diff, error)
	saved  func() // the file was changed and taken into use; may be nil
	log    *slog.Logger
	armed  chan struct{} // pending has changed

	mu      sync.Mutex // held during a change
	pending string     // empty: nothing waits
	until   time.Time
}

func newSettings(path string, reload func(context.Context) (config.Diff, error), log *slog.Logger) *settings {
	return &settings{path: path, reload: reload, log: log, armed: make(chan struct{}, 1)}
}

// Settings returns the configuration as the control API changes it.
func (a *Agent) Settings() control.Settings { return a.settings }

// run undoes what is not confirmed in time, until ctx ends. What waits then is undone at
// the next start.
func (s *settings) run(ctx context.Context) error {
	for {
		s.mu.Lock()
		id, left := s.pending, time.Until(s.until)
		s.mu.Unlock()
		var due <-chan time.Time
		if id != "" {
			due = time.After(left)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.armed:
		case <-due:
			err := s.Undo(ctx, id)
			if _, late := errors.AsType[*control.Error](err); late {
				continue // confirmed at the last moment
			}
			if err != nil {
				s.log.Error("a change of the configuration was not confirmed, and the old one cannot be put back", "err", err)
				continue
			}
			s.log.Warn("a change of the configuration was not confirmed: the old one is put back")
		}
	}
}

// Settings returns the configuration and what may be in it.
func (s *settings) Settings() (control.SettingsView, error) {
	v := control.SettingsView{Types: config.Schema()}
	s.mu.Lock()
	if s.pending != "" {
		v.Pending = &control.Pending{ID: s.pending, Seconds: int(max(time.Until(s.until), 0).Seconds())}
	}
	s.mu.Unlock()
	sections, err := edit.Sections(s.path)
	if errors.Is(err, edit.ErrNoFile) {
		return v, nil
	}
	if err != nil {
		return v, &control.Error{Code: control.BadRequest, Message: err.Error(), Hint: "`globalnet config check` judges the file"}
	}
	v.Writable = true
	for _, x := range sections {
		v.Sections = append(v.Sections, control.ConfigSection(x))
	}
	return v, nil
}

// Change implements control.Settings.
func (s *settings) Change(ctx context.Context, r control.ChangeRequest) (control.Changed, error) {
	var out control.Changed
	wait := time.Duration(r.ConfirmSeconds) * time.Second
	if r.ConfirmSeconds != 0 && (wait < minConfirm || wait > maxConfirm) {
		return out, refused("confirm_seconds: want 0, or 10 to 600")
	}
	changes := make([]edit.Change, len(r.Changes))
	for i, c := range r.Changes {
		changes[i] = edit.Change{Section: c.Section, Type: c.Type, Option: c.Option, Values: c.Value}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending != "" {
		return out, &control.Error{Code: "pending", Message: "another change waits for its confirmation", Hint: "confirm it, or undo it, or wait"}
	}
	written, err := edit.Apply(s.path, changes, wait > 0)
	if err != nil {
		return out, notChanged(err)
	}
	d, err := s.reload(context.WithoutCancel(ctx))
	if err != nil {
		return out, errors.Join(err, s.putBack(ctx))
	}
	out.Live, out.Restart = d.Live, d.Restart
	if written && wait > 0 {
		var id [8]byte
		crand.Read(id[:]) // never fails
		s.pending, s.until = hex.EncodeToString(id[:]), time.Now().Add(wait)
		out.ID, out.ConfirmSeconds = s.pending, r.ConfirmSeconds
		s.wake()
	}
	s.log.Info("the configuration was changed", "changes", d.String())
	s.tell()
	return out, nil
}

func (s *settings) tell() {
	if s.saved != nil {
		s.saved()
	}
}

func (s *settings) wake() {
	select {
	case s.armed <- struct{}{}:
	default:
	}
}

// notChanged makes an error of a change one that the API explains.
func notChanged(err error) error {
	e := &control.Error{Code: control.BadRequest, Message: err.Error(), Hint: "nothing was changed"}
	if named, ok := errors.AsType[*edit.OptionError](err); ok {
		e.Option = named.Option
	}
	if errors.Is(err, edit.ErrNoFile) {
		e.Hint = "start the agent with a configuration file: `globalnet run --config FILE`"
	}
	return e
}

// waiting is called with mu held.
func (s *settings) waiting(id string) error {
	if id == "" || id != s.pending {
		return &control.Error{Code: "no_change", Message: "no such change waits for its confirmation", Hint: "it was confirmed or undone"}
	}
	return nil
}

// Confirm implements control.Settings.
func (s *settings) Confirm(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.waiting(id); err != nil {
		return err
	}
	if err := edit.Confirm(s.path); err != nil {
		return err
	}
	s.pending = ""
	s.wake()
	return nil
}

// Undo implements control.Settings.
func (s *settings) Undo(ctx context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.waiting(id); err != nil {
		return err
	}
	s.pending = ""
	s.wake()
	return s.putBack(ctx)
}

// putBack is called with mu held.
func (s *settings) putBack(ctx context.Context) error {
	undone, err := edit.Undo(s.path)
	if err != nil || !undone {
		return err
	}
	_, err = s.reload(context.WithoutCancel(ctx))
	s.tell()
	return err
}

// SetLANMode implements control.Settings.
func (s *settings) SetLANMode(ctx context.Context, r control.LANModeRequest) (control.Changed, error) {
	sections, err := edit.Sections(s.path)
	if err != nil {
		return control.Changed{}, notChanged(err)
	}
	number := 0
	for _, x := range sections {
		if x.Type != "lan" {
			continue
		}
		if number++; x.Name != r.Network && (x.Name != "" || r.Network != fmt.Sprintf("lan%d", number)) {
			continue
		}
		c := control.OptionChange{Section: x.Ref, Option: "mode", Value: control.Values{r.Mode}}
		if r.Client != "" {
			c.Option, c.Value = "client", clientModes(x.Options["client"], r.Client, r.Mode)
		}
		return s.Change(ctx, control.ChangeRequest{ConfirmSeconds: r.ConfirmSeconds, Changes: []control.OptionChange{c}})
	}
	return control.Changed{}, refused("there is no lan section %q", r.Network)
}

// clientModes is the list with another mode for one client; an empty one is the network's.
func clientModes(list []string, client, mode string) control.Values {
	list = slices.DeleteFunc(slices.Clone(list), func(entry string) bool {
		have, _, _ := strings.Cut(entry, "=")
		return sameClient(have, client)
	})
	if mode != "" {
		list = append(list, client+"="+mode)
	}
	return list
}

func sameClient(a, b string) bool {
	if x, err := net.ParseMAC(a); err == nil {
		y, err := net.ParseMAC(b)
		return err == nil && slices.Equal(x, y)
	}
	x, err := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	return err == nil && err2 == nil && x == y || a == b
}
