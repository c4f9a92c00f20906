package peers

import (
	"net/netip"
	"slices"

	"globalnet/internal/identity"
)

const (
	// MaxAddresses is how many addresses of one node are kept.
	MaxAddresses = 4

	httpsPort = 443 // the one low port that a node may have to listen on
)

// usable reports whether a could be a node's address at all, if we trust the
// one who says so: the operator.
func usable(a netip.AddrPort) bool {
	ip := a.Addr()
	return a.Port() != 0 && ip.IsValid() && ip.Zone() == "" && !ip.Is4In6() &&
		!ip.IsUnspecified() && !ip.IsMulticast() && ip != netip.AddrFrom4([4]byte{255, 255, 255, 255}) &&
		!identity.MeshPrefix.Contains(ip)
}

// private are the ranges, beyond those that netip knows, that nobody reaches
// across the internet.
var private = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // RFC 6598
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/8"),           // IPv4-mapped and the like
	netip.MustParsePrefix("64:ff9b:1::/48"), // RFC 8215
	netip.MustParsePrefix("fec0::/10"),
}

// public reports whether a may be told to others and believed from them: an
// address on the internet. Else a stranger could make us knock at the doors of
// our own local network, or at services that are no node's.
func public(a netip.AddrPort) bool {
	ip := a.Addr()
	if !usable(a) || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsPrivate() {
		return false
	}
	if a.Port() < 1024 && a.Port() != httpsPort {
		return false
	}
	return !slices.ContainsFunc(private, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// clean returns at most MaxAddresses of those in list that ok accepts, without doubles.
func clean(list []netip.AddrPort, ok func(netip.AddrPort) bool) []netip.AddrPort {
	var good []netip.AddrPort
	for _, a := range list {
		a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		if len(good) < MaxAddresses && ok(a) && !slices.Contains(good, a) {
			good = append(good, a)
		}
	}
	return good
}
