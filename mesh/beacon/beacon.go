// Package beacon finds the neighbours on one segment by multicast DNS (RFC 6762)
// and DNS-based service discovery (RFC 6763). docs/protocols/beacon.md has the
// records and the pace.
//
// What a beacon says is a hint, unauthenticated: it names no node, only a tag
// drawn at each start, and whoever dials what it shows must check who answers.
// The responder is github.com/pion/mdns/v2; announcing, asking and listening are
// here (docs/decisions/0005-mdns.md says why).
//
// Run's goroutine owns all state but the sockets, which each have one reader.
package beacon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/mdns/v2"
)

// A Tag names a node for one run. It says nothing of its identity.
type Tag [16]byte

// NewTag draws a tag.
func NewTag() (t Tag) {
	rand.Read(t[:])
	return t
}

// String returns the tag as 32 hexadecimal digits.
func (t Tag) String() string { return hex.EncodeToString(t[:]) }

// Config says where to listen and what to say.
type Config struct {
	Ifname     string
	Index      int
	Tag        Tag
	Port       uint16 // TCP port of signalling
	NetworkKey []byte
	Log        *slog.Logger
	Seen       func(Sighting) // called on the beacon's goroutine, must not block
}

// A Sighting is a neighbour heard on the segment. A known one is repeated, at
// most once a second; when it is gone is for the consumer to judge.
type Sighting struct {
	Ifname      string
	Addr        netip.Addr // zone = Ifname if link-local
	Port        uint16
	Tag         Tag
	SameNetwork bool
}

// Pace is how often a beacon speaks.
type Pace int32

const (
	// Isolated is the pace of a node without neighbours: about each second.
	Isolated Pace = iota
	// Connected is the pace of a node that has neighbours. Of two groups that meet
	// each side speaks within 10 s.
	Connected
)

// interval draws the time to the next announcement.
func (p Pace) interval() time.Duration {
	if p == Connected {
		return 7500*time.Millisecond + mathrand.N(2400*time.Millisecond)
	}
	return 750*time.Millisecond + mathrand.N(200*time.Millisecond)
}

const (
	never       = 100 * 365 * 24 * time.Hour
	queryGap    = time.Second            // between queries of ours
	announceGap = 250 * time.Millisecond // between announcements out of turn
	retryGap    = 500 * time.Millisecond // after a failure to send: the link is down, or the address not ready
)

// A Beacon speaks and listens on one interface, with the addresses that the
// interface had at Open: when they change, close it and open another.
type Beacon struct {
	cfg       Config
	conns     []*segmentConn
	responder *mdns.Conn
	gate      *gate
	counters  counters
	self      announcement
	message   []byte // self, encoded
	query     []byte
	heard     chan hearing
	pace      chan Pace
	ask       chan struct{}
	closing   sync.Once
	done      chan struct{}
	failing   bool // the last message could not be sent; Run's goroutine owns it
}

// A segmentConn is one of the sockets that listen and announce.
type segmentConn struct {
	udp      *net.UDPConn
	group    netip.AddrPort
	prefixes []netip.Prefix // whence an IPv4 neighbour may come
}

type hearing struct {
	from netip.Addr
	what *announcement
}

// ErrNoAddress tells that the interface has no address that a beacon can use yet.
var ErrNoAddress = errors.New("no usable address")

// Open opens the sockets; the responder answers from then on. Run must follow, or Close.
func Open(cfg Config) (*Beacon, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ifc, err := net.InterfaceByIndex(cfg.Index)
	if err != nil {
		return nil, fmt.Errorf("opening beacon on %s: %w", cfg.Ifname, err)
	}
	if ifc.Name != cfg.Ifname {
		return nil, fmt.Errorf("opening beacon: interface %d is %s, not %s", cfg.Index, ifc.Name, cfg.Ifname)
	}
	b := &Beacon{
		cfg:   cfg,
		self:  announcement{tag: cfg.Tag, port: cfg.Port, proof: proofOf(cfg.NetworkKey, cfg.Tag)},
		heard: make(chan hearing, 16),
		pace:  make(chan Pace, 1),
		ask:   make(chan struct{}, 1),
		done:  make(chan struct{}),
	}
	b.gate = newGate(&b.counters, b.warned)
	if err := b.open(ifc); err != nil {
		b.Close()
		return nil, fmt.Errorf("opening beacon on %s: %w", cfg.Ifname, err)
	}
	return b, nil
}

