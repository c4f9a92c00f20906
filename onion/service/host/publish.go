package host

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"globalnet/onion/service"
	"globalnet/onion/service/desc"
	"globalnet/onion/service/key"
)

const (
	republish   = time.Hour // holders keep a value for three
	jitter      = 10 * time.Minute
	gather      = 300 * time.Millisecond // after a change, for introduction points that are missing
	scoutTime   = 3 * time.Second        // for the first look at which machines there are
	firstScout  = 15 * time.Second       // after the first publication, at all slots
	publishTime = 40 * time.Second
	leastPause  = time.Second // between two publications
)

// publisher is what a service knows of its descriptors. It belongs to offer.run.
type publisher struct {
	instance [8]byte
	known    bool // slot was chosen
	slot     uint8
	slots    uint8
	revision uint64 // of the last publication
	seen     uint64 // the highest that was read at our place, in this period

	dirty     bool // what is published is not what is
	busy      bool
	scouting  bool
	since     time.Time // when dirty was seen; zero: it is not
	published bool
	last      time.Time // publication that was begun
	next      time.Time // publication, if nothing changes
	scout     time.Time // when all slots are read next
	failed    backoff
}

// begin looks which machines of the service there are.
func (p *publisher) begin(ctx context.Context, o *offer) {
	p.instance = key.Instance(o.h.cfg.Node, o.config.Key.NodeID())
	p.look(ctx, o, false)
}

// tend publishes if it is time, and returns how long there is nothing to do.
func (p *publisher) tend(ctx context.Context, o *offer) time.Duration {
	now := time.Now()
	if p.published && !p.scouting && now.After(p.scout) {
		p.scout = now.Add(republish + rand.N(jitter))
		p.look(ctx, o, true)
	}
	if now.After(p.next) {
		p.dirty = true
	}
	if !p.dirty || p.busy || !p.known || len(o.points) == 0 {
		return lookAround
	}
	if p.since.IsZero() {
		p.since = now
	}
	if wait := max(p.failed.left(now), p.last.Add(leastPause).Sub(now)); wait > 0 {
		return wait
	}
	if wait := p.since.Add(gather).Sub(now); wait > 0 && len(o.fresh(now)) < o.wanted() {
		return wait
	}
	p.publish(ctx, o)
	return lookAround
}

// publish stores descriptors for this period and the next.
func (p *publisher) publish(ctx context.Context, o *offer) {
	now := o.h.cfg.Now()
	p.revision = p.nextRevision(now)
	d := &desc.Descriptor{Revision: p.revision, Instance: p.instance, Slots: p.slots, SingleHop: o.config.SingleHop}
	if o.config.Work {
		d.Work = o.seeds.Params(o.effort)
	}
	for _, x := range o.published(time.Now()) {
		d.Points = append(d.Points, x.keys.Describe(x.relay.Node, x.relay.OnionKey, x.relay.Suites))
	}
	slot, access := p.slot, o.access
	p.dirty, p.busy, p.last, p.since = false, true, time.Now(), time.Time{}
	if !o.h.start(func(context.Context) {
		o.store(ctx, d, access, slot)
	}) {
		p.busy = false
	}
}

// nextRevision returns one above all that count. Ours of a time when mesh time was far
// ahead does not: those who know the time take none of the future.
func (p *publisher) nextRevision(now time.Time) uint64 {
	at := uint64(max(now.Unix(), 0))
	next := max(at, p.seen+1)
	if p.revision < at+uint64(key.Length/2/time.Second) {
		next = max(next, p.revision+1)
	}
	return next
}

// store puts a descriptor into its places.
func (o *offer) store(outer context.Context, d *desc.Descriptor, access desc.Access, slot uint8) {
	ctx, cancel := context.WithTimeout(outer, publishTime)
	defer cancel()
	periods := key.PublishPeriods(o.config.Key.NodeID(), o.h.cfg.Now())
	var group sync.WaitGroup
	var mu sync.Mutex
	var last error
	stored, newer := 0, false
	for i, period := range periods {
		for replica := range uint8(key.Replicas) {
			group.Go(func() {
				n, err := o.h.cfg.Places.Put(ctx, o.want(o.h.cfg.Client.Hops()), o.config.Key, key.Place{Period: period, Slot: slot, Replica: replica}, d, access)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, service.ErrNewer):
					newer = true
				case err != nil:
					last = err
				case i == 0 && n > 0:
					stored++
					o.setStatus(func(s *service.Status) { s.Stored, s.Published, s.Error = stored, time.Now(), "" })
				}
			})
		}
	}
	group.Wait()
	o.later(outer, func() { o.publisher.stored(outer, o, stored, newer, last) })
}

