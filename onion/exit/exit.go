// Package exit is where circuits end: it connects streams to the internet, to
// services of this node and to other nodes, and looks names up, as far as the
// owner's policy and limits go.
//
// The policy judges the address that is dialled, after the name was looked up, so no
// name leads where an address may not. An Exit owns its counters and limits; its
// methods may be called from any goroutine. Destinations are never logged, nor are they
// in its errors.
package exit

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/ntor"
	"globalnet/onion/policy"
	"globalnet/onion/relay"
)

// AgentPorts are those of the agent itself: signalling, channels, and the directory.
var AgentPorts = []uint16{18245, 18246, 18247}

// MinSecret is how long a secret must be at least, in bytes: whoever receives a
// proof of it may try guesses.
const MinSecret = 16

// Config is what an Exit needs.
type Config struct {
	Self        identity.NodeID
	Policy      *policy.Policy // nil: nothing outside the mesh
	Inside      bool           // connect to other nodes
	ServePorts  []uint16       // of this node that circuits may reach
	Secret      []byte         // if not empty, only clients that know it get outside; see SetSecret
	Limits      Limits
	ClosedPorts []uint16            // of other nodes; nil: AgentPorts
	Own         func() []netip.Addr // this host's addresses; nil: OwnAddresses
	Resolver    Resolver            // nil: a Stub of the system's servers
	Dialer      Dialer              // nil: a net.Dialer
	Log         *slog.Logger
}

// Stats counts what an Exit did since it was made.
type Stats struct {
	Open      int64 // connections now
	Connected uint64
	Resolved  uint64

	RefusedPolicy  uint64 // by rules, or because there is no exit
	RefusedPrivate uint64 // names and addresses that are not of the internet
	RefusedSecret  uint64
	RefusedLimit   uint64 // of connections
	RefusedQuota   uint64 // of the month's bytes
	ResolveFailed  uint64
	ConnectFailed  uint64

	BytesOut, BytesIn uint64 // to the destinations, and from them
}

// Exit implements relay.Exit and relay.Resolver.
type Exit struct {
	cfg     Config
	gate    *gate
	quota   *Quota
	out, in *Limiter
	lookups chan struct{}
	warned  struct{ quota, limit atomic.Int64 }

	changing sync.Mutex // held by those who replace current
	current  atomic.Pointer[settings]

	stats struct {
		connected, resolved, policy, private, secret, limit, quota, resolve, connect, bytesOut, bytesIn atomic.Uint64
	}
}

// settings are what a connection is judged by. They are replaced, not changed.
type settings struct {
	policy *policy.Policy
	secret []byte
	inside bool
	serve  []uint16
}

const (
	maxLookups    = 512 // at once
	lookupTimeout = 8 * time.Second
)

var (
	_ relay.Exit       = (*Exit)(nil)
	_ relay.Resolver   = (*Exit)(nil)
	_ relay.Doorkeeper = (*Exit)(nil)
)

