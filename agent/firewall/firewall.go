// Package firewall brings what clients of a LAN send to the transparent proxy of this
// router, and drops what must not leave it. It follows DESIGN section 6; decision 0040
// says what outlives what.
//
// There are two layers that do not depend on each other. Table `inet globalnet` of
// nftables redirects and drops. Policy rules forbid the kernel to route anything that
// comes from a LAN in mode all: where somebody flushes the whole ruleset, nothing
// passes until it is there again. Both belong to the kernel: they stay when the agent
// ends, however it ends, and are removed by Apply with other networks and by Remove.
//
// A Firewall owns its netlink sockets. Its methods may be called from any goroutine.
package firewall

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"globalnet/agent/firewall/nft"
)

// Mode is what a network or a client gets.
type Mode string

// The modes.
const (
	Off   Mode = "off"
	Names Mode = "names"
	All   Mode = "all"
	Block Mode = "block" // of a client
)

// Client is a client with a mode of its own, known by one of its addresses.
type Client struct {
	MAC  [6]byte
	Addr netip.Addr // if it is valid, MAC is not looked at
	Mode Mode
}

// Network is a LAN.
type Network struct {
	Name       string
	Interfaces []string
	Mode       Mode
	DNS        bool // DNS comes to us in mode Names too
	UDP        bool // in mode All: datagrams come to us, else they are rejected
	Mesh       bool // mesh addresses may be reached by routing
	Clients    []Client
}

// effective reports whether n changes anything.
func (n Network) effective() bool { return n.Mode != Off || len(n.Clients) > 0 || n.Mesh }

// Rules is everything that shall hold.
type Rules struct {
	Networks  []Network
	DNSPort   uint16
	ProxyPort uint16 // TCP, and UDP by TPROXY

	Virtual4, Virtual6 netip.Prefix // addresses of names
	Mesh               netip.Prefix
	Self               netip.Addr // our mesh address
	Links              string     // how the names of mesh interfaces begin
}

func (r Rules) effective() bool { return slices.ContainsFunc(r.Networks, Network.effective) }

// has reports whether a network or client is in one of the modes.
func (n Network) has(modes ...Mode) bool {
	return slices.Contains(modes, n.Mode) || slices.ContainsFunc(n.Clients, func(c Client) bool { return slices.Contains(modes, c.Mode) })
}

const (
	tableName = "globalnet"

	// checkTime is between two looks at what nobody tells of: policy rules.
	checkTime = 2 * time.Second
)

// Firewall keeps Rules in the kernel.
type Firewall struct {
	log *slog.Logger

	mu       sync.Mutex
	rules    Rules
	holds    bool           // rules shall be in the kernel
	noTProxy bool           // the kernel has none: datagrams are rejected
	held     []netip.Prefix // of clients, as the table has them
	restored uint64
}

// New returns a Firewall that has not touched anything yet.
func New(log *slog.Logger) *Firewall {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Firewall{log: log}
}

// Apply makes the kernel hold r, and nothing of ours besides. The new rules take the
// place of the old ones in one step. On an error what was there stays.
func (f *Firewall) Apply(r Rules) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.rules
	if !r.effective() {
		f.rules, f.holds = r, false
		return remove()
	}
	if err := f.put(r); err != nil {
		return err
	}
	f.rules, f.holds = r, true
	if err := cut(before, r); err != nil {
		f.log.Warn("connections from before the LAN's new rules go on if they are offloaded", "err", err)
	}
	return nil
}

// put writes both layers. Forbidding comes first, allowing last.
func (f *Firewall) put(r Rules) error {
	if err := addRoutes(r); err != nil {
		return err
	}
	held := heldPrefixes(r)
	err := writeTable(r, !f.noTProxy, held)
	if err != nil && !f.noTProxy && slices.ContainsFunc(r.Networks, func(n Network) bool { return n.UDP }) {
		if err = writeTable(r, false, held); err == nil {
			f.noTProxy = true
			f.log.Warn("the kernel has no transparent proxying of UDP (kmod-nft-tproxy): it is rejected")
		}
	}
	if err != nil {
		return err
	}
	f.held = held
	return dropRoutes(r)
}

// TProxy reports whether datagrams can be redirected.
func (f *Firewall) TProxy() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.noTProxy
}

// Restored returns how often somebody else had removed the rules.
func (f *Firewall) Restored() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.restored
}

// Remove takes everything out of the kernel that any Firewall has put there: clients'
// traffic takes its usual way.
func (f *Firewall) Remove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules, f.holds = Rules{}, false
	return remove()
}

// remove opens: the table goes first, so that nothing is redirected to nowhere.
func remove() error {
	return errors.Join(deleteTable(), dropRoutes(Rules{}))
}

// Run puts the rules back when somebody has removed them, until ctx ends. Then it
// leaves them in the kernel.
func (f *Firewall) Run(ctx context.Context) error {
	changes := make(chan struct{}, 1)
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { watch(ctx, changes) })
	tick := time.NewTicker(checkTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changes:
		case <-tick.C:
		}
		f.check()
	}
}

// check looks whether the rules are there.
func (f *Firewall) check() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.holds {
		return
	}
	holdPrefixes(f.rules) // they may have changed; a failure is tried again
	if tableIsThere() && routesAreThere(f.rules) {
		if !slices.Equal(heldPrefixes(f.rules), f.held) {
			if err := f.put(f.rules); err != nil {
				f.log.Error("the rules of the LAN do not know of its new addresses", "err", err)
			}
		}
		return
	}
	f.restored++
	if err := f.put(f.rules); err != nil {
		f.log.Error("the rules of the LAN were removed and cannot be put back", "err", err)
		return
	}
	f.log.Warn("somebody had removed the rules of the LAN; they are back")
}

// watch tells of changes of the ruleset until ctx ends.
func watch(ctx context.Context, changes chan<- struct{}) {
	for ctx.Err() == nil {
		if err := monitor(ctx, changes); err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(checkTime):
			}
		}
	}
}

func monitor(ctx context.Context, changes chan<- struct{}) error {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })()
	for {
		// What is lost for want of room has something in it that we want to know of.
		if _, err := c.Receive(); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		select {
		case changes <- struct{}{}:
		default:
		}
	}
}

// Blocked returns how many packets were refused, by reason.
func Blocked() (map[string]uint64, error) {
	blocked, err := nft.Counters(tableName)
	if err != nil {
		return nil, fmt.Errorf("reading counters: %w", err)
	}
	return blocked, nil
}
