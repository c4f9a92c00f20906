package relay

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"globalnet/onion/cell"
	"globalnet/onion/channel"
	"globalnet/onion/layer"
	"globalnet/onion/service/intro"
	"globalnet/onion/stream"
)

// A relay's part in hidden services, docs/protocols/service.md: it passes introductions
// on to services, and joins the circuits of a client and a service.
const (
	maxPoints     = 1024 // services whose introduction point this relay is
	maxWaits      = 1024 // clients that wait here for a service
	maxVerifying  = 16   // signatures under way
	maxIntroduces = 4    // of a client's circuit
	maxTables     = 64   // streams to the hash table at once
	waitTime      = time.Minute
	tableTime     = time.Minute

	// Introductions that a service gets at once, and a second afterwards, if it does not
	// say otherwise. One that asks for proof of work wants to choose among more.
	introBurst = 200
	introRate  = 25
	mostBurst  = 2000
	mostRate   = 1000
	// introQueue is how many cells may be under way to a service.
	introQueue = 1024
)

// role is what a circuit that ends here is for.
type role uint8

const (
	plain   role = iota
	intros       // of a service: introductions are sent on it
	meeting      // of a client that waits for a service
	joining      // of a service, joined to a client's
)

// point is this relay as an introduction point of one service.
type point struct {
	circuit     *circuit
	rate, burst float64
	bucket      bucket
}

// services is what concerns hidden services, of all circuits. Its lock is never held
// while a circuit's is taken.
type services struct {
	mu        sync.Mutex
	points    map[[32]byte]*point
	waits     map[cell.Cookie]*circuit
	verifying int
	tables    int

	joined                                         atomic.Int64
	introduced, limited, unknown, met, wrong, asks atomic.Uint64
}

// ServiceStats counts what a relay does for hidden services.
type ServiceStats struct {
	Points, Waiting, Joined int    // services, clients that wait, and pairs of circuits, now
	Introduced              uint64 // introductions passed on
	Limited                 uint64 // too many of them
	Unknown                 uint64 // for services that are not here
	Met                     uint64 // circuits joined
	WrongCookies            uint64
	Tables                  uint64 // questions to the hash table
}

func (s *services) stats() ServiceStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ServiceStats{len(s.points), len(s.waits), int(s.joined.Load()), s.introduced.Load(), s.limited.Load(), s.unknown.Load(),
		s.met.Load(), s.wrong.Load(), s.asks.Load()}
}

// leave forgets a circuit that is no more.
func (s *services) leave(c *circuit) {
	c.mu.Lock()
	key, cookie, was := c.key, c.cookie, c.role
	c.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch was {
	case intros:
		if p := s.points[key]; p != nil && p.circuit == c {
			delete(s.points, key)
		}
	case meeting:
		if s.waits[cookie] == c {
			delete(s.waits, cookie)
		}
	case joining:
		s.joined.Add(-1)
	}
}

// take gives a plain circuit a role; false if it has another, or is no longer the last hop's.
func (c *circuit) take(r role) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.role != plain || c.extending || c.passing || c.dead || c.end.Streams() > 0 {
		return false
	}
	c.role = r
	return true
}

// handleService takes the messages of hidden services, on prev's reader.
func (c *circuit) handleService(m cell.Message) error {
	switch m.Command {
	case cell.MsgEstablishIntro:
		return c.establishIntro(m.Body)
	case cell.MsgIntroduce1:
		return c.introduce(m.Body)
	case cell.MsgEstablishRendezvous:
		return c.establishRendezvous(m.Body)
	case cell.MsgRendezvous1:
		return c.rendezvous(m.Body)
	}
	return errProtocol
}

