package flash

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"globalnet/openwrt/archive"
	"globalnet/openwrt/guard"
)

func (s *session) connect(ctx context.Context) error { return s.fresh(ctx) }

// fresh opens a new connection in place of the old one.
func (s *session) fresh(ctx context.Context) error {
	s.conn.close()
	s.conn = nil
	c, err := s.o.Login.dial(ctx, s.target, &s.password)
	if err != nil {
		return err
	}
	s.conn = c
	return nil
}

// look asks the router what it is. One that is being put back is waited for.
func (s *session) look(ctx context.Context) error {
	for waited := time.Duration(0); ; waited += s.o.times.poll {
		facts, err := detect(ctx, s.conn)
		if err != nil {
			return err
		}
		if facts.armed == 0 {
			s.facts, s.report.Facts = facts, facts
			s.report.Remarks = remarks(facts)
			s.note("%s", facts)
			return nil
		}
		if waited > time.Duration(facts.armed)*time.Second+s.o.times.apply {
			return &Failure{Kind: Refused, Err: errors.New("another flash of this router is under way"), Advice: "If none is, restart the router: it puts itself back, and then run this again."}
		}
		if waited == 0 {
			s.note("an earlier flash was cut: waiting until the router has put itself back, up to %d s", facts.armed)
		}
		if err := sleep(ctx, s.o.times.poll); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func refuse(why, advice string) error {
	return &Failure{Kind: Refused, Err: errors.New(why), Advice: advice}
}

func (s *session) planned(format string, args ...any) {
	s.report.Plan = append(s.report.Plan, fmt.Sprintf(format, args...))
}

// plan decides what will be done, or that nothing can be.
func (s *session) plan(ctx context.Context) error {
	if why, advice := usable(s.facts); why != "" && (s.o.Image == "" || s.facts.distribution == "") {
		return refuse(why, advice)
	}
	if s.o.Backups != "" {
		s.planned("back up the configuration to %s", s.o.Backups)
	}
	var err error
	switch {
	case s.o.Image != "":
		err = s.planImage()
	case s.o.Remove:
		err = s.planRemoval()
	default:
		err = s.planPackage(ctx)
	}
	if err != nil {
		return err
	}
	for _, p := range s.report.Plan {
		s.note("%s", p)
	}
	return nil
}

func (s *session) planPackage(ctx context.Context) error {
	pkg, err := s.o.choose(s.facts)
	if err != nil {
		if _, ok := errors.AsType[*Failure](err); ok {
			return err
		}
		return refuse(err.Error(), "Build it again with `make packages`, or download it again.")
	}
	s.report.Package, s.report.Version, s.report.Signed = pkg.file, pkg.Version, pkg.signed
	was := s.facts.Installed
	order := archive.CompareVersions(pkg.Version, was)
	switch {
	case was != "" && order == 0:
		s.planned("globalnet %s is installed already: only configure", was)
		s.report.What = "configured"
	case was != "" && order < 0 && !s.o.Downgrade:
		return refuse(fmt.Sprintf("the router has globalnet %s, which is newer than %s", was, pkg.Version), "Give --downgrade if you want that.")
	default:
		if why, advice := fits(s.facts, pkg.Archive); why != "" {
			return refuse(why, advice)
		}
		s.pkg = pkg
		s.report.What = "installed"
		if was != "" {
			s.report.What = "upgraded"
			s.planned("upgrade globalnet %s to %s; key and configuration stay", was, pkg.Version)
		} else {
			s.planned("install globalnet %s for %s: %s to send, at most %s of %s flash", pkg.Version, pkg.Arch, kib(pkg.Size/1024), kib(overlayNeed(s.facts, pkg.Archive)), kib(s.facts.OverlayK))
		}
	}
	if s.edits, err = s.o.edits(s.facts); err != nil {
		return err
	}
	if err := s.planSetup(ctx); err != nil {
		return err
	}
	for _, line := range s.edits.say {
		s.planned("%s", line)
	}
	if s.pkg != nil || !s.edits.empty() {
		s.planned("see over a new connection that it works; else the router puts itself back within %s", s.limit())
	}
	return nil
}

// limit is how long the router waits for a confirmation.
func (s *session) limit() time.Duration {
	if s.pkg != nil && s.facts.Installed != "" {
		return s.o.times.upgrade
	}
	return s.o.times.apply
}

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// backup saves what sysupgrade would keep, which includes the key of the node.
func (s *session) backup(ctx context.Context) (err error) {
	if s.o.Backups == "" {
		return nil
	}
	if err := os.MkdirAll(s.o.Backups, 0o700); err != nil {
		return fmt.Errorf("keeping the backup: %w", err)
	}
	var packed bytes.Buffer
	if err := s.conn.stream(ctx, "sysupgrade -b - 2>/dev/null || tar -czf - -C / etc/config $(cd / && ls -d etc/globalnet etc/passwd etc/shadow etc/dropbear 2>/dev/null)", nil, &packed); err != nil {
		return err
	}
	z, err := gzip.NewReader(bytes.NewReader(packed.Bytes()))
	if err == nil {
		_, err = io.Copy(io.Discard, z)
	}
	if err != nil {
		return fmt.Errorf("the backup did not arrive whole: %w", err)
	}
	name := strings.NewReplacer(":", "_", "/", "_", "[", "", "]", "").Replace(s.target.Host + "-" + s.target.Port)
	file := filepath.Join(s.o.Backups, fmt.Sprintf("%s-%s.tar.gz", strings.TrimSuffix(name, "-22"), time.Now().UTC().Format("20060102-150405")))
	if err := os.WriteFile(file, packed.Bytes(), 0o600); err != nil {
		return fmt.Errorf("keeping the backup: %w", err)
	}
	s.report.Backup = file
	return nil
}

// upload writes a file into the stage and compares its digest.
func (s *session) upload(ctx context.Context, name string, content []byte) error {
	to := path.Join(guard.Stage, name)
	command := fmt.Sprintf("umask 077; mkdir -p %s && cat >%s && sha256sum <%s", guard.Stage, to, to)
	out, err := s.conn.run(ctx, command, &counted{s: s, r: bytes.NewReader(content), total: int64(len(content)), start: time.Now()})
	if e, ok := errors.AsType[*exitError](err); ok {
		return fmt.Errorf("sending %s: there is no room in the router's /tmp: %w", name, e)
	}
	if err != nil {
		return fmt.Errorf("sending %s: %w", name, err)
	}
	if want := fmt.Sprintf("%x", sha256.Sum256(content)); strings.Fields(out + " -")[0] != want {
		return fmt.Errorf("sending %s: it did not arrive as it was sent (SHA-256 %.16s…, want %.16s…)", name, out, want)
	}
	return nil
}

// counted shows how much was read of what is sent.
type counted struct {
	s           *session
	r           io.Reader
	done, total int64
	start, last time.Time
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p[:min(len(p), 32<<10)])
	c.done += int64(n)
	if c.total < 64<<10 || time.Since(c.last) < 100*time.Millisecond && c.done < c.total {
		return n, err
	}
	c.last = time.Now()
	var left time.Duration
	if spent := time.Since(c.start); c.done > 0 {
		left = time.Duration(float64(spent) * float64(c.total-c.done) / float64(c.done))
	}
	c.s.emit(Event{Done: c.done, Total: c.total, Left: left})
	return n, err
}

// archive is what is to be installed, nil for nothing.
func (s *session) archive() *archive.Archive {
	if s.pkg == nil {
		return nil
	}
	return s.pkg.Archive
}

func (s *session) packageName() string {
	if s.pkg.APK {
		return "globalnet.apk"
	}
	return "globalnet.ipk"
}

func (s *session) send(ctx context.Context) error { return s.upload(ctx, s.packageName(), s.pkg.bytes) }

// arm keeps the old files on the router, and has it put them back unless it hears
// of us: by a process that survives the connection, and by a hook at its start.
func (s *session) arm(ctx context.Context) error {
	if err := s.upload(ctx, "guard", []byte(unix(guard.Script))); err != nil {
		return err
	}
	if err := s.upload(ctx, "paths", []byte(strings.Join(guard.Paths(s.facts.Manager, s.archive(), s.facts.files), "\n")+"\n")); err != nil {
		return err
	}
	s.armed = true // or not: the connection may end before the answer
	_, err := s.conn.run(ctx, fmt.Sprintf("KEEP=%s sh %s/guard arm %d", keepMode(s.facts, s.archive()), guard.Stage, seconds(s.o.times.install)), nil)
	if e, ok := errors.AsType[*exitError](err); ok {
		s.armed = !strings.Contains(e.said, "another flash")
		return fmt.Errorf("keeping the old files: %w", err)
	}
	return err
}

func (s *session) install(ctx context.Context) error {
	s.since = time.Now()
	file := path.Join(guard.Stage, s.packageName())
	if s.pkg.APK && s.pkg.apkKey != nil {
		if _, err := s.conn.run(ctx, "cat >/etc/apk/keys/globalnet.pem", bytes.NewReader(s.pkg.apkKey)); err != nil {
			return fmt.Errorf("installing the key of the package: %w", err)
		}
	}
	if s.o.PublicKey != nil { // by which `globalnet upgrade` there will go
		if _, err := s.conn.run(ctx, "mkdir -p -m 0700 /etc/globalnet && mkdir -p "+guard.Keys+" && cat >"+guard.Keys+"/flash.pub", bytes.NewReader(s.o.PublicKey)); err != nil {
			return fmt.Errorf("installing the key of the signature: %w", err)
		}
	}
	if _, err := s.conn.run(ctx, s.installCommand(file)+" </dev/null", nil); err != nil {
		return fmt.Errorf("installing: %w", err)
	}
	// Managers report success with a full flash too.
	out, err := s.conn.run(ctx, "sha256sum </usr/sbin/globalnet; sync; rm -f "+file, nil)
	if err != nil {
		return err
	}
	want := s.pkg.File("/usr/sbin/globalnet")
	if got := strings.Fields(out + " -")[0]; want != nil && got != fmt.Sprintf("%x", want.Sum) {
		return errors.New("the installed program is not that of the package; is the flash full or worn out?")
	}
	return nil
}

func (s *session) installCommand(file string) string {
	older := s.facts.Installed != "" && archive.CompareVersions(s.pkg.Version, s.facts.Installed) < 0
	command := "opkg install"
	switch {
	case s.pkg.APK && s.pkg.apkKey != nil:
		command = "apk add --no-network"
	case s.pkg.APK: // its digest was compared, and its signature where a key was named
		command = "apk add --no-network --allow-untrusted"
	default:
		if guard.Compresses(s.facts.Overlay) {
			command += " --force-space"
		}
		if older {
			command += " --force-downgrade"
		}
	}
	return command + " " + file
}

func (s *session) configure(ctx context.Context) error {
	if len(s.o.Passphrase) > 0 {
		secret := append(slices.Clone(s.o.Passphrase), '\n')
		if _, err := s.conn.run(ctx, "umask 077; mkdir -p /etc/globalnet && cat >"+passphraseFile+" && chmod 600 "+passphraseFile, bytes.NewReader(secret)); err != nil {
			return fmt.Errorf("writing the passphrase: %w", err)
		}
	}
	if len(s.edits.lines) > 0 {
		if _, err := s.conn.run(ctx, "uci -q batch", strings.NewReader(s.edits.batch())); err != nil {
			return fmt.Errorf("writing the configuration: %w", err)
		}
	}
	if _, err := s.conn.run(ctx, "globalnet config check /etc/config/globalnet </dev/null", nil); err != nil {
		return fmt.Errorf("checking the configuration: %w", err)
	}
	return s.setUp(ctx)
}

// apply has the router follow its new configuration, which may cut us off.
func (s *session) apply(ctx context.Context) error {
	_, err := s.conn.run(ctx, fmt.Sprintf("%s start-apply %d", guard.Program, seconds(s.limit())), nil)
	return err
}
