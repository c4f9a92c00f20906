package netdir

import (
	"slices"
	"time"

	"globalnet/internal/identity"
)

// Past Max descriptors a sample is kept. Its order is a keyed hash of the NodeID,
// so nobody can choose keys that come in. Who hands descriptors on gets a share:
// of those that hold more than anybody else the last in order goes first. So a
// neighbour with a million keys takes its share and no more.

// Pin keeps the descriptors of these nodes whatever the sample says. It replaces
// what was pinned before; at most 64 count.
func (d *Directory) Pin(ids []identity.NodeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.pinned)
	clear(d.lasts)
	for _, id := range ids[:min(len(ids), maxPinned)] {
		d.pinned[id] = true
	}
}

func (d *Directory) keeps(node identity.NodeID) bool {
	return node == d.cfg.Self || d.pinned[node]
}

// fits reports whether a node that from hands on has a place. Called with mu held.
func (d *Directory) fits(node, from identity.NodeID) bool {
	if d.alive < d.cfg.Max || d.keeps(node) {
		return true
	}
	payer := d.payer(from)
	if payer != from {
		return d.last(payer) != nil
	}
	last := d.last(payer)
	return last != nil && d.order(node) < last.order
}

// makeRoom drops a descriptor if there is no room for one more of from. Called
// with mu held.
func (d *Directory) makeRoom(now time.Time, from identity.NodeID) {
	if d.alive < d.cfg.Max {
		return
	}
	e := d.last(d.payer(from))
	if e == nil { // all of them are pinned
		e = d.last(from)
	}
	if e != nil {
		d.counts[descriptorsEvicted]++
		d.drop(now, e)
	}
}

// payer returns who holds the most, from with one more; from if there are several.
func (d *Directory) payer(from identity.NodeID) identity.NodeID {
	payer, most := from, d.shares[from]+1
	for id, n := range d.shares {
		if n > most || n == most && payer != from && string(id[:]) < string(payer[:]) {
			payer, most = id, n
		}
	}
	return payer
}

// last returns the entry of an introducer that goes first, nil if none may. It is
// remembered, because every offer of a flood asks for it.
func (d *Directory) last(introducer identity.NodeID) *entry {
	last := d.lasts[introducer]
	if last != nil {
		return last
	}
	for _, e := range d.entries {
		if e.d != nil && e.introducer == introducer && !d.keeps(e.node) && (last == nil || e.order > last.order) {
			last = e
		}
	}
	if last != nil {
		d.lasts[introducer] = last
	}
	return last
}

// forget bounds the entries without a descriptor: those known for the shortest
// time go, many at once. Called with mu held.
func (d *Directory) forget() {
	if len(d.entries)-d.alive <= 2*d.cfg.Max {
		return
	}
	var dead []*entry
	for _, e := range d.entries {
		if e.d == nil && !d.keeps(e.node) {
			dead = append(dead, e)
		}
	}
	slices.SortFunc(dead, func(a, b *entry) int {
		switch {
		case a.known != b.known:
			return int(min(max(a.known-b.known, -1), 1))
		case a.heard.Equal(b.heard):
			return 0
		case a.heard.Before(b.heard):
			return -1
		}
		return 1
	})
	for _, e := range dead[:min(len(dead), max(d.cfg.Max/2, 1))] {
		delete(d.entries, e.node)
	}
}

func (d *Directory) full() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.alive >= d.cfg.Max
}
