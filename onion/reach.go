package onion

import (
	"context"
	"net/netip"
	"time"
)

// unreachableTime is for how long there must be no route to a node before its channels
// are closed: a route may change its way. TCP alone would take 8 s to notice, and only
// if it has something to send.
const unreachableTime = time.Second

// reach is news about the way to a node.
type reach struct {
	addr netip.Addr
	ok   bool
}

// SetReachable says that the mesh has, or has no longer, a route to a node. It does not
// block; news that nobody takes in time is lost, and TCP will notice.
func (n *Node) SetReachable(addr netip.Addr, ok bool) {
	select {
	case n.reached <- reach{addr, ok}:
	default:
	}
}

// followReach closes the channels of nodes that are gone, so that circuits end at once
// and others take their place.
func (n *Node) followReach(ctx context.Context) error {
	lost := make(map[netip.Addr]time.Time) // nodes with channels, and when they are given up
	tick := time.NewTicker(unreachableTime / 4)
	defer tick.Stop()
	tick.Stop() // until there is something to wait for
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-n.reached:
			if r.ok {
				delete(lost, r.addr)
			} else if n.manager.Has(r.addr) {
				if len(lost) == 0 { // and no later: who flaps must not put others off
					tick.Reset(unreachableTime / 4)
				}
				lost[r.addr] = time.Now().Add(unreachableTime)
			}
		case now := <-tick.C:
			for addr, at := range lost {
				if now.After(at) {
					n.manager.CloseTo(addr)
					delete(lost, addr)
				}
			}
			if len(lost) == 0 {
				tick.Stop()
			}
		}
	}
}
