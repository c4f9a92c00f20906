package babel

import (
	"net/netip"
	"slices"

	"globalnet/mesh/babel/wire"
)

const (
	sweepInterval  = 2 * second
	sweepPerRoute  = millisecond // so that long tables are not swept all the time
	retractionHold = 40 * second // repeated in at least two dumps of 16 s, RFC 8966 section 3.5.5
	smoothing      = 4 * second  // half-life of a difference, RFC 8966 appendix A.3
)

// destination is all that we know of a prefix: the entries of the route table and
// of the source table, what is selected, what is asked.
type destination struct {
	prefix    netip.Prefix
	own       bool
	gone      bool // no longer in the table
	ownMetric uint16
	told      uint16 // the metric announced last
	selected  *route
	routes    []*route
	sources   []source
	request   *request
	holdUntil tick // until when its loss is repeated
	movedAt   tick // when its route last moved to another interface
}

// route is an entry of the route table, RFC 8966 section 3.2.6.
type route struct {
	via       *neighbour
	nextHop   *netip.Addr // nil: the neighbour itself
	id        RouterID
	seqno     uint16
	refMetric uint16
	metric    uint16
	smooth    uint16 // the metric, smoothed, at the time smoothAt
	interval  uint16 // in centiseconds
	asked     bool   // for an update before it expires
	smoothAt  tick
	heard     tick
}

func (r *route) gateway() netip.Addr {
	if r.nextHop != nil {
		return *r.nextHop
	}
	return r.via.addr
}

func (r *route) hold() tick { return max(tick(r.interval)*centisecond, second) * 7 / 2 }

// smoothed returns the metric as it would be if it changed slowly.
func (r *route) smoothed(now tick) int {
	diff, dt := int(r.smooth)-int(r.metric), now-r.smoothAt
	for ; dt >= smoothing && diff != 0; dt -= smoothing {
		diff /= 2
	}
	if diff != 0 {
		diff -= int(tick(diff) * dt / (2 * smoothing))
	}
	return int(r.metric) + diff
}

// setMetric recomputes the metric from what the neighbour announces and its cost.
func (r *route) setMetric(now tick) (changed bool) {
	metric := uint16(infinity)
	if sum := int(r.refMetric) + int(r.via.cost); sum < infinity {
		metric = uint16(sum)
	}
	if metric == r.metric {
		return false
	}
	if r.metric == infinity || metric == infinity {
		r.smooth = metric
	} else {
		r.smooth = uint16(r.smoothed(now))
	}
	r.metric, r.smoothAt = metric, now
	return true
}

func (d *destination) route(n *neighbour) *route {
	for _, r := range d.routes {
		if r.via == n {
			return r
		}
	}
	return nil
}

func (s *Speaker) destination(p netip.Prefix) *destination {
	d := s.dests[p]
	if d == nil {
		d = &destination{prefix: p, told: infinity}
		s.dests[p] = d
		s.order = append(s.order, d)
		s.unsorted = true
	}
	return d
}

// sort orders the destinations: neighbours in the order share the start of their prefix.
func (s *Speaker) sort() {
	if !s.unsorted {
		return
	}
	slices.SortFunc(s.order, func(a, b *destination) int {
		if c := a.prefix.Addr().Compare(b.prefix.Addr()); c != 0 {
			return c
		}
		return a.prefix.Bits() - b.prefix.Bits()
	})
	s.unsorted = false
}

