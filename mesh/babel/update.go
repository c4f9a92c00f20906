package babel

import "globalnet/mesh/babel/wire"

const (
	triggerMin = 10 * millisecond // how long a triggered update waits for others
	triggerMax = 40 * millisecond
	crowdAgain = 150 * millisecond
)

// queue is an ordered set of destinations that are to be announced.
type queue struct {
	order []*destination
	in    map[*destination]struct{}
}

func (q *queue) add(d *destination) {
	if _, ok := q.in[d]; ok {
		return
	}
	if q.in == nil {
		q.in = make(map[*destination]struct{})
	}
	q.in[d] = struct{}{}
	q.order = append(q.order, d)
}

func (q *queue) first() *destination {
	if len(q.order) == 0 {
		return nil
	}
	return q.order[0]
}

func (q *queue) drop() {
	delete(q.in, q.order[0])
	q.order[0] = nil
	if q.order = q.order[1:]; len(q.order) == 0 {
		*q = queue{}
	}
}

// crowd is the queue of an interface with many neighbours: what is triggered goes
// by multicast, without acknowledgment, twice.
type crowd struct {
	queue queue
	again queue
	due   tick
}

// trigger announces a change before the next dump, RFC 8966 section 3.7.2. An
// urgent one goes out with the end of the current call.
func (s *Speaker) trigger(d *destination, urgent bool) {
	for _, f := range s.ifaces {
		up := 0
		for _, n := range f.neighbours {
			if n.up {
				up++
			}
		}
		if up > crowdSize {
			f.crowd.queue.add(d)
			f.crowd.due = earlier(f.crowd.due, s.now+s.between(triggerMin, triggerMax))
			if urgent {
				f.crowd.due = s.now
			}
			continue
		}
		for _, n := range f.neighbours {
			switch {
			case !n.up:
			case urgent:
				n.out.fast.add(d)
			default:
				n.out.slow.add(d)
				n.out.slowAt = earlier(n.out.slowAt, s.now+s.between(triggerMin, triggerMax))
			}
		}
	}
}

// enqueueAll queues the whole table for a neighbour.
func (s *Speaker) enqueueAll(n *neighbour) {
	n.answeredAt = s.now
	s.enqueueAllAt(n, s.now+s.between(0, triggerMin))
}

// enqueueAllAt queues the whole table, to be sent at a later time.
func (s *Speaker) enqueueAllAt(n *neighbour, at tick) {
	s.sort()
	for _, d := range s.order {
		n.out.slow.add(d)
	}
	n.out.slowAt = earlier(n.out.slowAt, at)
}

// announcement makes the Update of a destination for an interface; false if there
// is nothing to say. The feasibility distance is updated here: what is returned
// must be sent.
func (s *Speaker) announcement(d *destination, f *iface) (wire.Update, bool) {
	u := wire.Update{Prefix: d.prefix, Interval: toCentis(f.dumpEvery), Metric: infinity}
	switch r := d.selected; {
	case d.own:
		u.Metric, u.Seqno, u.RouterID = d.ownMetric, s.seqno, s.cfg.RouterID
	case r == nil:
		d.told = infinity
		return u, s.now < d.holdUntil
	case r.via.iface == f && len(f.neighbours) == 1:
		// Split horizon, RFC 8966 section 3.7.4. If the route has moved here the
		// neighbour may still hold what we announced before.
		return u, d.movedAt != 0 && s.now < d.movedAt+second
	case !s.announced(d, r.id, r.seqno, r.metric):
		return u, false
	default:
		u.Metric, u.Seqno, u.RouterID = r.metric, r.seqno, r.id
	}
	d.told = u.Metric
	return u, true
}

// flushCrowd multicasts what was triggered, and sets a time to say it again.
func (s *Speaker) flushCrowd(f *iface) {
	c := f.crowd
	f.crowd = crowd{}
	b := f.builder()
	send := func(d *destination) {
		if u, ok := s.announcement(d, f); ok {
			s.put(f, b, u)
			s.count(updatesSent)
		}
	}
	for _, d := range c.again.order {
		if _, ok := c.queue.in[d]; !ok {
			send(d)
		}
	}
	for _, d := range c.queue.order {
		send(d)
		f.crowd.again.add(d)
	}
	s.sendMulticast(f, b)
	if len(f.crowd.again.order) > 0 {
		f.crowd.due = s.now + crowdAgain
	}
}