// New returns an Exit.
func New(cfg Config) *Exit {
	if cfg.ClosedPorts == nil {
		cfg.ClosedPorts = AgentPorts
	}
	if cfg.Own == nil {
		cfg.Own = OwnAddresses()
	}
	if cfg.Resolver == nil {
		cfg.Resolver = NewStub("")
	}
	if cfg.Dialer == nil {
		cfg.Dialer = new(net.Dialer)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	e := &Exit{cfg: cfg, gate: newGate(cfg.Limits), quota: NewQuota(0), out: NewLimiter(), in: NewLimiter(),
		lookups: make(chan struct{}, maxLookups)}
	e.current.Store(&settings{secret: bytes.Clone(cfg.Secret), inside: cfg.Inside, serve: slices.Clone(cfg.ServePorts)})
	e.SetPolicy(cfg.Policy)
	e.SetLimits(cfg.Limits)
	return e
}

// change puts changed settings in place of the old ones. Connections that are open stay.
func (e *Exit) change(f func(*settings)) {
	e.changing.Lock()
	defer e.changing.Unlock()
	s := *e.current.Load()
	f(&s)
	e.current.Store(&s)
}

// SetPolicy changes the policy; nil lets nothing out.
func (e *Exit) SetPolicy(p *policy.Policy) {
	if p == nil {
		p = new(policy.Policy)
	}
	owned := *p
	if owned.Own == nil {
		owned.Own = e.cfg.Own
	}
	e.change(func(s *settings) { s.policy = &owned })
}

// SetSecret changes the secret; an empty one lets everybody out. It guards the way outside, not
// that to other nodes and to ports of this one.
func (e *Exit) SetSecret(secret []byte) {
	secret = bytes.Clone(secret)
	e.change(func(s *settings) { s.secret = secret })
}

// SetInside changes whether other nodes are reached, and which ports of this one.
func (e *Exit) SetInside(inside bool, serve []uint16) {
	serve = slices.Clone(serve)
	e.change(func(s *settings) { s.inside, s.serve = inside, serve })
}

// SetLimits changes the limits, of open connections as well.
func (e *Exit) SetLimits(l Limits) {
	e.gate.set(l)
	e.quota.SetLimit(l.BytesPerMonth)
	e.out.Set(l.BytesPerSecond, l.BytesBurst)
	e.in.Set(l.BytesPerSecond, l.BytesBurst)
}

// Quota returns the month's count, to be saved and loaded.
func (e *Exit) Quota() *Quota { return e.quota }

// Stats returns the counters.
func (e *Exit) Stats() Stats {
	s := &e.stats
	return Stats{
		Open: int64(e.gate.opened()), Connected: s.connected.Load(), Resolved: s.resolved.Load(),
		RefusedPolicy: s.policy.Load(), RefusedPrivate: s.private.Load(), RefusedSecret: s.secret.Load(),
		RefusedLimit: s.limit.Load(), RefusedQuota: s.quota.Load(),
		ResolveFailed: s.resolve.Load(), ConnectFailed: s.connect.Load(),
		BytesOut: s.bytesOut.Load(), BytesIn: s.bytesIn.Load(),
	}
}

// Summary returns what the descriptor says. It is empty for an exit that wants a secret, so
// that strangers do not choose it, and while the month's bytes are used up.
func (e *Exit) Summary() policy.Summary {
	s := e.current.Load()
	if len(s.secret) > 0 || !e.quota.Left() {
		return policy.Summary{}
	}
	sum := s.policy.Summary()
	sum.IPv4 = sum.IPv4 && reaches(anywhere4, s.policy.AllowPrivate)
	sum.IPv6 = sum.IPv6 && reaches(anywhere6, s.policy.AllowPrivate)
	if !sum.IsExit() {
		return policy.Summary{}
	}
	return sum
}

// Addresses that nobody has, so that only a default route leads there.
var (
	anywhere4 = netip.MustParseAddr("192.0.2.1")
	anywhere6 = netip.MustParseAddr("2001:db8::1")
)

// reaches reports whether the kernel knows a way to an address, or to private ones of its
// family that are allowed. Nothing is sent.
func reaches(anywhere netip.Addr, private []netip.Prefix) bool {
	for _, p := range append([]netip.Prefix{netip.PrefixFrom(anywhere, anywhere.BitLen())}, private...) {
		if p.Addr().Is4() != anywhere.Is4() {
			continue
		}
		if c, err := net.Dial("udp", netip.AddrPortFrom(p.Addr(), 9).String()); err == nil {
			c.Close()
			return true
		}
	}
	return false
}

// Admits implements relay.Doorkeeper. Without a secret there is nothing to show.
func (e *Exit) Admits(x [32]byte, proof [ntor.ProofSize]byte) bool {
	secret := e.current.Load().secret
	want := ntor.Proof(secret, e.cfg.Self, x)
	return len(secret) > 0 && hmac.Equal(want[:], proof[:])
}

// Connect implements relay.Exit.
func (e *Exit) Connect(ctx context.Context, t cell.Target) (net.Conn, error) {
	s := e.current.Load()
	if err := e.admit(ctx, s, t); err != nil {
		return nil, e.told(err)
	}
	if !e.gate.enter() {
		return nil, e.told(errLimit)
	}
	addrs, err := e.addresses(ctx, s, t)
	if err == nil {
		var c net.Conn
		var a netip.Addr
		if c, a, err = e.dial(ctx, t.Network, addrs, t.Port); err == nil {
			e.stats.connected.Add(1)
			return e.wrap(c, func() {
				e.gate.leaveTo(a)
				e.gate.leave()
			}), nil
		}
	}
	e.gate.leave()
	return nil, e.told(err)
}

// Reasons to refuse that are counted apart.
var (
	errSecret   = errors.New("the client has not shown the secret")
	errNoExit   = errors.New("not served")
	errNotFound = errors.New("the name has no address")
)

// resolveError is a lookup that failed.
type resolveError struct{ err error }

func (e *resolveError) Error() string { return "looking up a name: " + e.err.Error() }
func (e *resolveError) Unwrap() error { return e.err }

// admit judges a target as far as it can be without looking names up.
func (e *Exit) admit(ctx context.Context, s *settings, t cell.Target) error {
	if !e.quota.Left() {
		return errQuota
	}
	if t.Name == "" && !t.Addr.IsValid() {
		return e.admitNode(s, t)
	}
	if len(s.secret) > 0 && !relay.Trusted(ctx) {
		return errSecret
	}
	if t.Name != "" {
		return s.policy.AllowsName(t.Network, t.Name, t.Port)
	}
	return s.policy.Allows(t.Network, t.Addr, t.Port)
}

func (e *Exit) admitNode(s *settings, t cell.Target) error {
	node := identity.NodeID(t.Node)
	switch {
	case node.IsZero() || t.Port == 0,
		node == e.cfg.Self && !slices.Contains(s.serve, t.Port),
		node != e.cfg.Self && (!s.inside || slices.Contains(e.cfg.ClosedPorts, t.Port)):
		return errNoExit
	}
	return nil
}

// addresses returns those that may be dialled.
func (e *Exit) addresses(ctx context.Context, s *settings, t cell.Target) ([]netip.Addr, error) {
	switch {
	case t.Addr.IsValid():
		return []netip.Addr{t.Addr.Unmap()}, nil
	case t.Name == "" && identity.NodeID(t.Node) == e.cfg.Self: // a server may listen on any of them
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback(), e.cfg.Self.Address()}, nil
	case t.Name == "":
		return []netip.Addr{identity.NodeID(t.Node).Address()}, nil
	}
	found, _, err := e.lookup(ctx, t.Name)
	if err != nil {
		return nil, err
	}
	allowed, err := filter(found, func(a netip.Addr) error { return s.policy.AllowsAt(t.Network, t.Name, a, t.Port) })
	return interleave(allowed), err
}

