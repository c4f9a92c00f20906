package dht

// makeRoom tells whether e may be stored instead of old (which may be nil), and
// discards what has to go for it. Who fills a quota pushes out its own records
// first: a flood through one link never costs a record that came through another.
func (d *DHT) makeRoom(e, old *entry) bool {
	s := &d.store
	freed, count := 0, 1
	if old != nil {
		freed, count = old.size(), 0
	}
	if e.cached && s.cacheBytes+e.size() > s.maxBytes/cacheShare {
		return false
	}
	if old == nil && s.perKey[e.public] >= perPublisher {
		return false
	}
	linkLimit := d.linkLimit()
	for e.via != "" && s.perLink[e.via]+e.size() > linkLimit {
		if old != nil && old.via == e.via && s.perLink[e.via]+e.size()-old.size() <= linkLimit {
			break
		}
		if !d.evict(e, old, e.via) {
			return false
		}
	}
	for s.bytes-freed+e.size() > s.maxBytes || len(s.list)+count > s.maxRecords {
		if !d.evict(e, old, d.largestLink()) {
			return false
		}
	}
	return true
}

// linkLimit is what one link may bring: a quarter, or its equal part where there
// are fewer than four links, or the whole where there is no choice.
func (d *DHT) linkLimit() int {
	return d.store.maxBytes / max(1, min(linkShare, len(d.links)))
}

// largestLink is the link that brought most, other than ourselves if possible.
func (d *DHT) largestLink() string {
	largest, most := "", -1
	for via, octets := range d.store.perLink {
		if via == "" {
			continue
		}
		if octets > most || octets == most && via < largest {
			largest, most = via, octets
		}
	}
	return largest
}

// evict discards the worst record that a link brought, unless e would be worse.
func (d *DHT) evict(e, keep *entry, via string) bool {
	var worst *entry
	for _, x := range d.store.list {
		if x.via == via && x != keep && (worst == nil || d.worse(x, worst)) {
			worst = x
		}
	}
	if worst == nil || e.via == via && !d.worse(worst, e) {
		return false
	}
	d.counts[recordsEvicted]++
	d.discard(worst)
	return true
}

// worse tells which of two records to give up first: copies first, then what belongs
// to publishers with many records, then what is far from us, then what ends sooner.
func (d *DHT) worse(a, b *entry) bool {
	if a.cached != b.cached {
		return a.cached
	}
	if x, y := d.store.perKey[a.public]/4, d.store.perKey[b.public]/4; x != y {
		return x > y
	}
	if x, y := commonPrefix(&d.self, &a.key), commonPrefix(&d.self, &b.key); x != y {
		return x < y
	}
	return b.expires != 0 && a.expires < b.expires // of b, the newcomer, nothing is known yet
}
