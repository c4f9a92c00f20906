package dht

import (
	"slices"

	"globalnet/mesh/dht/wire"
)

const (
	selfLookup = 10 * minute // how often we look for ourselves: it renews the siblings
	bucketIdle = 15 * minute // a bucket without lookups for so long is refreshed
)

// ownLookup looks for our own key. The first one fills the table afterwards.
func (d *DHT) ownLookup() {
	first := !d.filled
	d.selfLookupAt = d.now + d.around(selfLookup)
	d.newLookup(d.self, &refresher{d, first}, lookupOptions{priority: upkeep}).step()
}

// refresher is the owner of lookups whose result is what they leave in the table.
type refresher struct {
	d     *DHT
	first bool
}

func (*refresher) lookupAnswer(*candidate, wire.Found) {}

func (r *refresher) lookupDone(*lookup) {
	d := r.d
	if !r.first || d.filled {
		return
	}
	d.filled = true
	if d.complete() || len(d.table.siblings) == 0 {
		return
	}
	for i := range commonPrefix(&d.self, &d.table.siblings[0].key) {
		d.refreshBucket(i)
	}
}

// refreshTable renews our neighbourhood and the buckets that no lookup touched.
func (d *DHT) refreshTable() {
	if d.cutOff() {
		d.doubtOurselves() // there is nobody to ask; the first answer triggers a lookup
		return
	}
	if d.now >= d.selfLookupAt {
		d.ownLookup()
		return
	}
	if d.complete() {
		return // the routes tell
	}
	for i := range d.table.buckets {
		b := &d.table.buckets[i]
		if len(b.live) > 0 && d.now-b.refreshed > bucketIdle {
			d.refreshBucket(i)
			return
		}
	}
}

// refreshBucket looks for a random key in a bucket. It is enough that a few answer.
func (d *DHT) refreshBucket(i int) {
	key := d.self
	for j := i / 8; j < len(key); j++ {
		r := byte(d.rand.Uint32())
		if j > i/8 {
			key[j] = r
			continue
		}
		bit := byte(0x80) >> (i % 8)
		key[j] = key[j]&^(bit|(bit-1)) | ^d.self[j]&bit | r&(bit-1)
	}
	d.newLookup(key, &refresher{d: d}, lookupOptions{priority: upkeep, width: alpha}).step()
}

func sortContacts(list []*contact) {
	slices.SortFunc(list, func(a, b *contact) int {
		if a.alive != b.alive {
			return int(a.alive - b.alive)
		}
		return a.addr.Compare(b.addr)
	})
}
