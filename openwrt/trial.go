package openwrt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"globalnet/openwrt/uci"
)

// trialFile holds what the files were before a change that was not confirmed yet.
// It is on flash: a router that was cut off by the change and switched off and on
// again finds it and goes back.
const trialFile = "etc/globalnet/trial.json"

type trial struct {
	Boot  string               `json:"boot"` // which start of the machine made it
	Files map[string]trialText `json:"files"`
}

type trialText struct {
	Was string `json:"was"`
	Is  string `json:"is"` // SHA-256
}

// ErrTrial means that an earlier change waits for a word.
var ErrTrial = errors.New("an earlier change is on trial: `globalnet radio keep` or `globalnet radio revert` first")

func (s *System) beginTrial(p *Plan, changed []string) error {
	if s.OnTrial() {
		return ErrTrial
	}
	t := trial{Boot: s.boot(), Files: make(map[string]trialText)}
	for _, name := range changed {
		was, err := os.ReadFile(s.path("etc/config/" + name))
		if err != nil {
			return err
		}
		t.Files[name] = trialText{string(was), sum(p.files[name].Bytes())}
	}
	text, err := json.Marshal(t)
	if err != nil {
		return err
	}
	dir := filepath.Dir(s.path(trialFile))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return uci.ReplaceFile(s.path(trialFile), text, 0o600) // the files hold keys of Wi-Fi
}

// boot names this start of the machine.
func (s *System) boot() string {
	text, err := os.ReadFile(s.path("proc/sys/kernel/random/boot_id"))
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(text))
}

func sum(text []byte) string {
	h := sha256.Sum256(text)
	return hex.EncodeToString(h[:])
}

// OnTrial reports whether a change waits for a word.
func (s *System) OnTrial() bool { return s.exists(trialFile) }

// Keep ends a trial: what was changed stays.
func (s *System) Keep() error {
	if err := os.Remove(s.path(trialFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keeping the change: %w", err)
	}
	return nil
}

// AwaitKeep waits until the trial ends, and reverts when the context does.
func (s *System) AwaitKeep(ctx context.Context) (kept bool, err error) {
	for s.OnTrial() {
		select {
		case <-ctx.Done():
			return false, s.Revert(context.WithoutCancel(ctx))
		case <-time.After(poll):
		}
	}
	return true, nil
}

// Revert ends a trial: each file gets back what it had, but for one that somebody
// else changed since, which is left and named in the error.
func (s *System) Revert(ctx context.Context) error {
	text, err := os.ReadFile(s.path(trialFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reverting: %w", err)
	}
	var t trial
	if err := json.Unmarshal(text, &t); err != nil {
		return fmt.Errorf("reverting: %s is damaged: %w", trialFile, err)
	}
	var errs []error
	var changed []string
	for _, name := range packages {
		f, ok := t.Files[name]
		if !ok {
			continue
		}
		written, err := s.putBack(name, f)
		errs = append(errs, err)
		if written {
			changed = append(changed, name)
		}
	}
	errs = append(errs, s.reload(ctx, changed), s.Keep())
	return errors.Join(errs...)
}

func (s *System) putBack(name string, f trialText) (written bool, err error) {
	stored, err := uci.Open(s.path("etc/config/" + name))
	if err != nil {
		return false, err
	}
	switch now := stored.Bytes(); {
	case string(now) == f.Was:
		return false, nil
	case sum(now) != f.Is:
		return false, fmt.Errorf("%s was changed by somebody else meanwhile, and stays as it is", name)
	}
	if stored.File, err = uci.Parse([]byte(f.Was)); err != nil {
		return false, err
	}
	return stored.Save()
}

// Recover reverts a trial of before the machine was started. The agent calls it as
// it begins: who cut himself off need only switch the router off and on.
func (s *System) Recover(ctx context.Context) (reverted bool, err error) {
	text, err := os.ReadFile(s.path(trialFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var t trial
	if err := json.Unmarshal(text, &t); err != nil {
		// Nothing can be put back, and it would be said for ever.
		return false, errors.Join(fmt.Errorf("%s is damaged: %w", trialFile, err), s.Keep())
	}
	if t.Boot == "" || t.Boot == s.boot() {
		return false, nil
	}
	return true, s.Revert(ctx)
}
