package stream

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"globalnet/onion/cell"
)

const (
	// acceptWindow is how many bytes may be sent on a new stream before the side that
	// accepts it allows more. It is small: that side did not ask for them.
	acceptWindow = 64 << 10
	// openWindow is the same the other way, told in MsgBegin.
	openWindow = 512 << 10
	// mostGrant is how much is read, at most, until more is allowed.
	mostGrant = 256 << 10
	// wakeEarly is how much a reader finds who is woken before all that came at once
	// has been looked at.
	wakeEarly = 2 * blockSize
)

// EndError says why a stream is over.
type EndError struct{ Reason cell.EndReason }

func (e *EndError) Error() string { return "stream: " + e.Reason.String() }

// Stream is one connection through a circuit. It is a net.Conn; if the target's
// network is UDP, each Write is a datagram and each Read returns one.
type Stream struct {
	e  *End
	id uint16

	packets   bool          // UDP
	connected chan struct{} // closed when the other side has the connection
	ended     chan struct{} // closed when the stream is over
	readable  chan struct{} // something changed for readers
	writable  chan struct{} // something changed for writers

	ripe bool // the circuit's reader's: among e.ripe

	mu         sync.Mutex
	in         buffer   // arrived, not read
	datagrams  [][]byte // the same, of UDP
	window     int      // that the other side may fill with unread, lent and consumed bytes
	lent       int      // taken out by WriteTo, not yet written
	consumed   int      // since the other side was told
	toldAt     time.Time
	eofIn      bool
	addr       netip.Addr
	isConn     bool
	reason     cell.EndReason
	isEnded    bool
	afterEnd   []func()
	readLimit  deadline
	writeLimit deadline

	// Guarded by e.out.
	sendWindow int64
	eofOut     bool
	waiting    bool // among e.out.waiters
	turn       bool // was let out of them
}

func newStream(e *End, id uint16, window int) *Stream {
	return &Stream{e: e, id: id, window: window,
		connected: make(chan struct{}), ended: make(chan struct{}),
		readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// ID returns the stream's number on its circuit.
func (s *Stream) ID() uint16 { return s.id }

// Connected is closed when the other side has reached the target.
func (s *Stream) Connected() <-chan struct{} { return s.connected }

// Ended is closed when the stream is over; Err says why.
func (s *Stream) Ended() <-chan struct{} { return s.ended }

// Err returns why the stream is over, nil while it is not.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isEnded {
		return nil
	}
	return &EndError{s.reason}
}

// Addr returns the address that the other side has reached, if it told.
func (s *Stream) Addr() netip.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// handle takes a message of the stream, on the reader's goroutine.
func (s *Stream) handle(m cell.Message) error {
	switch m.Command {
	case cell.MsgData:
		return s.onData(m.Body)
	case cell.MsgWindow:
		n, err := cell.ParseWindow(m.Body)
		if err != nil {
			return err
		}
		s.e.out.Lock()
		s.sendWindow += int64(n)
		s.e.out.Unlock()
		signal(s.writable)
	case cell.MsgDatagram:
		s.onDatagram(m.Body)
	case cell.MsgConnected:
		c, err := cell.ParseConnected(m.Body)
		if err != nil {
			return err
		}
		s.mu.Lock()
		first := !s.isConn
		s.isConn, s.addr = true, c.Addr
		s.mu.Unlock()
		if !first {
			return fmt.Errorf("%w: stream connected twice", errProtocol)
		}
		close(s.connected)
	case cell.MsgEOF:
		s.mu.Lock()
		s.eofIn = true
		s.mu.Unlock()
		signal(s.readable)
		s.endIfBothClosed()
	case cell.MsgEnd:
		reason, err := cell.ParseEnd(m.Body)
		if err != nil {
			return err
		}
		s.finish(reason)
	}
	// Messages of a later version, or not for streams, are no reason to break.
	return nil
}

func (s *Stream) onData(p []byte) error {
	kept, err := s.keep(p)
	if kept {
		s.e.hold(len(p))
		if !s.ripe {
			s.ripe = true
			s.e.ripe = append(s.e.ripe, s)
		}
	}
	return err
}

// keep keeps p until it is read.
func (s *Stream) keep(p []byte) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isEnded {
		return false, nil
	}
	if s.packets || s.eofIn || s.in.n+len(p)+s.lent+s.consumed > s.window {
		return false, fmt.Errorf("%w: more data than allowed", errProtocol)
	}
	before := s.in.n
	s.in.write(p)
	if before < wakeEarly && s.in.n >= wakeEarly {
		signal(s.readable)
	}
	return true, nil
}

