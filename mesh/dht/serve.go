package dht

import (
	"fmt"
	"net/netip"
	"time"

	"globalnet/mesh/dht/wire"
)

const (
	amplification = 3 // a reply to somebody without a token is at most so much longer
	storesAMinute = 64
	maxLinkRates  = 64
)

// HandlePacket takes a datagram. The error says why it was refused; it changes
// nothing for the owner, who may count it or log it rarely.
func (d *DHT) HandlePacket(now time.Time, from netip.AddrPort, p []byte) error {
	d.begin(now)
	d.start()
	d.counts[packetsReceived]++
	d.counts[bytesReceived] += uint64(len(p))
	addr := from.Addr().WithZone("")
	if from.Port() != Port || !d.validNode(addr) {
		d.counts[packetsRefused]++
		return fmt.Errorf("dht packet from %v: not the address of a node", from)
	}
	m, err := wire.Parse(p)
	if err != nil {
		d.counts[packetsRefused]++
		return err
	}
	if m.Body.Kind().Reply() {
		d.reply(addr, m)
		return nil
	}
	if d.cfg.Client {
		return nil
	}
	d.serve(addr, m, len(p))
	return nil
}

// asker is who sent a request that is being answered.
type asker struct {
	addr    netip.Addr
	contact *contact // nil unless it showed a token
	proven  bool     // it receives at its address
	via     string
	length  int // of the request
	client  bool
}

func (d *DHT) serve(addr netip.Addr, m wire.Message, length int) {
	a := asker{addr: addr, length: length, client: m.Client}
	if c := d.contacts.get(addr); c != nil {
		a.via = c.via
	}
	if token := tokenOf(m.Body); token != (wire.Token{}) {
		a.proven = d.tokens.check(d.now, addr, token)
	}
	if !d.admit(&a) {
		d.counts[requestsLimited]++
		return
	}
	d.met(&a)
	reply := wire.Message{ID: m.ID, Body: d.answer(&a, m.Body)}
	if reply.Body != nil {
		d.send(addr, reply)
	}
}

func tokenOf(b wire.Body) wire.Token {
	switch b := b.(type) {
	case wire.Find:
		return b.Token
	case wire.Fetch:
		return b.Token
	case wire.Offer:
		return b.Token
	case wire.Store:
		return b.Token
	}
	return wire.Token{}
}

func (d *DHT) answer(a *asker, b wire.Body) wire.Body {
	token := d.tokens.make(d.now, a.addr)
	switch b := b.(type) {
	case wire.Ping:
		return wire.Pong{Token: token}
	case wire.Find:
		return d.serveFind(a, b, token)
	case wire.Fetch:
		if !a.proven {
			return wire.Answer{Token: token, Status: wire.BadToken}
		}
		return d.serveFetch(b)
	case wire.Offer:
		return d.verdict(b.Key, token, d.serveOffer(a, b))
	case wire.Store:
		return d.verdict(b.Key, token, d.serveStore(a, b))
	}
	return nil
}

// admit applies the rate limits. Who shows a token has a budget of its own; all
// others share one, of which a link may take half, because their addresses may
// be forged.
func (d *DHT) admit(a *asker) bool {
	if a.proven {
		if a.contact = d.contact(a.addr); a.contact != nil {
			if a.contact.rate.rate == 0 {
				a.contact.rate = bucket{rate: 100, burst: 300}
				a.contact.storeRate = bucket{rate: 2, burst: 2 * storesAMinute}
			}
			return a.contact.rate.take(d.now)
		}
	}
	if a.via != "" {
		rate := d.linkRates[a.via]
		if rate == nil {
			if len(d.linkRates) >= maxLinkRates {
				clear(d.linkRates)
			}
			rate = &bucket{rate: 100, burst: 200}
			d.linkRates[a.via] = rate
		}
		if !rate.take(d.now) {
			return false
		}
	}
	return d.strangers.take(d.now)
}

// met enters an asker into the table if it has proved its address, and otherwise
// asks it something, if it would be of use there.
func (d *DHT) met(a *asker) {
	if a.client {
		if c := a.contact; c != nil && !c.client {
			c.client = true
			d.drop(c)
		}
		return
	}
	if a.contact != nil {
		a.contact.client = false
	}
	if d.complete() && d.contacts.get(a.addr) == nil {
		d.counts[strangersIgnored]++ // its route will be told, if there is one
		return
	}
	if c := a.contact; c != nil {
		switch {
		case c.fails > 0 || c.dead:
			// Its token is from before it fell silent: it may be one that sends but
			// does not receive. Its answer will tell.
			if c.inflight == 0 {
				d.ping(c)
			}
		case c.answered == 0 || !c.inBucket && !c.inSpare:
			d.present(c)
		}
		return
	}
	c := d.contacts.get(a.addr)
	if c != nil && c.live() || c == nil && !d.hasPlace(a.addr) {
		return
	}
	if c != nil && c.inflight > 0 || !d.introduce.take(d.now) {
		return
	}
	if c = d.contact(a.addr); c != nil {
		d.ping(c)
	}
}

// hasPlace tells whether a node would be entered into its bucket or the siblings.
func (d *DHT) hasPlace(addr netip.Addr) bool {
	key := NodeKey(addr)
	s := d.table.siblings
	return len(d.table.buckets[commonPrefix(&d.self, &key)].live) < bucketSize ||
		len(s) < siblingCount || closer(&d.self, &key, &s[len(s)-1].key)
}