func (b *Beacon) open(ifc *net.Interface) error {
	prefixes, err := b.addresses(ifc)
	if err != nil {
		return err
	}
	if b.query, err = appendQuery(nil); err != nil {
		return fmt.Errorf("encoding query: %w", err)
	}
	if b.message, err = appendAnnouncement(nil, &b.self, recordTTL); err != nil {
		return fmt.Errorf("encoding announcement: %w", err)
	}
	responses, err := responseFilter()
	if err != nil {
		return err
	}
	questions, err := questionFilter(b.cfg.Tag)
	if err != nil {
		return err
	}
	var asked [2]*net.UDPConn // for the responder: IPv6, IPv4
	for i, group := range []netip.Addr{group6, group4} {
		if !b.has(group.Is6()) {
			continue
		}
		udp, err := openSocket(ifc, group, true, responses)
		if err != nil {
			return err
		}
		to := group
		if to.Is6() {
			to = to.WithZone(ifc.Name)
		}
		b.conns = append(b.conns, &segmentConn{udp, netip.AddrPortFrom(to, mdnsPort), prefixes})
		if asked[i], err = openSocket(ifc, group, false, questions); err != nil {
			return err
		}
	}
	b.responder, err = openResponder(ifc, asked[1], asked[0], &b.self, b.gate)
	if err != nil {
		for _, c := range asked {
			if c != nil {
				c.Close()
			}
		}
		return fmt.Errorf("starting responder: %w", err)
	}
	return nil
}

// addresses chooses what to say of our addresses, link-local IPv6 and one IPv4,
// and returns the IPv4 prefixes on the interface.
func (b *Beacon) addresses(ifc *net.Interface) (prefixes []netip.Prefix, err error) {
	list, err := ifc.Addrs()
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	for _, a := range list {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		switch addr := p.Addr(); {
		case addr.Is4():
			prefixes = append(prefixes, p.Masked())
			if !b.has(false) {
				b.self.addrs = append(b.self.addrs, addr)
			}
		case addr.IsLinkLocalUnicast() && !b.has(true):
			b.self.addrs = append([]netip.Addr{addr}, b.self.addrs...)
		}
	}
	if len(b.self.addrs) == 0 {
		return nil, ErrNoAddress
	}
	return prefixes, nil
}

// has reports whether we announce an address of the family.
func (b *Beacon) has(ipv6 bool) bool {
	for _, a := range b.self.addrs {
		if a.Is6() == ipv6 {
			return true
		}
	}
	return false
}

// SetPace sets how often the beacon speaks, and makes it speak soon.
func (b *Beacon) SetPace(p Pace) {
	for {
		select {
		case b.pace <- p:
			return
		default:
		}
		select {
		case <-b.pace: // an older one that nobody took
		default:
		}
	}
}

// Query announces us and asks who else is there, at once or, if the last query
// is younger than a second, when it no longer is.
func (b *Beacon) Query() {
	select {
	case b.ask <- struct{}{}:
	default:
	}
}

// Counters returns what was counted since Open.
func (b *Beacon) Counters() map[string]uint64 { return b.counters.snapshot() }

// Run announces and listens until ctx ends; then it says goodbye, closes the
// sockets and returns nil.
func (b *Beacon) Run(ctx context.Context) error {
	var readers sync.WaitGroup
	for _, c := range b.conns {
		readers.Go(func() { b.read(c) })
	}
	b.loop(ctx)
	b.goodbye()
	b.Close()
	readers.Wait()
	return nil
}

// Close closes a beacon whose Run was never called. Else it is Run that closes.
func (b *Beacon) Close() {
	b.closing.Do(func() {
		close(b.done)
		for _, c := range b.conns {
			c.udp.Close()
		}
		b.gate.close()
		if b.responder != nil {
			b.responder.Close()
		}
	})
}

// loop is Run's goroutine: it says when to speak and reports what was heard.
func (b *Beacon) loop(ctx context.Context) {
	var (
		pace     = Isolated
		known    = newTable(len(b.conns) > 1)
		announce = time.Now() // when to
		query    = time.Now() // when to; far away if there is no need
		queried  time.Time
		spoken   time.Time
	)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-b.pace:
			if p != pace {
				pace = p
				announce = later(time.Now(), spoken.Add(announceGap))
				if pace == Isolated { // those that know us need not answer what we announce
					query = later(time.Now(), queried.Add(queryGap))
				}
			}
		case <-b.ask:
			query = later(time.Now(), queried.Add(queryGap))
			announce = later(time.Now(), spoken.Add(announceGap))
		case h := <-b.heard:
			if stranger := b.note(known, h); stranger {
				// It may be long until our turn: let it know us too. Many who hear
				// the same do not all speak at the same time.
				soon := time.Now().Add(mathrand.N(time.Duration(1+min(len(known.entries), 20)) * 5 * time.Millisecond))
				if soon = later(soon, spoken.Add(announceGap)); soon.Before(announce) {
					announce = soon
				}
			}
		case <-timer.C:
			now := time.Now()
			if !now.Before(announce) {
				spoken, announce = now, now.Add(pace.interval())
				if !b.send(b.message, b.conns, &b.counters.announced) {
					announce = now.Add(retryGap)
				}
			}
			if !now.Before(query) {
				queried, query = now, now.Add(never)
				if !b.send(b.query, b.conns[:1], &b.counters.queried) {
					query = now.Add(retryGap)
				}
			}
		}
		next := announce
		if query.Before(next) {
			next = query
		}
		timer.Reset(time.Until(next))
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
