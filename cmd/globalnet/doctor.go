package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"globalnet/agent/config"
	"globalnet/agent/control"
	"globalnet/agent/firewall"
	"globalnet/mesh"
	"globalnet/openwrt"
)

// history is what the doctor has asked and seen; judging it is in findings.go.
type history struct {
	config    config.Config
	configErr error

	status    *mesh.Status // nil: no agent answered
	statusErr error
	dht       *control.DHTStatus
	onion     *control.OnionStatus
	lan       *control.LANStatus
	services  []control.Service

	root     bool
	tun      error // opening /dev/net/tun
	noIPv6   bool
	drops    []string // base chains of a firewall that drop what no rule accepts
	openwrt  bool
	zone     bool // the firewall zone of `globalnet setup` is there
	radios   []openwrt.Radio
	conflict map[string]string // why a radio is not in the mesh although it was given

	names error // asking the router's DNS server for a name of ours; meaningful with lan

	clockSet bool
	now      time.Time

	free       uint64 // bytes in the folder of state files
	readOnly   bool
	spaceErr   error
	memory     uint64 // bytes available
	memoryFull uint64
}

const doctorWait = 3 * time.Second // for one answer of the agent or of DNS

func careCommands() []command {
	return []command{
		{
			name: "doctor", flags: "slow json config socket root", run: doctor,
			summary: "Examine this node: what is wrong, and what to do about it.",
			detail:  "It looks at the configuration, the kernel, firewall, radios, clock, flash and memory, and asks the\nagent for neighbours, the hash table, the onion, services and the LAN. It changes nothing. The exit\ncode is 1 if something is broken. As root it sees the firewall too.",
			example: "globalnet doctor\nglobalnet doctor --json",
		},
		{
			name: "top", flags: "json interval config socket", run: top,
			summary: "Show the links and what they carry, live, until Ctrl-C.",
			detail:  "Rates are of the last interval. With --json, or where the output is no terminal, each round is\nprinted below the one before.",
			example: "globalnet top\nglobalnet top --interval 5s --json",
		},
		{
			name: "completion", args: "bash|zsh|fish", least: 1, most: 1, run: completion,
			summary: "Print a script that completes commands and flags in a shell.",
			example: "globalnet completion bash >/etc/bash_completion.d/globalnet\nglobalnet completion fish >~/.config/fish/completions/globalnet.fish",
		},
		{
			name: "manual", run: manual,
			summary: "Print the manual page, in the language of man.",
			example: "globalnet manual >/usr/local/share/man/man8/globalnet.8\nglobalnet manual | man -l -",
		},
	}
}

func doctor(ctx context.Context, in *invocation) error {
	h := in.examine(ctx)
	list := diagnose(h)
	broken := countFunc(list, func(f finding) bool { return f.State == bad })
	doubtful := countFunc(list, func(f finding) bool { return f.State == warn })
	if in.json {
		if err := in.printJSON(struct {
			Broken   int       `json:"broken"`
			Doubtful int       `json:"doubtful"`
			Findings []finding `json:"findings"`
		}{broken, doubtful, list}); err != nil {
			return err
		}
	} else {
		for _, f := range list {
			fmt.Fprintf(in.stdout, "%-5s %-14s %s\n", f.State, f.Subject, printable(f.Text))
			if f.Next != "" {
				fmt.Fprintf(in.stdout, "      %-14s %s\n", "", printable(f.Next))
			}
		}
	}
	if broken > 0 {
		return fmt.Errorf("%s broken", count(broken, "thing")+map[bool]string{true: " is", false: " are"}[broken == 1])
	}
	return nil
}

// examine asks and looks; nothing of it is changed.
func (in *invocation) examine(ctx context.Context) history {
	h := history{root: os.Geteuid() == 0, now: time.Now()}
	h.config, h.configErr = in.config()
	in.askAgent(ctx, &h)
	in.lookAtKernel(&h)
	in.lookAtRouter(&h)
	if h.lan != nil && len(h.lan.Networks) > 0 && h.lan.Networks[0].Mode != "off" {
		h.names = askName(ctx, "router."+openwrt.Zone)
	}
	var clock unix.Timex
	state, err := unix.Adjtimex(&clock)
	h.clockSet = err == nil && state != unix.TIME_ERROR
	h.lookAtSpace()
	return h
}

func (in *invocation) askAgent(ctx context.Context, h *history) {
	client, err := in.client()
	if err != nil {
		h.statusErr = err
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 3*doctorWait)
	defer cancel()
	s, err := client.Status(ctx)
	if h.statusErr = err; err != nil {
		return
	}
	h.status = &s
	if v, err := client.DHTStatus(ctx); err == nil {
		h.dht = &v
	}
	if v, err := client.Onion(ctx); err == nil {
		h.onion = &v
	}
	if v, err := client.LAN(ctx); err == nil {
		h.lan = &v
	}
	h.services, _ = client.Services(ctx) // none if the onion is off
}

func (in *invocation) lookAtKernel(h *history) {
	f, err := os.OpenFile(filepath.Join(in.root, "dev/net/tun"), os.O_RDWR, 0)
	if h.tun = err; err == nil {
		f.Close()
	}
	text, err := os.ReadFile(filepath.Join(in.root, "proc/sys/net/ipv6/conf/all/disable_ipv6"))
	h.noIPv6 = err != nil || string(bytes.TrimSpace(text)) == "1"
	if h.root && in.root == "/" {
		h.drops, _ = firewall.Drops() // without nftables nothing drops
	}
	h.memory, h.memoryFull = memory(in.root)
}

// memory reads what is available, and all, from /proc/meminfo, in bytes.
func memory(root string) (available, all uint64) {
	text, _ := os.ReadFile(filepath.Join(root, "proc/meminfo")) // zero if it is not there
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kib, _ := strconv.ParseUint(f[1], 10, 54)
		switch f[0] {
		case "MemAvailable:":
			available = kib << 10
		case "MemTotal:":
			all = kib << 10
		}
	}
	return available, all
}

func (in *invocation) lookAtRouter(h *history) {
	text, err := os.ReadFile(filepath.Join(in.root, "etc/config/firewall"))
	if h.openwrt = err == nil; !h.openwrt {
		return
	}
	h.zone = bytes.Contains(text, []byte("'globalnet"))
	s := in.router()
	h.radios, _ = s.Radios() // no radio is no fault
	h.conflict = map[string]string{}
	for _, r := range h.radios {
		var conflict *openwrt.Conflict
		if _, err := s.Setup(openwrt.Give{Radio: r.Name}); errors.As(err, &conflict) {
			h.conflict[r.Name] = conflict.Text
		}
	}
}

// lookAtSpace looks at the folder of state files, or where it will be made.
func (h *history) lookAtSpace() {
	folder := h.config.StateDir
	var fs unix.Statfs_t
	for {
		h.spaceErr = unix.Statfs(folder, &fs)
		if !errors.Is(h.spaceErr, unix.ENOENT) || folder == "/" || folder == "." {
			break
		}
		folder = filepath.Dir(folder)
	}
	if h.spaceErr == nil {
		h.free, h.readOnly = fs.Bavail*uint64(fs.Bsize), fs.Flags&unix.ST_RDONLY != 0
	}
}

// askName asks the DNS server of this machine's LAN, as a client would.
func askName(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, doctorWait)
	defer cancel()
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:53")
	}}
	_, err := r.LookupNetIP(ctx, "ip", name+".")
	return err
}
