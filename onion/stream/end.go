// Package stream is one end of a circuit: it packs relay messages into cells,
// holds to the windows of the circuit and of its streams, and gives streams as
// net.Conn. Client and last hop have the same end; they differ in the Sender.
//
// Cells are handed in by the circuit's reader, which must not be blocked; streams
// are used from any goroutine. docs/protocols/onion.md has the messages.
package stream

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/channel"
	"globalnet/onion/layer"
)

const (
	// MaxStreams bounds the streams of a circuit.
	MaxStreams = 2048

	creditSoon    = 32 // cells after which a credit goes out at once; creditEvery when idle
	ratchetPeriod = 60 * time.Second
	burst         = 32 // cells that a stream sends before another has its turn
)

// Errors of an End.
var (
	ErrTooMany  = errors.New("too many streams on the circuit")
	errFrozen   = errors.New("the circuit is being extended")
	errProtocol = errors.New("the other end of the circuit broke the protocol")
)

// Sender is how an End sends. The calls come one after the other.
type Sender interface {
	// Payload returns the place of the messages in a cell of that size; it begins at
	// the same byte for all sizes.
	Payload(b *layer.Buffer, size int) []byte
	// Send seals b and queues it; it owns b. The tag is what the other end will see.
	Send(b *layer.Buffer, size int, step bool) (tag [cell.TagSize]byte, err error)
	// Flush makes sure that what is queued is written.
	Flush()
}

// Config is what an End needs.
type Config struct {
	Sender Sender
	// Accept takes a stream that the other end opens, on the reader's goroutine; it
	// must not block. Nil: streams are refused.
	Accept func(s *Stream, m cell.Begin)
	// Message takes messages of the circuit: Extend and its answers, and those of
	// hidden services. An error breaks the circuit. Nil: they break it.
	Message func(m cell.Message) error
	// Resolve looks a name up and calls answer once; it is called on the reader's
	// goroutine and must not block. Nil: questions are refused.
	Resolve func(name string, answer func(cell.Resolved))
	// Budget bounds what waits on this and other Ends. Nil: no bound but that of each
	// stream. It needs Kill.
	Budget *Budget
	// Kill is called, on a goroutine of its own, to have the circuit destroyed.
	Kill func()
	// MaxWindow bounds what may wait to be read on a stream, in bytes. 0: 4 MiB.
	MaxWindow int
}

// End is one end of a circuit.
type End struct {
	cfg   Config
	parts cell.Assembler // the reader's
	seen  receipts       // the reader's
	ripe  []*Stream      // the reader's: those that have something to read since the last HandleIdle

	held holding
	gone chan struct{} // closed by Close

	mu        sync.Mutex
	streams   map[uint16]*Stream
	questions map[uint16]chan<- cell.Resolved
	asked     int // by the other end, not answered yet
	nextID    uint16
	closed    bool

	// out is held while cells are made. It is never taken with mu held.
	out struct {
		sync.Mutex
		b       *layer.Buffer // the cell being filled; nil if there is none
		place   []byte        // its payload, if it becomes a large one
		used    int
		flow    congestion
		waiters []*Stream // for room in flow, in turn
		stepped time.Time
		timed   bool // the clock was read since the last finish
		frozen  bool // SendLast
		err     error
	}
}

// New returns an End.
func New(cfg Config) *End {
	if cfg.MaxWindow == 0 {
		cfg.MaxWindow = 4 << 20
	}
	e := &End{cfg: cfg, gone: make(chan struct{}), streams: make(map[uint16]*Stream), questions: make(map[uint16]chan<- cell.Resolved)}
	if b := cfg.Budget; b != nil {
		b.mu.Lock()
		b.ends[e] = struct{}{}
		b.mu.Unlock()
	}
	e.out.flow = newCongestion()
	e.out.stepped = time.Now()
	return e
}

// HandlePayload takes the messages of a cell that has arrived. An error means
// that the circuit must be destroyed.
func (e *End) HandlePayload(payload []byte, tag [cell.TagSize]byte, congested bool) error {
	e.seen.onCell(tag, congested, time.Now)
	if err := e.parts.Feed(payload, e.handle); err != nil {
		return err
	}
	return e.credit(creditSoon)
}

// HandleIdle says that no more cells are there: readers wake and answers go out now.
func (e *End) HandleIdle() {
	for i, s := range e.ripe {
		s.ripe = false
		signal(s.readable)
		e.ripe[i] = nil
	}
	e.ripe = e.ripe[:0]
	e.credit(creditEvery)
	e.out.Lock()
	e.finish()
	e.out.Unlock()
	e.cfg.Sender.Flush()
}

// credit tells the other end what has arrived, if that is enough cells.
func (e *End) credit(cells uint32) error {
	if !e.seen.pending(cells) {
		return nil
	}
	e.out.Lock()
	defer e.out.Unlock()
	if e.out.frozen {
		return nil
	}
	m := e.seen.take(time.Now())
	return e.add(cell.MsgCredit, 0, cell.AppendCredit(make([]byte, 0, 32), m))
}

