package dhttest

import (
	"time"

	"globalnet/mesh/dht"
)

// Build adds count nodes, each knowing a few of those before it, and lets them find
// each other. In a network with membership every node knows of every other.
func (n *Network) Build(count int, cfg dht.Config) []*Node {
	nodes := make([]*Node, count)
	for i := range nodes {
		nodes[i] = n.Join(cfg)
		n.Run(20 * time.Millisecond)
	}
	n.Run(20 * time.Second)
	return nodes
}

// Join adds one node, with up to three seeds out of those that are up.
func (n *Network) Join(cfg dht.Config) *Node {
	alive := n.Alive()
	x := n.Add(cfg)
	if cfg.Membership {
		n.announce(x, alive)
		return x
	}
	x.Do(func(now time.Time) {
		for range min(3, len(alive)) {
			x.AddSeeds(now, alive[n.rand.IntN(len(alive))].Addr)
		}
	})
	return x
}

// announce tells a node and all others of each other, as routes would.
func (n *Network) announce(x *Node, others []*Node) {
	for _, y := range others {
		if y != x {
			x.Do(func(now time.Time) { x.SetReachable(now, y.Addr, "") })
			y.Do(func(now time.Time) { y.SetReachable(now, x.Addr, "") })
		}
	}
}

// Kill takes a node down; with membership, the others lose the route at once.
func (n *Network) Kill(x *Node, membership bool) {
	x.Up = false
	if !membership {
		return
	}
	for _, y := range n.Alive() {
		y.Do(func(now time.Time) { y.SetUnreachable(now, x.Addr) })
	}
}

// Cut separates sides: nodes with another Side do not reach each other. With
// membership the routes go and come with it.
func (n *Network) Cut(membership bool) {
	n.Blocked = func(a, b *Node) bool { return a.Side != b.Side }
	if membership {
		n.routes(func(x, y *Node) { x.Do(func(now time.Time) { x.SetUnreachable(now, y.Addr) }) })
	}
}

// Heal ends a Cut.
func (n *Network) Heal(membership bool) {
	n.Blocked = nil
	if membership {
		n.routes(func(x, y *Node) { x.Do(func(now time.Time) { x.SetReachable(now, y.Addr, "") }) })
	}
}

func (n *Network) routes(change func(x, y *Node)) {
	for _, x := range n.Alive() {
		for _, y := range n.Alive() {
			if x.Side != y.Side {
				change(x, y)
			}
		}
	}
}

// Await runs the network until the operation has ended, and returns its event; nil
// if that takes longer than limit.
func (x *Node) Await(id dht.OpID, limit time.Duration) dht.Event {
	var found dht.Event
	x.net.RunUntil(limit, func() bool {
		for i, e := range x.Events {
			if operation(e) == id {
				found = e
				x.Events = append(x.Events[:i], x.Events[i+1:]...)
				return true
			}
		}
		return false
	})
	return found
}

func operation(e dht.Event) dht.OpID {
	switch e := e.(type) {
	case dht.GetDone:
		return e.ID
	case dht.PutDone:
		return e.ID
	case dht.LookupDone:
		return e.ID
	}
	return 0
}

// Take returns the ended operations of a node and forgets them.
func (x *Node) Take(id dht.OpID) (dht.Event, bool) {
	for i, e := range x.Events {
		if operation(e) == id {
			x.Events = append(x.Events[:i], x.Events[i+1:]...)
			return e, true
		}
	}
	return nil, false
}

// Get runs a get to its end.
func (x *Node) Get(typ uint16, key dht.Key) dht.GetDone {
	var id dht.OpID
	x.Do(func(now time.Time) { id = x.DHT.Get(now, typ, key) })
	done, _ := x.Await(id, time.Minute).(dht.GetDone)
	return done
}

// Publish runs the first round of a publication to its end.
func (x *Node) Publish(p dht.Publication) dht.PutDone {
	var id dht.OpID
	x.Do(func(now time.Time) { id = x.DHT.Publish(now, p) })
	done, _ := x.Await(id, time.Minute).(dht.PutDone)
	return done
}

// Put runs a put to its end.
func (x *Node) Put(r *dht.Record, o dht.PutOptions) dht.PutDone {
	var id dht.OpID
	x.Do(func(now time.Time) { id = x.DHT.Put(now, r, o) })
	done, _ := x.Await(id, time.Minute).(dht.PutDone)
	return done
}
