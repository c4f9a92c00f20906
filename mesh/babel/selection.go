package babel

// reselect chooses the route of a destination, RFC 8966 section 3.6, and sees to
// what follows from it.
func (s *Speaker) reselect(d *destination) {
	old := d.selected
	best := s.choose(d)
	if best == old {
		s.afterSelection(d, false)
		return
	}
	d.selected = best
	s.count(routeChanges)
	switch {
	case best == nil:
		s.emit(RouteRetracted{d.prefix})
		if !d.own {
			if d.told != infinity { // else nobody need be told
				d.holdUntil = s.now + retractionHold
				s.trigger(d, true)
			}
			s.starve(d, old)
		}
		return
	case old == nil:
		s.emitSelected(d)
		// Its loss was urgent; so is its return.
		s.trigger(d, d.holdUntil > s.now || d.request != nil)
		d.holdUntil = 0
	default:
		s.emitSelected(d)
		if old.via.iface != best.via.iface {
			d.movedAt = s.now
		}
		if old.id != best.id {
			s.trigger(d, true)
		}
	}
	s.afterSelection(d, true)
}

func (s *Speaker) emitSelected(d *destination) {
	r := d.selected
	s.emit(RouteSelected{d.prefix, r.gateway(), r.via.iface.Name, r.metric, r.id})
}

// afterSelection tells the neighbours of a significant change of the metric, and
// those who asked that there is an answer.
func (s *Speaker) afterSelection(d *destination, changed bool) {
	if d.selected == nil || d.own {
		return
	}
	if m := d.selected.metric; d.told != infinity && significant(m, d.told) {
		s.trigger(d, changed && m > d.told)
	}
	if d.request != nil {
		s.satisfy(d)
	}
}

// significant tells whether a metric changed so much that the neighbours should
// know before the next dump, RFC 8966 section 3.7.2.
func significant(a, b uint16) bool {
	return max(a, b)-min(a, b) >= max(64, min(a, b)/4)
}

// choose returns the best feasible route. The selected one stays unless another is
// better both now and smoothed, by a margin: RFC 8966 appendix A.3.
func (s *Speaker) choose(d *destination) *route {
	if d.own {
		return nil
	}
	var best *route
	usable := false
	for _, r := range d.routes {
		if r.metric == infinity || !d.feasible(r.id, r.seqno, r.refMetric) {
			continue
		}
		usable = usable || r == d.selected
		if best == nil || r.metric < best.metric {
			best = r
		}
	}
	if !usable || best == d.selected {
		return best
	}
	now, cur := s.now, d.selected
	smooth := cur.smoothed(now)
	if best.metric < cur.metric && best.smoothed(now)+min(smooth/16, 32) < smooth {
		return best
	}
	return cur
}
