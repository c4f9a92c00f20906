package mesh

import (
	"context"
	"slices"
	"time"
)

// addressSettles is how long whoever works on the loopback interface may take.
const addressSettles = 3 * time.Second

// keepAddress takes the mesh address back when somebody has removed it: whoever takes the
// loopback interface down, as netifd does when the network is restarted, empties it. With
// the address goes the route of what cannot be reached, and the source address of all others.
// While the interface is down nothing is done: to bring it up would cost it the kernel's ::1,
// which netifd removes before it brings it up itself.
func (n *Node) keepAddress(now time.Time, list []Interface) {
	for _, i := range list {
		if !i.Loopback || slices.Contains(i.Addresses, hostPrefix(n.id.Address())) {
			continue
		}
		n.addressAgain = now.Add(addressSettles)
		if i.Up {
			n.count("addresses_restored")
			n.log.Info("somebody has removed the mesh address: it is put back")
			n.restoreAddress()
		}
	}
}

// checkAddress looks again once the interface is left alone.
func (n *Node) checkAddress(now time.Time) {
	if n.addressAgain.IsZero() || now.Before(n.addressAgain) {
		return
	}
	n.addressAgain = time.Time{}
	n.restoreAddress()
	n.refreshInterfaces(now)
}

func (n *Node) restoreAddress() {
	n.worker.submit(func(ctx context.Context, k Kernel) {
		err := k.SetAddress(ctx, n.id.Address())
		n.do(ctx, func(time.Time) {
			if err != nil {
				n.log.Warn("putting the mesh address back", "err", err)
				return
			}
			for _, r := range n.speaker.Routes() {
				if r.Selected {
					n.setRoute(r.Prefix, r.NextHop, r.Ifname)
				}
			}
		})
	})
}