// stored takes the outcome of a publication.
func (p *publisher) stored(ctx context.Context, o *offer, stored int, newer bool, err error) {
	p.busy = false
	now := time.Now()
	switch {
	case newer: // somebody else's, or our own of a time when the clock was ahead
		p.dirty = true
		p.failed.failed(now, firstRetry, lastRetry)
		p.look(ctx, o, false)
	case stored == 0:
		if err == nil {
			err = errors.New("nobody stores the descriptor")
		}
		o.h.cfg.Log.Debug("descriptor not stored", "err", err)
		o.setStatus(func(s *service.Status) { s.Stored, s.Error = 0, "the descriptor is not published: "+err.Error() })
		p.dirty = true
		p.failed.failed(now, firstRetry, lastRetry)
	default:
		p.failed.reset()
		if !p.published {
			p.published, p.scout = true, now.Add(firstScout)
		}
		p.next = now.Add(republish + rand.N(jitter))
		if err != nil { // some places are missing
			p.next = now.Add(time.Minute)
		}
	}
}

// look reads which machines of the service there are: in all slots, or in those that
// the first names.
func (p *publisher) look(ctx context.Context, o *offer, all bool) {
	if p.scouting {
		return
	}
	p.scouting = true
	if !o.h.start(func(context.Context) {
		scoutCtx, cancel := context.WithTimeout(ctx, scoutTime)
		if all {
			cancel()
			scoutCtx, cancel = context.WithTimeout(ctx, publishTime)
		}
		defer cancel()
		found := o.scout(scoutCtx, all)
		o.later(ctx, func() { p.saw(found) })
	}) {
		p.scouting = false
	}
}

// saw takes what look has found.
func (p *publisher) saw(found map[uint8]*desc.Opened) {
	p.scouting = false
	before, beforeSlots := p.slot, p.slots
	at := found[p.slot]
	if !p.known || at != nil && at.Instance != p.instance {
		slot, ok := desc.ChooseSlot(p.instance, found)
		if !ok {
			slot = uint8(rand.IntN(key.MaxSlots)) // more machines than slots: turn about
		}
		p.slot, p.known = slot, true
	}
	if at := found[p.slot]; at != nil {
		p.seen = max(p.seen, at.Revision)
	}
	p.slots = desc.SlotsInUse(p.slot, found)
	if p.slot != before || p.slots != beforeSlots {
		p.dirty = true
	}
}

// scout reads slots of this period, each through a circuit of its own.
func (o *offer) scout(ctx context.Context, all bool) map[uint8]*desc.Opened {
	found := make(map[uint8]*desc.Opened)
	if first := o.read(ctx, 0); first != nil {
		found[0] = first
	}
	if found[0] == nil && !all {
		return found
	}
	slots := desc.Slots(0, found[0])
	if all {
		slots = desc.Slots(0, nil)
	}
	var group sync.WaitGroup
	var mu sync.Mutex
	for _, slot := range slots {
		group.Go(func() {
			if d := o.read(ctx, slot); d != nil {
				mu.Lock()
				defer mu.Unlock()
				found[slot] = d
			}
		})
	}
	group.Wait()
	return found
}

// read returns the descriptor in a slot; nil if there is none.
func (o *offer) read(ctx context.Context, slot uint8) *desc.Opened {
	id := o.config.Key.NodeID()
	first := uint8(rand.IntN(key.Replicas))
	for i := range uint8(key.Replicas) {
		at := key.Place{Period: key.PeriodAt(id, o.h.cfg.Now()), Slot: slot, Replica: (first + i) % key.Replicas}
		value, err := o.h.cfg.Places.Get(ctx, o.want(o.h.cfg.Client.Hops()), id, at, false)
		if err != nil {
			continue
		}
		if d, err := desc.Open(value, id, at, o.self, 0); err == nil {
			return d
		}
	}
	return nil
}
