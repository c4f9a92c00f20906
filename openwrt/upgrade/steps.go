package upgrade

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"globalnet/openwrt/archive"
	"globalnet/openwrt/guard"
)

// fresh is the new program while it is written.
const fresh = program + ".new"

// checkProgram judges a bare program by its header, and by having it say its version:
// one for another processor does not get that far.
func (u *upgrade) checkProgram(ctx context.Context, header []byte) error {
	var own [20]byte
	self, err := os.Open("/proc/self/exe")
	if err == nil {
		_, err = io.ReadFull(self, own[:])
		self.Close()
	}
	if err != nil {
		return err
	}
	// Class, order of bytes and machine.
	if header[4] != own[4] || header[5] != own[5] || header[18] != own[18] || header[19] != own[19] {
		return refuse("%s is for another architecture than this router's", u.o.File)
	}
	info, err := os.Stat(u.file)
	if err != nil {
		return refusal{err}
	}
	if err := os.Chmod(u.file, 0o755); err != nil {
		return refusal{err}
	}
	version := func(file string) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		var v struct{ Version string }
		out, err := output(ctx, file, "version", "--json")
		if err == nil && (json.Unmarshal([]byte(out), &v) != nil || v.Version == "") {
			err = fmt.Errorf("%s does not say its version", file)
		}
		return v.Version, err
	}
	if u.report.Version, err = version(u.file); err != nil {
		return refuse("%s does not run here: %w", u.o.File, err)
	}
	if is, err := version(program); err == nil {
		u.here.installed = is
	}
	// A third of it is what compressing file systems store; half, to be sure.
	u.bare, u.a = true, &archive.Archive{Size: info.Size() / 2, Installed: info.Size(), Files: []archive.File{{Path: program}, {Path: fresh}}}
	release := func(v string) bool { return strings.HasPrefix(v, "v") && !strings.Contains(v, "-g") }
	a, b := u.report.Version, u.here.installed
	return u.judge(archive.CompareVersions(strings.TrimPrefix(a, "v"), strings.TrimPrefix(b, "v")), a == b || release(a) && release(b))
}

// arm has the guard keep every file that may change. It is not interrupted.
func (u *upgrade) arm() error {
	paths := guard.Paths(u.here.manager, u.a, u.here.files)
	if err := os.MkdirAll(guard.Stage, 0o700); err != nil {
		return err
	}
	for name, text := range map[string]string{"guard": guard.Script, "paths": strings.Join(paths, "\n") + "\n"} {
		if err := os.WriteFile(filepath.Join(guard.Stage, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	var programK int64
	if info, err := os.Stat(program); err == nil {
		programK = info.Size() / 1024
	}
	// Whatever shell began us, the guard is told who we are: we are named as the agent is.
	cmd := exec.Command("sh", guard.Stage+"/guard", "arm", seconds(u.o.times.install))
	cmd.Env = append(os.Environ(), "KEEP="+guard.Keep(u.here.freeK, u.here.need(u.a), programK), "BY="+strconv.Itoa(os.Getpid()))
	if out, err := cmd.Output(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (u *upgrade) install(ctx context.Context) error {
	switch {
	case u.bare:
		if err := copyFile(fresh, u.file); err != nil {
			return fmt.Errorf("installing: %w", err)
		}
		if err := os.Rename(fresh, program); err != nil {
			return fmt.Errorf("installing: %w", err)
		}
		if digest(program) != digest(u.file) {
			return errors.New("the installed program is not that of the file; is the flash full or worn out?")
		}
		if u.here.running {
			return command(ctx, service, "restart")
		}
		return nil
	case u.a.APK: // what it is was checked, by a signature or because that was not wanted
		if err := command(ctx, "apk", "add", "--no-network", "--allow-untrusted", u.file); err != nil {
			return fmt.Errorf("installing: %w", err)
		}
	default:
		argv := []string{"opkg", "install"}
		if guard.Compresses(u.here.fsType) {
			argv = append(argv, "--force-space")
		}
		if u.o.AllowDowngrade {
			argv = append(argv, "--force-downgrade")
		}
		if err := command(ctx, append(argv, u.file)...); err != nil {
			return fmt.Errorf("installing: %w", err)
		}
	}
	// Managers report success with a full flash too.
	if f := u.a.File(program); f != nil && digest(program) != fmt.Sprintf("%x", f.Sum) {
		return errors.New("the installed program is not that of the package; is the flash full or worn out?")
	}
	return nil
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// verify waits until the new agent has run for a while, with the old key and
// configuration. Where none ran, that the program runs has to do.
func (u *upgrade) verify(ctx context.Context, since time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, u.o.times.healthy)
	defer cancel()
	for {
		err := u.healthy(ctx, since)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("the new version was not healthy in %v: %w", u.o.times.healthy, err)
			}
			return ctx.Err()
		case <-time.After(poll):
		}
	}
}

func (u *upgrade) healthy(ctx context.Context, since time.Time) error {
	if digest(identity) != u.key && u.key != "" {
		return errors.New("the key of the node is not the same as before")
	}
	if digest(settings) != u.conf {
		return errors.New("the configuration is not the same as before")
	}
	if !u.here.running {
		return command(ctx, program, "config", "check", settings)
	}
	h, err := status(ctx)
	switch {
	case err != nil:
		return err
	case u.was.Node != "" && h.Node != u.was.Node:
		return errors.New("it is another node than before")
	case h.Uptime > time.Since(since):
		return errors.New("the old agent runs on")
	case h.Uptime < u.o.times.settle:
		return fmt.Errorf("the agent runs since %v", h.Uptime)
	}
	u.report.Node = h.Node
	return nil
}

// confirm tells the guard that all is well.
func (u *upgrade) confirm(ctx context.Context) error {
	if err := command(context.WithoutCancel(ctx), guard.Program, "confirm", "upgrade"); err != nil {
		return fmt.Errorf("the router has put itself back meanwhile: it took too long: %w", err)
	}
	return nil
}

// putBack has the guard restore everything, and waits until it has.
func (u *upgrade) putBack() error {
	ctx, cancel := context.WithTimeout(context.Background(), u.o.times.healthy)
	defer cancel()
	if _, err := os.Stat(guard.Armed); err != nil {
		return nil // it did already
	}
	if err := command(ctx, guard.Program, "undo"); err != nil {
		return err
	}
	for {
		if _, err := os.Stat(guard.Armed); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the guard has not ended")
		case <-time.After(poll / 2):
		}
	}
}