// establishIntro verifies a signature, which takes too long for the reader.
func (c *circuit) establishIntro(body []byte) error {
	if !c.take(intros) {
		return errProtocol
	}
	s := &c.r.services
	s.mu.Lock()
	busy := s.verifying >= maxVerifying
	if !busy {
		s.verifying++
	}
	s.mu.Unlock()
	body = bytes.Clone(body)
	if busy || !c.r.start(func(context.Context) {
		m, err := intro.VerifyEstablish(body, c.binding)
		s.mu.Lock()
		s.verifying--
		s.mu.Unlock()
		status := cell.IntroRefused
		if err == nil {
			status = s.establish(c, m)
		}
		c.end.Send(cell.Message{Command: cell.MsgIntroEstablished, Body: []byte{byte(status)}})
	}) {
		return c.end.Send(cell.Message{Command: cell.MsgIntroEstablished, Body: []byte{byte(cell.IntroLimited)}})
	}
	return nil
}

// establish notes where introductions for a key go. A circuit for the same key, which an
// earlier connection of the service may have left, is destroyed.
func (s *services) establish(c *circuit, m cell.EstablishIntro) cell.IntroStatus {
	p := &point{circuit: c, rate: introRate, burst: introBurst}
	if m.Rate > 0 {
		p.rate = min(mostRate, float64(m.Rate))
	}
	if m.Burst > 0 {
		p.burst = min(mostBurst, float64(m.Burst))
	}
	p.bucket = bucket{p.burst, time.Now()}
	c.mu.Lock()
	c.key = m.Key
	dead := c.dead
	c.mu.Unlock()
	if dead {
		return cell.IntroRefused
	}
	s.mu.Lock()
	before := s.points[m.Key]
	if before == nil && len(s.points) >= maxPoints {
		s.mu.Unlock()
		return cell.IntroLimited
	}
	s.points[m.Key] = p
	s.mu.Unlock()
	if before != nil {
		before.circuit.destroy(cell.ReasonNone)
	}
	c.mu.Lock()
	dead = c.dead
	c.mu.Unlock()
	if dead { // meanwhile: leave may have come before
		s.leave(c)
	}
	return cell.IntroDone
}

// introduce passes an introduction on, and says what became of it.
func (c *circuit) introduce(body []byte) error {
	c.mu.Lock()
	c.introduces++
	ok := c.role == plain && !c.extending && !c.passing && c.introduces <= maxIntroduces
	c.mu.Unlock()
	if !ok {
		return errProtocol
	}
	status := cell.IntroRefused
	if m, err := cell.ParseIntroduce(body); err == nil {
		status = c.r.services.introduce(m.Key, body)
	}
	return c.end.Send(cell.Message{Command: cell.MsgIntroduceAck, Body: []byte{byte(status)}})
}

// Introduce passes an introduction on that came by no circuit: a relay that floods a
// service whose introduction point it is needs none.
func (r *Relay) Introduce(key [32]byte, body []byte) cell.IntroStatus {
	return r.services.introduce(key, body)
}

func (s *services) introduce(key [32]byte, body []byte) cell.IntroStatus {
	s.mu.Lock()
	p := s.points[key]
	if p == nil {
		s.mu.Unlock()
		s.unknown.Add(1)
		return cell.IntroUnknown
	}
	ok := p.bucket.take(time.Now(), p.rate, p.burst)
	s.mu.Unlock()
	if !ok || p.circuit.end.Unanswered() > introQueue {
		s.limited.Add(1)
		return cell.IntroLimited
	}
	if p.circuit.end.Send(cell.Message{Command: cell.MsgIntroduce2, Body: body}) != nil {
		s.unknown.Add(1)
		return cell.IntroUnknown
	}
	s.introduced.Add(1)
	return cell.IntroDone
}

