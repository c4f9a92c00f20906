package dhtsim

import (
	"net/netip"
	"slices"
	"time"

	"globalnet/internal/identity"
	"globalnet/mesh/dht"
	"globalnet/mesh/dht/dhttest"
	"globalnet/mesh/dht/wire"
)

// LiarResult is what colluding nodes could do.
type LiarResult struct {
	Share       float64
	Store, Get  Phase // of records that are looked up securely
	GetOrdinary Phase // of others, by one path that ends at a quorum
}

// Liars plays a network of which a share of the nodes collude: they join and ask like
// any other, but name only each other as the closest, say that they stored what they
// dropped, and answer gets with an old record of the key, which is truly signed, or
// deny that there is one.
func Liars(o Options, share float64) LiarResult {
	o = o.filled()
	r := &run{o: o, net: network(o), version: make([]int, o.Records), result: Result{Options: o}}
	c := &conspiracy{net: r.net, old: make(map[dht.Key][]byte)}
	nodes := r.net.Build(o.Nodes, dhtConfig(o.Membership))
	r.net.Rand().Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	bad := int(share * float64(o.Nodes))
	for _, x := range nodes[:bad] {
		c.turn(x)
	}
	for i := range o.Records {
		for _, typ := range []uint16{dht.TypeRelay, dht.TypeGeneric} {
			rec := &dht.Record{Type: typ, Seq: 1, Value: value(o.Value, 0)}
			if typ == dht.TypeGeneric {
				rec.Salt = salt
			}
			dht.SignRecord(rec, signer(i))
			c.old[rec.Key()] = wire.AppendRecord(nil, rec)
		}
	}
	honest := nodes[bad:]
	r.net.Run(30 * time.Minute) // time to spread their names
	result := LiarResult{Share: share}
	for _, typ := range []uint16{dht.TypeRelay, dht.TypeGeneric} {
		r.phase("the old version", honest, func(x *dhttest.Node, i int, now time.Time) dht.OpID {
			rec, _ := wire.ParseRecord(c.old[place(typ, i)])
			return x.DHT.Put(now, rec, dht.PutOptions{})
		}, func(_ int, e dht.Event) (bool, bool) { return e.(dht.PutDone).Err == nil, false })
		store := r.phase("store among liars", honest, func(x *dhttest.Node, i int, now time.Time) dht.OpID {
			p := dht.Publication{Type: typ, Value: value(o.Value, 1), Signer: signer(i)}
			if typ == dht.TypeGeneric {
				p.Salt = salt
			}
			return x.DHT.Publish(now, p)
		}, func(_ int, e dht.Event) (bool, bool) { return e.(dht.PutDone).Err == nil, false })
		get := r.phase("get among liars", honest, func(x *dhttest.Node, i int, now time.Time) dht.OpID {
			return x.DHT.Get(now, typ, place(typ, i))
		}, func(_ int, e dht.Event) (bool, bool) {
			rec := e.(dht.GetDone).Record
			right := rec != nil && versionOf(rec) == 1
			return right, rec != nil && !right
		})
		if typ == dht.TypeRelay {
			result.Store, result.Get = store, get
		} else {
			result.GetOrdinary = get
		}
	}
	return result
}

// conspiracy is what the liars have in common.
type conspiracy struct {
	net     *dhttest.Network
	members []*dhttest.Node
	old     map[dht.Key][]byte // encoded records
}

func (c *conspiracy) turn(x *dhttest.Node) {
	c.members = append(c.members, x)
	x.Serve = func(from netip.AddrPort, p []byte) bool {
		m, err := wire.Parse(p)
		if err != nil || m.Body.Kind().Reply() {
			return false
		}
		if b := c.lie(m.Body); b != nil {
			x.SendPacket(from, wire.Append(nil, wire.Message{ID: m.ID, Body: b}))
		}
		return true
	}
}

func (c *conspiracy) lie(b wire.Body) wire.Body {
	token := wire.Token{1}
	switch b := b.(type) {
	case wire.Ping:
		return wire.Pong{Token: token}
	case wire.Find:
		f := wire.Found{Token: token, Contacts: c.closest(b.Key)}
		if e := c.old[b.Key]; e != nil && c.net.Rand().IntN(2) == 0 {
			r, _ := wire.ParseRecord(e)
			f.Meta = &wire.Meta{Seq: r.Seq, Digest: r.Digest(), TTL: 3600, Total: uint16(len(e))}
		}
		return f
	case wire.Fetch:
		e := c.old[b.Key]
		if int(b.Offset) >= len(e) {
			return wire.Segment{}
		}
		return wire.Segment{Total: uint16(len(e)), Offset: b.Offset, Data: e[b.Offset:][:wire.SegmentLen(len(e), int(b.Offset))]}
	case wire.Offer:
		return wire.Answer{Token: token, Status: wire.Refreshed}
	case wire.Store:
		return wire.Answer{Token: token, Status: wire.Stored}
	}
	return nil
}

// closest names members only.
func (c *conspiracy) closest(key dht.Key) (list []wire.Contact) {
	members := slices.Clone(c.members)
	slices.SortFunc(members, func(a, b *dhttest.Node) int { return slices.Compare(xor(key, a.Key), xor(key, b.Key)) })
	prefix := identity.MeshPrefix.Bits() / 8
	for _, x := range members[:min(len(members), wire.MaxContacts)] {
		a := x.Addr.As16()
		list = append(list, wire.Contact(a[prefix:]))
	}
	return list
}

func xor(a, b dht.Key) []byte {
	for i := range a {
		a[i] ^= b[i]
	}
	return a[:]
}
