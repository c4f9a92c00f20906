package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"globalnet/agent/config"
	"globalnet/internal/identity"
	"globalnet/openwrt"
)

// runFlags go beyond the configuration, for one run of the agent.
type runFlags struct {
	listen  string
	connect string
}

// adjust returns what the flags of run change of a configuration. Names of peers are
// those of c.
func (in *invocation) adjust(c config.Config) (func(*config.Config), error) {
	port := uint16(0)
	if v := in.run.listen; v != "" {
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil || n == 0 {
			return nil, usageError{fmt.Errorf("--listen %q: want a port, 1 to 65535", v)}
		}
		port = uint16(n)
	}
	peers, err := peersOf(in.run.connect, c.Names)
	if err != nil {
		return nil, usageError{err}
	}
	return func(c *config.Config) {
		if port != 0 {
			c.ListenPort = port
		}
		if in.identity != "" {
			c.Identity = in.identity
		}
		for _, p := range peers {
			// What the command line says of a node holds.
			c.Peers = slices.DeleteFunc(slices.Clone(c.Peers), func(q config.Peer) bool { return q.Node == p.Node })
			c.Peers = append(c.Peers, p)
		}
	}, nil
}

// peersOf reads NODE@HOST:PORT, separated by commas. Who is at an address is part of it:
// nobody is connected to without being known.
func peersOf(text string, names []config.Name) ([]config.Peer, error) {
	var peers []config.Peer
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		node, address, ok := strings.Cut(part, "@")
		if !ok {
			return nil, fmt.Errorf("--connect %q: want NODE@HOST:PORT; NODE is what `globalnet key show` prints there, or a name of the configuration", part)
		}
		id, err := identity.ParseNodeID(node)
		if i := slices.IndexFunc(names, func(n config.Name) bool { return n.Name == node }); i >= 0 {
			id, err = names[i].Node, nil
		}
		if err != nil {
			return nil, fmt.Errorf("--connect %q: %q is no NodeID and no name of the configuration: %w", part, node, err)
		}
		at, err := config.ParseAddress(address)
		if err != nil {
			return nil, fmt.Errorf("--connect %q: %w", part, err)
		}
		if i := slices.IndexFunc(peers, func(p config.Peer) bool { return p.Node == id }); i >= 0 {
			peers[i].Addresses = append(peers[i].Addresses, at)
			continue
		}
		peers = append(peers, config.Peer{Node: id, Addresses: []config.Address{at}})
	}
	return peers, nil
}

// freeRadios are OpenWrt's radios that are not in the mesh.
func freeRadios() []string {
	radios, _ := openwrt.Open().Radios() // none where there is no OpenWrt
	var free []string
	for _, r := range radios {
		if !slices.ContainsFunc(r.Uses, func(u openwrt.Use) bool { return u.Ours && !u.Disabled }) {
			free = append(free, r.Name)
		}
	}
	return free
}

// tellOpenWrt has its services look at what was written: ours then gives the radios what
// the configuration says of them, by `globalnet setup`.
func tellOpenWrt() {
	const command = "/sbin/reload_config"
	if _, err := os.Stat(command); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	exec.CommandContext(ctx, command).Run() // the agent itself has taken the change already
}
