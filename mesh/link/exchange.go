package link

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"globalnet/internal/identity"
	"globalnet/mesh/link/signal"
)

const (
	// pathTimeout ends the checks when there is no path. A check that is lost is
	// repeated after 20 ms first, later after 640.
	pathTimeout = 8 * time.Second
	// peersTimeout ends what comes after the link is made.
	peersTimeout = 5 * time.Second
)

// makeLink negotiates a path and hands its port to WireGuard. first are messages
// to be sent ahead of the offer.
func (s *session) makeLink(ctx context.Context, first []signal.Message) (*Established, error) {
	began := time.Now()
	m, err := s.e.openMux()
	if err != nil {
		return nil, err
	}
	defer s.e.ports.release(m.port) // once WireGuard has it, the kernel says that it is in use
	defer m.Close()
	c, err := newChecker(m, s.e.cfg.Log)
	if err != nil {
		return nil, err
	}
	defer c.close()

	private, offer, err := s.newOffer(c)
	if err != nil {
		return nil, err
	}
	first = append(first, offer)
	for _, candidate := range c.hostCandidates() {
		first = append(first, candidate)
	}
	if err := s.send(first...); err != nil {
		return nil, err
	}
	theirs, err := s.readOffer(ctx)
	if err != nil {
		return nil, err
	}
	offered := time.Now()
	p, mtu, err := s.findPath(ctx, c, theirs)
	if err != nil {
		return nil, err
	}
	c.close()
	found := time.Now()

	psk, err := s.binding.presharedKey(offer.PublicKey, theirs.PublicKey)
	if err != nil {
		return nil, err
	}
	est := &Established{
		Node: s.node, Tag: s.tag, Outgoing: s.outgoing, Public: s.public,
		Port: p.port, Local: p.localAddrPort, Remote: p.remote, Ifname: p.local.Ifname,
		Class: p.class(), MTU: mtu,
		PrivateKey: private, PeerKey: theirs.PublicKey, PresharedKey: psk,
		Initiator: s.controlling(), Observed: s.observed,
	}
	if err := s.switchOver(ctx, est); err != nil {
		return nil, err
	}
	s.e.cfg.Log.Debug("link made", "neighbour", s.node.Short(), "ifname", est.Ifname, "class", est.Class,
		"offers", offered.Sub(began), "checks", found.Sub(offered), "switch", time.Since(found))
	return est, nil
}

// newOffer makes a WireGuard key for this link alone, so that a clock set back
// does not matter: a peer that has never heard of the key has seen no later timestamp.
func (s *session) newOffer(c *checker) (private Secret, offer *signal.Offer, err error) {
	rand.Read(private[:])
	private[0] &= 248 // as wg(8) does
	private[31] = private[31]&127 | 64
	key, err := ecdh.X25519().NewPrivateKey(private[:])
	if err != nil {
		return private, nil, fmt.Errorf("making WireGuard key: %w", err)
	}
	offer = &signal.Offer{PublicKey: [32]byte(key.PublicKey().Bytes()), Ufrag: c.ufrag, Pwd: c.pwd}
	ours, _ := s.roles()
	signed, err := s.binding.signedOffer(ours, offer.SignedPart())
	if err != nil {
		return private, nil, err
	}
	copy(offer.Signature[:], s.e.cfg.Identity.Sign(offerLabel, signed))
	return private, offer, nil
}

func (s *session) readOffer(ctx context.Context) (*signal.Offer, error) {
	m, err := s.next(ctx)
	if err != nil {
		return nil, err
	}
	offer, ok := m.(*signal.Offer)
	if !ok {
		return nil, unexpected(m)
	}
	_, theirs := s.roles()
	signed, err := s.binding.signedOffer(theirs, offer.SignedPart())
	if err != nil {
		return nil, err
	}
	if !s.node.Verify(offerLabel, signed, offer.Signature[:]) {
		return nil, fmt.Errorf("%w: offer with a wrong signature", errProtocol)
	}
	return offer, nil
}

