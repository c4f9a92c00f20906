package upgrade

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"globalnet/openwrt/archive"
	"globalnet/openwrt/guard"
)

// device is what was found here.
type device struct {
	manager   string // "apk" or "opkg"
	arches    []string
	installed string // version of the package
	files     []string
	fsType    string // of the overlay
	freeK     int64
	databaseK int64
	running   bool
}

func (r *device) takes(arch string) bool {
	return arch == "all" || arch == "noarch" || slices.Contains(r.arches, arch)
}

func (r *device) need(a *archive.Archive) int64 { return guard.Need(r.fsType, r.databaseK, a) }

// look reads what the router is, and what must be the same afterwards.
func (u *upgrade) look(ctx context.Context) error {
	r := &u.here
	if os.Geteuid() != 0 {
		return refuse("only root upgrades")
	}
	if _, err := os.Stat(guard.Armed); err == nil {
		return refuse("another upgrade or flash is under way; if none is, restart the router: it puts itself back")
	}
	database, list, begin, version := "/lib/apk/db/installed", "/lib/apk/packages/globalnet.list", "P:globalnet\n", "V:"
	if arch, err := os.ReadFile("/etc/apk/arch"); err == nil {
		r.manager, r.arches = "apk", strings.Fields(string(arch))
	} else if out, err := output(ctx, "opkg", "print-architecture"); err == nil {
		r.manager = "opkg"
		database, list, begin, version = "/usr/lib/opkg/status", "/usr/lib/opkg/info/globalnet.list", "Package: globalnet\n", "Version: "
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) > 1 {
				r.arches = append(r.arches, f[1])
			}
		}
	} else {
		return refuse("this is no OpenWrt: it has neither apk nor opkg; replace the program by hand")
	}
	text, err := os.ReadFile(database)
	if err != nil {
		return refusal{err}
	}
	r.databaseK = int64(len(text)) / 1024
	_, paragraph, ok := strings.Cut("\n"+string(text), "\n"+begin)
	if !ok {
		return refuse("globalnet was not installed as a package: use `flash`, or install the package by hand")
	}
	paragraph, _, _ = strings.Cut(paragraph, "\n\n")
	for line := range strings.Lines(paragraph) {
		if v, ok := strings.CutPrefix(line, version); ok {
			r.installed = strings.TrimSpace(v)
		}
	}
	if text, err := os.ReadFile(list); err == nil {
		r.files = strings.Fields(string(text))
	}
	r.overlay()
	r.running = command(ctx, service, "running") == nil
	u.key, u.conf = digest(identity), digest(settings)
	if r.running {
		u.was, _ = status(ctx)
	}
	return nil
}

// overlay measures what can be written to.
func (r *device) overlay() {
	at := "/"
	text, _ := os.ReadFile("/proc/mounts")
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 2 && (f[1] == "/overlay" || f[1] == at) {
			at, r.fsType = f[1], f[2]
		}
	}
	var fs syscall.Statfs_t
	if syscall.Statfs(at, &fs) == nil {
		r.freeK = int64(fs.Bavail) * int64(fs.Bsize) / 1024
	}
}

// digest is empty where there is no file.
func digest(name string) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

// output runs a program of the router; the error has what it said.
func output(ctx context.Context, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		text := strings.Join(strings.Fields(said.String()+" "+out.String()), " ")
		return "", fmt.Errorf("%s: %w: %s", argv[0], err, text[max(0, len(text)-400):])
	}
	return out.String(), nil
}

func command(ctx context.Context, argv ...string) error {
	_, err := output(ctx, argv...)
	return err
}

// health is what is read of `globalnet status --json`.
type health struct {
	Node   string        `json:"node"`
	Uptime time.Duration `json:"uptime_ns"`
}

// status asks by the installed program, which shows that it runs here at all.
func status(ctx context.Context) (health, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var h health
	out, err := output(ctx, program, "status", "--json")
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("`globalnet status` does not answer")
	}
	if err == nil && (json.Unmarshal([]byte(out), &h) != nil || h.Node == "") {
		err = errors.New("the agent answers what is no status")
	}
	return h, err
}
