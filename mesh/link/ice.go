package link

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/ice/v2"
	"github.com/pion/logging"
	"github.com/pion/transport/v2"

	"globalnet/mesh/link/signal"
)

const (
	maxCandidates = 32
	// checkInterval is how often pion looks for something to check or nominate; the
	// mux paces what then goes out.
	checkInterval = 20 * time.Millisecond
	// maxChecks lets a check run as long as a session may take.
	maxChecks = 400
)

// tiers are the preferences among paths, best first: a cable and a radio that
// reach the neighbour directly, other addresses at the same site, the internet.
const (
	tierWire = iota
	tierRadio
	tierSite
	tierInternet
	tiers
)

func tierOf(c Class, a netip.Addr) int {
	switch {
	case c == Internet:
		return tierInternet
	case !linkLocal6(a):
		return tierSite
	case c == Radio:
		return tierRadio
	}
	return tierWire
}

// headStart is how much earlier the checks of a tier begin than those of the
// next, if both nodes have addresses of that tier. ICE nominates the first pair
// that works, so a worse path must not win by a packet that came a little sooner.
var headStart = [tiers]time.Duration{
	tierWire:  50 * time.Millisecond,
	tierRadio: 150 * time.Millisecond,
	tierSite:  50 * time.Millisecond,
}

