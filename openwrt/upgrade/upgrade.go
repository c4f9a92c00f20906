// Package upgrade puts a newer agent onto the router it runs on, from a package or a
// bare program. It looks first, refuses what cannot go well, and has the guard put the
// old version back unless the new one was seen to work: the same that `flash` does
// from a workstation. Run owns the guard while it runs; if Run is killed, the guard
// puts back by itself.
package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"globalnet/openwrt/archive"
	"globalnet/openwrt/guard"
	"globalnet/openwrt/usign"
)

// Paths on the router.
const (
	program  = "/usr/sbin/globalnet"
	service  = "/etc/init.d/globalnet"
	identity = "/etc/globalnet/identity.key"
	settings = "/etc/config/globalnet"
)

// Options say what to do. File is needed.
type Options struct {
	File           string
	Key            string // file of a public key; empty: all those in guard.Keys
	AllowUnsigned  bool
	AllowDowngrade bool
	DryRun         bool
	Progress       func(n, of int, step string) `json:"-"` // nil: silent

	times times
}

// times are bounds; tests have shorter ones.
type times struct{ install, healthy, settle time.Duration }

// The guard waits longer than Run, so that Run decides while it lives.
func (t times) guard() time.Duration { return t.healthy + t.settle*2 }

var usual = times{install: 4 * time.Minute, healthy: 2 * time.Minute, settle: 10 * time.Second}

const (
	poll     = time.Second
	patience = 10 * time.Second // with one answer
)

// Report is what was found and done.
type Report struct {
	Result    string   `json:"result"` // upgraded, planned, unchanged, refused, undone, pending
	Installed string   `json:"installed,omitempty"`
	Version   string   `json:"version,omitempty"`
	Arch      string   `json:"architecture,omitempty"`
	Signed    bool     `json:"signed"`
	Node      string   `json:"node,omitempty"`
	Plan      []string `json:"plan,omitempty"`
	Error     string   `json:"error,omitempty"`
	Seconds   float64  `json:"seconds"`
}

// refusal is an error that nothing came of.
type refusal struct{ error }

func refuse(format string, args ...any) error { return refusal{fmt.Errorf(format, args...)} }

// upgrade is one run.
type upgrade struct {
	o      Options
	report *Report
	n, of  int

	here device
	file string // absolute
	a    *archive.Archive
	bare bool
	key  string // digest of the identity
	conf string // of the configuration
	was  health // before
}

// Run upgrades. The report is complete also where there is an error.
func Run(ctx context.Context, o Options) (*Report, error) {
	start := time.Now()
	if o.times == (times{}) {
		o.times = usual
	}
	u := &upgrade{o: o, report: new(Report), of: 6}
	err := u.run(ctx)
	u.report.Seconds = time.Since(start).Seconds()
	if err != nil {
		if _, ok := err.(refusal); ok {
			u.report.Result = "refused"
		} else if u.report.Result != "pending" {
			u.report.Result = "undone"
		}
		u.report.Error = err.Error()
	}
	return u.report, err
}

func (u *upgrade) step(name string) {
	u.n++
	if u.o.Progress != nil {
		u.o.Progress(u.n, u.of, name)
	}
}

