package mesh

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"globalnet/internal/identity"
	"globalnet/mesh/babel"
	"globalnet/mesh/link"
)

// A neighbour's life:
//
//	          session admitted         WireGuard set            Babel heard
//	(none) ───────────────► connecting ─────────────► up ◄──────────────────┐
//	   ▲                        │ session failed       │ no answer, path gone │
//	   └────────────────────────┘                      ▼                      │
//	   ▲                                             failed ─── new session ──┘
//	   └──────────────── neighbourLife without success ┘
type neighbourState uint8

const (
	stateConnecting neighbourState = iota
	stateUp
	stateFailed
)

func (s neighbourState) String() string {
	return [...]string{"connecting", "up", "failed"}[s]
}

// neighbour is a node one hop away, or one about to be.
type neighbour struct {
	node   identity.NodeID
	tag    link.Tag
	ifname string // of its WireGuard interface
	state  neighbourState
	since  time.Time
	est    link.Established
	conf   LinkConfig // what WireGuard was told
	class  link.Class
	dialed netip.AddrPort // signalling address that worked, if we dialled
	conn   SpeakerConn
	heard  bool // a packet came through the link since it was made
	usable bool // Babel routes through it

	established time.Time // when the present session was made
	admitted    time.Time
	redialAt    time.Time // not before, if the link has failed
	restarts    int
	stats       linkWatch
}

const (
	neighbourLife   = 3 * time.Minute  // a failed neighbour keeps its interface so long
	connectingLife  = 20 * time.Second // longest session
	firstHello      = 5 * time.Second  // a new link must carry Babel by then
	handshakeLife   = 150 * time.Second
	secondThought   = time.Second // a lossy link may be back before a new one is made
	admitInterval   = time.Second // between sessions of one neighbour whose link works
	ifnameNodeChars = 12          // of the NodeID, after LinkPrefix: 15 in all
)

func linkName(id identity.NodeID) string { return LinkPrefix + id.String()[:ifnameNodeChars] }

// handler answers the link engine; its methods run on sessions' goroutines.
type handler struct{ n *Node }

// Admit implements link.Handler.
func (h handler) Admit(ctx context.Context, p link.Peer) error {
	var err error
	if doErr := h.n.do(ctx, func(now time.Time) { err = h.n.admit(now, p) }); doErr != nil {
		return doErr
	}
	return err
}

// Switch implements link.Handler.
func (h handler) Switch(ctx context.Context, est link.Established) error {
	return h.n.switchLink(ctx, est)
}

// Peers implements link.Handler.
func (h handler) Peers(ctx context.Context, from identity.NodeID) []link.PeerAddress {
	var list []link.PeerAddress
	h.n.do(ctx, func(now time.Time) { list = h.n.samplePeers(now, from) })
	return list
}

// admit decides whether a proven node may become a neighbour, or make its link anew.
func (n *Node) admit(now time.Time, p link.Peer) error {
	if p.Node == n.id {
		n.count("sessions_with_self")
		return link.ErrRefused
	}
	nb := n.neighbours[p.Node]
	if nb == nil {
		if len(n.neighbours) >= n.settings.MaxNeighbours && !n.dropFailedNeighbour() {
			n.count("sessions_refused_busy")
			return link.ErrBusy
		}
		nb = &neighbour{node: p.Node, ifname: linkName(p.Node), since: now}
		if other := n.byIfname[nb.ifname]; other != nil {
			n.count("sessions_refused_name") // 60 equal bits: made on purpose
			return fmt.Errorf("interface %s: %w", nb.ifname, link.ErrRefused)
		}
		n.neighbours[p.Node] = nb
		n.byIfname[nb.ifname] = nb
	} else if nb.state == stateUp && nb.tag == p.Tag {
		if now.Sub(nb.established) < admitInterval {
			n.count("sessions_duplicate")
			return link.ErrDuplicate
		}
		// It wants a new link although ours seems to work: does ours?
		if !p.Outgoing {
			n.speaker.Probe(now, nb.ifname)
		}
	}
	nb.admitted = now
	return nil
}

// dropFailedNeighbour makes room.
func (n *Node) dropFailedNeighbour() bool {
	for _, nb := range n.neighbours {
		if nb.state == stateFailed {
			n.removeNeighbour(nb)
			return true
		}
	}
	return false
}

