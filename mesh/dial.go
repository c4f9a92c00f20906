package mesh

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"globalnet/internal/identity"
	"globalnet/mesh/link"
	"globalnet/mesh/peers"
)

// target names what is dialled, for pacing: a tag seen by a beacon, a node of the
// peer book, a mesh address, or an address where a known neighbour was.
type target string

func tagTarget(t link.Tag) target          { return target("t" + string(t[:])) }
func nodeTarget(id identity.NodeID) target { return target("n" + string(id[:])) }
func meshTarget(a netip.Addr) target       { return target("m" + a.String()) }
func wayTarget(a netip.AddrPort) target    { return target("w" + a.String()) }

// dialTable paces dials: one at a time to each target, a pause that doubles after
// each failure, and never more than maxDials at once, so that forged beacons cost
// little. Its owner is the loop.
type dialTable struct {
	entries map[target]*dialEntry
	running int
}

type dialEntry struct {
	running  bool
	failures int
	next     time.Time
	last     time.Time
}

const (
	maxDials       = 16
	maxDialEntries = 1024
	dialPauseMin   = 250 * time.Millisecond
	dialPauseMax   = 30 * time.Second
	duplicatePause = 3 * time.Second // by then the other session has ended
	dialEntryLife  = 5 * time.Minute
)

func newDialTable() *dialTable { return &dialTable{entries: make(map[target]*dialEntry)} }

// start reports whether t may be dialled now, and notes that it is.
func (d *dialTable) start(now time.Time, t target) bool {
	e := d.entries[t]
	if d.running >= maxDials || e != nil && (e.running || now.Before(e.next)) {
		return false
	}
	if e == nil {
		if len(d.entries) >= maxDialEntries {
			return false
		}
		e = &dialEntry{}
		d.entries[t] = e
	}
	e.running, e.last = true, now
	d.running++
	return true
}

// failed notes that the dial to t has ended without a link.
func (d *dialTable) failed(now time.Time, t target) {
	if e := d.stop(t); e != nil {
		pause := min(dialPauseMin<<min(e.failures, 16), dialPauseMax)
		e.failures++
		e.next = now.Add(pause)
	}
}

// succeeded forgets the failures of t.
func (d *dialTable) succeeded(t target) {
	if e := d.entries[t]; e != nil {
		e.failures, e.next = 0, time.Time{}
	}
}

// pause keeps t from being dialled until now + p.
func (d *dialTable) pause(now time.Time, t target, p time.Duration) {
	if e := d.entries[t]; e != nil {
		e.next = now.Add(p)
	}
}

func (d *dialTable) stop(t target) *dialEntry {
	e := d.entries[t]
	if e == nil || !e.running {
		return nil
	}
	e.running = false
	d.running--
	return e
}

func (d *dialTable) failures(t target) int {
	if e := d.entries[t]; e != nil {
		return e.failures
	}
	return 0
}

func (d *dialTable) expire(now time.Time) {
	for t, e := range d.entries {
		if !e.running && now.Sub(e.last) > dialEntryLife {
			delete(d.entries, t)
		}
	}
}

// handleSighting dials a tag that no link leads to.
func (n *Node) handleSighting(now time.Time, s sighting) {
	if !s.SameNetwork {
		n.count("beacons_of_other_networks")
		return
	}
	tag := link.Tag(s.Tag)
	if tag == n.tag {
		return
	}
	n.seen.add(now, s.Ifname, tag, netip.AddrPortFrom(s.Addr, s.Port))
	n.dialTag(now, tag)
}

func (n *Node) dialTag(now time.Time, tag link.Tag) {
	addr, radio, ok := n.seen.best(tag, n.isRadio)
	if !ok {
		return
	}
	if nb := n.neighbourByTag(tag); nb != nil {
		if nb.state == stateUp && !betterThan(nb.class, radio) || nb.state == stateFailed && now.Before(nb.redialAt) {
			return
		}
	}
	n.dial(now, tagTarget(tag), link.DialTarget{Addr: addr, Tag: tag})
}

// betterThan reports whether a neighbour seen by radio, or on a cable, deserves a
// new link when it has one of that class.
func betterThan(class link.Class, radio bool) bool {
	return class == link.Internet || class == link.Radio && !radio
}

