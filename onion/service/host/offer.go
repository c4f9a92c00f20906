package host

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/client"
	"globalnet/onion/service"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/intro"
	"globalnet/onion/service/key"
	"globalnet/onion/service/pow"
)

const (
	maxArrived = 256 // introductions that came in and were not looked at
	idleClient = 15 * time.Minute
	lookAround = 30 * time.Second       // at what changes by itself
	tendPause  = 100 * time.Millisecond // between two looks while introductions come
)

// offer is a service that this node offers.
type offer struct {
	h      *Host
	config service.Config     // of the beginning, without what may change
	self   *key.ClientKey     // by which machines of a restricted service read each other
	stop   context.CancelFunc // nil: not begun
	ended  chan struct{}
	after  *offer // which has to end first

	arrived chan arrival
	events  chan func() // for run
	look    chan struct{}

	// Of run.
	access    desc.Access
	points    []*point
	making    int // points
	failed    backoff
	avoid     map[identity.NodeID]time.Time // relays that failed as introduction points, until then
	seeds     *pow.Seeds
	queue     pow.Queue[*intro.Introduction]
	answering int
	effort    uint32
	lazy      float64 // answers for those who worked too little
	lazyAt    time.Time
	periods   []uint64
	publisher publisher

	mu      sync.Mutex
	ports   map[uint16]service.Port
	next    *desc.Access // that run has to take; nil: none
	epoch   int          // how often clients were shut out
	shut    time.Time    // when, the last time
	status  service.Status
	clients map[*caller]struct{}
}

// arrival is an introduction that came through a point.
type arrival struct {
	point *point
	body  []byte
}

func newOffer(h *Host, c service.Config) *offer {
	o := &offer{h: h, config: c, ended: make(chan struct{}), arrived: make(chan arrival, h.bounds.queue), events: make(chan func(), 16),
		look:  make(chan struct{}, 1),
		avoid: make(map[identity.NodeID]time.Time), clients: make(map[*caller]struct{})}
	o.setPorts(c)
	o.config.Ports, o.config.Clients = nil, nil
	o.status.Address = c.Key.NodeID()
	o.self = selfKey(c.Key)
	o.queue.Most = h.bounds.queue
	o.access = o.accessOf(c)
	if len(o.access.Clients) > 0 {
		o.access.Cookie = desc.NewCookie()
	}
	return o
}

// selfKey is the client's key that a restricted service gives itself: another machine of
// it could not read the descriptors otherwise.
func selfKey(id *identity.Identity) *key.ClientKey {
	sum := key.Hash("globalnet service self", id.Seed())
	k, err := key.ClientKeyFrom(sum[:])
	if err != nil {
		panic(err) // only of a wrong length
	}
	return k
}

func (o *offer) setPorts(c service.Config) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.status.Name = c.Name
	o.ports = make(map[uint16]service.Port, len(c.Ports))
	for _, p := range c.Ports {
		o.ports[p.Port] = p
	}
}

// end has run return soon.
func (o *offer) end() {
	if o.stop != nil {
		o.stop()
		return
	}
	close(o.ended)
}

// state returns a copy of the status.
func (o *offer) state() service.Status {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.status
	s.Points = slices.Clone(s.Points)
	s.Clients = len(o.clients)
	for c := range o.clients {
		s.Streams += c.held.Circuit().Streams()
	}
	return s
}

func (o *offer) setStatus(f func(*service.Status)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f(&o.status)
}

// run offers the service until ctx ends.
func (o *offer) run(ctx context.Context) {
	if o.after != nil { // two would publish against each other
		<-o.after.ended
		o.after = nil
	}
	now := o.h.cfg.Now()
	o.seeds = pow.NewSeeds(o.config.Key.NodeID(), now)
	o.publisher.begin(ctx, o)
	defer o.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(o.tend(ctx))
		tended := time.Now()
		select {
		case <-ctx.Done():
			return
		case a := <-o.arrived:
			o.judgeAll(ctx, a, tended.Add(tendPause))
		case f := <-o.events:
			f()
		case <-o.look:
		case <-timer.C:
		}
	}
}

