package dht

import (
	"net/netip"
	"slices"
	"time"
)

const (
	graveFirst   = 15 * second
	graveLast    = 30 * minute
	graveTries   = 12
	housekeeping = 10 * second
	healDelay    = 2 * second
	siblingCheck = minute
	siblingStale = 5 * minute
)

// present notes that a contact answered us, or showed a token that only it can have.
func (d *DHT) present(c *contact) {
	lost := c.fails > 0 || c.dead
	first := c.answered == 0
	c.answered = d.now
	if c.dead {
		d.exhume(c)
	}
	c.fails = 0
	if first || lost {
		c.alive = d.now
	}
	d.seen(c)
	if lost {
		d.counts[contactsRevived]++
		d.healed()
	}
	if first || lost {
		d.newcomer(c)
	}
	if !d.joined {
		d.joined = true
		d.ownLookup()
	}
}

// unanswered notes that a request to a contact failed. While we hear from nobody
// it is us who are cut off, and a failure says nothing.
func (d *DHT) unanswered(c *contact) {
	d.doubtOurselves()
	if d.cutOff() {
		d.counts[failuresFrozen]++
		return
	}
	switch {
	case c.dead:
		d.retryLater(c)
	case c.fails == 0:
		c.fails, c.failedAt = 1, d.now
	case d.now-c.failedAt >= failSpacing:
		d.bury(c)
	}
}

// cutOff tells whether we ask and nobody at all answers.
func (d *DHT) cutOff() bool { return d.silentSince != 0 && d.now-d.silentSince > cutOff }

// doubtOurselves asks somebody else when a failure might be our own.
func (d *DHT) doubtOurselves() {
	if d.silentSince == 0 || d.now < d.doubtAt {
		return
	}
	d.doubtAt = d.now + 5*second
	if c := d.anyContact(); c != nil && c.inflight == 0 {
		d.ping(c)
	}
}

// anyContact draws one from the table.
func (d *DHT) anyContact() *contact {
	drawn, n := (*contact)(nil), 0
	for i := range d.table.buckets {
		for _, c := range d.table.buckets[i].live {
			if n++; d.rand.IntN(n) == 0 {
				drawn = c
			}
		}
	}
	return drawn
}

// bury moves a contact to the graveyard, from where it may come back, or forgets
// it if it never answered.
func (d *DHT) bury(c *contact) {
	c.fails = 2 // so that it does not come back while its places are filled
	d.drop(c)
	if c.answered == 0 && !c.reachable {
		if c.idle() {
			d.contacts.remove(c)
		}
		return
	}
	d.counts[contactsLost]++
	if len(d.graves) == d.bounds.graves {
		d.forget(d.graves[0])
	}
	c.dead, c.retries = true, 0
	c.retryAt = d.now + d.around(graveFirst)
	d.graves = append(d.graves, c)
}

func (d *DHT) exhume(c *contact) {
	if i := slices.Index(d.graves, c); i >= 0 {
		d.graves = slices.Delete(d.graves, i, i+1)
	}
	c.dead = false
}

// forget removes a contact for good, unless a route leads there.
func (d *DHT) forget(c *contact) {
	d.exhume(c)
	if c.idle() {
		d.contacts.remove(c)
	}
}

// retryLater doubles the time until a dead contact is asked again.
func (d *DHT) retryLater(c *contact) {
	if c.retries++; c.retries > graveTries && !c.reachable {
		d.forget(c)
		return
	}
	c.retryAt = d.now + d.around(min(graveFirst<<min(c.retries, 10), graveLast))
}

// healed is called when somebody who was lost is back: probably more are.
func (d *DHT) healed() {
	if d.healTimer.index < 0 {
		d.arm(d.healTimer, d.now+healDelay)
	}
}

// afterHeal tries all who are lost, and puts what we publish where it belongs now.
func (d *DHT) afterHeal() {
	for _, c := range d.graves {
		c.retryAt = d.now
	}
	d.arm(d.graveTimer, d.now)
	d.republishSoon()
	d.ownLookup()
}

// wakeGraves asks dead contacts whose time has come, some at a time.
func (d *DHT) wakeGraves() {
	asked, more := 0, false
	for _, c := range d.graves {
		if c.retryAt > d.now || c.inflight > 0 || d.complete() && !c.reachable {
			continue
		}
		if asked == 8 {
			more = true
			break
		}
		c.retryAt = d.now + graveLast
		d.ping(c)
		asked++
	}
	if more {
		d.arm(d.graveTimer, d.now+second/2)
	}
}

// SetReachable says that a route leads to a node, by the link via. What was lost
// and is reachable again tells that a partition healed.
func (d *DHT) SetReachable(now time.Time, addr netip.Addr, via string) {
	d.begin(now)
	d.start()
	c := d.contacts.get(addr)
	if c == nil {
		if c = d.contact(addr); c == nil {
			d.overflow = d.overflow || d.validNode(addr)
			return
		}
	}
	if c.reachable && c.via == via {
		return
	}
	if c.reachable {
		d.unlink(c.via)
	} else {
		d.reachable++
	}
	d.links[via]++
	was := c.reachable
	c.reachable, c.via = true, via
	if was {
		return
	}
	switch {
	case c.dead:
		d.exhume(c)
		d.healed()
	case d.reachable == 1 && len(d.publications) > 0:
		d.healed() // what we published while alone is nowhere yet
	}
	if c.fails > 0 || c.alive == 0 {
		c.alive = d.now
	}
	c.fails = 0
	d.newcomer(c)
	if !d.joined {
		d.joined = true
		d.arm(newTimer(d.ownLookup), d.now+second) // the other routes will follow
	}
}

// SetUnreachable says that no route leads to a node any more.
func (d *DHT) SetUnreachable(now time.Time, addr netip.Addr) {
	d.begin(now)
	c := d.contacts.get(addr)
	if c == nil || !c.reachable {
		return
	}
	c.reachable = false
	d.reachable--
	d.unlink(c.via)
	if !d.complete() {
		return
	}
	if !c.dead {
		d.bury(c)
	}
	d.failAll(c)
}

func (d *DHT) unlink(via string) {
	if d.links[via]--; d.links[via] <= 0 {
		delete(d.links, via)
	}
}

// start begins the upkeep with the first thing we are told.
func (d *DHT) start() {
	if d.upkeep != nil {
		return
	}
	d.upkeep = newTimer(d.housekeep)
	d.arm(d.upkeep, d.now+d.around(housekeeping))
	d.selfLookupAt = d.now + d.around(selfLookup)
}

// housekeep does the small things that nobody waits for.
func (d *DHT) housekeep() {
	d.arm(d.upkeep, d.now+d.around(housekeeping))
	d.sweep()
	d.dropAssemblies()
	d.wakeGraves()
	asked := 0
	for _, c := range slices.Clone(d.contacts.list) {
		if c.fails == 1 && d.now-c.failedAt >= failSpacing && c.inflight == 0 && asked < 16 && !d.cutOff() {
			d.ping(c)
			asked++
		}
	}
	d.checkSibling()
	d.refreshTable()
}

// checkSibling asks the sibling that was silent longest: the nodes around us are
// those with whom we hold records, so we want to know soon who of them died.
func (d *DHT) checkSibling() {
	if d.now-d.siblingAsked < siblingCheck {
		return
	}
	var quiet *contact
	for _, c := range d.table.siblings {
		if c.inflight == 0 && (quiet == nil || c.answered < quiet.answered) {
			quiet = c
		}
	}
	if quiet != nil && d.now-quiet.answered > siblingStale {
		d.siblingAsked = d.now
		d.ping(quiet)
	}
}