func (e *End) handle(m cell.Message) error {
	switch m.Command {
	case cell.MsgCredit:
		c, err := cell.ParseCredit(m.Body)
		if err != nil {
			return err
		}
		return e.onCredit(c)
	case cell.MsgBegin:
		return e.onBegin(m)
	case cell.MsgResolve:
		return e.onResolve(m)
	case cell.MsgResolved:
		return e.onResolved(m)
	}
	if m.Command.PerCircuit() {
		if e.cfg.Message == nil {
			return fmt.Errorf("%w: message %d", errProtocol, m.Command)
		}
		return e.cfg.Message(m)
	}
	s := e.stream(m.Stream)
	if s == nil {
		return nil // it was closed while the message was under way
	}
	return s.handle(m)
}

func (e *End) onCredit(m cell.Credit) error {
	e.out.Lock()
	defer e.out.Unlock()
	if err := e.out.flow.onCredit(time.Now(), m); err != nil {
		return err
	}
	e.nextWaiter()
	return nil
}

// nextWaiter lets the next stream send, if there is room. Called with out held.
func (e *End) nextWaiter() {
	if len(e.out.waiters) == 0 || e.out.flow.room() < e.out.flow.clump() {
		return
	}
	s := e.out.waiters[0]
	e.out.waiters = e.out.waiters[:copy(e.out.waiters, e.out.waiters[1:])]
	s.waiting, s.turn = false, true
	signal(s.writable)
}

func (e *End) onBegin(m cell.Message) error {
	b, err := cell.ParseBegin(m.Body)
	if err != nil {
		return err
	}
	e.mu.Lock()
	_, used := e.streams[m.Stream]
	full := len(e.streams) >= MaxStreams
	var s *Stream
	if e.cfg.Accept != nil && !used && !full && !e.closed {
		s = newStream(e, m.Stream, acceptWindow)
		s.sendWindow = int64(b.Window)
		s.packets = b.Target.Network == cell.UDP
		e.streams[m.Stream] = s
	}
	e.mu.Unlock()
	switch {
	case used:
		return fmt.Errorf("%w: stream %d begun twice", errProtocol, m.Stream)
	case s == nil:
		e.out.Lock()
		defer e.out.Unlock()
		return e.add(cell.MsgEnd, m.Stream, []byte{byte(cell.EndResource)})
	}
	e.cfg.Accept(s, b)
	return nil
}

// Open begins a stream. What it returns can be used at once: early data travels
// in the same cell, and later data need not wait for the other side's consent.
func (e *End) Open(target cell.Target, early []byte) (*Stream, error) {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil, &EndError{cell.EndCircuit}
	}
	if len(e.streams) >= MaxStreams {
		e.mu.Unlock()
		return nil, ErrTooMany
	}
	s := newStream(e, e.freeID(), openWindow)
	s.sendWindow = acceptWindow
	s.packets = target.Network == cell.UDP
	e.streams[s.id] = s
	e.mu.Unlock()

	body := cell.AppendBegin(nil, cell.Begin{Window: openWindow, Target: target})
	e.out.Lock()
	err := e.add(cell.MsgBegin, s.id, body)
	if err == nil && len(early) == 0 {
		err = e.finish()
	}
	e.out.Unlock()
	if err == nil && len(early) > 0 {
		_, err = s.Write(early)
	} else {
		e.cfg.Sender.Flush()
	}
	if err != nil {
		s.finish(cell.EndCircuit)
		return nil, err
	}
	return s, nil
}

// freeID returns a stream number that is not in use. Called with mu held.
func (e *End) freeID() uint16 {
	for {
		e.nextID++
		_, stream := e.streams[e.nextID]
		_, question := e.questions[e.nextID]
		if !stream && !question && e.nextID != 0 {
			return e.nextID
		}
	}
}

// Streams returns how many streams there are.
func (e *End) Streams() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.streams)
}

// RTT returns the last and the shortest round trip to the other end; 0 where
// nothing was measured yet.
func (e *End) RTT() (last, shortest time.Duration) {
	e.out.Lock()
	defer e.out.Unlock()
	return e.out.flow.rtt, e.out.flow.shortestEver()
}

// Send sends a message of the circuit at once.
func (e *End) Send(m cell.Message) error {
	e.out.Lock()
	err := e.add(m.Command, m.Stream, m.Body)
	if err == nil {
		err = e.finish()
	}
	e.out.Unlock()
	e.cfg.Sender.Flush()
	return err
}

// SendLast sends a message of the circuit after which this End says nothing more,
// not even credits, until Thaw or the next SendLast: what follows belongs to another hop.
func (e *End) SendLast(m cell.Message) error {
	e.out.Lock()
	e.out.frozen = false
	err := e.add(m.Command, m.Stream, m.Body)
	if err == nil {
		err = e.finish()
	}
	e.out.frozen = true
	e.out.Unlock()
	e.cfg.Sender.Flush()
	return err
}

