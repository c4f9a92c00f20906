package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"

	"globalnet/onion/cell"
)

// maxRules bounds the rules of a policy.
const maxRules = 1000

// Errors that a caller counts apart. Neither says which destination it was.
var (
	ErrPrivate  = errors.New("the address is closed to exits")
	ErrRejected = errors.New("rejected by the rules of the exit")
)

// presets are rules that follow those of the owner. What no rule matches is rejected.
var presets = map[string][]string{
	"none": nil,
	"web":  {"accept tcp *:80,443", "accept udp *:443"}, // UDP 443 is HTTP/3, which pages are slower without
	// What people use that is encrypted or harmless, and draws few complaints: nothing to log in by
	// guessing passwords, nothing that delivers mail, no file sharing between hosts.
	"reduced": {
		"accept tcp *:43,53,80-81,110,143,443,465,554,563,587,636,706,853,873,989-995,1194,1935," +
			"3478-3479,3690,5222-5223,5228-5230,5349,6660-6669,6697,8000-8010,8080-8090,8332-8333,8443,8883,8888,9418,11371,64738",
		"accept udp *:53,123,443,853,1194,3478-3481,5349,19302-19309,51820,64738",
	},
	"all": {"reject *:25", "accept *"},
}

// Presets are the names that Parse knows.
var Presets = []string{"none", "web", "reduced", "all"}

// Policy says which connections are made. The fields are set before it is used.
type Policy struct {
	// AllowPrivate are the private addresses that rules may speak of; see
	// ParsePrivate. All others are closed whatever the rules say.
	AllowPrivate []netip.Prefix
	// Own returns the host's own addresses and others to be left alone. They are closed
	// unless AllowPrivate has them.
	Own func() []netip.Addr

	rules []rule
}

// Parse makes a policy of rules, of which the first that matches counts, and a
// preset behind them. Errors name the rule.
func Parse(preset string, rules []string) (*Policy, error) {
	tail, ok := presets[preset]
	if !ok {
		return nil, fmt.Errorf("exit policy %q: want %s", preset, strings.Join(Presets, ", "))
	}
	if len(rules) > maxRules {
		return nil, fmt.Errorf("exit policy: %d rules, at most %d", len(rules), maxRules)
	}
	p := new(Policy)
	for _, text := range slices.Concat(rules, tail) {
		r, err := parseRule(text)
		if err != nil {
			return nil, fmt.Errorf("exit rule %q: %w", text, err)
		}
		p.rules = append(p.rules, r)
	}
	return p, nil
}

// Rules returns the rules, those of the preset too, in their plainest form.
func (p *Policy) Rules() []string {
	texts := make([]string, len(p.rules))
	for i, r := range p.rules {
		texts[i] = r.String()
	}
	return texts
}

// Allows judges a connection to an address that was given as such.
func (p *Policy) Allows(network cell.Network, addr netip.Addr, port uint16) error {
	return p.AllowsAt(network, "", addr, port)
}

// AllowsAt judges a connection to an address that a name led to. Rules about names
// and rules about addresses count in their order.
func (p *Policy) AllowsAt(network cell.Network, name string, addr netip.Addr, port uint16) error {
	if err := p.Open(addr); err != nil {
		return err
	}
	addr = addr.Unmap()
	forms := embedded(addr)
	name = strings.ToLower(name)
	for i := range p.rules {
		r := &p.rules[i]
		if r.covers(network, port) && (r.any() || r.matchesName(name) || r.matchesAddr(addr, forms)) {
			return r.verdict()
		}
	}
	return ErrRejected
}

// AllowsName judges a name before it is looked up: whether some address of it might
// be allowed. AllowsAt has the last word.
func (p *Policy) AllowsName(network cell.Network, name string, port uint16) error {
	if err := CheckName(name); err != nil {
		return err
	}
	name = strings.ToLower(name)
	perhaps := false
	for i := range p.rules {
		switch r := &p.rules[i]; {
		case !r.covers(network, port):
		case r.prefix.IsValid():
			perhaps = perhaps || r.accept
		case r.any() || r.matchesName(name):
			if r.accept || perhaps {
				return nil
			}
			return ErrRejected
		}
	}
	if perhaps {
		return nil
	}
	return ErrRejected
}

