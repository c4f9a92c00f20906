package policy

import (
	"fmt"
	"net/netip"

	"globalnet/internal/identity"
)

// closedRange is a range that no rule opens.
type closedRange struct {
	prefix netip.Prefix
	what   string
	opens  bool // AllowPrivate may name parts of it
}

// The ranges that are not the internet: the special-purpose registries of IANA
// (RFC 6890), multicast, and the mesh. Of IPv6 only 2000::/3 is the internet; what lies
// outside and is not listed is closed as well. The first row that matches counts.
var closedRanges = []closedRange{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified", false},
	{netip.MustParsePrefix("10.0.0.0/8"), "private", true},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared by carriers", true},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback", true},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local", true},
	{netip.MustParsePrefix("172.16.0.0/12"), "private", true},
	{netip.MustParsePrefix("192.0.0.0/24"), "for protocols", true},
	{netip.MustParsePrefix("192.0.2.0/24"), "for documentation", true},
	{netip.MustParsePrefix("192.88.99.0/24"), "a 6to4 relay", false},
	{netip.MustParsePrefix("192.168.0.0/16"), "private", true},
	{netip.MustParsePrefix("198.18.0.0/15"), "for benchmarks", true},
	{netip.MustParsePrefix("198.51.100.0/24"), "for documentation", true},
	{netip.MustParsePrefix("203.0.113.0/24"), "for documentation", true},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast", false},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved", false},

	{netip.MustParsePrefix("::/128"), "unspecified", false},
	{netip.MustParsePrefix("::1/128"), "loopback", true},
	{netip.MustParsePrefix("2001:db8::/32"), "for documentation", true},
	{netip.MustParsePrefix("3fff::/20"), "for documentation", true},
	{identity.MeshPrefix, "in the mesh", false},
	{netip.MustParsePrefix("fc00::/7"), "private", true},
	{netip.MustParsePrefix("fe80::/10"), "link-local", false},
	{netip.MustParsePrefix("fec0::/10"), "site-local", false},
	{netip.MustParsePrefix("ff00::/8"), "multicast", false},
}

var (
	global6   = netip.MustParsePrefix("2000::/3")
	nat64     = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052; 64:ff9b:1::/48 is for local use, RFC 8215
	protocols = netip.MustParsePrefix("2001::/23")    // benchmarks, ORCHIDs and others, RFC 2928
	teredo    = netip.MustParsePrefix("2001::/32")    // RFC 4380
	sixToFour = netip.MustParsePrefix("2002::/16")    // RFC 3056
)

// closed returns what an address is if it is not one of the internet, else "", and
// whether AllowPrivate may open it. An IPv6 address that leads to an IPv4 address is
// judged by that too.
func closed(a netip.Addr) (what string, opens bool) {
	a = a.Unmap()
	switch {
	case !a.IsValid():
		return "no address", false
	case a.Zone() != "":
		return "link-local", false
	}
	for _, r := range closedRanges {
		if r.prefix.Contains(a) {
			return r.what, r.opens
		}
	}
	switch {
	case a.Is4():
		return "", false
	case !global6.Contains(a) && !nat64.Contains(a):
		return "not global", false
	case protocols.Contains(a) && !teredo.Contains(a):
		return "for protocols", false
	}
	for _, v4 := range embedded(a) {
		if v4.IsValid() {
			if what, _ := closed(v4); what != "" {
				return what, false
			}
		}
	}
	return "", false
}

// embedded returns the IPv4 addresses that an IPv6 address leads to by translation
// or in a tunnel; invalid ones fill up.
func embedded(a netip.Addr) (forms [2]netip.Addr) {
	if !a.Is6() {
		return forms
	}
	b := a.As16()
	last := netip.AddrFrom4([4]byte(b[12:]))
	switch {
	case nat64.Contains(a):
		forms[0] = last
	case sixToFour.Contains(a):
		forms[0] = netip.AddrFrom4([4]byte(b[2:]))
	case teredo.Contains(a): // its server, and the client, whose bits are flipped
		forms[0] = netip.AddrFrom4([4]byte(b[4:]))
		forms[1] = netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP, RFC 5214
		forms[0] = last
	}
	return forms
}

// ParsePrivate reads what AllowPrivate takes: an address or a prefix inside a range
// that is closed otherwise.
func ParsePrivate(text string) (netip.Prefix, error) {
	p, err := parsePrefix(text)
	if err != nil {
		return p, err
	}
	for _, r := range closedRanges {
		if !r.prefix.Overlaps(p) {
			continue
		}
		if p.Bits() >= r.prefix.Bits() && r.opens {
			return p, nil
		}
		if !r.opens {
			return netip.Prefix{}, fmt.Errorf("%s is %s in part, which is never allowed", text, r.what)
		}
		return netip.Prefix{}, fmt.Errorf("%s is wider than the private range %s", text, r.prefix)
	}
	return netip.Prefix{}, fmt.Errorf("%s is in no private range", text)
}

// parsePrefix reads an address or a prefix in its plain form.
func parsePrefix(text string) (netip.Prefix, error) {
	a, err := netip.ParseAddr(text)
	p := netip.PrefixFrom(a.WithZone(""), a.BitLen())
	if err != nil {
		if p, err = netip.ParsePrefix(text); err != nil {
			return p, fmt.Errorf("%q is no address or prefix", text)
		}
	}
	switch {
	case a.Zone() != "":
		return netip.Prefix{}, fmt.Errorf("%s has a zone", text)
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%s is an IPv4 address in IPv6 form: write it as IPv4", text)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%s has bits set beyond its length: want %s", text, p.Masked())
	}
	return p, nil
}
