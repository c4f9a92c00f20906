package netdir

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	// The neighbour's digest comes more often than silenceTimeout, even when it
	// keeps a sample.
	silenceTimeout = 25 * time.Minute
	messageTimeout = 30 * time.Second // for the rest of a message that began
	writeTimeout   = 30 * time.Second

	// Bytes that are read from a neighbour.
	readBurst, readRate = 4 << 20, 1 << 20
)

// session is one connection with a neighbour: a reader, which is who calls run,
// and a writer.
type session struct {
	x      *exchange
	dir    *Directory
	conn   net.Conn
	cancel context.CancelFunc
	ended  chan struct{}
	awake  chan struct{} // something may be there to be sent
	ticks  chan struct{}
}

// wake makes the writer look, and the clock tick if tick is true. It never blocks.
func (s *session) wake(tick bool) {
	c := s.awake
	if tick {
		c = s.ticks
	}
	select {
	case c <- struct{}{}:
	default:
	}
}

// converse runs a session on conn, which it closes, in the place of an older one.
func (g *Gossip) converse(n *neighbour, conn net.Conn) {
	ctx, cancel := context.WithCancel(n.ctx)
	defer cancel()
	x := newExchange(time.Now(), g.cfg.Directory, n.id, g.book, n.quota)
	vouch := SignVouch(g.cfg.Identity, n.id)
	x.vouch, x.clock = &vouch, g.cfg.Clock
	x.vouched = func(v Vouch) { g.vouched(n, v) }
	x.synced = func() { g.syncOnce.Do(func() { close(g.synced) }) }
	s := &session{x: x, dir: g.cfg.Directory, conn: conn, cancel: cancel, ended: make(chan struct{}),
		awake: make(chan struct{}, 1), ticks: make(chan struct{}, 1)}
	defer close(s.ended)
	for {
		g.mu.Lock()
		old := n.session
		if old == nil {
			n.session = s
			g.mu.Unlock()
			break
		}
		g.mu.Unlock()
		old.cancel()
		<-old.ended
		g.mu.Lock()
		if n.session == old {
			n.session = nil
		}
		g.mu.Unlock()
	}
	g.cfg.Directory.count(gossipSessions)
	g.log.Debug("gossip begun", "neighbour", n.id.Short())
	err := s.run(ctx)
	x.end()
	g.mu.Lock()
	if n.session == s {
		n.session = nil
	}
	g.mu.Unlock()
	if broken(err) {
		g.cfg.Directory.count(gossipBroken)
		n.quota.punish(time.Now())
	}
	g.log.Debug("gossip ended", "neighbour", n.id.Short(), "err", err)
}

// broken reports whether err is the neighbour's fault, not the connection's.
func broken(err error) bool {
	for _, e := range []error{errMessage, errFormat, ErrForged, errTooMuch, errUnasked, errPromise} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (s *session) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.conn.Close() })
	defer stop()
	written := make(chan error, 1)
	go func() { written <- s.write(ctx) }()
	err := s.read(ctx)
	s.cancel()
	s.conn.Close()
	if werr := <-written; werr != nil && !broken(err) {
		err = werr
	}
	return err
}

// read hands messages to the exchange until the connection ends.
func (s *session) read(ctx context.Context) error {
	in := bufio.NewReaderSize(s.conn, 4096)
	body := make([]byte, 0, 1024)
	var rate tokens
	for {
		s.conn.SetReadDeadline(time.Now().Add(silenceTimeout))
		if _, err := in.Peek(1); err != nil {
			return err
		}
		s.conn.SetReadDeadline(time.Now().Add(messageTimeout))
		var head [messageHeader]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint16(head[1:]))
		if n > maxMessage {
			return fmt.Errorf("%w: %d bytes", errMessage, n)
		}
		if cap(body) < n {
			body = make([]byte, 0, maxMessage)
		}
		body = body[:n]
		if _, err := io.ReadFull(in, body); err != nil {
			return err
		}
		s.dir.countN(gossipReceived, messageHeader+n)
		for size := float64(messageHeader + n); !rate.take(time.Now(), readRate, readBurst, size); {
			if !pause(ctx, 100*time.Millisecond) {
				return nil
			}
		}
		if err := s.x.handle(time.Now(), head[0], body); err != nil {
			return err
		}
		s.wake(false)
	}
}

// write sends what the exchange has to say until ctx ends. When it fails, it ends
// the session.
func (s *session) write(ctx context.Context) (err error) {
	defer s.cancel()
	out := bufio.NewWriterSize(s.conn, 4096)
	var buf []byte
	for {
		for {
			var more bool
			if buf, more = s.x.next(time.Now(), buf[:0]); !more {
				break
			}
			s.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := out.Write(buf); err != nil {
				return err
			}
			s.dir.countN(gossipSent, len(buf))
		}
		s.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err := out.Flush(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.awake:
		case <-s.ticks:
			if err := s.x.tick(time.Now()); err != nil {
				return err
			}
		}
	}
}