// Open judges an address alone: nil if rules may speak of it.
func (p *Policy) Open(addr netip.Addr) error {
	plain := addr.Unmap()
	what, opens := closed(plain)
	if opens && slices.ContainsFunc(p.AllowPrivate, func(open netip.Prefix) bool { return open.Contains(plain) }) {
		return nil
	}
	if what != "" {
		return fmt.Errorf("%w: it is %s", ErrPrivate, what)
	}
	if p.Own == nil {
		return nil
	}
	forms := embedded(plain)
	for _, own := range p.Own() {
		if own = own.Unmap().WithZone(""); own.IsValid() && (own == plain || own == forms[0] || own == forms[1]) {
			return fmt.Errorf("%w: it is this host", ErrPrivate)
		}
	}
	return nil
}

// verdict is what a rule that matches means.
func (r *rule) verdict() error {
	if r.accept {
		return nil
	}
	return ErrRejected
}

// Rules against ranges at least this wide show in the summary; smaller ones the client finds out.
const (
	wide4 = 8
	wide6 = 16
)

// usual reports whether a connection to most addresses of a family is allowed.
func (p *Policy) usual(network cell.Network, v6 bool, port uint16) bool {
	for i := range p.rules {
		r := &p.rules[i]
		if !r.covers(network, port) || r.name != "" {
			continue
		}
		if r.any() {
			return r.accept
		}
		if r.prefix.Addr().Is6() != v6 {
			continue
		}
		whole := r.prefix.Bits() == 0 || v6 && r.prefix.Bits() <= global6.Bits() && r.prefix.Overlaps(global6)
		wide := r.prefix.Bits() <= wide4 || v6 && r.prefix.Bits() <= wide6
		if r.accept && whole || !r.accept && wide {
			return r.accept
		}
	}
	return false
}

// Summary returns the ports that are open to most addresses. Where the two families
// differ it claims what holds for both, or, if there is nothing, what holds for IPv4.
func (p *Policy) Summary() Summary {
	v4 := Summary{IPv4: true, TCP: p.open(cell.TCP, true, false), UDP: p.open(cell.UDP, true, false)}
	v6 := Summary{IPv6: true, TCP: p.open(cell.TCP, false, true), UDP: p.open(cell.UDP, false, true)}
	both := Summary{IPv4: true, IPv6: true, TCP: p.open(cell.TCP, true, true), UDP: p.open(cell.UDP, true, true)}
	for _, s := range []Summary{both, v4, v6} {
		if s.IsExit() {
			return s
		}
	}
	return Summary{}
}

// open returns the ports that are open in the families asked for.
func (p *Policy) open(network cell.Network, v4, v6 bool) Ports {
	starts := []int{1, 1 << 16} // where the answer may change
	for _, r := range p.rules {
		for _, ports := range r.ports {
			starts = append(starts, int(ports.First), int(ports.Last)+1)
		}
	}
	slices.Sort(starts)
	starts = slices.Compact(starts)
	var open Ports
	for i, first := range starts[:len(starts)-1] {
		port := uint16(first)
		if (!v4 || p.usual(network, false, port)) && (!v6 || p.usual(network, true, port)) {
			open = append(open, Range{port, uint16(starts[i+1] - 1)})
		}
	}
	return narrow(join(open))
}

// narrow leaves what a summary has room for: the web, then the widest ranges.
func narrow(p Ports) Ports {
	if len(p) <= MaxRanges {
		return p
	}
	sort.SliceStable(p, func(i, j int) bool { return weight(p[i]) > weight(p[j]) })
	return join(p[:MaxRanges])
}

func weight(r Range) int {
	one := Ports{r}
	if one.Has(80) || one.Has(443) {
		return 1 << 16
	}
	return int(r.Last - r.First)
}

// Leads reports whether any rule accepts anything.
func (p *Policy) Leads() bool {
	return slices.ContainsFunc(p.rules, func(r rule) bool { return r.accept })
}
