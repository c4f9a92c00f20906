package dht

import "slices"

const (
	bucketSize   = 16
	siblingCount = 16
)

// table is the routing table: k-buckets by the length of the prefix shared with
// our own key, which is the split table of the paper in another form, and the
// siblings, the nodes closest to us. Both hold contacts that answered us.
type table struct {
	buckets  [257]kbucket
	siblings []*contact // the closest first
}

// kbucket is ordered by the last answer, the longest ago first. Spares wait for a
// place; the last heard of has the first claim.
type kbucket struct {
	live, spare []*contact
	refreshed   tick // the last lookup in it
}

func (d *DHT) bucketOf(c *contact) *kbucket {
	return &d.table.buckets[commonPrefix(&d.self, &c.key)]
}

// seen enters a contact that just answered a request of ours.
func (d *DHT) seen(c *contact) {
	b := d.bucketOf(c)
	switch {
	case c.inBucket:
		i := slices.Index(b.live, c)
		copy(b.live[i:], b.live[i+1:])
		b.live[len(b.live)-1] = c
	case len(b.live) < bucketSize:
		b.unspare(c)
		b.add(c)
	default:
		d.contend(b, c)
	}
	if !c.sibling {
		d.addSibling(c)
	}
}

func (b *kbucket) add(c *contact) {
	c.inBucket = true
	b.live = append(b.live, c)
}

func (b *kbucket) remove(c *contact) {
	if i := slices.Index(b.live, c); i >= 0 {
		b.live = slices.Delete(b.live, i, i+1)
	}
	c.inBucket = false
}

func (b *kbucket) unspare(c *contact) {
	if i := slices.Index(b.spare, c); i >= 0 {
		b.spare = slices.Delete(b.spare, i, i+1)
	}
	c.inSpare = false
}

// contend finds a place in a full bucket. A contact that lives is never put out,
// except a young one for the sake of diversity; but one that was long silent is
// asked whether it lives.
func (d *DHT) contend(b *kbucket, c *contact) {
	if victim := d.redundant(b, c); victim != nil {
		d.counts[diversityEvictions]++
		b.remove(victim)
		b.unspare(c)
		b.add(c)
		b.keepSpare(victim)
		return
	}
	b.keepSpare(c)
	if oldest := b.live[0]; d.now-oldest.answered > goodFor && oldest.inflight == 0 {
		d.ping(oldest)
	}
}

func (b *kbucket) keepSpare(c *contact) {
	b.unspare(c)
	if len(b.spare) == bucketSize {
		b.spare[0].inSpare = false
		b.spare = slices.Delete(b.spare, 0, 1)
	}
	c.inSpare = true
	b.spare = append(b.spare, c)
}

// drop takes a contact out of the table and fills its places.
func (d *DHT) drop(c *contact) {
	b := d.bucketOf(c)
	b.unspare(c)
	if c.inBucket {
		b.remove(c)
		d.promote(b)
	}
	if c.sibling {
		c.sibling = false
		d.table.siblings = slices.DeleteFunc(d.table.siblings, func(s *contact) bool { return s == c })
		d.refillSiblings()
	}
}

// promote gives a free place to the best spare, which has answered lately and not
// failed since; links that the bucket has none of come first.
func (d *DHT) promote(b *kbucket) {
	for pass := range 2 {
		for i := len(b.spare) - 1; i >= 0; i-- {
			c := b.spare[i]
			if !c.live() || pass == 0 && b.through(c.via) >= maxVia {
				continue
			}
			b.unspare(c)
			b.add(c)
			return
		}
	}
}

func (d *DHT) addSibling(c *contact) {
	t := &d.table
	i, _ := slices.BinarySearchFunc(t.siblings, c, func(a, b *contact) int {
		if closer(&d.self, &a.key, &b.key) {
			return -1
		}
		return 1
	})
	if i == siblingCount {
		return
	}
	t.siblings = slices.Insert(t.siblings, i, c)
	c.sibling = true
	if len(t.siblings) > siblingCount {
		t.siblings[siblingCount].sibling = false
		t.siblings = t.siblings[:siblingCount]
	}
}

func (d *DHT) refillSiblings() {
	for _, c := range d.closest(d.self, siblingCount, (*contact).live) {
		if !c.sibling {
			d.addSibling(c)
		}
	}
}

// closest returns up to n contacts that pass, the closest to key first.
func (d *DHT) closest(key Key, n int, pass func(*contact) bool) []*contact {
	best := make([]*contact, 0, n+1)
	for _, c := range d.contacts.list {
		if !pass(c) || len(best) == n && !closer(&key, &c.key, &best[n-1].key) {
			continue
		}
		i := len(best)
		for i > 0 && closer(&key, &c.key, &best[i-1].key) {
			i--
		}
		best = slices.Insert(best, i, c)
		if len(best) > n {
			best = best[:n]
		}
	}
	return best
}

// rank counts the usable contacts that are closer to key than node, up to limit.
func (d *DHT) rank(key, node *Key, limit int) (n int) {
	for _, c := range d.contacts.list {
		if c.usable() && closer(key, &c.key, node) {
			if n++; n == limit {
				break
			}
		}
	}
	return n
}
