package policy

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"

	"globalnet/onion/cell"
)

// rule accepts or rejects what it matches:
//
//	accept|reject [tcp|udp] HOST[:PORTS]
//
//	HOST   *  93.184.216.34  93.184.216.0/24  [2606:4700::]  [2606:4700::/32]  example.org  *.example.org
//	PORTS  *  443  80-443  80,443,8000-8999
type rule struct {
	accept   bool
	tcp, udp bool
	prefix   netip.Prefix // if valid, the addresses
	name     string       // else, if not empty, the name; with a dot in front all names below it
	ports    Ports
}

var allPorts = Ports{{1, 65535}}

const maxRuleText = 1024

func parseRule(text string) (r rule, err error) {
	if len(text) > maxRuleText {
		return r, fmt.Errorf("longer than %d bytes", maxRuleText)
	}
	words := strings.Fields(text)
	if len(words) < 2 || len(words) > 3 {
		return r, errors.New("want accept|reject [tcp|udp] HOST[:PORTS]")
	}
	switch words[0] {
	case "accept":
		r.accept = true
	case "reject":
	default:
		return r, fmt.Errorf("begins with %q: want accept or reject", words[0])
	}
	r.tcp, r.udp = true, true
	if len(words) == 3 {
		switch words[1] {
		case "tcp":
			r.udp = false
		case "udp":
			r.tcp = false
		default:
			return r, fmt.Errorf("network %q: want tcp or udp", words[1])
		}
	}
	host, ports, err := splitHost(words[len(words)-1])
	if err != nil {
		return r, err
	}
	if err := r.setHost(host); err != nil {
		return r, err
	}
	r.ports, err = parsePortList(ports)
	return r, err
}

// splitHost cuts HOST[:PORTS] and takes the brackets off; no ports mean all.
func splitHost(s string) (host, ports string, err error) {
	rest := ""
	if inside, bracketed := strings.CutPrefix(s, "["); bracketed {
		host, rest, bracketed = strings.Cut(inside, "]")
		if !bracketed {
			return "", "", errors.New("] is missing")
		}
		if !strings.Contains(host, ":") {
			return "", "", errors.New("brackets are for IPv6 addresses")
		}
		if rest == "" {
			return host, "*", nil
		}
		if rest[0] != ':' {
			return "", "", fmt.Errorf("%q after ]: want : and ports (the length of a prefix stands inside)", rest)
		}
		return host, rest[1:], nil
	}
	host, ports, found := strings.Cut(s, ":")
	switch {
	case strings.Contains(ports, ":"):
		return "", "", errors.New("an IPv6 address stands in brackets: [2606:4700::/32]:443")
	case !found:
		ports = "*"
	}
	return host, ports, nil
}

func (r *rule) setHost(host string) (err error) {
	if host == "*" {
		return nil
	}
	if _, err := netip.ParseAddr(host); err == nil || strings.Contains(host, "/") || strings.Contains(host, ":") {
		r.prefix, err = parsePrefix(host)
		return err
	}
	r.name = strings.ToLower(strings.TrimPrefix(host, "*"))
	name, below := strings.CutPrefix(r.name, ".")
	if below != strings.HasPrefix(host, "*") {
		return fmt.Errorf("host %q: want a name, *.name, an address or *", host)
	}
	if below && !strings.Contains(name, ".") {
		name = "any." + name // *.org is all of a top-level domain
	}
	if err := CheckName(name); err != nil {
		return fmt.Errorf("host %q: %w", host, err)
	}
	return nil
}

func parsePortList(list string) (Ports, error) {
	if list == "*" {
		return allPorts, nil
	}
	var p Ports
	for part := range strings.SplitSeq(list, ",") {
		first, last, ranged := strings.Cut(part, "-")
		if !ranged {
			last = first
		}
		a, errA := parsePort(first)
		b, errB := parsePort(last)
		if err := cmp.Or(errA, errB); err != nil {
			return nil, err
		}
		if a > b {
			return nil, fmt.Errorf("ports %s go downwards", part)
		}
		p = append(p, Range{a, b})
	}
	return join(p), nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '+' {
		return 0, fmt.Errorf("port %q: want 1 to 65535", s)
	}
	return uint16(n), nil
}

// join sorts ranges, and makes one of those that overlap or touch.
func join(p Ports) Ports {
	sort.Slice(p, func(i, j int) bool { return p[i].First < p[j].First })
	out := p[:0]
	for _, r := range p {
		if n := len(out); n > 0 && int(r.First) <= int(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// String returns the rule's text in its plainest form.
func (r rule) String() string {
	var b strings.Builder
	b.WriteString("reject ")
	if r.accept {
		b.Reset()
		b.WriteString("accept ")
	}
	switch {
	case !r.udp:
		b.WriteString("tcp ")
	case !r.tcp:
		b.WriteString("udp ")
	}
	switch {
	case r.any():
		b.WriteByte('*')
	case r.name != "" && r.name[0] == '.':
		b.WriteString("*" + r.name)
	case r.name != "":
		b.WriteString(r.name)
	default:
		text := r.prefix.String()
		if r.prefix.IsSingleIP() {
			text = r.prefix.Addr().String()
		}
		if r.prefix.Addr().Is6() {
			text = "[" + text + "]"
		}
		b.WriteString(text)
	}
	if slices.Equal(r.ports, allPorts) {
		return b.String()
	}
	separator := byte(':')
	for _, p := range r.ports {
		b.WriteByte(separator)
		separator = ','
		fmt.Fprintf(&b, "%d", p.First)
		if p.Last != p.First {
			fmt.Fprintf(&b, "-%d", p.Last)
		}
	}
	return b.String()
}

// any reports whether the rule is about every host.
func (r *rule) any() bool { return r.name == "" && !r.prefix.IsValid() }

// covers reports whether the rule is about this network and port.
func (r *rule) covers(network cell.Network, port uint16) bool {
	return (network == cell.TCP && r.tcp || network == cell.UDP && r.udp) && r.ports.Has(port)
}

// matchesName reports whether the rule is about this name, which is in lower case.
func (r *rule) matchesName(name string) bool {
	if r.name == "" || name == "" {
		return false
	}
	return name == r.name || r.name[0] == '.' && len(name) > len(r.name) && strings.HasSuffix(name, r.name)
}

// matchesAddr reports whether the rule is about this address, or one it leads to.
func (r *rule) matchesAddr(a netip.Addr, forms [2]netip.Addr) bool {
	return r.prefix.IsValid() && (r.prefix.Contains(a) || r.prefix.Contains(forms[0]) || r.prefix.Contains(forms[1]))
}
