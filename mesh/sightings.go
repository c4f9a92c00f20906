package mesh

import (
	"net/netip"
	"time"

	"globalnet/mesh/link"
)

// sightingTable remembers what the beacons saw lately: for each tag, where it
// can be dialled on each segment. A tag is unproven, so the table is bounded and
// the oldest entry makes room.
type sightingTable struct {
	entries map[seenKey]seenAt
}

type seenKey struct {
	ifname string
	tag    link.Tag
}

type seenAt struct {
	addr netip.AddrPort
	at   time.Time
}

const (
	maxSightings = 512
	sightingLife = 35 * time.Second // three lost announcements of a connected node
)

func newSightingTable() *sightingTable {
	return &sightingTable{entries: make(map[seenKey]seenAt)}
}

func (t *sightingTable) add(now time.Time, ifname string, tag link.Tag, addr netip.AddrPort) {
	k := seenKey{ifname, tag}
	if _, ok := t.entries[k]; !ok && len(t.entries) >= maxSightings {
		t.evictOldest()
	}
	t.entries[k] = seenAt{addr, now}
}

func (t *sightingTable) evictOldest() {
	var oldest seenKey
	var at time.Time
	for k, e := range t.entries {
		if at.IsZero() || e.at.Before(at) {
			oldest, at = k, e.at
		}
	}
	delete(t.entries, oldest)
}

// forget drops what was seen on a segment that has gone.
func (t *sightingTable) forget(ifname string) {
	for k := range t.entries {
		if k.ifname == ifname {
			delete(t.entries, k)
		}
	}
}

// forgetTag drops a tag that its node no longer goes by.
func (t *sightingTable) forgetTag(tag link.Tag) {
	for k := range t.entries {
		if k.tag == tag {
			delete(t.entries, k)
		}
	}
}

func (t *sightingTable) expire(now time.Time) {
	for k, e := range t.entries {
		if now.Sub(e.at) > sightingLife {
			delete(t.entries, k)
		}
	}
}

// best is where to dial tag: on a cable rather than by radio, and of several
// places the one where it was seen last.
func (t *sightingTable) best(tag link.Tag, isRadio func(ifname string) bool) (at netip.AddrPort, radio, ok bool) {
	var best seenAt
	for k, e := range t.entries {
		if k.tag != tag {
			continue
		}
		r := isRadio(k.ifname)
		if !ok || (radio && !r) || (radio == r && e.at.After(best.at)) {
			best, radio, ok = e, r, true
		}
	}
	return best.addr, radio, ok
}

// tags lists the tags seen, each once.
func (t *sightingTable) tags() map[link.Tag]netip.AddrPort {
	list := make(map[link.Tag]netip.AddrPort, len(t.entries))
	for k, e := range t.entries {
		list[k.tag] = e.addr
	}
	return list
}
