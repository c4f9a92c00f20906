package babel

// source is an entry of the source table, RFC 8966 section 3.2.5: the best that we
// ever announced of a prefix and router-id, the feasibility distance. It lives
// with its destination.
type source struct {
	id      RouterID
	seqno   uint16
	metric  uint16
	touched tick
}

const (
	sourceHold   = 180 * second // RFC 8966 appendix B
	maxRouterIDs = 16           // of one prefix
)

// newer compares sequence numbers modulo 2^16, RFC 8966 section 3.2.1.
func newer(a, b uint16) bool { return int16(a-b) > 0 }

func (d *destination) source(id RouterID) *source {
	for k := range d.sources {
		if d.sources[k].id == id {
			return &d.sources[k]
		}
	}
	return nil
}

// feasible is the feasibility condition, RFC 8966 section 3.5.1.
func (d *destination) feasible(id RouterID, seqno, refMetric uint16) bool {
	if refMetric == infinity {
		return true
	}
	src := d.source(id)
	return src == nil || newer(seqno, src.seqno) || (seqno == src.seqno && refMetric < src.metric)
}

// mayHaveSource tells whether the source table has or may get an entry
// for a destination, which may be new: nil.
func (s *Speaker) mayHaveSource(d *destination, id RouterID) bool {
	switch {
	case s.sources >= 2*s.cfg.MaxRoutes:
		return d != nil && d.source(id) != nil
	case d == nil:
		return true
	}
	return len(d.sources) < maxRouterIDs || d.source(id) != nil
}

// announced updates the feasibility distance; it goes before each announcement,
// RFC 8966 section 3.7.3. If it returns false the announcement must not be made.
func (s *Speaker) announced(d *destination, id RouterID, seqno, metric uint16) bool {
	src := d.source(id)
	if src == nil {
		if !s.mayHaveSource(d, id) {
			return false
		}
		d.sources = append(d.sources, source{id: id, seqno: seqno, metric: metric, touched: s.now})
		s.sources++
		return true
	}
	if newer(seqno, src.seqno) || (seqno == src.seqno && metric < src.metric) {
		src.seqno, src.metric = seqno, metric
	}
	src.touched = s.now
	return true
}

// forgetSources drops entries that no neighbour can hold against us any more.
func (s *Speaker) forgetSources(d *destination, hold tick) {
	kept := d.sources[:0]
	for _, src := range d.sources {
		if s.now < src.touched+hold {
			kept = append(kept, src)
		}
	}
	s.sources -= len(d.sources) - len(kept)
	d.sources = kept
	if len(kept) == 0 {
		d.sources = nil
	}
}

// sourceHoldNow is longer than sourceHold if the table is announced rarely.
func (s *Speaker) sourceHoldNow() tick {
	hold := tick(sourceHold)
	for _, f := range s.ifaces {
		hold = max(hold, 4*f.dumpEvery)
	}
	return hold
}