func (n *Node) isRadio(ifname string) bool {
	s := n.segments[ifname]
	return s != nil && s.iface.Radio
}

func (n *Node) neighbourByTag(tag link.Tag) *neighbour {
	for _, nb := range n.neighbours {
		if nb.tag == tag && nb.state != stateConnecting {
			return nb
		}
	}
	return nil
}

// redial looks for a new path to a neighbour, by all ways at once: the segment it
// was seen on last, where it was dialled before, and the mesh itself. The engine
// lets one session win.
func (n *Node) redial(now time.Time, nb *neighbour) {
	if addr, _, ok := n.seen.best(nb.tag, n.isRadio); ok {
		n.dial(now, wayTarget(addr), link.DialTarget{Addr: addr, Tag: nb.tag, Node: nb.node})
	}
	if nb.dialed.IsValid() {
		n.dial(now, wayTarget(nb.dialed), link.DialTarget{Addr: nb.dialed, Node: nb.node})
	}
	if a := nb.node.Address(); n.routeAvoids(nb) {
		n.dial(now, meshTarget(a), n.overMesh(a, nb.node))
	}
}

// overMesh is a signalling target at a mesh address.
func (n *Node) overMesh(a netip.Addr, id identity.NodeID) link.DialTarget {
	return link.DialTarget{Addr: netip.AddrPortFrom(a, n.cfg.ListenPort), Node: id, MeshAddr: a}
}

// routeAvoids reports whether the mesh has a route to nb that does not use its own link.
func (n *Node) routeAvoids(nb *neighbour) bool {
	dst := hostPrefix(nb.node.Address())
	for _, r := range n.speaker.Routes() {
		if r.Selected && r.Prefix == dst {
			return r.Ifname != nb.ifname
		}
	}
	return false
}

// dial starts a session in a goroutine of its own, and reports whether t may be
// dialled now.
func (n *Node) dial(now time.Time, t target, to link.DialTarget) bool {
	if !n.dials.start(now, t) {
		return false
	}
	n.count("dials")
	n.goChild(func(ctx context.Context) {
		est, err := n.engine.Dial(ctx, to)
		n.do(ctx, func(now time.Time) { n.dialed(now, t, to, est, err) })
	})
	return true
}

// dialed notes how a dial ended.
func (n *Node) dialed(now time.Time, t target, to link.DialTarget, est *link.Established, err error) {
	if err != nil {
		n.dials.failed(now, t)
		n.log.Debug("dial ended without a link", "addr", to.Addr, "err", err)
		if errors.Is(err, link.ErrDuplicate) { // the other side's session goes on
			n.dials.succeeded(t)
			n.dials.pause(now, t, duplicatePause)
			n.cfg.Book.Lost(now, to.Node) // dialBook looks again whether it is up
			return
		}
		n.count("dials_failed")
		if !to.Node.IsZero() {
			n.cfg.Book.Failed(now, to.Node)
		}
		return
	}
	n.dials.stop(t)
	n.dials.succeeded(t)
	// Not again before the link has had time to show whether it works.
	n.dials.pause(now, t, firstHello)
	n.dials.pause(now, tagTarget(est.Tag), upgradeInterval)
	if nb := n.neighbours[est.Node]; nb != nil && to.Tag.IsZero() && !to.MeshAddr.IsValid() {
		nb.dialed = to.Addr
		n.cfg.Book.Proved(est.Node, to.Addr)
	}
	n.learnPeers(now, est)
}

// upgradeInterval is how often a better path is tried for a neighbour that is
// seen on a better segment than it is linked over.
const upgradeInterval = 30 * time.Second

// housekeep does what is due.
func (n *Node) housekeep(now time.Time) {
	n.seen.expire(now)
	n.dials.expire(now)
	n.reopenSegments(now)
	n.checkNeighbours(now)
	n.checkAddress(now)
	for tag := range n.seen.tags() {
		n.dialTag(now, tag)
	}
	n.dialBook(now)
	n.tryShortcut(now)
}