// finish ends the stream here. What has arrived can still be read.
func (s *Stream) finish(reason cell.EndReason) {
	s.mu.Lock()
	if s.isEnded {
		s.mu.Unlock()
		return
	}
	s.isEnded, s.reason = true, reason
	s.readLimit.stop()
	s.writeLimit.stop()
	after := s.afterEnd
	s.afterEnd = nil
	s.mu.Unlock()
	close(s.ended)
	s.e.forget(s)
	for _, f := range after {
		f()
	}
}

// AfterEnd has f called when the stream is over, at once if it is already. It may
// be called on the circuit's reader and must not block.
func (s *Stream) AfterEnd(f func()) {
	s.mu.Lock()
	over := s.isEnded
	if !over {
		s.afterEnd = append(s.afterEnd, f)
	}
	s.mu.Unlock()
	if over {
		f()
	}
}

func (s *Stream) endIfBothClosed() {
	s.e.out.Lock()
	out := s.eofOut
	s.e.out.Unlock()
	s.mu.Lock()
	in := s.eofIn
	s.mu.Unlock()
	if in && out {
		s.finish(cell.EndDone)
	}
}

// Accepted tells the opener that the stream leads where it shall. Addr may be invalid.
func (s *Stream) Accepted(addr netip.Addr) error {
	s.mu.Lock()
	first := !s.isConn
	s.isConn = true
	s.mu.Unlock()
	if first {
		close(s.connected)
	}
	return s.e.Send(cell.Message{Command: cell.MsgConnected, Stream: s.id, Body: cell.AppendConnected(nil, cell.Connected{Addr: addr})})
}

// Read implements net.Conn.
func (s *Stream) Read(p []byte) (int, error) {
	if err := s.awaitData(); err != nil {
		return 0, err
	}
	if s.packets {
		return s.readDatagram(p), nil
	}
	s.mu.Lock()
	n := s.in.read(p)
	if s.in.n > 0 {
		signal(s.readable) // for another reader
	}
	s.mu.Unlock()
	s.consume(n)
	return n, nil
}

// WriteTo implements io.WriterTo: it writes what arrives to w, without another buffer.
func (s *Stream) WriteTo(w io.Writer) (total int64, err error) {
	for {
		if err := s.awaitData(); err != nil {
			if err == io.EOF {
				err = nil
			}
			return total, err
		}
		s.mu.Lock()
		if s.in.n == 0 { // somebody else took it
			s.mu.Unlock()
			continue
		}
		b := s.in.shift()
		data := b.bytes[b.start:b.end]
		s.lent = len(data)
		s.mu.Unlock()
		n, err := w.Write(data)
		total += int64(n)
		blocks.Put(b)
		s.mu.Lock()
		s.lent = 0
		s.mu.Unlock()
		s.consume(len(data))
		if err != nil {
			return total, err
		}
	}
}

// awaitData waits until there is something to read. What has arrived is given
// out before any end.
func (s *Stream) awaitData() error {
	for {
		s.mu.Lock()
		have, eof, over, reason := s.in.n > 0 || len(s.datagrams) > 0, s.eofIn, s.isEnded, s.reason
		expired := s.readLimit.channel()
		s.mu.Unlock()
		switch {
		case have:
			return nil
		case eof, over && reason == cell.EndDone:
			signal(s.readable) // for another reader
			return io.EOF
		case over:
			return &EndError{reason}
		}
		select {
		case <-s.readable:
		case <-s.ended:
		case <-expired:
			return os.ErrDeadlineExceeded
		}
	}
}

// consume notes that the reader has taken n bytes, and allows more.
func (s *Stream) consume(n int) {
	s.e.hold(-n)
	s.mu.Lock()
	s.consumed += n
	if s.consumed < min(s.window/4, mostGrant) || s.eofIn || s.isEnded {
		s.mu.Unlock()
		return
	}
	grant := s.consumed
	s.consumed = 0
	// Who reads as fast as the data comes, and gets it in less than a long round
	// trip, is held up by the window.
	now := time.Now()
	rate := float64(grant) / now.Sub(s.toldAt).Seconds()
	if fast := rate > float64(s.window); fast && s.in.n < s.window/2 && 2*s.window <= s.e.cfg.MaxWindow && s.e.cfg.Budget.generous() {
		grant += s.window
		s.window *= 2
	}
	s.toldAt = now
	s.mu.Unlock()
	s.e.Send(cell.Message{Command: cell.MsgWindow, Stream: s.id, Body: binary.BigEndian.AppendUint32(nil, uint32(grant))})
}

