package babel

import (
	"net/netip"
	"slices"

	"globalnet/mesh/babel/wire"
)

// request is an entry of the table of pending seqno requests, RFC 8966 section
// 3.2.7; a destination has at most one, so the table is no longer than that of
// destinations.
type request struct {
	id    RouterID
	seqno uint16
	hops  uint8
	own   bool         // we starve ourselves
	to    *neighbour   // whom we asked; nil: all
	from  []*neighbour // who asked us
	tries int
	sent  tick
	due   tick // when to ask again, or to give up
}

const (
	maxHops        = 64 // RFC 8966 section 3.8.2.1
	requestTimeout = 500 * millisecond
	requestTries   = 5
	requestHold    = 8 * second // how long an answer is waited for on behalf of others
	requestGap     = 300 * millisecond
	seqnoStep      = 16
	maxRequesters  = 8
)

func (s *Speaker) setRequest(d *destination, r *request) {
	if d.request == nil {
		s.requests = append(s.requests, d)
	} else {
		for _, n := range d.request.from {
			r.addFrom(n)
		}
		r.own = r.own || d.request.own
	}
	d.request = r
}

func (s *Speaker) clearRequest(d *destination) {
	d.request = nil
	if k := slices.Index(s.requests, d); k >= 0 {
		s.requests = slices.Delete(s.requests, k, k+1)
	}
}

func (r *request) addFrom(n *neighbour) {
	if n != nil && len(r.from) < maxRequesters && !slices.Contains(r.from, n) {
		r.from = append(r.from, n)
	}
}

// covers tells whether the request asks for at least that.
func (r *request) covers(id RouterID, seqno uint16) bool {
	return r != nil && r.id == id && !newer(seqno, r.seqno)
}

// starve follows the loss of the last feasible route: ask all for a newer one at
// once, RFC 8966 section 3.8.2.1.
func (s *Speaker) starve(d *destination, lost *route) {
	seqno := lost.seqno + 1
	if src := d.source(lost.id); src != nil {
		seqno = src.seqno + 1
	}
	if d.request.covers(lost.id, seqno) && d.request.own && d.request.to == nil {
		return
	}
	s.setRequest(d, &request{id: lost.id, seqno: seqno, hops: maxHops, own: true})
	s.sendRequest(d)
}

// askUnfeasible asks a neighbour that announced an unfeasible route which we should
// like to have for a newer one, RFC 8966 section 3.8.2.2.
func (s *Speaker) askUnfeasible(d *destination, n *neighbour, id RouterID) {
	src := d.source(id)
	if src == nil {
		return
	}
	if r := d.request; r.covers(id, src.seqno+1) {
		if r.to != n && s.now >= r.sent+requestGap { // it was asked of others, before n told us
			r.to = nil
			s.sendRequest(d)
		}
		return
	}
	s.setRequest(d, &request{id: id, seqno: src.seqno + 1, hops: maxHops, own: true, to: n})
	s.sendRequest(d)
}

// feed asks for a destination that is announced to us but starves, if nobody is asked.
func (s *Speaker) feed(d *destination) {
	if d.own || d.selected != nil || d.request != nil {
		return
	}
	var best *route
	for _, r := range d.routes {
		if r.metric != infinity && (best == nil || r.metric < best.metric) {
			best = r
		}
	}
	if best != nil {
		s.askUnfeasible(d, best.via, best.id)
	}
}

// sendRequest sends the request of a destination and sets the time to do so again.
func (s *Speaker) sendRequest(d *destination) {
	r := d.request
	t := wire.SeqnoRequest{Prefix: d.prefix, Seqno: r.seqno, HopCount: r.hops, RouterID: r.id}
	for _, f := range s.ifaces {
		for _, n := range f.neighbours {
			if n.up && (r.to == n || r.to == nil) {
				n.out.ask(t)
				s.count(requestsSent)
			}
		}
	}
	r.sent = s.now
	r.due = s.now + requestHold
	if r.own {
		r.due = s.now + s.between(requestTimeout*9/10, requestTimeout)<<r.tries
	}
	r.tries++
}

// requestTimeouts asks again, as long as there is someone who might know.
func (s *Speaker) requestTimeouts() {
	for k := len(s.requests) - 1; k >= 0; k-- {
		d := s.requests[k]
		r := d.request
		if r.due > s.now {
			continue
		}
		if !r.own || r.tries >= requestTries || (r.tries >= 2 && !d.announcedByOther(nil)) {
			s.clearRequest(d)
			continue
		}
		s.sendRequest(d)
	}
}

// announcedByOther tells whether a neighbour other than n announces the
// destination, feasible or not.
func (d *destination) announcedByOther(n *neighbour) bool {
	return slices.ContainsFunc(d.routes, func(r *route) bool { return r.via != n && r.metric != infinity })
}

