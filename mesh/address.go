package mesh

import (
	"context"
	"slices"
	"time"
)

// keepAddress takes the mesh address back when somebody has removed it: whoever takes the
// loopback interface down, as netifd does when the network is restarted, empties it. With
// the address goes the route of what cannot be reached, and the source address of all others.
func (n *Node) keepAddress(list []Interface) {
	for _, i := range list {
		if !i.Loopback {
			continue
		}
		if slices.Contains(i.Addresses, hostPrefix(n.id.Address())) {
			n.addressLost = false
			return
		}
		n.addressLost = true
	}
	if !n.addressLost {
		return // no loopback interface: nothing to be told
	}
	n.worker.submit(func(ctx context.Context, k Kernel) {
		err := k.SetAddress(ctx, n.id.Address())
		n.do(ctx, func(time.Time) {
			if err != nil {
				n.log.Warn("the mesh address was removed and cannot be put back", "err", err)
				return // housekeep looks again
			}
			n.addressLost = false
			n.count("addresses_restored")
			n.log.Info("somebody had removed the mesh address; it is back")
			for _, r := range n.speaker.Routes() {
				if r.Selected {
					n.setRoute(r.Prefix, r.NextHop, r.Ifname)
				}
			}
		})
	})
}