// serveFind names the closest contacts we know, and what is stored at the key.
// Who has shown no token gets no value and no long reply.
func (d *DHT) serveFind(a *asker, b wire.Find, token wire.Token) wire.Body {
	f := wire.Found{Token: token}
	limit := wire.MaxPacket
	if !a.proven {
		limit = min(limit, amplification*a.length)
	}
	if e := d.lookupEntry(b.Key); e != nil {
		f.Meta = &wire.Meta{
			Seq: e.seq, Digest: e.digest, TTL: d.remaining(e), Total: uint16(len(e.encoded)),
			Cached: e.cached || d.rank(&e.key, &d.self, replicas) >= replicas,
		}
		if a.proven && b.Value && e.seq > b.Have && wire.FoundSize(true, replicas, len(e.encoded)) <= limit {
			f.Record = e.encoded
		}
	}
	room := (limit - wire.FoundSize(f.Meta != nil, 0, len(f.Record))) / len(wire.Contact{})
	for _, c := range d.introduceable(b.Key, min(room, wire.MaxContacts), a.addr) {
		f.Contacts = append(f.Contacts, toContact(c.addr))
	}
	return f
}

// introduceable returns the contacts to name: the closest that live. Newcomers are
// at most a quarter of them as long as there are others: to flood a network with
// short-lived nodes is to be seen by few.
func (d *DHT) introduceable(key Key, n int, except netip.Addr) []*contact {
	list := d.closest(key, 2*n, func(c *contact) bool { return c.live() && c.addr != except })
	if len(list) <= n {
		return list
	}
	old := 0
	for _, c := range list {
		if d.now-c.alive >= newcomerFor {
			old++
		}
	}
	newcomers := max(n/4, n-old)
	kept := make([]*contact, 0, n)
	for _, c := range list {
		if d.now-c.alive < newcomerFor {
			if newcomers == 0 {
				continue
			}
			newcomers--
		}
		if kept = append(kept, c); len(kept) == n {
			break
		}
	}
	return kept
}

func (d *DHT) serveFetch(b wire.Fetch) wire.Body {
	e := d.lookupEntry(b.Key)
	if e == nil || e.digest != b.Digest || int(b.Offset) >= len(e.encoded) {
		return wire.Segment{}
	}
	n := wire.SegmentLen(len(e.encoded), int(b.Offset))
	return wire.Segment{Total: uint16(len(e.encoded)), Offset: b.Offset, Data: e.encoded[b.Offset:][:n]}
}

// serveOffer says whether a record is wanted, and takes note that others keep it.
func (d *DHT) serveOffer(a *asker, b wire.Offer) wire.Status {
	if !a.proven {
		return wire.BadToken
	}
	e := d.lookupEntry(b.Key)
	switch {
	case e == nil:
		if d.rank(&b.Key, &d.self, responsible) >= responsible {
			return wire.NotResponsible
		}
		return wire.Wanted
	case e.digest == b.Digest:
		d.refresh(e, tick(b.TTL)*second, false)
		return wire.Refreshed
	case newer(b.Seq, b.Digest, e.seq, e.digest):
		return wire.Wanted
	case e.seq == b.Seq:
		return wire.Conflict
	}
	return wire.Newer
}

func (d *DHT) serveStore(a *asker, b wire.Store) wire.Status {
	if !a.proven {
		return wire.BadToken
	}
	if a.contact == nil || b.Offset == 0 && !a.contact.storeRate.take(d.now) {
		return wire.Busy
	}
	if e := d.lookupEntry(b.Key); e != nil && e.digest == b.Digest && b.CAS == nil {
		d.refresh(e, tick(b.TTL)*second, b.Cache) // a segment that came twice, or the rest of what we have
		return wire.Refreshed
	}
	encoded, status := d.assemble(a.addr, b)
	if encoded == nil {
		return status
	}
	r, err := wire.ParseRecord(encoded)
	if err != nil || r.Key() != b.Key || r.Digest() != b.Digest {
		return wire.BadRecord
	}
	return d.put(incoming{
		record: r, encoded: encoded, ttl: tick(b.TTL) * second, via: a.via, cas: b.CAS, cache: b.Cache,
	})
}

// verdict makes the Answer, and counts it.
func (d *DHT) verdict(key Key, token wire.Token, s wire.Status) wire.Body {
	if c, ok := statusCounter[s]; ok {
		d.counts[c]++
	}
	answer := wire.Answer{Token: token, Status: s}
	if s != wire.BadToken {
		if e := d.lookupEntry(key); e != nil {
			answer.Seq, answer.Digest = e.seq, e.digest
		}
	}
	return answer
}

var statusCounter = map[wire.Status]counter{
	wire.Stored: storesAccepted, wire.Refreshed: storesRefreshed, wire.Newer: storesRefused,
	wire.Conflict: storesRefused, wire.Mismatch: storesRefused, wire.BadToken: storesNoToken,
	wire.BadRecord: storesBad, wire.NotResponsible: storesNotResponsible, wire.Full: storesFull,
	wire.Busy: storesBusy, wire.Expired: storesBad, wire.Future: storesBad, wire.UnknownType: storesBad,
}