func (u *upgrade) run(ctx context.Context) error {
	u.step("look")
	if err := u.look(ctx); err != nil {
		return err
	}
	u.step("check")
	if err := u.check(ctx); err != nil {
		return err
	}
	if u.report.Result != "" {
		return nil
	}
	u.step("keep the old version")
	if err := u.arm(); err != nil {
		return fmt.Errorf("keeping the old version: %w; nothing was changed", err)
	}
	err := u.change(ctx)
	if err == nil {
		u.report.Result = "upgraded"
		return nil
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	if back := u.putBack(); back != nil {
		u.report.Result = "pending"
		return fmt.Errorf("%w; %w: the router puts the old version back within %v, and at its next start", err, back, u.o.times.install)
	}
	return fmt.Errorf("%w; the old version is back, `logread -e globalnet` may say why", err)
}

// change is what the guard undoes.
func (u *upgrade) change(ctx context.Context) error {
	u.step("install")
	since := time.Now()
	if err := u.install(ctx); err != nil {
		return err
	}
	if err := command(ctx, guard.Program, "limit", seconds(u.o.times.guard())); err != nil {
		return err
	}
	u.step("see it work")
	if err := u.verify(ctx, since); err != nil {
		return err
	}
	u.step("confirm")
	return u.confirm(ctx)
}

// check judges the file.
func (u *upgrade) check(ctx context.Context) error {
	var err error
	if u.file, err = filepath.Abs(u.o.File); err != nil {
		return refusal{err}
	}
	if err := u.signature(); err != nil {
		return err
	}
	f, err := os.Open(u.file)
	if err != nil {
		return refusal{err}
	}
	defer f.Close()
	var magic [20]byte
	if _, err := io.ReadFull(f, magic[:]); err != nil {
		return refuse("%s is neither a package nor a program", u.o.File)
	}
	if string(magic[:4]) == "\x7fELF" {
		return u.checkProgram(ctx, magic[:])
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if u.a, err = archive.Read(f, guard.Wanted); err != nil {
		return refuse("%s: %w; download or build it again", u.o.File, err)
	}
	u.report.Version, u.report.Arch = u.a.Version, u.a.Arch
	manager := "opkg"
	if u.a.APK {
		manager = "apk"
	}
	switch {
	case u.a.Name != "globalnet":
		return refuse("%s is the package %q, not globalnet", u.o.File, u.a.Name)
	case manager != u.here.manager:
		return refuse("the package is for %s, and this router has %s", manager, u.here.manager)
	case !u.here.takes(u.a.Arch):
		return refuse("the package is for %s, the router for %s", u.a.Arch, strings.Join(u.here.arches, ", "))
	}
	return u.judge(archive.CompareVersions(u.a.Version, u.here.installed), true)
}

// judge decides by the order of the versions, and by the room.
func (u *upgrade) judge(order int, ordered bool) error {
	u.report.Installed = u.here.installed
	if order == 0 && ordered {
		u.report.Result = "unchanged"
		return nil
	}
	if !u.o.AllowDowngrade && !ordered {
		return refuse("which of %s, which is installed, and %s is newer cannot be told; --allow-downgrade installs it all the same", u.here.installed, u.report.Version)
	}
	if !u.o.AllowDowngrade && order < 0 {
		return refuse("%s is installed, which is newer than %s; --allow-downgrade installs it all the same", u.here.installed, u.report.Version)
	}
	if need := u.here.need(u.a); u.here.freeK < need {
		return refuse("not enough flash: %d KiB needed, %d KiB free on the overlay; remove packages that you do not use", need, u.here.freeK)
	}
	u.report.Plan = []string{
		fmt.Sprintf("install %s in place of %s; key and configuration stay", u.report.Version, u.here.installed),
		fmt.Sprintf("put the old version back unless the new one is healthy in %v", u.o.times.healthy),
	}
	if u.o.DryRun {
		u.report.Result = "planned"
	}
	return nil
}

// signature checks the file as a whole.
func (u *upgrade) signature() error {
	info, err := os.Stat(u.file)
	if err != nil {
		return refusal{err}
	}
	if info.Size() > archive.MaxSize || !info.Mode().IsRegular() {
		return refuse("%s: no file of at most %d bytes", u.o.File, archive.MaxSize)
	}
	names := []string{u.o.Key}
	if u.o.Key == "" {
		names = nil
		all, _ := os.ReadDir(guard.Keys)
		for _, e := range all {
			names = append(names, guard.Keys+"/"+e.Name())
		}
	}
	var keys [][]byte
	for _, name := range names {
		key, err := os.ReadFile(name)
		if err != nil {
			return refusal{err}
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 && !u.o.AllowUnsigned {
		return refuse("there is no key to check the signature with: --key names one, the folder %s keeps them, --allow-unsigned does without", guard.Keys)
	}
	if u.o.AllowUnsigned && u.o.Key == "" {
		keys = nil
	}
	file, err := os.ReadFile(u.file)
	if err == nil {
		u.report.Signed, err = usign.CheckFile(u.file, filepath.Dir(u.file), file, keys...)
	}
	if err != nil {
		return refuse("%w; download it again, with its signature beside it", err)
	}
	return nil
}
