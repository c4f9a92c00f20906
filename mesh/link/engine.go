package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"globalnet/internal/identity"
)

const (
	maxHalfOpenPerSource = 4
	maxSessionsPerSource = 8
	// A source may begin this many sessions at once and then one each interval: TLS
	// is dear on a small router.
	startBurst    = 20
	startInterval = 500 * time.Millisecond
	maxSources    = 1024
	// supersedeAfter is how long an older session with the same node may hold up a newer one.
	supersedeAfter = time.Second
)

// Engine makes links. It owns all sessions, and decides between two with the
// same node. It is safe for concurrent use.
type Engine struct {
	cfg      Config
	tls      *tls.Config
	self     identity.NodeID
	ports    *portRange
	replay   replayFilter
	counters [counterCount]atomic.Uint64
	quiet    quiet
	starts   *buckets

	patience time.Duration            // with ICE
	enter    func(func() error) error // calls what opens sockets; tests do it in namespaces

	mu       sync.Mutex
	half     []*halfOpen // accepted, nothing proved; oldest first
	sessions map[*session]struct{}
}

// New makes an Engine.
func New(cfg Config) (*Engine, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	tlsCfg, err := cfg.Identity.TLSConfig(alpn)
	if err != nil {
		return nil, fmt.Errorf("preparing TLS: %w", err)
	}
	return &Engine{
		cfg:      cfg,
		tls:      tlsCfg,
		self:     cfg.Identity.NodeID(),
		ports:    newPortRange(cfg.PortMin, cfg.PortMax),
		sessions: make(map[*session]struct{}),
		starts:   newBuckets(startBurst, startInterval, maxSources),
		patience: pathTimeout,
		enter:    func(f func() error) error { return f() },
	}, nil
}

// Dial runs a whole session with the node d, Handler.Switch included. It returns
// when the session has ended; so that a session dialled by the other side is not
// doubled, it fails with ErrDuplicate when there is one.
func (e *Engine) Dial(ctx context.Context, d DialTarget) (*Established, error) {
	target, ok := d.target16()
	if !ok || !d.Addr.IsValid() {
		return nil, errors.New("dialling: neither tag nor node nor mesh address given")
	}
	if d.Tag == e.cfg.Tag || d.Node == e.self || d.MeshAddr == e.self.Address() {
		return nil, fmt.Errorf("dialling ourselves: %w", ErrWrongNode)
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	s := &session{e: e, outgoing: true, target: d, from: d.Addr}
	ctx, err := e.begin(ctx, s)
	if err != nil {
		return nil, err
	}
	e.count(dialled)
	est, err := s.dial(ctx, target)
	e.end(s, err)
	return est, err
}

func (s *session) dial(ctx context.Context, target [16]byte) (*Established, error) {
	raw, err := s.e.dialTCP(ctx, s.target.Addr)
	if err != nil {
		return nil, fmt.Errorf("dialling: %w", err)
	}
	return s.runClient(ctx, raw, target)
}

// runClient runs a session on raw, which it closes.
func (s *session) runClient(ctx context.Context, raw net.Conn, target [16]byte) (*Established, error) {
	s.e.mu.Lock()
	s.connected = true
	s.e.mu.Unlock()
	metered := &meteredConn{Conn: raw, prefix: newPreamble(s.e.cfg.Tag).append(nil, s.e.cfg.NetworkKey, target)}
	return s.run(ctx, metered)
}

// Serve accepts sessions on l until ctx ends; then it closes l, ends the sessions
// it accepted and returns nil.
func (e *Engine) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() {
		<-ctx.Done()
		l.Close()
	})
	for {
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accepting: %w", err)
		case err != nil: // out of files, or a connection that was reset while it waited
			e.count(acceptFailed)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		running.Go(func() { e.serveConn(ctx, conn) })
	}
}

// halfOpen is a connection that has proved nothing. When there are too many, the
// oldest goes: an honest client sends its preamble at once.
type halfOpen struct {
	conn   net.Conn
	source netip.Addr
}

func (e *Engine) enterHalfOpen(conn net.Conn, source netip.Addr) *halfOpen {
	e.mu.Lock()
	defer e.mu.Unlock()
	same := 0
	for _, h := range e.half {
		if h.source == source {
			same++
		}
	}
	if same >= maxHalfOpenPerSource {
		e.count(refusedSource)
		return nil
	}
	if len(e.half) >= e.cfg.MaxSessions {
		e.count(evicted)
		e.half[0].conn.Close()
		e.half = e.half[1:]
	}
	h := &halfOpen{conn, source}
	e.half = append(e.half, h)
	return h
}

func (e *Engine) leaveHalfOpen(h *halfOpen) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, other := range e.half {
		if other == h {
			e.half = append(e.half[:i:i], e.half[i+1:]...)
			return
		}
	}
}

func (e *Engine) serveConn(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	e.count(accepted)
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			impatient(raw)
		}
	}
	from := addrPortOf(conn.RemoteAddr())
	h := e.enterHalfOpen(conn, sourceKey(from.Addr()))
	if h == nil {
		return
	}
	tag, ok := e.readPreamble(ctx, conn)
	e.leaveHalfOpen(h)
	if !ok {
		return
	}
	if !e.starts.take(h.source, time.Now()) {
		e.count(refusedRate)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	s := &session{e: e, from: from, tag: tag}
	ctx, err := e.begin(ctx, s)
	if err != nil {
		e.count(refusedBusy)
		return
	}
	_, err = s.run(ctx, &meteredConn{Conn: conn})
	e.end(s, err)
	if err != nil {
		if first, more := e.quiet.say(time.Now()); first {
			e.cfg.Log.Info("link session failed", "from", from, "err", err, "unsaid", more)
		}
	}
}