// judgeAll judges introductions until a time, but for nothing else that is to be done:
// under a flood the rest of tend would cost more than they do.
func (o *offer) judgeAll(ctx context.Context, a arrival, until time.Time) {
	o.judge(a)
	o.answerSome(ctx)
	pause := time.NewTimer(time.Until(until))
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-o.arrived:
			o.judge(a)
			o.answerSome(ctx)
		case f := <-o.events:
			f()
			return
		case <-o.look:
			return
		case <-pause.C:
			return
		}
	}
}

// later has f called by run; false if run has ended.
func (o *offer) later(ctx context.Context, f func()) bool {
	select {
	case o.events <- f:
		return true
	case <-ctx.Done():
		return false
	case <-o.ended:
		return false
	}
}

// tend does what is due, and returns when it wants to be called again at the latest.
func (o *offer) tend(ctx context.Context) time.Duration {
	o.takeAccess()
	now := o.h.cfg.Now()
	if periods := key.Periods(o.config.Key.NodeID(), now); !slices.Equal(periods, o.periods) {
		if len(o.periods) == 0 || periods[0] != o.periods[0] { // not only their order
			o.publisher.dirty, o.publisher.seen = true, 0
		}
		o.periods = periods
		for _, p := range o.points {
			o.setDoors(p)
		}
	}
	if o.config.Work {
		turned := o.seeds.Turn(now)
		if effort := o.queue.Suggest(now); turned || effort != o.effort {
			o.effort = effort
			o.publisher.dirty = true
		}
	}
	wait := min(lookAround, o.tendPoints(ctx), o.publisher.tend(ctx, o))
	o.answerSome(ctx)
	o.closeIdle()
	if o.queue.Len() > 0 {
		wait = min(wait, time.Second/lazyRate)
	}
	o.setStatus(func(s *service.Status) {
		s.Waiting, s.Answering, s.Effort = o.queue.Len(), o.answering, o.effort
	})
	return wait
}

// judge looks at an introduction as far as that is cheap.
func (o *offer) judge(a arrival) {
	i, err := a.point.keys.Check(a.body, o.seeds)
	if err != nil || !o.queue.Push(time.Now(), i, i.Authorised, i.Effort) {
		if err != nil {
			o.h.cfg.Log.Debug("introduction refused", "err", err)
		}
		o.setStatus(func(s *service.Status) {
			s.Refused++
			if errors.Is(err, intro.ErrReplayed) {
				s.Replayed++
			}
		})
	}
}

// close ends what the service has.
func (o *offer) close() {
	for _, p := range o.points {
		p.held.Close()
	}
	o.mu.Lock()
	var clients []*caller
	for c := range o.clients {
		clients = append(clients, c)
	}
	o.status.Points = nil
	o.mu.Unlock()
	for _, c := range clients {
		c.held.Close()
	}
}

// want returns what circuits of the service are like: hops relays, of which the second
// is one of few, or one relay.
func (o *offer) want(hops int) client.Want {
	if o.config.SingleHop {
		return client.Want{Hops: 1, Direct: true}
	}
	var guard identity.NodeID
	if o.h.cfg.Guard != nil {
		guard = o.h.cfg.Guard()
	}
	return client.Want{Hops: hops, Second: o.h.seconds.get(time.Now(), o.h.cfg.Client, guard)}
}

// backoff is a pause that grows with failures.
type backoff struct {
	pause time.Duration
	until time.Time
}

func (b *backoff) failed(now time.Time, least, most time.Duration) {
	b.pause = min(max(2*b.pause, least), most)
	b.until = now.Add(b.pause)
}

func (b *backoff) reset() { *b = backoff{} }

// left returns how long to wait; 0 if not at all.
func (b *backoff) left(now time.Time) time.Duration { return max(b.until.Sub(now), 0) }
