package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
	"globalnet/onion/channel"
	"globalnet/onion/netdir"
	"globalnet/onion/path"
	"globalnet/onion/stream"
)

// Channels gives channels to relays.
type Channels interface {
	Channel(ctx context.Context, node identity.NodeID) (*channel.Channel, error)
}

// Chooser chooses relays and learns how that went; path.Chooser does.
type Chooser interface {
	Choose(now time.Time, need path.Need) (path.Choice, error)
	Fill(now time.Time, route path.Route, target *cell.Target) (path.Choice, error)
	Report(now time.Time, hops []identity.NodeID, failed int)
}

// Directory is what is known of relays; netdir.Directory does.
type Directory interface {
	Relay(now time.Time, node identity.NodeID) (netdir.Relay, bool)
	NodeOf(addr netip.Addr) (identity.NodeID, bool)
	Changed() <-chan struct{} // closed at the next change
	ReportCircuit(now time.Time, hops []identity.NodeID, failed int)
	ReportBandwidth(now time.Time, node identity.NodeID, bytesPerSecond int64)
}

// Services opens streams to hidden services.
type Services interface {
	// Dial reaches a name below the zone, which is cut off already.
	Dial(ctx context.Context, who Isolation, name string, target cell.Target, early []byte) (*stream.Stream, error)
}

// Config is what a Client needs.
type Config struct {
	Channels  Channels
	Chooser   Chooser
	Directory Directory
	Services  Services // nil: names of the zone are not known
	Zone      string   // of hidden services, "gnet.alt"
	Self      identity.NodeID

	// Find looks for the descriptor of a node that the Directory does not have; nil:
	// there is nowhere to look.
	Find func(ctx context.Context, node identity.NodeID) error

	Log *slog.Logger

	// Secret returns what an exit wants to hear from those it trusts; nil: none does.
	Secret func(exit identity.NodeID) []byte

	Settings Settings
}

// Settings can be changed while the Client runs.
type Settings struct {
	Hops    int // relays of a circuit; 0: 3
	MinHops int // fewer, if there are no more relays; 0: 1
	Most    int // circuits at a time; 0: 512
	Ready   int // unused circuits and stubs that wait, each; 0: 2; negative: none
}

func (s Settings) withDefaults() Settings {
	if s.Hops == 0 {
		s.Hops = 3
	}
	if s.MinHops == 0 {
		s.MinHops = 1
	}
	if s.Most == 0 {
		s.Most = 512
	}
	if s.Ready == 0 {
		s.Ready = 2
	}
	return s
}

const (
	dirtyTime  = 10 * time.Minute // a circuit takes new streams for so long after its first one
	cleanTime  = time.Hour        // an unused circuit is kept for so long
	lifeTime   = 24 * time.Hour   // of any circuit
	activeTime = time.Hour        // circuits wait ready for so long after somebody asked for one
	graceTime  = 3 * time.Second  // after news of relays, in which fewer than wanted may mean that not all are known yet

	buildTimeout = 10 * time.Second
	buildTries   = 4
	dialTries    = 3
	maxBuilds    = 16 // at a time
)

// Client opens streams through circuits. Run must be called once.
type Client struct {
	cfg     Config
	started time.Time
	news    atomic.Int64  // when the directory last changed, in ns since the start: clocks are set
	wake    chan struct{} // the pool wants tending
	slots   chan struct{} // builds under way

	mu       sync.Mutex
	ctx      context.Context // of Run; nil before and after
	tasks    sync.WaitGroup
	running  chan struct{} // closed when Run has begun
	settings Settings
	entries  map[uint32]*entry
	last     uint32 // identifier of an entry
	attempts map[*attempt]struct{}
	asked    time.Time     // when somebody last wanted a circuit
	short    int           // hops of the last circuit that had to be shorter than wanted; 0: none
	relaxed  []path.Rule   // rules that the last choice could not keep
	filling  int           // builds for the pool
	usual    time.Duration // that a circuit for a service takes to be made
	noExit   time.Time     // until then no circuit to the web is tried
	counters counters
	epoch    atomic.Uint64 // of NewIdentity
}

// Errors of a Client.
var (
	ErrStopped = errors.New("the client has stopped")
	ErrFull    = errors.New("too many circuits")
)

// New returns a Client.
func New(cfg Config) *Client {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{cfg: cfg, started: time.Now(), wake: make(chan struct{}, 1), slots: make(chan struct{}, maxBuilds),
		running: make(chan struct{}), settings: cfg.Settings.withDefaults(),
		entries: make(map[uint32]*entry), attempts: make(map[*attempt]struct{})}
}

// Apply takes other settings into use.
func (c *Client) Apply(s Settings) {
	c.mu.Lock()
	c.settings = s.withDefaults()
	c.mu.Unlock()
	c.nudge()
}

// Dial opens a stream to the target through a circuit of who's. What it returns can
// be used at once: early data has been sent with the request, and the target may
// still turn out not to answer.
func (c *Client) Dial(ctx context.Context, who Isolation, target cell.Target, early []byte) (*stream.Stream, error) {
	if name, ok := c.inZone(target.Name); ok {
		if c.cfg.Services == nil {
			return nil, &stream.EndError{Reason: cell.EndResolve}
		}
		return c.cfg.Services.Dial(ctx, who, name, target, early)
	}
	target, err := c.meshTarget(target)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		e, err := c.circuitFor(ctx, who, target)
		if err != nil {
			return nil, err
		}
		s, err := e.circuit.Open(target, early)
		if err == nil {
			c.opened(e, s)
			return s, nil
		}
		c.retire(e)
		if try == dialTries {
			return nil, fmt.Errorf("opening a stream: %w", err)
		}
	}
}

// Resolve has an exit look a name up: addresses, or names for a name below
// in-addr.arpa or ip6.arpa.
func (c *Client) Resolve(ctx context.Context, who Isolation, name string) (cell.Resolved, error) {
	if _, ok := c.inZone(name); ok {
		return cell.Resolved{}, &stream.EndError{Reason: cell.EndResolve}
	}
	e, err := c.circuitFor(ctx, who, cell.Target{Name: name, Port: 443})
	if err != nil {
		return cell.Resolved{}, err
	}
	return e.circuit.Resolve(ctx, name)
}

// inZone cuts the zone off a name below it.
func (c *Client) inZone(name string) (string, bool) {
	if c.cfg.Zone == "" {
		return "", false
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == c.cfg.Zone {
		return "", true
	}
	return strings.CutSuffix(name, "."+c.cfg.Zone)
}

// meshTarget names the node, where the target is a mesh address: that is how relays
// let nodes be reached, and no exit policy is asked.
func (c *Client) meshTarget(t cell.Target) (cell.Target, error) {
	if !t.Addr.IsValid() || !identity.MeshPrefix.Contains(t.Addr) {
		return t, nil
	}
	node, ok := c.cfg.Directory.NodeOf(t.Addr)
	if !ok {
		return t, &stream.EndError{Reason: cell.EndUnreachable}
	}
	return cell.Target{Network: t.Network, Node: node, Port: t.Port}, nil
}

// NewIdentity has no circuit of now take another stream: what is opened from here on
// cannot be connected with what was. Streams that are open stay.
func (c *Client) NewIdentity() {
	c.epoch.Add(1)
	c.mu.Lock()
	for a := range c.attempts {
		a.stale = true
	}
	for _, e := range c.entries {
		if !e.held {
			e.stale = true
		}
	}
	c.mu.Unlock()
	c.nudge()
}

func (c *Client) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
