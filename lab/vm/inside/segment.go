package inside

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"globalnet/lab/netns"
	"globalnet/mesh"
)

// segmentBridge joins the namespaces of Neighbours to the machine's Ethernet.
const segmentBridge = "segment"

// Neighbours runs n agents, each in a namespace of its own, on the machine's Ethernet,
// for an agent in another machine on it. They do not hear each other, and one starts
// when the one before has found that agent: an emulated machine has enough to do with
// one. It returns when one has ended.
func Neighbours(ifname string, n int) error {
	ether, err := netlink.LinkByName(ifname)
	if err != nil {
		return err
	}
	// Without snooping the bridge carries multicast to all, as a cable does.
	snooping := false
	bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs(), MulticastSnooping: &snooping}
	bridge.Name = segmentBridge
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("making a bridge: %w", err)
	}
	if err := errors.Join(netlink.LinkSetMaster(ether, bridge), netlink.LinkSetUp(ether), netlink.LinkSetUp(bridge)); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "neighbours-")
	if err != nil {
		return err
	}
	ended := make(chan error, n)
	for i := range n {
		name := fmt.Sprintf("n%d", i)
		ns, err := netns.New(netns.Config{Name: name})
		if err != nil {
			return err
		}
		defer ns.Close()
		wire := &Radio{Namespace: ns, Ifname: "wlan0"} // the name that NewAgent configures
		if err := plugInto(bridge, wire, name); err != nil {
			return fmt.Errorf("joining %s to the bridge: %w", name, err)
		}
		if !until(time.Minute, func() bool { _, ok := wire.LinkLocal(); return ok }) {
			return fmt.Errorf("%s has no address", name)
		}
		a, err := NewAgent(wire, dir+"/"+name)
		if err != nil {
			return err
		}
		if err := a.Start(); err != nil {
			return err
		}
		go func() { ended <- errors.Join(<-a.exited, errors.New(a.Log())) }()
		begin := time.Now()
		if !until(20*time.Minute, func() bool { time.Sleep(time.Second); return a.up() }) {
			return fmt.Errorf("%s finds nobody: %s", name, a.Log())
		}
		fmt.Printf("neighbour %d has found the other machine after %.0f s\n", i+1, time.Since(begin).Seconds())
	}
	return <-ended
}

func plugInto(bridge netlink.Link, r *Radio, name string) error {
	veth := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: r.Ifname, PeerNamespace: netlink.NsFd(r.Fd())}
	veth.Name = "to-" + name
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	if err := errors.Join(netlink.LinkSetMaster(veth, bridge), netlink.LinkSetIsolated(veth, true), netlink.LinkSetUp(veth)); err != nil {
		return err
	}
	h, err := r.Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(r.Ifname)
	if err != nil {
		return err
	}
	return h.LinkSetUp(link)
}

// up tells whether the agent has a link that is established.
func (a *Agent) up() bool {
	s, err := a.Status(context.Background())
	return err == nil && slices.ContainsFunc(s.Neighbours, func(n mesh.Neighbour) bool { return n.State == "up" })
}