// switchLink hands the path that ICE has chosen to WireGuard and Babel.
func (n *Node) switchLink(ctx context.Context, est link.Established) error {
	var conf LinkConfig
	var open bool
	err := n.do(ctx, func(time.Time) {
		nb := n.neighbours[est.Node]
		if nb == nil {
			return
		}
		open = nb.conn == nil
		conf = LinkConfig{
			Name:         nb.ifname,
			LinkLocal:    n.id.LinkLocal(),
			MTU:          est.MTU,
			PrivateKey:   Secret(est.PrivateKey),
			ListenPort:   est.Port,
			PeerKey:      est.PeerKey,
			PresharedKey: Secret(est.PresharedKey),
			Endpoint:     est.Remote,
			Handshake:    est.Initiator,
		}
	})
	if err != nil {
		return err
	}
	if conf.Name == "" {
		return fmt.Errorf("switching to %s: %w", est.Node.Short(), link.ErrRefused)
	}
	var conn SpeakerConn
	err = n.worker.call(ctx, func(ctx context.Context, k Kernel) error {
		if err := k.SetLink(ctx, conf); err != nil {
			return err
		}
		if !open {
			return nil
		}
		var err error
		conn, err = k.OpenSpeaker(ctx, conf.Name)
		return err
	})
	if err != nil {
		n.log.Error("making the link", "neighbour", est.Node.Short(), "ifname", conf.Name, "err", err)
		n.do(ctx, func(now time.Time) {
			n.count("link_errors")
			if nb := n.neighbours[est.Node]; nb != nil && nb.conn == nil {
				n.removeNeighbour(nb)
			}
		})
		return err
	}
	return n.do(ctx, func(now time.Time) { n.linkMade(now, est, conf, conn) })
}

// linkMade takes the link into use.
func (n *Node) linkMade(now time.Time, est link.Established, conf LinkConfig, conn SpeakerConn) {
	nb := n.neighbours[est.Node]
	if nb == nil || nb.conn != nil && conn != nil {
		if conn != nil {
			conn.Close()
		}
		return
	}
	again := nb.conn != nil
	if again {
		nb.restarts++
	}
	if nb.tag != est.Tag { // it has started anew; nobody answers to the old tag
		n.seen.forgetTag(nb.tag)
	}
	nb.est, nb.conf, nb.tag = est, conf, est.Tag
	nb.class = n.pathClass(est.Ifname, est.Remote.Addr())
	nb.established = now
	nb.heard = false
	nb.stats = linkWatch{}
	n.setState(now, nb, stateUp)
	if conn != nil {
		nb.conn = conn
		n.goChild(func(ctx context.Context) { n.readPackets(ctx, nb.ifname, conn) })
		if err := n.speaker.AddInterface(now, n.babelInterface(nb)); err != nil {
			n.log.Error("starting babel", "ifname", nb.ifname, "err", err)
		}
	} else {
		n.speaker.SetCost(now, nb.ifname, linkCost(nb.class))
		n.speaker.Probe(now, nb.ifname)
	}
	n.watch.next = now
	if nb.class == link.Internet {
		n.shortcutSoon(now)
	}
	n.log.Info("link made", "neighbour", nb.node.Short(), "ifname", nb.ifname,
		"class", nb.class, "endpoint", est.Remote, "again", again)
}

func (n *Node) babelInterface(nb *neighbour) babel.Interface {
	return babel.Interface{
		Name:           nb.ifname,
		Address:        n.id.LinkLocal(),
		MTU:            nb.est.MTU,
		HelloInterval:  n.settings.HelloInterval,
		UpdateInterval: n.settings.UpdateInterval,
		Cost:           linkCost(nb.class),
		RTT:            true,
	}
}

// linkCost makes any radio or wire path of a few hops cheaper than the internet.
func linkCost(c link.Class) uint16 {
	switch c {
	case link.Wire:
		return 96
	case link.Radio:
		return 128
	default:
		return 1024
	}
}

// readPackets hands Babel packets to the loop until the connection is closed.
func (n *Node) readPackets(ctx context.Context, ifname string, conn SpeakerConn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	buf := make([]byte, 4096)
	for {
		size, from, err := conn.Receive(buf)
		if err != nil {
			return
		}
		p := packet{ifname, from, append([]byte(nil), buf[:size]...)}
		select {
		case n.packets <- p:
		case <-ctx.Done():
			return
		}
	}
}