// readPreamble reads and judges the first bytes of a connection. The other side
// learns nothing from a refusal.
func (e *Engine) readPreamble(ctx context.Context, conn net.Conn) (tag Tag, ok bool) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetDeadline(time.Now().Add(handshakeTimeout))
	var b [preambleSize]byte
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		e.count(preambleMissing)
		return tag, false
	}
	conn.SetDeadline(time.Time{})
	p, ok := parsePreamble(&b, e.cfg.NetworkKey, e.cfg.Tag, e.self.Address().As16())
	switch {
	case !ok || p.tag == e.cfg.Tag || p.tag.IsZero():
		e.count(preambleWrong)
		return tag, false
	case !e.replay.fresh(p.random):
		e.count(preambleReplayed)
		return tag, false
	}
	return p.tag, true
}

// begin registers s, if there is room and no session like it.
func (e *Engine) begin(ctx context.Context, s *session) (context.Context, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	all, same := 0, 0
	for other := range e.sessions {
		// Another address of the same node may be dialled meanwhile: it is not known
		// which of them answers. settle lets the first go on.
		if s.outgoing && other.isWith(s.target) && (other.authed || other.from == s.from) {
			return nil, fmt.Errorf("dialling: %w", ErrDuplicate)
		}
		if other.outgoing == s.outgoing {
			all++
			if sourceKey(other.from.Addr()) == sourceKey(s.from.Addr()) {
				same++
			}
		}
	}
	if all >= e.cfg.MaxSessions || !s.outgoing && same >= maxSessionsPerSource {
		return nil, fmt.Errorf("too many sessions: %w", ErrBusy)
	}
	s.proved = make(chan struct{})
	s.done = make(chan struct{})
	ctx, s.cancel = context.WithCancelCause(ctx)
	e.sessions[s] = struct{}{}
	return ctx, nil
}

func (e *Engine) end(s *session, err error) {
	s.cancel(nil)
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.sessions, s)
	s.err = err
	close(s.done)
	e.count(outcome(err))
}

// isWith reports whether s is with the node that d means, as far as is known.
// The caller holds e.mu.
func (s *session) isWith(d DialTarget) bool {
	if s.authed {
		return s.node == d.Node || s.tag == d.Tag || s.node.Address() == d.MeshAddr
	}
	t := s.target
	switch {
	case !s.outgoing:
		return false
	case !t.Tag.IsZero() && t.Tag == d.Tag:
		return true
	}
	return t.expectedAddr().IsValid() && t.expectedAddr() == d.expectedAddr()
}

// settle decides between s, whose other side has just proved itself, and the
// other sessions with the same node. It waits until s may go on, or fails.
//
// When two nodes dial each other at once, the one with the lower tag decides, and
// it alone: were both to decide, each might keep the session that the other
// ends. It keeps its own, if that is connected, and holds up the other until its own
// has proved itself too or has failed.
func (e *Engine) settle(ctx context.Context, s *session) error {
	type hold struct {
		other *session
		limit time.Duration
	}
	var holds []hold
	decide := bytes.Compare(e.cfg.Tag[:], s.tag[:]) < 0

	e.mu.Lock()
	s.authed = true
	close(s.proved)
	us := DialTarget{Tag: s.tag, Node: s.node, MeshAddr: s.node.Address()}
	for other := range e.sessions {
		if other == s || !other.isWith(us) {
			continue
		}
		switch {
		case s.outgoing && other.outgoing: // dialled twice, by tag and by node
			if other.authed {
				e.mu.Unlock()
				return ErrDuplicate
			}
		case s.outgoing:
		case other.outgoing && !decide:
		case other.outgoing && other.connected:
			holds = append(holds, hold{other, e.cfg.Timeout})
		case other.tag != s.tag || other.outgoing:
			// Not connected yet, or from before the other node was started anew.
			other.cancel(errSuperseded)
			holds = append(holds, hold{other, e.cfg.Timeout})
		default:
			holds = append(holds, hold{other, supersedeAfter})
		}
	}
	e.mu.Unlock()

	for _, h := range holds {
		if err := s.waitFor(ctx, h.other, h.limit); err != nil {
			return err
		}
	}
	return nil
}

// waitFor returns nil when other has failed, and ErrDuplicate when it is to be preferred.
func (s *session) waitFor(ctx context.Context, other *session, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	proved := other.proved
	if !other.outgoing {
		proved = nil // that it has proved itself says nothing: its node may be gone since
	}
	for {
		select {
		case <-proved:
			return ErrDuplicate
		case <-other.done:
			if other.err == nil {
				return ErrDuplicate
			}
			return nil
		case ev := <-s.events:
			if ev.err != nil {
				return ev.err
			}
			return fmt.Errorf("%w: message before ours", errProtocol)
		case <-timer.C:
			other.cancel(errSuperseded)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// prefer ends the other sessions with the node of s, which has made its link. The
// controlled side comes here first, so its own dial is over before the other
// side, which decides, forgets that there was a choice.
func (e *Engine) prefer(s *session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	us := DialTarget{Tag: s.tag, Node: s.node, MeshAddr: s.node.Address()}
	for other := range e.sessions {
		if other != s && other.isWith(us) {
			other.cancel(ErrDuplicate)
		}
	}
}