// Write implements net.Conn. It returns when all is sent, not when it has arrived.
// What two goroutines write at once may come mixed.
func (s *Stream) Write(p []byte) (total int, err error) {
	if s.packets {
		return s.writeDatagram(p)
	}
	for first := true; len(p) > 0 || first; first = false {
		n, wait, err := s.writeSome(p)
		total += n
		p = p[n:]
		if err != nil {
			return total, err
		}
		if !wait {
			continue
		}
		s.mu.Lock()
		expired := s.writeLimit.channel()
		s.mu.Unlock()
		select {
		case <-s.writable:
		case <-s.ended:
		case <-expired:
			s.giveUpTurn()
			return total, os.ErrDeadlineExceeded
		}
	}
	return total, nil
}

// writeSome sends a burst of p. If nothing more may be sent now, the stream has
// to wait until it is told.
func (s *Stream) writeSome(p []byte) (n int, wait bool, err error) {
	n, wait, err = s.sealSome(p)
	if n > 0 {
		s.e.cfg.Sender.Flush()
	}
	return n, wait, err
}

func (s *Stream) sealSome(p []byte) (n int, wait bool, err error) {
	e := s.e
	e.out.Lock()
	defer e.out.Unlock()
	turn := s.turn
	s.turn = false
	defer func() {
		if turn && n == 0 {
			e.nextWaiter() // it was of no use to this one
		}
	}()
	switch err := s.Err(); {
	case err != nil:
		return 0, false, err
	case e.out.err != nil:
		return 0, false, e.out.err
	case s.eofOut:
		return 0, false, net.ErrClosed
	}
	if len(p) == 0 {
		return 0, false, nil
	}
	for cells := 0; len(p) > 0; cells++ {
		if s.sendWindow == 0 {
			wait = true
			break
		}
		if e.out.flow.room() <= 0 || cells == burst || len(e.out.waiters) > 0 && !turn {
			if !s.waiting {
				s.waiting = true
				e.out.waiters = append(e.out.waiters, s)
			}
			wait = true
			break
		}
		size := min(len(p), int(min(s.sendWindow, 1<<16)))
		if free := e.free() - cell.MessageHeader; free > 0 {
			size = min(size, free)
		} else {
			size = min(size, len(e.place())-cell.MessageHeader)
		}
		if err := e.add(cell.MsgData, s.id, p[:size]); err != nil {
			return n, false, err
		}
		n += size
		s.sendWindow -= int64(size)
		p = p[size:]
		if e.free() <= cell.MessageHeader {
			if err := e.seal(cell.LargeBody); err != nil {
				return n, false, err
			}
		}
	}
	err = e.finish()
	e.nextWaiter()
	return n, wait, err
}

// giveUpTurn leaves the queue of those that wait to send.
func (s *Stream) giveUpTurn() {
	e := s.e
	e.out.Lock()
	defer e.out.Unlock()
	if s.waiting {
		s.waiting = false
		for i, w := range e.out.waiters {
			if w == s {
				e.out.waiters = append(e.out.waiters[:i], e.out.waiters[i+1:]...)
				break
			}
		}
	}
	if s.turn {
		s.turn = false
		e.nextWaiter()
	}
}

// CloseWrite says that nothing more will be written. The other way stays open.
func (s *Stream) CloseWrite() error {
	s.e.out.Lock()
	err := s.Err()
	if err == nil && !s.eofOut {
		s.eofOut = true
		if err = s.e.add(cell.MsgEOF, s.id, nil); err == nil {
			err = s.e.finish()
		}
	}
	s.e.out.Unlock()
	s.e.cfg.Sender.Flush()
	s.endIfBothClosed()
	return err
}

// Close implements net.Conn: the stream is over, both ways.
func (s *Stream) Close() error { return s.CloseWith(cell.EndDone) }

// CloseWith ends the stream and tells the other side why.
func (s *Stream) CloseWith(reason cell.EndReason) error {
	if s.Err() == nil {
		s.e.Send(cell.Message{Command: cell.MsgEnd, Stream: s.id, Body: []byte{byte(reason)}})
	}
	s.giveUpTurn()
	s.finish(reason)
	s.drop()
	return nil
}

// drop forgets what nobody is going to read.
func (s *Stream) drop() {
	s.mu.Lock()
	n := s.in.drop()
	for _, d := range s.datagrams {
		n += len(d)
	}
	s.datagrams = nil
	s.mu.Unlock()
	s.e.hold(-n)
}