// foundNeighbour notes that Babel has both directions of the link.
func (n *Node) foundNeighbour(now time.Time, nb *neighbour) {
	nb.usable = true
	if nb.state != stateUp {
		n.log.Info("neighbour is back", "neighbour", nb.node.Short(), "ifname", nb.ifname)
		n.setState(now, nb, stateUp)
	}
	n.dials.succeeded(nodeTarget(nb.node))
	n.dials.succeeded(tagTarget(nb.tag))
}

// lostNeighbour begins to look for another path while the old link stays.
func (n *Node) lostNeighbour(now time.Time, nb *neighbour, why string) {
	if nb.state != stateUp {
		return
	}
	n.count("links_lost")
	n.log.Info("neighbour lost", "neighbour", nb.node.Short(), "ifname", nb.ifname, "reason", why)
	// Pauses were meant for a link that works. If the book has the node, its addresses
	// are one more way.
	n.dials.succeeded(nodeTarget(nb.node))
	n.dials.succeeded(tagTarget(nb.tag))
	n.cfg.Book.Lost(now, nb.node)
	n.setState(now, nb, stateFailed)
	nb.redialAt = now.Add(secondThought)
}

// checkPaths takes a link down at once when the interface under it has gone.
func (n *Node) checkPaths(now time.Time) {
	up := make(map[string]bool)
	for _, i := range n.interfaces {
		up[i.Name] = i.Up
	}
	for _, nb := range n.neighbours {
		if nb.state == stateUp && nb.est.Ifname != "" && !up[nb.est.Ifname] {
			n.speaker.LinkDown(now, nb.ifname)
			n.lostNeighbour(now, nb, "interface down")
			nb.redialAt = now // no doubt about that
			n.redial(now, nb)
		}
	}
}

func (n *Node) setState(now time.Time, nb *neighbour, s neighbourState) {
	if nb.state == s && !nb.since.IsZero() {
		return
	}
	was := nb.state
	nb.state, nb.since = s, now
	n.updatePace()
	if was == stateUp || s == stateUp {
		n.tellLinks()
	}
}

// tellLinks tells who follows the links which ones work.
func (n *Node) tellLinks() {
	if n.cfg.LinksChanged == nil {
		return
	}
	var up []identity.NodeID
	for _, nb := range n.neighbours {
		if nb.state == stateUp {
			up = append(up, nb.node)
		}
	}
	n.cfg.LinksChanged(up)
}

// removeNeighbour forgets a neighbour and takes its interface away.
func (n *Node) removeNeighbour(nb *neighbour) {
	delete(n.neighbours, nb.node)
	delete(n.byIfname, nb.ifname)
	n.speaker.RemoveInterface(time.Now(), nb.ifname)
	conn, name := nb.conn, nb.ifname
	n.worker.submit(func(ctx context.Context, k Kernel) {
		if conn != nil {
			conn.Close()
		}
		if err := k.RemoveLink(ctx, name); err != nil {
			n.log.Warn("removing the link", "ifname", name, "err", err)
		}
	})
	n.updatePace()
	if nb.state == stateUp {
		n.tellLinks()
	}
}

// checkNeighbours expires what has failed and renews what is about to.
func (n *Node) checkNeighbours(now time.Time) {
	for _, nb := range n.neighbours {
		age := now.Sub(nb.since)
		switch {
		case nb.state == stateConnecting && now.Sub(nb.admitted) > connectingLife,
			nb.state == stateFailed && age > neighbourLife:
			n.removeNeighbour(nb)
		case nb.state == stateFailed && !now.Before(nb.redialAt):
			n.redial(now, nb)
		case nb.state == stateUp && !(nb.heard && nb.usable) && now.Sub(nb.established) > firstHello:
			n.lostNeighbour(now, nb, "no babel on the new link")
		case nb.state == stateUp && nb.stats.handshakeStale(now):
			n.count("handshakes_stale")
			n.redial(now, nb)
		case nb.state == stateUp && nb.class == link.Internet:
			n.cfg.Book.Succeeded(now, nb.node)
		}
	}
}
