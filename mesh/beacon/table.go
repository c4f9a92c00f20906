package beacon

import (
	"net/netip"
	"time"
)

const (
	maxNeighbours    = 256 // a segment
	maxTagsOfAddress = 4   // several nodes behind one address are a laboratory's
	forgetAfter      = 60 * time.Second
	reportInterval   = time.Second      // the same sighting is not reported more often
	preferIPv6       = 15 * time.Second // while a tag is heard on IPv6, IPv4 adds nothing
	holdIPv4         = 200 * time.Millisecond
)

// A table remembers what was heard on a segment, so that a sighting is reported
// when it is new, when it changed, and else once in reportInterval. It is a
// plain data structure; Run owns it.
type table struct {
	entries map[place]*entry
	dual    bool // we hear both families: IPv6 is preferred
}

// A place is where a tag was heard. A forged message adds a place of its own
// and cannot change that of another.
type place struct {
	addr netip.Addr
	tag  Tag
}

type entry struct {
	port     uint16
	proof    [proofSize]byte
	same     bool
	heard    time.Time
	reported time.Time // zero if it never was
	first    time.Time
}

func newTable(dual bool) *table {
	return &table{entries: make(map[place]*entry), dual: dual}
}

// hear notes that a was heard from addr; known says whether its tag was known
// before, report whether the consumer is to be told. same judges a proof.
func (t *table) hear(now time.Time, addr netip.Addr, a *announcement, same func(*announcement) bool) (e *entry, known, report bool) {
	at := place{addr, a.tag}
	e = t.entries[at]
	known = e != nil || t.knows(a.tag)
	if e == nil {
		t.makeRoom(now, addr)
		e = &entry{first: now}
		t.entries[at] = e
	}
	if changed := e.heard.IsZero() || e.port != a.port || e.proof != a.proof; changed {
		e.port, e.proof, e.same = a.port, a.proof, same(a)
		if now.Sub(e.reported) >= reportInterval/4 {
			e.reported = time.Time{}
		}
	}
	e.heard = now
	if t.dual && addr.Is4() && (now.Sub(e.first) < holdIPv4 || t.onIPv6(now, a.tag)) {
		return e, known, false
	}
	if e.reported.IsZero() || now.Sub(e.reported) >= reportInterval {
		e.reported = now
		return e, known, true
	}
	return e, known, false
}

func (t *table) knows(tag Tag) bool {
	for at := range t.entries {
		if at.tag == tag {
			return true
		}
	}
	return false
}

func (t *table) onIPv6(now time.Time, tag Tag) bool {
	for at, e := range t.entries {
		if at.tag == tag && at.addr.Is6() && now.Sub(e.heard) < preferIPv6 {
			return true
		}
	}
	return false
}

// makeRoom forgets what is too much for one more place at addr.
func (t *table) makeRoom(now time.Time, addr netip.Addr) {
	var oldest, oldestHere place
	var heard, heardHere time.Time
	here := 0
	for at, e := range t.entries {
		if now.Sub(e.heard) > forgetAfter {
			delete(t.entries, at)
			continue
		}
		if heard.IsZero() || e.heard.Before(heard) {
			oldest, heard = at, e.heard
		}
		if at.addr == addr {
			here++
			if heardHere.IsZero() || e.heard.Before(heardHere) {
				oldestHere, heardHere = at, e.heard
			}
		}
	}
	switch {
	case here >= maxTagsOfAddress:
		delete(t.entries, oldestHere)
	case len(t.entries) >= maxNeighbours:
		delete(t.entries, oldest)
	}
}