// checker is pion's ICE agent on a mux.
type checker struct {
	mux   *mux
	agent *ice.Agent
	// Ufrag and pwd are ours.
	ufrag, pwd string

	start     time.Time
	localHas  [tiers]bool
	remoteHas [tiers]bool
	announced int         // remote candidates so far
	pending   []pending   // waiting for their head start to be over
	wake      *time.Timer // fires when the first of pending is due

	selected chan error // nil once a pair is selected
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

type pending struct {
	due       time.Time
	candidate ice.Candidate
}

func newChecker(m *mux, log *slog.Logger) (*checker, error) {
	c := &checker{
		mux: m, ufrag: iceText(8), pwd: iceText(32),
		selected: make(chan error, 1), wake: time.NewTimer(time.Hour), cancel: func() {},
	}
	for _, s := range m.sockets {
		c.localHas[tierOf(s.local.Class, s.local.Addr)] = true
	}
	zero, interval, checks := time.Duration(0), checkInterval, uint16(maxChecks)
	agent, err := ice.NewAgent(&ice.AgentConfig{
		UDPMux:                 m,
		LocalUfrag:             c.ufrag,
		LocalPwd:               c.pwd,
		MulticastDNSMode:       ice.MulticastDNSModeDisabled,
		NetworkTypes:           []ice.NetworkType{ice.NetworkTypeUDP4, ice.NetworkTypeUDP6},
		CandidateTypes:         []ice.CandidateType{ice.CandidateTypeHost},
		CheckInterval:          &interval,
		MaxBindingRequests:     &checks,
		HostAcceptanceMinWait:  &zero,
		SrflxAcceptanceMinWait: &zero,
		PrflxAcceptanceMinWait: &zero,
		Net:                    noInterfaces{},
		LoggerFactory:          pionLog{log},
	})
	if err != nil {
		return nil, fmt.Errorf("making ICE agent: %w", err)
	}
	c.agent = agent
	// Our candidates are announced from the mux; pion only needs the handler to be there.
	if err = agent.OnCandidate(func(ice.Candidate) {}); err == nil {
		err = agent.GatherCandidates()
	}
	if err != nil {
		c.close()
		return nil, fmt.Errorf("gathering candidates: %w", err)
	}
	return c, nil
}

// iceText returns n random ICE characters, of 6 bits each.
func iceText(n int) string {
	const chars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/"
	b := make([]byte, n)
	rand.Read(b)
	for i := range b {
		b[i] = chars[b[i]&63]
	}
	return string(b)
}

// hostCandidates are what we announce at once, best first.
func (c *checker) hostCandidates() []*signal.Candidate {
	var list []*signal.Candidate
	for _, s := range c.mux.sockets {
		list = append(list, &signal.Candidate{
			Kind: signal.Host, Class: uint8(s.local.Class),
			Addr: netip.AddrPortFrom(s.local.Addr.WithZone(""), c.mux.port),
		})
	}
	return list
}

// run begins the checks; selected tells when a pair is found.
func (c *checker) run(ctx context.Context, controlling bool, remote *signal.Offer) {
	ctx, c.cancel = context.WithCancel(ctx)
	c.start = time.Now()
	c.running.Go(func() {
		connect := c.agent.Accept
		if controlling {
			connect = c.agent.Dial
		}
		_, err := connect(ctx, remote.Ufrag, remote.Pwd)
		c.selected <- err
	})
}

// addRemote takes a candidate of the neighbour's. Ones that cannot work are
// ignored; too many are an error.
func (c *checker) addRemote(m *signal.Candidate) error {
	if c.announced++; c.announced > maxCandidates {
		return fmt.Errorf("more than %d candidates", maxCandidates)
	}
	usable := m.Addr.Port() != 0 && Class(m.Class) != Mesh
	if usable {
		usable = false
		for _, s := range c.mux.sockets {
			usable = usable || reachable(s.local.Addr, m.Addr.Addr())
		}
	}
	if !usable {
		return nil
	}
	tier := tierOf(Class(m.Class), m.Addr.Addr())
	candidate, err := remoteCandidate(m, tier)
	if err != nil {
		return nil
	}
	c.remoteHas[tier] = true
	due := c.start
	for better := range tier {
		if c.localHas[better] && c.remoteHas[better] {
			due = due.Add(headStart[better])
		}
	}
	c.pending = append(c.pending, pending{due, candidate})
	c.addDue(time.Now())
	return nil
}

func remoteCandidate(m *signal.Candidate, tier int) (ice.Candidate, error) {
	// RFC 8445 section 5.1.2.1, with the tier in the local preference. Pion gives all
	// our own candidates one priority, so this alone orders the pairs.
	priority := uint32(65535-1000*tier)<<8 | 255
	if m.Kind == signal.ServerReflexive {
		return ice.NewCandidateServerReflexive(&ice.CandidateServerReflexiveConfig{
			Network: "udp", Address: m.Addr.Addr().String(), Port: int(m.Addr.Port()),
			Component: 1, Priority: 100<<24 | priority,
		})
	}
	return ice.NewCandidateHost(&ice.CandidateHostConfig{
		Network: "udp", Address: m.Addr.Addr().String(), Port: int(m.Addr.Port()),
		Component: 1, Priority: 126<<24 | priority,
	})
}

// addDue gives pion the candidates whose time has come, and sets wake for the next.
func (c *checker) addDue(now time.Time) {
	var later []pending
	next := time.Hour
	for _, p := range c.pending {
		if wait := p.due.Sub(now); wait > 0 {
			later = append(later, p)
			next = min(next, wait)
			continue
		}
		c.agent.AddRemoteCandidate(p.candidate)
	}
	c.pending = later
	c.wake.Reset(next)
}

// path is a selected pair.
type path struct {
	local         LocalAddress
	port          uint16
	remote        netip.AddrPort // zoned
	localAddrPort netip.AddrPort
}

func (c *checker) path() (path, error) {
	pair, err := c.agent.GetSelectedCandidatePair()
	if err != nil || pair == nil {
		return path{}, fmt.Errorf("reading the selected pair: %w", err)
	}
	local, err1 := netip.ParseAddr(pair.Local.Address())
	remote, err2 := netip.ParseAddr(pair.Remote.Address())
	if err1 != nil || err2 != nil {
		return path{}, fmt.Errorf("reading the selected pair: %s, %s", pair.Local, pair.Remote)
	}
	s := c.mux.find(local.AsSlice())
	if s == nil {
		return path{}, fmt.Errorf("selected pair with an unknown local address")
	}
	return path{
		local:         s.local,
		port:          c.mux.port,
		remote:        s.zoned(netip.AddrPortFrom(remote.Unmap(), uint16(pair.Remote.Port()))),
		localAddrPort: netip.AddrPortFrom(s.local.Addr, c.mux.port),
	}, nil
}

// class is the class of the network that the path runs over. A router's LAN may
// carry a path to the internet; then both ends do not have link-local or private addresses.
func (p path) class() Class {
	r := p.remote.Addr()
	if p.local.Class == Internet || linkLocal6(r) || r.IsPrivate() || r.IsLoopback() || r.IsLinkLocalUnicast() {
		return p.local.Class
	}
	if prefix, err := r.Prefix(64); err == nil && r.Is6() && prefix.Contains(p.local.Addr) {
		return p.local.Class
	}
	return Internet
}

// mtu is what WireGuard may use on the path: less its own header and those of
// UDP and IPv6.
func (p path) mtu() int {
	const overhead, least, usual = 80, 1280, 1420
	mtu := usual
	if p.local.MTU > 0 {
		mtu = p.local.MTU - overhead
	}
	if p.class() == Internet {
		mtu = min(mtu, usual)
	}
	return min(max(mtu, least), 65535)
}

// close ends the agent and frees the port. It returns when all sockets are closed.
func (c *checker) close() {
	c.cancel()
	c.wake.Stop()
	c.agent.GracefulClose()
	c.mux.Close()
	c.running.Wait()
}

// noInterfaces keeps pion from listing the system's interfaces: it has the mux's.
type noInterfaces struct{ transport.Net }

func (noInterfaces) Interfaces() ([]*transport.Interface, error) { return nil, nil }

// pionLog passes pion's warnings on at debug level.
type pionLog struct{ log *slog.Logger }

func (l pionLog) NewLogger(string) logging.LeveledLogger { return l }

func (l pionLog) say(text string) { l.log.Debug("ice", "text", text) }

func (l pionLog) sayf(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.say(fmt.Sprintf(format, args...))
	}
}

// Trace and the rest implement logging.LeveledLogger. What pion logs at these
// levels is too much, and has passwords in it.
func (l pionLog) Trace(string)          {}
func (l pionLog) Tracef(string, ...any) {}
func (l pionLog) Debug(string)          {}
func (l pionLog) Debugf(string, ...any) {}
func (l pionLog) Info(string)           {}
func (l pionLog) Infof(string, ...any)  {}

func (l pionLog) Warn(s string)             { l.say(s) }
func (l pionLog) Warnf(f string, a ...any)  { l.sayf(f, a...) }
func (l pionLog) Error(s string)            { l.say(s) }
func (l pionLog) Errorf(f string, a ...any) { l.sayf(f, a...) }
