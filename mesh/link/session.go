package link

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"globalnet/internal/identity"
	"globalnet/mesh/link/signal"
)

var (
	errProtocol = errors.New("the node broke the protocol")
	// errSuperseded ends a session whose other end is gone: there is nobody to tell.
	errSuperseded = fmt.Errorf("%w: a newer one", ErrDuplicate)
)

// session is one signalling session:
//
//	client                                  server
//	preamble, TLS ───────────────────────►  (silent unless it is meant)
//	         ◄─────────────────────────── TLS
//	Hello    ───────────────────────────►  settle, Admit
//	settle, Admit  ◄───────────────────── Hello, Offer, Candidates
//	Offer, Candidates ──────────────────►
//	         ◄──────── ICE ─────────────►
//	Ready    ◄──────────────────────────► Ready
//	the controlled side: Switch, Switched ─► the controlling side: Switch
//	PeersRequest ───────────────────────►
//	         ◄─────────────────────────── Peers
//	Bye      ───────────────────────────►
type session struct {
	e        *Engine
	outgoing bool
	target   DialTarget     // if outgoing
	from     netip.AddrPort // the other side

	cancel context.CancelCauseFunc
	proved chan struct{} // closed when authed is set
	done   chan struct{} // closed when the session has ended, after err was set
	err    error

	// Guarded by e.mu until proved is closed, constant afterwards.
	connected bool
	authed    bool
	node      identity.NodeID
	tag       Tag

	conn     *tls.Conn
	binding  binding
	public   bool
	events   chan event    // from the reader
	stopped  chan struct{} // closed when the reader has ended
	observed netip.AddrPort
}

// event is a message read, or the end of reading.
type event struct {
	m   signal.Message
	err error
}

// byeError is a Bye of the other side.
type byeError struct{ reason signal.Reason }

func (b byeError) Error() string { return fmt.Sprintf("session ended by the node: %v", b.Unwrap()) }

func (b byeError) Unwrap() error {
	switch b.reason {
	case signal.Duplicate:
		return ErrDuplicate
	case signal.Busy:
		return ErrBusy
	case signal.Refused:
		return ErrRefused
	case signal.NoPath:
		return ErrNoPath
	case signal.Done:
		return net.ErrClosed
	}
	return fmt.Errorf("reason %d", b.reason)
}

func byeReason(err error) signal.Reason {
	switch {
	case errors.Is(err, ErrDuplicate):
		return signal.Duplicate
	case errors.Is(err, ErrBusy):
		return signal.Busy
	case errors.Is(err, ErrRefused), errors.Is(err, ErrWrongNode), errors.Is(err, ErrWrongNetwork):
		return signal.Refused
	case errors.Is(err, ErrNoPath):
		return signal.NoPath
	case errors.Is(err, errProtocol):
		return signal.Protocol
	}
	return signal.Failed
}

