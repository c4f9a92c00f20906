package exit

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// ownAge is for how long the host's addresses are taken to be the same.
const ownAge = 10 * time.Second

// OwnAddresses returns a function that lists the addresses of the host's interfaces.
func OwnAddresses() func() []netip.Addr {
	var mu sync.Mutex
	var known []netip.Addr
	var at time.Time
	return func() []netip.Addr {
		mu.Lock()
		defer mu.Unlock()
		if !at.IsZero() && time.Since(at) < ownAge {
			return known
		}
		list, err := net.InterfaceAddrs()
		if err != nil {
			return known // better old than none
		}
		var fresh []netip.Addr
		for _, a := range list {
			if n, ok := a.(*net.IPNet); ok {
				if addr, ok := netip.AddrFromSlice(n.IP); ok {
					fresh = append(fresh, addr.Unmap())
				}
			}
		}
		known, at = fresh, time.Now()
		return known
	}
}