// Freeze has this End say nothing more until Thaw or SendLast.
func (e *End) Freeze() {
	e.out.Lock()
	defer e.out.Unlock()
	e.out.frozen = true
}

// Before runs f before this End sends anything that it has not sent yet.
func (e *End) Before(f func() error) error {
	e.out.Lock()
	defer e.out.Unlock()
	return f()
}

// Unanswered returns how many cells the other end has not acknowledged.
func (e *End) Unanswered() int {
	e.out.Lock()
	defer e.out.Unlock()
	return e.out.flow.unanswered()
}

// Thaw ends what SendLast began.
func (e *End) Thaw() {
	e.out.Lock()
	defer e.out.Unlock()
	e.out.frozen = false
}

// Close ends all streams: the circuit is gone.
func (e *End) Close() {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return
	}
	e.closed = true
	close(e.gone)
	streams := make([]*Stream, 0, len(e.streams))
	for _, s := range e.streams {
		streams = append(streams, s)
	}
	e.mu.Unlock()
	e.out.Lock()
	if e.out.err == nil {
		e.out.err = &EndError{cell.EndCircuit}
	}
	if e.out.b != nil {
		channel.Release(e.out.b)
		e.out.b = nil
	}
	e.out.waiters = nil
	e.out.Unlock()
	for _, s := range streams {
		s.finish(cell.EndCircuit)
	}
	if b := e.cfg.Budget; b != nil {
		b.mu.Lock()
		delete(b.ends, e)
		b.mu.Unlock()
		e.leave()
	}
}

func (e *End) stream(id uint16) *Stream {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.streams[id]
}

func (e *End) forget(s *Stream) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.streams[s.id] == s {
		delete(e.streams, s.id)
	}
}

// add puts a message into the cell being filled; some may need two. Called
// with out held, as are the following.
func (e *End) add(c cell.MessageCommand, stream uint16, body []byte) error {
	if e.out.err != nil {
		return e.out.err
	}
	if e.out.frozen {
		return errFrozen
	}
	const large = cell.LargeBody
	need := cell.MessageHeader + len(body)
	if free := e.free(); free < need && !c.Crosses() || free < cell.MessageHeader {
		if err := e.finish(); err != nil {
			return err
		}
	}
	place := e.place()
	head := cell.AppendMessageHeader(place[:e.out.used], c, stream, len(body))
	e.out.used = len(head)
	for {
		n := copy(place[e.out.used:], body)
		e.out.used += n
		if body = body[n:]; len(body) == 0 {
			return nil
		}
		if err := e.seal(large); err != nil {
			return err
		}
		place = e.place()
	}
}

// place returns the payload of the cell being filled, taken as a large one.
func (e *End) place() []byte {
	if e.out.b == nil {
		e.out.b, e.out.used = channel.NewBuffer(), 0
		e.out.place = e.cfg.Sender.Payload(e.out.b, cell.LargeBody)
	}
	return e.out.place
}

// free returns how many bytes the cell being filled has left.
func (e *End) free() int { return len(e.place()) - e.out.used }

// finish sends the cell being filled, if there is one. The caller calls the
// Sender's Flush once it has let out go: that may take a while.
func (e *End) finish() error {
	e.out.timed = false
	if e.out.err != nil {
		return e.out.err
	}
	if e.out.b != nil && e.out.used > 0 {
		size := cell.LargeBody
		if e.out.used <= len(e.cfg.Sender.Payload(e.out.b, cell.SmallBody)) {
			size = cell.SmallBody
		}
		if err := e.seal(size); err != nil {
			return err
		}
	}
	return nil
}

// seal sends the cell being filled.
func (e *End) seal(size int) error {
	if e.out.flow.unanswered() > mostUnanswered {
		return e.fail(fmt.Errorf("%w: it acknowledges nothing", errProtocol))
	}
	b := e.out.b
	e.out.b = nil
	clear(e.cfg.Sender.Payload(b, size)[e.out.used:])
	var now time.Time
	step := false
	if !e.out.timed || e.out.flow.marksNext() {
		now = time.Now()
		e.out.timed = true
		if step = now.Sub(e.out.stepped) > ratchetPeriod; step {
			e.out.stepped = now
		}
	}
	tag, err := e.cfg.Sender.Send(b, size, step)
	if err != nil {
		return e.fail(err)
	}
	e.out.flow.onSent(now, tag)
	return nil
}

// fail notes why nothing can be sent any more, and has the circuit destroyed.
func (e *End) fail(err error) error {
	e.out.err = err
	if e.cfg.Kill != nil {
		go e.cfg.Kill() // on a goroutine of its own, which ends at once: Close wants out
	}
	return err
}