// handleRouteRequest follows RFC 8966 section 3.8.1.1. Who asks for all may be new,
// or have forgotten us: it is told that we hear it, too.
func (s *Speaker) handleRouteRequest(n *neighbour, p netip.Prefix) {
	if p.IsValid() {
		d := s.dests[p]
		if d == nil {
			d = &destination{prefix: p, told: infinity, holdUntil: s.now + second} // only to say: no
		}
		if len(n.out.fast.order) < maxQuestions {
			n.out.fast.add(d)
		}
		return
	}
	if at := n.answeredAt + answerGap; n.answeredAt != 0 && s.now < at {
		// It may have restarted since, and forgotten the answer: it gets another, in its time.
		if n.up {
			s.enqueueAllAt(n, at)
		}
		return
	}
	n.answeredAt = s.now
	n.wantIHU = true
	s.helloSoon(n.iface)
	if n.up {
		s.enqueueAll(n)
	}
}

// handleSeqnoRequest follows RFC 8966 section 3.8.1.2.
func (s *Speaker) handleSeqnoRequest(n *neighbour, q wire.SeqnoRequest) {
	d := s.dests[q.Prefix]
	switch {
	case d == nil:
		s.count(requestsIgnored)
	case d.own:
		if q.RouterID == s.cfg.RouterID && newer(q.Seqno, s.seqno) && !s.raiseSeqno(q.Seqno) {
			return
		}
		s.count(requestsAnswered)
		n.out.fast.add(d)
	case d.selected != nil && (d.selected.id != q.RouterID || !newer(q.Seqno, d.selected.seqno)):
		s.count(requestsAnswered)
		n.out.fast.add(d)
	case q.RouterID == s.cfg.RouterID || q.HopCount < 2:
		s.count(requestsIgnored)
	default:
		s.forward(d, n, q)
	}
}

// raiseSeqno raises our sequence number towards the one asked for. As long as
// others may remember an earlier life of ours it goes there in one step, so that a
// speaker that has restarted is heard at once; afterwards in small ones, so that
// nobody can drive it around its circle while the old values are remembered.
func (s *Speaker) raiseSeqno(seqno uint16) bool {
	if !s.seqnoCap.take(s.now) {
		s.count(seqnoRefused)
		return false
	}
	if s.now < second+sourceHold && seqno < 0x8000 {
		s.seqno = seqno
	} else {
		s.seqno += min(seqno-s.seqno, seqnoStep)
	}
	s.count(seqnoRaised)
	return true
}

// forward passes a request on to one neighbour that may know, not to where it came from.
func (s *Speaker) forward(d *destination, n *neighbour, q wire.SeqnoRequest) {
	if r := d.request; r.covers(q.RouterID, q.Seqno) {
		r.addFrom(n)
		// A repeated request is passed on again only after a while; and where we
		// starve ourselves, all were asked.
		if s.now < r.sent+requestGap || (r.own && r.to == nil && d.selected == nil) {
			s.count(requestsDuplicate)
			return
		}
	}
	to := s.towards(d, n)
	if to == nil {
		s.count(requestsIgnored)
		return
	}
	r := &request{id: q.RouterID, seqno: q.Seqno, hops: q.HopCount - 1, to: to}
	r.addFrom(n)
	s.setRequest(d, r)
	s.count(requestsForwarded)
	s.sendRequest(d)
}

// towards picks the next hop of a request: of the selected route, since only that is
// announced and so only its answer helps whoever asks; else of the best feasible
// route, or of the best of all.
func (s *Speaker) towards(d *destination, not *neighbour) *neighbour {
	if d.selected != nil && d.selected.via != not {
		return d.selected.via
	}
	var best *route
	feasible := false
	for _, r := range d.routes {
		if r.via == not || r.metric == infinity {
			continue
		}
		ok := d.feasible(r.id, r.seqno, r.refMetric)
		if best == nil || (ok && !feasible) || (ok == feasible && r.metric < best.metric) {
			best, feasible = r, ok
		}
	}
	if best == nil {
		return nil
	}
	return best.via
}

// satisfy answers those who asked, once there is an answer.
func (s *Speaker) satisfy(d *destination) {
	r, sel := d.request, d.selected
	if sel.id == r.id && newer(r.seqno, sel.seqno) {
		if r.own && r.to == nil { // we starve no longer; others still do
			r.own = false
			r.due = r.sent + requestHold
			if len(r.from) == 0 {
				s.clearRequest(d)
			}
		}
		return
	}
	for _, n := range r.from {
		if n.up && n != sel.via {
			n.out.fast.add(d)
			s.count(requestsAnswered)
		}
	}
	s.clearRequest(d)
}
