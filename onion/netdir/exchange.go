package netdir

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"globalnet/internal/clock"
	"globalnet/internal/identity"
)

const (
	rootInterval = 4 * time.Minute // to 6; digests when nothing happens
	roundTimeout = time.Minute     // for the answer to Buckets
	askTimeout   = 30 * time.Second

	maxAsked = maxWant
	maxGive  = 4 * maxWant

	digestBurst, digestRate = 6, 1.0 / 20 // Root and Buckets each
	brokenRate              = 1.0 / 30

	// Mesh time is said when it jumps, and again and again, but not as often as it may be.
	timeInterval        = 5 * time.Minute
	timeBurst, timeRate = 8, 1.0 / 10
	sayBurst, sayRate   = 6, 1.0 / 20
)

var (
	errTooMuch = errors.New("neighbour asks for too much")
	errPromise = errors.New("neighbour does not give what it offers")
	errUnasked = errors.New("neighbour sends what nobody asked for")
)

// exchange is one gossip session with a neighbour, without its connection: what
// arrives goes into handle, next gives what to send, tick is called now and then.
// Each side sees to what it itself lacks. The methods may be called from several
// goroutines.
//
//	Root differs ─► Buckets ──► Have … Have(last) ─► Want ─► Descriptor …
//	     something new ───────► Have ──────────────► Want ─► Descriptor
type exchange struct {
	dir     *Directory
	peer    identity.NodeID
	book    *book
	quota   *quota
	vouched func(Vouch)   // called when the neighbour vouches for this node
	synced  func()        // called once, when all that the neighbour had is here
	clock   *clock.Keeper // nil: mesh time is not spoken of

	mu sync.Mutex
	// To be sent.
	vouch       *Vouch
	sendRoot    bool
	sendBuckets bool
	want        []identity.NodeID
	give        []identity.NodeID
	answer      []identity.NodeID
	answering   bool
	cursor      uint64 // of the journal
	nextRoot    time.Time
	// To be had.
	queue   []offer // worth asking for
	waiting []offer // of them, those that another neighbour was asked for
	asked   map[identity.NodeID]promise
	round   time.Time // Buckets was sent then; zero: no answer is due
	settled bool      // the neighbour's digest was ours, or its answer is complete
	done    bool      // synced was called

	// Mesh time, as it was said last.
	said   clock.Said
	saidAt time.Time

	roots, questions, broken, times, sayings tokens
}

// promise is an offer of the neighbour that it was asked to keep.
type promise struct {
	revision
	at time.Time
}

func newExchange(now time.Time, dir *Directory, peer identity.NodeID, b *book, q *quota) *exchange {
	x := &exchange{dir: dir, peer: peer, book: b, quota: q, cursor: dir.newest(), sendRoot: true,
		asked: make(map[identity.NodeID]promise), vouched: func(Vouch) {}, synced: func() {}}
	x.scheduleRoot(now)
	return x
}

func (x *exchange) scheduleRoot(now time.Time) {
	interval := rootInterval
	if x.dir.full() { // two samples never agree: ask less often
		interval *= 3
	}
	x.nextRoot = now.Add(interval + rand.N(interval/2))
}