// establishRendezvous has the circuit wait for a service.
func (c *circuit) establishRendezvous(body []byte) error {
	cookie, err := cell.ParseCookie(body)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.cookie = cookie
	c.mu.Unlock()
	if !c.take(meeting) {
		return errProtocol
	}
	s := &c.r.services
	s.mu.Lock()
	status := cell.IntroDone
	switch _, taken := s.waits[cookie]; {
	case taken:
		status = cell.IntroRefused
	case len(s.waits) >= maxWaits:
		status = cell.IntroLimited
	default:
		s.waits[cookie] = c
	}
	s.mu.Unlock()
	answer := cell.Message{Command: cell.MsgRendezvousEstablished, Body: []byte{byte(status)}}
	if status != cell.IntroDone {
		return c.end.Send(answer)
	}
	c.mu.Lock()
	if !c.dead {
		c.timer = time.AfterFunc(waitTime, func() {
			if s.claim(cookie, c) {
				c.destroy(cell.ReasonTimeout)
			}
		})
	}
	dead := c.dead
	c.mu.Unlock()
	if dead {
		s.claim(cookie, c)
		return nil
	}
	return c.end.SendLast(answer)
}

// claim takes a client's circuit out of those that wait; false if it was taken before.
func (s *services) claim(cookie cell.Cookie, c *circuit) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits[cookie] != c {
		return false
	}
	delete(s.waits, cookie)
	return true
}

var errCookie = errors.New("no client waits with this cookie")

// rendezvous joins the circuit to that of the client which waits. From then on each
// carries what comes on the other.
func (c *circuit) rendezvous(body []byte) error {
	m, err := cell.ParseRendezvous(body)
	if err != nil {
		return err
	}
	if !c.take(joining) {
		return errProtocol
	}
	s := &c.r.services
	s.joined.Add(1)
	s.mu.Lock()
	other := s.waits[m.Cookie]
	delete(s.waits, m.Cookie)
	s.mu.Unlock()
	if other == nil {
		s.wrong.Add(1)
		return errCookie
	}
	c.end.Freeze()
	other.mu.Lock()
	if other.timer != nil {
		other.timer.Stop()
	}
	if other.dead {
		other.mu.Unlock()
		return errCookie
	}
	other.joined.Store(c)
	other.mu.Unlock()
	c.mu.Lock()
	c.joined.Store(other)
	dead := c.dead
	c.mu.Unlock()
	if dead {
		other.destroy(cell.ReasonNone)
		return nil
	}
	s.met.Add(1)
	err = other.end.SendLast(cell.Message{Command: cell.MsgRendezvous2, Body: m.Reply})
	other.end.Close() // a relay that passes cells on says nothing of its own
	c.end.Close()
	return err
}

// carry sends what was opened on the other circuit, size bytes in b, on this one.
func (c *circuit) carry(b *layer.Buffer, size int, flags cell.Flags) {
	n := copy(b[:], layer.Payload(b, size))
	clear(b[n:cell.BackwardPayload(size)])
	c.mu.Lock()
	c.sealer.Seal(b, size, flags&cell.Ratchet != 0)
	c.mu.Unlock()
	if err := c.prev.Send(b, b[:size], flags); errors.Is(err, channel.ErrFull) {
		c.destroy(cell.ReasonResource)
	}
}

// acceptTable takes a stream to the hash table, on the reader's goroutine.
func (c *circuit) acceptTable(s *stream.Stream, ok bool) {
	x := &c.r.services
	if c.r.cfg.Table == nil {
		s.CloseWith(cell.EndPolicy)
		return
	}
	x.mu.Lock()
	if ok = ok && x.tables < maxTables; ok {
		x.tables++
	}
	x.mu.Unlock()
	leave := func() {
		x.mu.Lock()
		x.tables--
		x.mu.Unlock()
	}
	if !ok {
		s.CloseWith(cell.EndResource)
		return
	}
	if !c.r.start(func(ctx context.Context) {
		defer leave()
		ctx, cancel := context.WithTimeout(ctx, tableTime)
		defer cancel()
		s.AfterEnd(cancel)
		x.asks.Add(1)
		if s.Accepted(netip.Addr{}) == nil {
			c.r.cfg.Table(ctx, s)
		}
		s.Close()
	}) {
		leave()
		s.CloseWith(cell.EndResource)
	}
}