// findPath runs the checks until both sides have selected the pair.
func (s *session) findPath(ctx context.Context, c *checker, theirs *signal.Offer) (p path, mtu int, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.e.patience, ErrNoPath)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	found := make(chan netip.AddrPort)
	running.Go(func() {
		defer close(found)
		if s.e.cfg.STUN != nil {
			c.mux.askSTUN(ctx, s.e.cfg.NetworkKey, s.e.cfg.STUN(), found)
		}
	})
	c.run(ctx, s.controlling(), theirs)

	var ours, their *signal.Ready
	for ours == nil || their == nil {
		var send signal.Message
		select {
		case <-ctx.Done():
			return p, 0, context.Cause(ctx)
		case <-c.wake.C:
			c.addDue(time.Now())
		case addr, ok := <-found:
			if !ok {
				found, send = nil, &signal.EndOfCandidates{}
				break
			}
			send = &signal.Candidate{Kind: signal.ServerReflexive, Class: uint8(Internet), Addr: addr}
		case err := <-c.selected:
			if err != nil {
				if ctx.Err() != nil {
					return p, 0, context.Cause(ctx)
				}
				return p, 0, fmt.Errorf("%w: %w", ErrNoPath, err)
			}
			if p, err = c.path(); err != nil {
				return p, 0, err
			}
			ours = &signal.Ready{Local: p.localAddrPort, Remote: p.remote, MTU: uint16(p.mtu())}
			send = ours
		case ev := <-s.events:
			if ev.err != nil {
				return p, 0, fmt.Errorf("receiving: %w", ev.err)
			}
			switch m := ev.m.(type) {
			case *signal.Candidate:
				if err := c.addRemote(m); err != nil {
					return p, 0, fmt.Errorf("%w: %w", errProtocol, err)
				}
			case *signal.EndOfCandidates:
			case *signal.Ready:
				their = m
			default:
				return p, 0, unexpected(m)
			}
		}
		if send != nil {
			if err := s.send(send); err != nil {
				return p, 0, err
			}
		}
	}
	if !samePair(ours, their) {
		return p, 0, fmt.Errorf("%w: each side selected another", ErrNoPath)
	}
	return p, max(min(int(ours.MTU), int(their.MTU)), 1280), nil
}

// samePair reports whether two views of a pair may be of one pair. Only
// link-local addresses look the same from both ends for certain: no translator is between.
func samePair(ours, theirs *signal.Ready) bool {
	bare := func(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port()) }
	if !linkLocal6(ours.Local.Addr()) && !linkLocal6(theirs.Local.Addr()) {
		return true
	}
	return bare(ours.Local) == bare(theirs.Remote) && bare(ours.Remote) == bare(theirs.Local)
}

// switchOver hands the port to WireGuard: the controlled side first, so that the
// handshake of the controlling side finds it listening.
func (s *session) switchOver(ctx context.Context, est *Established) error {
	if est.Initiator {
		m, err := s.nextAfterChecks(ctx)
		if err != nil {
			return err
		}
		if _, ok := m.(*signal.Switched); !ok {
			return unexpected(m)
		}
	}
	if err := s.e.cfg.Handler.Switch(ctx, *est); err != nil {
		return fmt.Errorf("switching to WireGuard: %w", err)
	}
	s.e.prefer(s)
	if est.Initiator {
		return nil
	}
	return s.send(&signal.Switched{})
}

// nextAfterChecks is next, past the candidates that are still under way.
func (s *session) nextAfterChecks(ctx context.Context) (signal.Message, error) {
	for range maxCandidates {
		m, err := s.next(ctx)
		if err != nil {
			return nil, err
		}
		switch m.(type) {
		case *signal.Candidate, *signal.EndOfCandidates:
		default:
			return m, nil
		}
	}
	return nil, fmt.Errorf("%w: more than %d candidates", errProtocol, maxCandidates)
}

// askPeers asks for nodes. The link is made, so it is no error if it gets none.
func (s *session) askPeers(ctx context.Context) []PeerAddress {
	ctx, cancel := context.WithTimeout(ctx, peersTimeout)
	defer cancel()
	if s.send(&signal.PeersRequest{}) != nil {
		return nil
	}
	m, err := s.nextAfterChecks(ctx)
	answer, ok := m.(*signal.Peers)
	if err != nil || !ok {
		return nil
	}
	var list []PeerAddress
	for _, p := range answer.Peers {
		if id := identity.NodeID(p.Node); id != s.e.self && !id.IsZero() {
			if addrs := usefulElsewhere(p.Addrs); len(addrs) > 0 {
				list = append(list, PeerAddress{Node: id, Addrs: addrs})
			}
		}
	}
	return list
}

// servePeers answers a request for nodes, and returns how the session ended: with
// the client's Bye, if all is well.
func (s *session) servePeers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, peersTimeout)
	defer cancel()
	m, err := s.nextAfterChecks(ctx)
	if err != nil {
		return err
	}
	if _, ok := m.(*signal.PeersRequest); !ok {
		return unexpected(m)
	}
	answer := &signal.Peers{}
	for _, p := range s.e.cfg.Handler.Peers(ctx, s.node) {
		addrs := usefulElsewhere(p.Addrs)
		if len(addrs) == 0 || p.Node == s.node || len(answer.Peers) == signal.MaxPeers {
			continue
		}
		answer.Peers = append(answer.Peers, signal.Peer{Node: p.Node, Addrs: addrs})
	}
	if err := s.send(answer); err != nil {
		return err
	}
	if m, err = s.nextAfterChecks(ctx); err != nil {
		return err
	}
	return unexpected(m)
}

// usefulElsewhere leaves out addresses that mean nothing on another machine.
func usefulElsewhere(addrs []netip.AddrPort) []netip.AddrPort {
	var useful []netip.AddrPort
	for _, a := range addrs {
		ip := a.Addr().Unmap()
		if ip.IsGlobalUnicast() && ip.Zone() == "" && a.Port() != 0 && len(useful) < signal.MaxPeerAddrs {
			useful = append(useful, netip.AddrPortFrom(ip, a.Port()))
		}
	}
	return useful
}
