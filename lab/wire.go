package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"globalnet/lab/medium"
	"globalnet/lab/netns"
	"globalnet/lab/topology"
)

// hub is a namespace of its own in which every cable is a bridge. A plug pulled
// there takes the carrier away at the node; a port taken off its bridge loses
// all frames while both ends still believe in the cable. Nodes cannot touch it.
type hub struct {
	ns      *netns.Namespace
	netlink *netlink.Handle

	mu     sync.Mutex
	cables []*cable
}

// cable joins two or more ends.
type cable struct {
	name   string
	bridge netlink.Link
	ends   []*end
}

// end is where a cable enters a node. Its state is what was asked for; apply makes it so.
type end struct {
	node   string
	ifname string
	port   netlink.Link // in the hub

	down        bool // the plug is pulled: no carrier
	silent      bool // frames vanish
	partitioned bool // frames vanish, because of a partition
}

func newHub(dir string) (*hub, error) {
	ns, err := netns.New(netns.Config{Name: "hub", Keep: []string{dir}, TmpDir: dir})
	if err != nil {
		return nil, err
	}
	h := &hub{ns: ns}
	if h.netlink, err = ns.Netlink(); err != nil {
		ns.Close()
		return nil, err
	}
	return h, nil
}

func (h *hub) close() {
	h.netlink.Close()
	h.ns.Close()
}

// plug is an end that is to be made.
type plug struct {
	node   string
	ns     *netns.Namespace
	ifname string
	addrs  []string
}

// addCable joins plugs. Its interfaces have the alias "wire".
func (l *Lab) addCable(name string, plugs []plug) error {
	h := l.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	no := false
	attrs := netlink.NewLinkAttrs()
	attrs.Name = fmt.Sprintf("cable%d", len(h.cables))
	bridge := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &no}
	c := &cable{name: name, bridge: bridge}
	err := h.netlink.LinkAdd(bridge)
	if err != nil {
		return fmt.Errorf("making cable %s: %w", name, netns.Explain(err))
	}
	h.quiet(bridge)
	if err := h.netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("making cable %s: %w", name, err)
	}
	for i, p := range plugs {
		l.macs++
		mac := medium.MAC(l.macs)
		attrs := netlink.NewLinkAttrs()
		attrs.Name = fmt.Sprintf("c%dp%d", len(h.cables), i)
		attrs.MasterIndex = bridge.Index
		port := &netlink.Veth{LinkAttrs: attrs, PeerName: p.ifname, PeerNamespace: netlink.NsFd(p.ns.Fd())}
		if err := h.netlink.LinkAdd(port); err != nil {
			return fmt.Errorf("cable %s to %s: %w", name, p.node, err)
		}
		h.quiet(port)
		if err := h.netlink.LinkSetUp(port); err != nil {
			return fmt.Errorf("cable %s to %s: %w", name, p.node, err)
		}
		if err := raise(p.ns, p.ifname, mac, "wire", p.addrs); err != nil {
			return err
		}
		c.ends = append(c.ends, &end{node: p.node, ifname: p.ifname, port: port})
	}
	h.cables = append(h.cables, c)
	return nil
}

// quiet keeps the hub itself from speaking on a cable.
func (h *hub) quiet(link netlink.Link) {
	h.netlink.LinkSetIP6AddrGenMode(link, nl.IN6_ADDR_GEN_MODE_NONE)
}

// addWire makes the interfaces "wire-b" at a and "wire-a" at b, or "wire-hall" on a segment hall.
func (l *Lab) addWire(w topology.Wire) error {
	var plugs []plug
	for i, name := range w.Nodes {
		other := w.Name
		if other == "" {
			other = w.Nodes[1-i]
		}
		plugs = append(plugs, plug{node: name, ns: l.byName[name].ns, ifname: "wire-" + other})
	}
	return l.addCable(w.Name, plugs)
}

// between lists the ends that lie between a and b. On a cable of several nodes
// only the end of a is meant, and b is the name of the cable.
func (h *hub) between(a, b string) []*end {
	var ends []*end
	for _, c := range h.cables {
		for _, e := range c.ends {
			switch {
			case len(c.ends) == 2 && c.has(a) && c.has(b) && a != b:
				ends = append(ends, e)
			case c.name == b && e.node == a, c.name == a && e.node == b:
				ends = append(ends, e)
			}
		}
	}
	return ends
}

func (c *cable) has(node string) bool {
	return slices.ContainsFunc(c.ends, func(e *end) bool { return e.node == node })
}

// set changes the ends between a and b, and reports whether there are any.
func (h *hub) set(a, b string, change func(*end)) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ends := h.between(a, b)
	for _, e := range ends {
		change(e)
	}
	return len(ends) > 0, h.apply()
}

// setAll changes every end of every cable.
func (h *hub) setAll(change func(*cable, *end)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.cables {
		for _, e := range c.ends {
			change(c, e)
		}
	}
	return h.apply()
}

// apply makes the kernel's state of every port what its end says.
func (h *hub) apply() error {
	var errs []error
	for _, c := range h.cables {
		for _, e := range c.ends {
			if e.silent || e.partitioned {
				errs = append(errs, h.netlink.LinkSetNoMaster(e.port))
			} else {
				errs = append(errs, h.netlink.LinkSetMaster(e.port, c.bridge))
			}
			if e.down {
				errs = append(errs, h.netlink.LinkSetDown(e.port))
			} else {
				errs = append(errs, h.netlink.LinkSetUp(e.port))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("changing cables: %w", err)
	}
	return nil
}

// settle waits until every cable carries frames: the kernel tells of a new
// carrier up to a second late.
func (h *hub) settle(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		links, err := h.netlink.LinkList()
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return fmt.Errorf("looking at cables: %w", err)
		}
		waiting := 0
		for _, l := range links {
			if _, port := l.(*netlink.Veth); port && l.Attrs().OperState != netlink.OperUp {
				waiting++
			}
		}
		if waiting == 0 && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d cable ends to come up: %w", waiting, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}
