package lab

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"globalnet/lab/medium"
	"globalnet/lab/netns"
	"globalnet/lab/topology"
)

// air drives a medium.Medium: one goroutine a radio reads frames, one waits for
// frames that are under way. The mutex guards the medium.
type air struct {
	mu     sync.Mutex
	medium *medium.Medium
	taps   []*os.File // by medium.Radio
	owners []string   // by medium.Radio: the node

	wake chan struct{} // the next timeout may have changed
	quit chan struct{}
	done sync.WaitGroup
}

func newAir(t *topology.Topology) *air {
	a := &air{medium: medium.New(t.Seed), wake: make(chan struct{}, 1), quit: make(chan struct{})}
	for _, e := range t.Edges {
		a.medium.SetEdge(e.From, e.To, e.Channel, e.Quality)
	}
	for _, n := range t.Nodes {
		if n.Placed {
			a.medium.Place(n.Name, n.X, n.Y)
		}
	}
	if t.Reach > 0 {
		a.medium.SetReach(t.Reach, t.ReachQuality)
	}
	return a
}

// change lets f change the medium while it runs.
func (a *air) change(f func(*medium.Medium)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(a.medium)
}

func (a *air) start() {
	for r, tap := range a.taps {
		a.done.Go(func() { a.read(medium.Radio(r), tap) })
	}
	a.done.Go(a.wait)
}

func (a *air) stop() error {
	close(a.quit)
	var err error
	for _, tap := range a.taps {
		err = errors.Join(err, tap.Close())
	}
	a.done.Wait()
	return err
}

// maxFrame is an Ethernet frame of an interface with MTU 1500, with room for a VLAN tag.
const maxFrame = 2048

func (a *air) read(r medium.Radio, tap *os.File) {
	buf := make([]byte, maxFrame)
	for {
		n, err := tap.Read(buf)
		if errors.Is(err, unix.EIO) || errors.Is(err, unix.EBADFD) {
			// Someone in the node took the interface down or away.
			select {
			case <-a.quit:
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		if err != nil {
			return
		}
		frame := append([]byte(nil), buf[:n]...)
		a.mu.Lock()
		before := a.medium.NextTimeout()
		a.medium.HandleFrame(time.Now(), r, frame)
		a.carry()
		changed := !a.medium.NextTimeout().Equal(before)
		a.mu.Unlock()
		if changed {
			select {
			case a.wake <- struct{}{}:
			default:
			}
		}
	}
}

// carry writes what is heard to the radios. A radio that is down hears nothing.
func (a *air) carry() {
	for {
		d, ok := a.medium.NextEvent()
		if !ok {
			return
		}
		a.taps[d.To].Write(d.Frame)
	}
}

func (a *air) wait() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-a.quit:
			return
		case <-a.wake:
		case <-timer.C:
		}
		a.mu.Lock()
		a.medium.HandleTimeout(time.Now())
		a.carry()
		next := a.medium.NextTimeout()
		a.mu.Unlock()
		pause := time.Hour
		if !next.IsZero() {
			pause = time.Until(next)
		}
		timer.Reset(pause)
	}
}

// addRadio gives a node a radio on a channel: an interface "radio1" for channel 1.
func (l *Lab) addRadio(n *Node, channel int) error {
	ifname := fmt.Sprintf("radio%d", channel)
	tap, err := n.ns.OpenTAP(ifname)
	if err != nil {
		return err
	}
	l.macs++
	mac := medium.MAC(l.macs)
	l.air.taps = append(l.air.taps, tap)
	l.air.owners = append(l.air.owners, n.Name)
	l.air.medium.Add(n.Name, channel, mac)
	return raise(n.ns, ifname, mac, "radio", nil)
}

// raise sets an interface up with an address, a name for people (the alias), a
// link-local address that is usable at once, and more addresses.
func raise(ns *netns.Namespace, ifname string, mac [6]byte, alias string, addrs []string) error {
	h, err := ns.Netlink()
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(ifname)
	if err != nil {
		return fmt.Errorf("interface %s of %s: %w", ifname, ns.Name, err)
	}
	step := func(what string, e error) {
		if e != nil && err == nil {
			err = fmt.Errorf("interface %s of %s: %s: %w", ifname, ns.Name, what, e)
		}
	}
	step("setting the MAC address", h.LinkSetHardwareAddr(link, net.HardwareAddr(mac[:])))
	step("setting the alias", h.LinkSetAlias(link, alias))
	// The kernel's own link-local address would be tentative for a second. A
	// kernel without this setting keeps it as a second one.
	h.LinkSetIP6AddrGenMode(link, nl.IN6_ADDR_GEN_MODE_NONE)
	step("setting it up", h.LinkSetUp(link))
	for _, a := range append([]string{linkLocal(mac)}, addrs...) {
		addr, e := netlink.ParseAddr(a)
		if e == nil {
			addr.Flags = unix.IFA_F_NODAD
			e = h.AddrReplace(link, addr)
		}
		step("adding "+a, e)
	}
	return err
}

// linkLocal is the address of RFC 4291 appendix A.
func linkLocal(mac [6]byte) string {
	ip := net.IP{0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]}
	return ip.String() + "/64"
}

// Radios returns what the medium counted for a node's radios, by interface name.
func (l *Lab) Radios(node string) map[string]medium.Counters {
	counters := map[string]medium.Counters{}
	l.air.change(func(m *medium.Medium) {
		for i, tap := range l.air.taps {
			if l.air.owners[i] == node {
				counters[tap.Name()] = m.Counters(medium.Radio(i))
			}
		}
	})
	return counters
}
