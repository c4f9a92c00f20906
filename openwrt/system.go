// Package openwrt sets up what surrounds the agent on OpenWrt: radios in
// /etc/config/wireless, their networks, the firewall's zones, dnsmasq, and a light.
//
// What is wanted is in the agent's own configuration; a Plan is the difference to
// what is there, computed without writing. All sections made here have names that
// begin with "globalnet"; the few options changed in sections of others are noted
// in the agent's configuration and put back. A radio is touched only if the owner
// gave it. A System owns nothing but the folder of a trial.
package openwrt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"globalnet/board"
	"globalnet/openwrt/uci"
)

// Zone is the top-level name of GlobalNet, and Resolver where the agent answers it.
const (
	Zone     = "gnet.alt"
	Resolver = "127.0.0.1#18320"
)

// prefix begins the name of every section of ours in the files of others.
const prefix = "globalnet"

// ifnamePrefix begins the names of interfaces on the air.
const ifnamePrefix = "gnmesh"

// packages are the UCI packages that are read and changed, in the order in which
// they are written: our own has the notes for the way back, so it comes first.
var packages = []string{"globalnet", "network", "wireless", "firewall", "dhcp", "system"}

// Runner runs the programs of the router.
type Runner interface {
	// Run runs a program and returns what it printed. An error says which and why.
	Run(ctx context.Context, argv ...string) ([]byte, error)
}

// System is the router that is set up.
type System struct {
	Root  string // where /etc begins; empty: /
	Run   Runner
	Board board.Found
}

// Open returns the router that this process runs on.
func Open() *System { return &System{Root: "/", Run: programs{}, Board: board.Detect("/")} }

// programs is Runner by exec.
type programs struct{}

func (programs) Run(ctx context.Context, argv ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(complaints.String()))
	}
	return out, nil
}

func (s *System) path(name string) string { return filepath.Join(s.Root, name) }

func (s *System) exists(name string) bool {
	_, err := os.Stat(s.path(name))
	return err == nil
}

// ErrNotOpenWrt is returned where there is no UCI to set up.
var ErrNotOpenWrt = errors.New("this is not OpenWrt: it has no /etc/config/network; `globalnet radio join` does without")

// files are the open configuration files, by package. What a router does not have
// is missing: nothing is made for a firewall that is not there.
type files map[string]*uci.Stored

func (s *System) open() (files, error) {
	if !s.exists("etc/config/network") {
		return nil, ErrNotOpenWrt
	}
	fs := make(files)
	for _, name := range packages {
		if !s.exists("etc/config/" + name) {
			continue
		}
		// `uci set` without `uci commit`: the owner is in the middle of something.
		if info, err := os.Stat(s.path("tmp/.uci/" + name)); err == nil && info.Size() > 0 {
			return nil, fmt.Errorf("%s has changes that are not committed: `uci commit %s` or `uci revert %s` first", name, name, name)
		}
		f, err := uci.Open(s.path("etc/config/" + name))
		if err != nil {
			return nil, err
		}
		fs[name] = f
	}
	if fs["globalnet"] == nil {
		return nil, errors.New("there is no /etc/config/globalnet to keep in mind what was changed")
	}
	return fs, nil
}

// OpenFiles returns a router whose files are below a folder, such as an image that
// is being built. Nothing is run.
func OpenFiles(root string) *System {
	return &System{Root: root, Run: nothing{}, Board: board.Detect(root)}
}

type nothing struct{}

func (nothing) Run(context.Context, ...string) ([]byte, error) { return nil, nil }