// run runs the session on raw, which it closes.
func (s *session) run(ctx context.Context, raw *meteredConn) (*Established, error) {
	defer raw.Close()
	raw.budget.Store(maxHandshakeBytes)
	handshakeCtx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if s.outgoing {
		s.conn = tls.Client(raw, s.e.tls)
	} else {
		s.conn = tls.Server(raw, s.e.tls)
	}
	if err := s.conn.HandshakeContext(handshakeCtx); err != nil {
		switch {
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case handshakeCtx.Err() != nil:
			err = handshakeCtx.Err()
		case s.outgoing && !raw.answered.Load():
			err = ErrWrongNetwork // or another node, or too busy to say so
		}
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	raw.budget.Store(maxSessionBytes)
	s.binding = binding{s.conn.ConnectionState()}
	node, err := identity.PeerNode(s.binding.cs)
	if err == nil {
		err = s.expect(node)
	}
	if err != nil {
		return nil, err
	}

	// From here on an error is told to the other side.
	deadline, _ := ctx.Deadline()
	s.conn.SetDeadline(deadline.Add(time.Second)) // a second to say bye
	s.events = make(chan event, 4)
	reading := make(chan struct{})
	s.stopped = make(chan struct{})
	go s.read(reading)
	defer func() { <-s.stopped }()
	defer raw.Close()
	defer close(reading)

	est, err := s.talk(ctx, handshakeCtx, node)
	var bye byeError
	switch {
	case err == nil && s.outgoing:
		s.send(&signal.Bye{Reason: signal.Done})
	case err != nil && !errors.As(err, &bye) && !errors.Is(err, errSuperseded):
		s.part(byeReason(err))
	}
	return est, err
}

func (s *session) expect(node identity.NodeID) error {
	if node == s.e.self {
		return fmt.Errorf("%w: it is ourselves", ErrWrongNode)
	}
	if want := s.target.expectedAddr(); want.IsValid() && node.Address() != want ||
		!s.target.Node.IsZero() && node != s.target.Node {
		return fmt.Errorf("%w: %s", ErrWrongNode, node.Short())
	}
	return nil
}

// read passes on what arrives, until the session ends (reading is closed) or the
// connection does.
func (s *session) read(reading chan struct{}) {
	defer close(s.stopped)
	in := bufio.NewReaderSize(s.conn, 1024)
	for {
		m, err := signal.Read(in)
		if bye, ok := m.(*signal.Bye); ok {
			err = byeError{bye.Reason}
		}
		malformed := errors.Is(err, signal.ErrFormat)
		if malformed {
			err = fmt.Errorf("%w: %w", errProtocol, err)
		}
		select {
		case s.events <- event{m, err}:
		case <-reading:
		}
		switch {
		case malformed:
			io.Copy(io.Discard, in) // until the other side has read our Bye
			return
		case err != nil:
			return
		}
	}
}

// part says Bye and waits a moment for the other side to close: to close first
// with unread bytes resets the connection, and the Bye might be lost.
func (s *session) part(reason signal.Reason) {
	s.conn.SetWriteDeadline(time.Now().Add(time.Second))
	if s.send(&signal.Bye{Reason: reason}) != nil || s.conn.CloseWrite() != nil {
		return
	}
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	for {
		select {
		case <-s.events:
		case <-s.stopped:
			return
		case <-timer.C:
			return
		}
	}
}

// send writes messages in one record.
func (s *session) send(messages ...signal.Message) error {
	var b []byte
	for _, m := range messages {
		b = signal.Append(b, m)
	}
	if _, err := s.conn.Write(b); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	return nil
}

// next waits for a message.
func (s *session) next(ctx context.Context) (signal.Message, error) {
	select {
	case ev := <-s.events:
		if ev.err != nil {
			return nil, fmt.Errorf("receiving: %w", ev.err)
		}
		return ev.m, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func unexpected(m signal.Message) error {
	return fmt.Errorf("%w: unexpected message of type %d", errProtocol, m.Type())
}

func (s *session) roles() (ours, theirs byte) {
	if s.outgoing {
		return roleClient, roleServer
	}
	return roleServer, roleClient
}

// talk is the session after TLS. helloCtx bounds the time in which a client must
// show that it knows the network key.
func (s *session) talk(ctx, helloCtx context.Context, node identity.NodeID) (*Established, error) {
	hello, err := s.hello()
	if err != nil {
		return nil, err
	}
	if s.outgoing {
		if err := s.send(hello); err != nil {
			return nil, err
		}
		helloCtx = ctx // the server may hold us up, see settle
	}
	if err := s.readHello(helloCtx, node); err != nil {
		return nil, err
	}
	if err := s.e.settle(ctx, s); err != nil {
		return nil, err
	}
	peer := Peer{Node: s.node, Tag: s.tag, Outgoing: s.outgoing, From: s.from, Public: s.public}
	if err := s.e.cfg.Handler.Admit(ctx, peer); err != nil {
		if !errors.Is(err, ErrDuplicate) && !errors.Is(err, ErrRefused) {
			err = fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return nil, err
	}
	var first []signal.Message
	if !s.outgoing {
		first = append(first, hello)
	}
	est, err := s.makeLink(ctx, first)
	if err != nil {
		return nil, err
	}
	if s.outgoing {
		if s.target.WantPeers {
			est.LearnedPeers = s.askPeers(ctx)
		}
		return est, nil
	}
	if bye := new(byeError); errors.As(s.servePeers(ctx), bye) && bye.reason != signal.Done {
		return nil, *bye // the link stands, but at this end alone
	}
	return est, nil
}

func (s *session) hello() (*signal.Hello, error) {
	ours, _ := s.roles()
	proof, err := s.binding.proof(s.e.cfg.NetworkKey, ours)
	if err != nil {
		return nil, err
	}
	hello := &signal.Hello{Version: protocolVersion, Tag: s.e.cfg.Tag, Proof: proof, Observed: addrPortOf(s.conn.RemoteAddr())}
	for _, l := range s.e.cfg.Local() {
		if isPublic(l.Addr) {
			hello.Flags |= signal.FlagPublic
		}
	}
	return hello, nil
}

var sharedSpace = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598, behind a provider's translator

func isPublic(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !sharedSpace.Contains(a)
}

// readHello reads and judges the other side's Hello, and names the session's node and tag.
func (s *session) readHello(ctx context.Context, node identity.NodeID) error {
	m, err := s.next(ctx)
	if err != nil {
		return err
	}
	hello, ok := m.(*signal.Hello)
	if !ok {
		return unexpected(m)
	}
	_, theirs := s.roles()
	proof, err := s.binding.proof(s.e.cfg.NetworkKey, theirs)
	if err != nil {
		return err
	}
	tag := Tag(hello.Tag)
	switch {
	case !hmac.Equal(proof[:], hello.Proof[:]):
		return ErrWrongNetwork
	case hello.Version != protocolVersion:
		return fmt.Errorf("%w: version %d", errProtocol, hello.Version)
	case tag.IsZero() || tag == s.e.cfg.Tag:
		return fmt.Errorf("%w: tag of its own expected", errProtocol)
	case s.outgoing && !s.target.Tag.IsZero() && tag != s.target.Tag,
		!s.outgoing && tag != s.tag:
		return fmt.Errorf("%w: another tag", ErrWrongNode)
	}
	s.e.mu.Lock()
	s.node, s.tag = node, tag
	s.e.mu.Unlock()
	s.public = hello.Flags&signal.FlagPublic != 0
	s.observed = hello.Observed
	return nil
}

// controlling reports whether we have the controlling role of ICE; it also
// begins the WireGuard handshake.
func (s *session) controlling() bool { return bytes.Compare(s.e.cfg.Tag[:], s.tag[:]) < 0 }