// dialBook connects to nodes across the internet until there are enough.
func (n *Node) dialBook(now time.Time) {
	for range maxDials {
		e, ok := n.cfg.Book.Next(now)
		if !ok || len(e.Addrs) == 0 {
			return
		}
		if e.Node == n.id {
			n.cfg.Book.Failed(now, e.Node)
			continue
		}
		if nb := n.neighbours[e.Node]; nb != nil && nb.state == stateUp {
			n.cfg.Book.Succeeded(now, e.Node)
			continue
		}
		t := nodeTarget(e.Node)
		addr := e.Addrs[n.dials.failures(t)%len(e.Addrs)]
		if !n.dial(now, t, link.DialTarget{Addr: addr, Node: e.Node, WantPeers: true}) {
			n.cfg.Book.Lost(now, e.Node) // not tried: soon again
			return
		}
	}
}

func (n *Node) learnPeers(now time.Time, est *link.Established) {
	for _, p := range est.LearnedPeers {
		if p.Node != n.id {
			n.cfg.Book.Add(now, est.Node, peers.Entry{Node: p.Node, Addrs: p.Addrs})
		}
	}
}

// ConfigurePeers makes list the configured peers.
func (n *Node) ConfigurePeers(ctx context.Context, list []peers.Entry) error {
	return n.do(ctx, func(now time.Time) { n.cfg.Book.Configure(now, list) })
}

// PeersToSave returns the state of the peer book if it is worth a write, else nil.
func (n *Node) PeersToSave(ctx context.Context) (text []byte, err error) {
	err = n.do(ctx, func(now time.Time) {
		if n.cfg.Book.NeedsSaving(now) {
			text = n.cfg.Book.Save(now)
		}
	})
	return text, err
}

func (n *Node) samplePeers(now time.Time, from identity.NodeID) []link.PeerAddress {
	var list []link.PeerAddress
	for _, e := range n.cfg.Book.Sample(now, from, peers.MaxSample) {
		list = append(list, link.PeerAddress{Node: e.Node, Addrs: e.Addrs})
	}
	return list
}

// stunServers are the nodes that we reached across the internet by an address
// they listen on; each of them answers STUN on the same port.
func (n *Node) stunServers() []netip.AddrPort {
	var list []netip.AddrPort
	n.do(context.Background(), func(time.Time) {
		for _, nb := range n.neighbours {
			if nb.state == stateUp && nb.class == link.Internet && nb.dialed.IsValid() && len(list) < 3 {
				list = append(list, nb.dialed)
			}
		}
	})
	return list
}

// tryShortcut signals, over the mesh, with a node a few hops away and lets ICE
// look for a direct path to it. Only nodes with an internet link do so.
func (n *Node) tryShortcut(now time.Time) {
	if now.Before(n.shortcutAt) {
		return
	}
	n.shortcutPause = min(max(2*n.shortcutPause, shortcutMin), shortcutMax)
	n.shortcutAt = now.Add(n.shortcutPause + time.Duration(n.cfg.Rand.Int64N(int64(n.shortcutPause))))
	internet := 0
	direct := make(map[netip.Addr]bool)
	for _, nb := range n.neighbours {
		direct[nb.node.Address()] = true
		if nb.state == stateUp && nb.class == link.Internet {
			internet++
		}
	}
	if internet == 0 || internet >= peers.Target {
		return
	}
	var far []netip.Addr
	for _, r := range n.speaker.Routes() {
		if r.Selected && r.Prefix.Bits() == 128 && !direct[r.Prefix.Addr()] && r.Metric >= shortcutMetric {
			far = append(far, r.Prefix.Addr())
		}
	}
	if len(far) > 0 {
		a := far[n.cfg.Rand.IntN(len(far))]
		to := n.overMesh(a, identity.NodeID{})
		to.WantPeers = true
		n.dial(now, meshTarget(a), to)
	}
}

// shortcutSoon lets shortcuts be tried soon: there is a new way to others.
func (n *Node) shortcutSoon(now time.Time) {
	n.shortcutPause = shortcutMin
	n.shortcutAt = now.Add(shortcutMin)
}

const (
	shortcutMin    = time.Second // doubles with each try
	shortcutMax    = time.Minute
	shortcutMetric = 1024 // the path crosses the internet at least once
)
