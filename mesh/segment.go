package mesh

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"globalnet/mesh/beacon"
	"globalnet/mesh/link"
)

// segment is an interface on which a beacon looks for neighbours.
type segment struct {
	iface  Interface
	beacon *beacon.Beacon // nil while it could not be opened
	stop   context.CancelFunc
	err    error
	retry  time.Time // when to open it again, if err is set
}

// sighting is what a beacon saw.
type sighting = beacon.Sighting

// handleChange follows the kernel's interfaces.
func (n *Node) handleChange(now time.Time, c Change) {
	switch c.Kind {
	case StationJoined:
		if s := n.segments[c.Ifname]; s != nil && s.beacon != nil {
			s.beacon.Query()
		}
	case StationLeft:
		for _, nb := range n.neighbours {
			if nb.state == stateUp && nb.est.Ifname == c.Ifname {
				n.speaker.Probe(now, nb.ifname)
			}
		}
	default:
		n.refreshInterfaces(now)
	}
}

// refreshInterfaces asks the kernel for its interfaces, off the loop.
func (n *Node) refreshInterfaces(time.Time) {
	n.worker.submit(func(ctx context.Context, k Kernel) {
		list, err := k.Interfaces(ctx)
		n.do(ctx, func(now time.Time) {
			if err != nil {
				n.log.Warn("reading the interfaces", "err", err)
				return
			}
			n.setInterfaces(now, list)
		})
	})
}

// setInterfaces starts, restarts and ends beacons, and takes links down whose
// interface has gone.
func (n *Node) setInterfaces(now time.Time, list []Interface) {
	n.interfaces = list
	n.keepAddress(now, list)
	wanted := make(map[string]Interface)
	for _, i := range list {
		if i.Up && i.Multicast && !i.Loopback && len(i.Addresses) > 0 && n.settings.UseInterface(i) {
			wanted[i.Name] = i
		}
	}
	for name, s := range n.segments {
		if i, ok := wanted[name]; !ok || !sameSegment(i, s.iface) {
			n.closeSegment(name)
		}
	}
	for name, i := range wanted {
		if n.segments[name] == nil {
			n.openSegment(now, i)
		}
	}
	n.checkPaths(now)
}

func sameSegment(a, b Interface) bool {
	return a.Index == b.Index && a.Name == b.Name && slices.Equal(a.Addresses, b.Addresses)
}

func (n *Node) openSegment(now time.Time, i Interface) {
	s := &segment{iface: i, stop: func() {}}
	n.segments[i.Name] = s
	s.beacon, s.err = beacon.Open(beacon.Config{
		Ifname:     i.Name,
		Index:      i.Index,
		Tag:        beacon.Tag(n.tag),
		Port:       n.cfg.ListenPort,
		NetworkKey: n.cfg.NetworkKey,
		Log:        n.log,
		Seen:       n.enqueueSighting,
	})
	if s.err != nil {
		s.beacon = nil
		s.retry = now.Add(segmentRetry)
		n.count("beacon_open_errors")
		n.log.Warn("opening the beacon", "ifname", i.Name, "err", s.err)
		return
	}
	s.beacon.SetPace(n.pace())
	ctx, stop := context.WithCancel(n.childCtx)
	s.stop = stop
	b := s.beacon
	n.goChild(func(context.Context) {
		defer stop()
		if err := b.Run(ctx); err != nil {
			n.log.Warn("beacon ended", "ifname", i.Name, "err", err)
			n.do(n.childCtx, func(now time.Time) { n.segmentFailed(now, i.Name, b, err) })
		}
	})
	n.log.Info("looking for neighbours", "ifname", i.Name, "radio", i.Radio)
}

func (n *Node) closeSegment(name string) {
	n.segments[name].stop()
	delete(n.segments, name)
	n.seen.forget(name)
}

func (n *Node) segmentFailed(now time.Time, name string, b *beacon.Beacon, err error) {
	if s := n.segments[name]; s != nil && s.beacon == b {
		s.beacon, s.err, s.retry = nil, err, now.Add(segmentRetry)
	}
}

// reopenSegments tries again where a beacon could not be opened.
func (n *Node) reopenSegments(now time.Time) {
	for name, s := range n.segments {
		if s.beacon == nil && !now.Before(s.retry) {
			i := s.iface
			delete(n.segments, name)
			n.openSegment(now, i)
		}
	}
}

// enqueueSighting runs on a beacon's goroutine and never blocks.
func (n *Node) enqueueSighting(s sighting) {
	select {
	case n.sightings <- s:
	default: // a flood; the next announcement comes
	}
}

// pace is how eagerly neighbours are looked for.
func (n *Node) pace() beacon.Pace {
	for _, nb := range n.neighbours {
		if nb.state == stateUp {
			return beacon.Connected
		}
	}
	return beacon.Isolated
}

func (n *Node) updatePace() {
	p := n.pace()
	for _, s := range n.segments {
		if s.beacon != nil {
			s.beacon.SetPace(p)
		}
	}
}

// localAddresses is what ICE may use, asked from a session's goroutine.
func (n *Node) localAddresses() []link.LocalAddress {
	var list []link.LocalAddress
	n.do(context.Background(), func(time.Time) {
		for _, i := range n.interfaces {
			if !i.Up || i.Loopback {
				continue
			}
			for _, p := range i.Addresses {
				list = append(list, n.localAddress(i, p.Addr()))
			}
		}
	})
	return list
}

func (n *Node) localAddress(i Interface, a netip.Addr) link.LocalAddress {
	// A public address is one of the internet, even on a segment; a direct path over
	// the same wire has link-local addresses too, and those are preferred.
	public := a.IsGlobalUnicast() && !a.IsPrivate()
	class := link.Internet
	switch {
	case public:
	case n.segments[i.Name] != nil && i.Radio:
		class = link.Radio
	case n.segments[i.Name] != nil:
		class = link.Wire
	}
	if a.IsLinkLocalUnicast() && a.Is6() {
		a = a.WithZone(i.Name)
	}
	return link.LocalAddress{Addr: a, Ifname: i.Name, Class: class, MTU: i.MTU}
}

// pathClass judges a path by where its far end is: on the segment itself, or
// behind a router and so across the internet.
func (n *Node) pathClass(ifname string, remote netip.Addr) link.Class {
	for _, i := range n.interfaces {
		if i.Name != ifname {
			continue
		}
		onLink := remote.IsLinkLocalUnicast()
		for _, p := range i.Addresses {
			onLink = onLink || p.Contains(remote.WithZone(""))
		}
		switch {
		case onLink && i.Radio:
			return link.Radio
		case onLink:
			return link.Wire
		}
	}
	return link.Internet
}

const segmentRetry = 5 * time.Second