// filter keeps the addresses that are allowed. If none is, it says why.
func filter(found []netip.Addr, allows func(netip.Addr) error) (allowed []netip.Addr, err error) {
	for _, a := range found {
		if aerr := allows(a); aerr != nil {
			err = cmp.Or(err, aerr)
			continue
		}
		allowed = append(allowed, a.Unmap())
	}
	if len(allowed) > 0 {
		return allowed, nil
	}
	return nil, err
}

// lookup asks the resolver.
func (e *Exit) lookup(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	select {
	case e.lookups <- struct{}{}:
		defer func() { <-e.lookups }()
	default:
		return nil, 0, errLimit
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, ttl, err := e.cfg.Resolver.LookupAddrs(ctx, name)
	if err == nil && len(found) == 0 {
		err = errNotFound
	}
	if err != nil {
		return nil, 0, &resolveError{err}
	}
	return found, ttl, nil
}

// told counts a failure and makes of it what the client is told.
func (e *Exit) told(err error) error {
	var lookup *resolveError
	var op *net.OpError
	switch {
	case err == errQuota:
		e.stats.quota.Add(1)
		e.warn(&e.warned.quota, "exit: the bytes of this month are used up")
		return err
	case errors.Is(err, errSecret):
		e.stats.secret.Add(1)
	case errors.Is(err, errLimit):
		e.stats.limit.Add(1)
		e.warn(&e.warned.limit, "exit: too many connections, some are refused")
		return &relay.Error{Reason: cell.EndResource}
	case errors.Is(err, policy.ErrPrivate), errors.Is(err, policy.ErrName):
		e.stats.private.Add(1)
	case errors.Is(err, policy.ErrRejected), errors.Is(err, errNoExit):
		e.stats.policy.Add(1)
	case errors.As(err, &lookup):
		e.stats.resolve.Add(1)
		if errors.Is(err, context.DeadlineExceeded) {
			return &relay.Error{Reason: cell.EndTimeout}
		}
		return &relay.Error{Reason: cell.EndResolve}
	default:
		e.stats.connect.Add(1)
		if errors.As(err, &op) {
			return op.Err // without the addresses
		}
		return err
	}
	return &relay.Error{Reason: cell.EndPolicy}
}

// warn logs a message, at most once in ten minutes.
func (e *Exit) warn(at *atomic.Int64, message string) {
	now, last := time.Now().Unix(), at.Load()
	if age := now - last; age >= 0 && age < 600 || !at.CompareAndSwap(last, now) {
		return
	}
	e.cfg.Log.Warn(message)
}