// handleUpdate follows RFC 8966 section 3.5.3.
func (s *Speaker) handleUpdate(n *neighbour, u wire.Update) {
	s.count(updatesReceived)
	if u.Metric == infinity {
		s.handleRetraction(n, u.Prefix)
		return
	}
	if u.RouterID == s.cfg.RouterID {
		s.count(updatesOwn)
		return
	}
	if s.cfg.Accept != nil && !s.cfg.Accept(n.iface.Name, u.Prefix, u.RouterID) {
		s.count(updatesNotAccepted)
		return
	}
	d := s.dests[u.Prefix]
	if d != nil && d.own {
		s.count(updatesOwn)
		return
	}
	var r *route
	if d != nil {
		r = d.route(n)
	}
	if r == nil && s.routes >= s.cfg.MaxRoutes {
		s.count(updatesTableFull)
		return
	}
	if !s.mayHaveSource(d, u.RouterID) {
		s.count(updatesManyRouters)
		return
	}
	if d == nil {
		d = s.destination(u.Prefix)
	}
	feasible := d.feasible(u.RouterID, u.Seqno, u.Metric)
	if !feasible {
		s.count(updatesUnfeasible)
	}
	if r != nil && r == d.selected && !feasible && r.id == u.RouterID {
		// It cannot make a loop: the neighbour's feasibility distance is at least as
		// good as what it announced before. Ask for a newer one and keep the old.
		s.askUnfeasible(d, n, u.RouterID)
		return
	}
	if r == nil {
		r = &route{via: n, metric: infinity, smooth: infinity}
		d.routes = append(d.routes, r)
		s.routes++
	}
	moved := s.fill(r, u)
	s.reselect(d)
	if moved && d.selected == r {
		s.emitSelected(d)
	}
	if !feasible && (d.selected == nil || r.metric < d.selected.metric) && n.up {
		s.askUnfeasible(d, n, u.RouterID)
	}
}

// fill takes an update into a route; it tells whether its gateway or origin changed.
func (s *Speaker) fill(r *route, u wire.Update) (moved bool) {
	before, id := r.gateway(), r.id
	r.id, r.seqno, r.refMetric, r.interval = u.RouterID, u.Seqno, u.Metric, u.Interval
	r.heard, r.asked = s.now, false
	r.nextHop = nil
	if u.NextHop.IsValid() && u.NextHop != r.via.addr {
		r.nextHop = &u.NextHop
	}
	r.setMetric(s.now)
	return r.gateway() != before || id != u.RouterID
}

// handleRetraction takes back one route of a neighbour, or all: the zero Prefix.
func (s *Speaker) handleRetraction(n *neighbour, p netip.Prefix) {
	if !p.IsValid() {
		s.sort()
		for _, d := range s.order {
			s.retract(d, n)
		}
		return
	}
	if d := s.dests[p]; d != nil {
		s.retract(d, n)
	}
}

func (s *Speaker) retract(d *destination, n *neighbour) {
	r := d.route(n)
	if r == nil || r.refMetric == infinity {
		return
	}
	r.refMetric, r.heard = infinity, s.now
	r.setMetric(s.now)
	s.reselect(d)
}

func (s *Speaker) removeRoute(d *destination, n *neighbour) {
	for k, r := range d.routes {
		if r.via != n {
			continue
		}
		d.routes = append(d.routes[:k:k], d.routes[k+1:]...)
		s.routes--
		if d.selected == r {
			r.metric, r.refMetric = infinity, infinity
			s.reselect(d)
		}
		return
	}
}

// refreshMetrics follows a change of a neighbour's cost.
func (s *Speaker) refreshMetrics(n *neighbour) {
	s.sort()
	for _, d := range s.order {
		if r := d.route(n); r != nil && r.setMetric(s.now) {
			s.reselect(d)
			s.feed(d)
		}
	}
}

// sweep does what is not urgent: expiry, second thoughts, forgetting.
func (s *Speaker) sweep() {
	s.forgetNeighbours()
	s.sort()
	hold := s.sourceHoldNow()
	kept := s.order[:0]
	for _, d := range s.order {
		s.expire(d)
		s.reselect(d)
		s.feed(d)
		s.forgetSources(d, hold)
		if !d.own && len(d.routes) == 0 && len(d.sources) == 0 && d.request == nil && d.holdUntil <= s.now {
			d.gone = true
			delete(s.dests, d.prefix)
			continue
		}
		kept = append(kept, d)
	}
	clear(s.order[len(kept):])
	s.order = kept
}

// expire ages the routes of a destination, RFC 8966 section 3.5.4: one that is not
// repeated is asked for (section 3.8.2.3), then retracted, then forgotten.
func (s *Speaker) expire(d *destination) {
	for k := len(d.routes) - 1; k >= 0; k-- {
		r := d.routes[k]
		age, hold := s.now-r.heard, r.hold()
		switch {
		case r.refMetric == infinity && age >= min(hold, 60*second):
			s.removeRoute(d, r.via)
		case r.refMetric != infinity && age >= hold:
			s.retract(d, r.via)
		case r == d.selected && !r.asked && age >= hold*5/7 && r.via.up:
			r.asked = true
			r.via.out.ask(wire.RouteRequest{Prefix: d.prefix})
		}
	}
}