// handle takes a message of the neighbour. An error means that the neighbour does
// not keep to the protocol, or has sent something forged.
func (x *exchange) handle(now time.Time, kind byte, body []byte) error {
	switch kind { // what takes long, or calls others, is not done under the lock
	case kindDescriptor:
		return x.handleDescriptor(now, body)
	case kindVouch:
		return x.handleVouch(body)
	case kindTime:
		return x.handleTime(now, body)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch kind {
	case kindRoot:
		return x.handleRoot(now, body)
	case kindBuckets:
		return x.handleBuckets(now, body)
	case kindHave:
		last, offers, err := parseHave(body)
		if err != nil {
			return err
		}
		x.handleOffers(now, offers)
		if last && !x.round.IsZero() {
			x.round, x.settled = time.Time{}, true
		}
	case kindWant:
		nodes, err := parseNodes(body)
		if err != nil {
			return err
		}
		x.give = append(x.give, nodes...)
		if len(x.give) > maxGive || !x.quota.give(now, len(nodes)) {
			return errTooMuch
		}
	case kindGone:
		nodes, err := parseNodes(body)
		if err != nil {
			return err
		}
		for _, node := range nodes {
			if _, asked := x.asked[node]; !asked {
				return errUnasked
			}
			x.answered(node)
		}
		return x.brokePromise(now, len(nodes))
	default:
		return fmt.Errorf("%w: kind %d", errMessage, kind)
	}
	return nil
}

func (x *exchange) handleRoot(now time.Time, body []byte) error {
	if len(body) != digestSize {
		return errMessage
	}
	if !x.roots.take(now, digestRate, digestBurst, 1) {
		return errTooMuch
	}
	root, _ := x.dir.digests(now)
	switch {
	case root == digest(body):
		x.settled = true
	case x.round.IsZero() || now.Sub(x.round) > roundTimeout:
		x.sendBuckets = true
	}
	return nil
}

func (x *exchange) handleBuckets(now time.Time, body []byte) error {
	theirs, err := parseBuckets(body)
	if err != nil {
		return err
	}
	if !x.questions.take(now, digestRate, digestBurst, 1) {
		return errTooMuch
	}
	_, ours := x.dir.digests(now)
	var differs [bucketCount]bool
	for i := range ours {
		differs[i] = ours[i] != theirs[i]
	}
	x.answer, x.answering = x.dir.nodesIn(&differs), true
	return nil
}

func (x *exchange) handleOffers(now time.Time, offers []offer) {
	for _, o := range offers {
		if len(x.queue)+len(x.waiting) >= 2*x.dir.cfg.Max || !x.quota.line(now) {
			x.dir.count(gossipQuota)
			continue
		}
		if wants, _ := x.dir.wants(now, o, x.peer); wants {
			x.queue = append(x.queue, o)
		}
	}
}

func (x *exchange) handleDescriptor(now time.Time, body []byte) error {
	if len(body) < 4 {
		return errMessage
	}
	raw := body[4:]
	node, sequence, err := header(raw)
	if err != nil {
		return err
	}
	x.mu.Lock()
	p, asked := x.asked[node]
	x.mu.Unlock()
	if !asked {
		return errUnasked
	}
	if got := (revision{sequence, sumOf(raw)}); p.newer(got) {
		return errPromise
	}
	_, err = x.dir.AddFrom(now, x.peer, raw, parseAge(body))
	x.mu.Lock()
	defer x.mu.Unlock()
	x.answered(node)
	return err
}

func (x *exchange) handleVouch(body []byte) error {
	if len(body) != signatureSize {
		return errMessage
	}
	v := Vouch{Voucher: x.peer, Signature: [64]byte(body)}
	if !v.verify(x.dir.cfg.Self) {
		return fmt.Errorf("%w: vouch", ErrForged)
	}
	x.vouched(v)
	return nil
}

func (x *exchange) handleTime(now time.Time, body []byte) error {
	said, err := parseTime(body)
	if err != nil {
		return err
	}
	x.mu.Lock()
	ok := x.times.take(now, timeRate, timeBurst, 1)
	x.mu.Unlock()
	if !ok {
		return errTooMuch
	}
	if x.clock != nil {
		x.clock.Hear(x.peer, said)
	}
	return nil
}

// timeToSay returns mesh time if the neighbour ought to hear of it.
func (x *exchange) timeToSay(now time.Time) (clock.Said, bool) {
	if x.clock == nil {
		return clock.Said{}, false
	}
	s, since := x.clock.Say(), now.Sub(x.saidAt)
	if !x.saidAt.IsZero() && since < timeInterval && !x.said.Differs(s, since) || !s.Valid() {
		return s, false
	}
	if !x.sayings.take(now, sayRate, sayBurst, 1) {
		return s, false
	}
	x.said, x.saidAt = s, now
	return s, true
}

func (x *exchange) answered(node identity.NodeID) {
	if _, ok := x.asked[node]; ok {
		delete(x.asked, node)
		x.book.release(node, x.peer)
	}
}

// ask chooses what to ask for next.
func (x *exchange) ask(now time.Time) {
	if len(x.queue) == 0 && len(x.asked) == 0 && len(x.waiting) > 0 {
		x.queue, x.waiting = x.waiting, nil
	}
	for len(x.queue) > 0 && len(x.asked) < maxAsked && len(x.want) < maxWant {
		o := x.queue[0]
		if x.queue = x.queue[1:]; len(x.queue) == 0 {
			x.queue = nil
		}
		wants, fresh := x.dir.wants(now, o, x.peer)
		if _, asked := x.asked[o.node]; !wants || asked {
			continue
		}
		if !x.book.claim(now, o, x.peer) {
			x.waiting = append(x.waiting, o)
			continue
		}
		if !x.quota.take(now, fresh) {
			x.dir.count(gossipQuota)
			x.book.release(o.node, x.peer)
			continue
		}
		x.asked[o.node] = promise{o.revision, now}
		x.want = append(x.want, o.node)
	}
	if x.settled && !x.done && len(x.queue)+len(x.waiting)+len(x.asked) == 0 && x.round.IsZero() && !x.sendBuckets {
		x.done = true
		x.synced()
	}
}

// next appends the next message to send to dst. It is false when there is
// nothing, until something is handled, the directory changes or time goes by.
func (x *exchange) next(now time.Time, dst []byte) ([]byte, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ask(now)
	if s, due := x.timeToSay(now); due {
		return frame(dst, kindTime, appendTime(nil, s)), true
	}
	switch {
	case x.vouch != nil:
		dst = frame(dst, kindVouch, x.vouch.Signature[:])
		x.vouch = nil
	case x.sendRoot:
		x.sendRoot = false
		root, _ := x.dir.digests(now)
		dst = frame(dst, kindRoot, root[:])
	case x.sendBuckets:
		x.sendBuckets, x.round = false, now
		_, all := x.dir.digests(now)
		dst = frame(dst, kindBuckets, appendBuckets(nil, &all))
	case len(x.want) > 0:
		dst = frame(dst, kindWant, appendNodes(nil, x.want))
		x.want = x.want[:0]
	case len(x.give) > 0:
		node := x.give[0]
		if x.give = x.give[1:]; len(x.give) == 0 {
			x.give = nil
		}
		if raw, age, ok := x.dir.copyOf(now, node); ok {
			dst = frame(dst, kindDescriptor, appendAge(nil, age), raw)
		} else {
			dst = frame(dst, kindGone, node[:])
		}
	case x.answering:
		n := min(len(x.answer), maxLines)
		offers := x.dir.offers(now, nil, x.answer[:n], identity.NodeID{})
		x.answer = x.answer[n:]
		if x.answering = len(x.answer) > 0; !x.answering {
			x.answer = nil
		}
		dst = frame(dst, kindHave, appendHave(nil, !x.answering, offers))
	default:
		offers := x.news(now)
		if len(offers) == 0 {
			return dst, false
		}
		dst = frame(dst, kindHave, appendHave(nil, false, offers))
	}
	return dst, true
}

// news returns what is new and did not come from the neighbour.
func (x *exchange) news(now time.Time) []offer {
	for {
		nodes, next, ok := x.dir.news(x.cursor, maxLines)
		x.cursor = next
		if !ok { // more than the journal holds: the digests will tell
			x.nextRoot = now
			return nil
		}
		if len(nodes) == 0 {
			return nil
		}
		if offers := x.dir.offers(now, nil, nodes, x.peer); len(offers) > 0 {
			return offers
		}
	}
}

// tick forgets questions that nobody answered, and sends a digest when it is due.
func (x *exchange) tick(now time.Time) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var err error
	for node, p := range x.asked {
		if now.Sub(p.at) > askTimeout {
			x.answered(node)
			err = errors.Join(err, x.brokePromise(now, 1))
		}
	}
	if !x.round.IsZero() && now.Sub(x.round) > roundTimeout {
		x.round = time.Time{}
	}
	if !now.Before(x.nextRoot) {
		x.sendRoot = true
		x.scheduleRoot(now)
	}
	return err
}

// brokePromise counts what the neighbour offered and did not give. It happens:
// descriptors end. It does not happen often.
func (x *exchange) brokePromise(now time.Time, n int) error {
	if !x.broken.take(now, brokenRate, maxAsked, float64(n)) {
		return errPromise
	}
	return nil
}

// end gives back what the exchange holds of the book.
func (x *exchange) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for node := range x.asked {
		x.answered(node)
	}
}
