package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"globalnet/agent/firewall/nft"
)

// Reasons for which packets are refused, each a counter of the table.
const (
	ReasonBlocked = "blocked"        // the client is
	ReasonDoT     = "dns_over_tls"   // a resolver that is not ours, or QUIC to one
	ReasonQUIC    = "quic"           // UDP 443
	ReasonNTP     = "ntp"            // UDP 123
	ReasonUDP     = "udp"            // other datagrams
	ReasonICMP    = "icmp"           // echo and all else
	ReasonOther   = "other_protocol" // neither TCP nor UDP nor ICMP
	ReasonForward = "forward"        // what came as far as being forwarded
	ReasonVirtual = "virtual"        // to virtual addresses, and no TCP
	ReasonMesh    = "mesh"           // to mesh addresses, where that is off, and from there
	ReasonDoor    = "own_port"       // to our own ports, past the redirection
	ReasonAstray  = "astray"         // for or about a client, by another interface than the LAN's
	ReasonStrange = "strange"        // from an address that is not of its LAN
)

var reasons = []string{ReasonBlocked, ReasonDoT, ReasonQUIC, ReasonNTP, ReasonUDP, ReasonICMP, ReasonOther, ReasonForward, ReasonVirtual, ReasonMesh, ReasonDoor, ReasonAstray, ReasonStrange}

// writer writes a table. Chains are written before what leads to them.
type writer struct {
	batch  nft.Batch
	chains map[string]bool
	rules  Rules
	tproxy bool
	held   []netip.Prefix // of clients in mode all
}

// writeTable replaces the table in one transaction.
func writeTable(r Rules, tproxy bool, held []netip.Prefix) error {
	w := &writer{chains: make(map[string]bool), rules: r, tproxy: tproxy, held: held}
	w.batch.AddTable(tableName) // so that there is one to delete
	w.batch.DeleteTable(tableName)
	w.batch.AddTable(tableName)
	for _, reason := range reasons {
		w.batch.AddCounter(tableName, reason)
	}
	w.guard()
	w.nat()
	w.forward()
	w.input()
	w.output()
	w.postrouting()
	if err := w.batch.Commit(); err != nil {
		return fmt.Errorf("writing table inet %s: %w", tableName, err)
	}
	return nil
}

func deleteTable() error {
	there, err := nft.HasTable(tableName)
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP):
		return nil // a kernel without nftables
	case err != nil:
		return fmt.Errorf("listing tables of nftables: %w", err)
	case !there:
		return nil
	}
	var b nft.Batch
	b.DeleteTable(tableName)
	if err := b.Commit(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("removing table inet %s: %w", tableName, err)
	}
	return nil
}

// tableIsThere looks for the last chain that is written, and for rules in it.
func tableIsThere() bool {
	for _, name := range []string{"guard", "input", "forward", "nat"} {
		if has, err := nft.HasRules(tableName, name); err == nil && !has {
			return false
		}
	}
	return true // or it cannot be told
}

// Priorities that are usual for what chains do, from linux/netfilter_ipv4.h.
const (
	priorityMangle = -150
	priorityDNAT   = -100
	priorityFilter = 0
	prioritySNAT   = 100
)

// base makes a chain of a hook (unix.NF_INET_FORWARD …).
func (w *writer) base(name, kind string, hook uint32, priority int32) {
	w.chains[name] = true
	w.batch.AddBase(tableName, name, nft.Hook{Number: hook, Kind: kind, Priority: priority})
}

// chain makes a chain that others lead to; false if it is there already.
func (w *writer) chain(name string) bool {
	if w.chains[name] {
		return false
	}
	w.chains[name] = true
	w.batch.AddChain(tableName, name)
	return true
}

func (w *writer) rule(chain string, parts ...part) {
	w.batch.AddRule(tableName, chain, joined(parts)...)
}

// each writes, for every network, a chain that goes where its mode or its client's does.
// Leads returns the chain for a mode, which it writes if need be; "" is nowhere.
func (w *writer) each(base string, leads func(n Network, m Mode) string) {
	for i, n := range w.rules.Networks {
		if !n.effective() {
			continue
		}
		chain := fmt.Sprintf("%s_%d", base, i)
		targets := make([]string, len(n.Clients))
		for j, c := range n.Clients {
			targets[j] = leads(n, c.Mode)
		}
		usual := leads(n, n.Mode)
		w.chain(chain)
		for j, c := range n.Clients {
			if targets[j] == "" {
				w.rule(chain, client(c), accept)
			} else {
				w.rule(chain, client(c), goTo(targets[j]))
			}
		}
		if usual != "" {
			w.rule(chain, goTo(usual))
		}
		for _, ifname := range n.Interfaces {
			w.rule(base, from(ifname), goTo(chain))
		}
	}
}

// here accepts what is for the router itself, or for all on the link.
func (w *writer) here(chain string) {
	w.local(chain)
	w.link(chain)
}

func (w *writer) local(chain string) {
	for _, kind := range []uint32{unix.RTN_LOCAL, unix.RTN_ANYCAST} {
		w.rule(chain, route(kind), accept)
	}
}

// link accepts what is for all on the link.
func (w *writer) link(chain string) {
	for _, kind := range []uint32{unix.RTN_BROADCAST, unix.RTN_MULTICAST} {
		w.rule(chain, route(kind), accept)
	}
}

// guard refuses before anything is routed. DNS is let through to be redirected.
func (w *writer) guard() {
	w.base("guard", "filter", unix.NF_INET_PRE_ROUTING, priorityMangle+5)
	w.each("guard", func(n Network, m Mode) string {
		switch m {
		case All:
			return w.guardAll(n)
		case Names:
			return w.guardNames(n)
		case Block:
			if w.chain("guard_block") {
				w.rule("guard_block", count(ReasonBlocked), drop)
			}
			return "guard_block"
		}
		return w.unforbidden(n)
	})
}

// unforbidden lets what a client sends be routed as usual.
func (w *writer) unforbidden(n Network) string {
	if !n.has(All) {
		return ""
	}
	if w.chain("guard_off") {
		w.rule("guard_off", mark(markOff), accept)
	}
	return "guard_off"
}

func (w *writer) guardNames(n Network) string {
	chain, next := "guard_names", w.unforbidden(n)
	if next != "" {
		chain = "guard_names_off"
	}
	if !w.chain(chain) {
		return chain
	}
	for _, p := range w.virtual() {
		w.rule(chain, transport(unix.IPPROTO_TCP), p, accept)
		w.rule(chain, p, count(ReasonVirtual), rejected)
	}
	if next != "" {
		w.rule(chain, goTo(next))
	}
	return chain
}

func (w *writer) virtual() []part {
	return []part{addressed(w.rules.Virtual4), addressed(w.rules.Virtual6)}
}

func (w *writer) guardAll(n Network) string {
	chain := "guard_all"
	if n.UDP && w.tproxy {
		chain += "_udp"
	}
	if n.Mesh {
		chain += "_mesh"
	}
	if !w.chain(chain) {
		return chain
	}
	const tcp, udp = unix.IPPROTO_TCP, unix.IPPROTO_UDP
	// Whoever looks for an address has none yet. Else, where answers go another way, there
	// must be none: while the router starts, its LAN has no addresses for a moment.
	w.link(chain)
	w.rule(chain, strays(), count(ReasonStrange), drop)
	w.rule(chain, port(udp, 53), accept)
	w.rule(chain, port(tcp, 53), accept)
	w.local(chain)
	if n.Mesh {
		w.rule(chain, addressed(w.rules.Mesh), accept)
	}
	w.rule(chain, port(tcp, 853), count(ReasonDoT), resetTCP)
	w.rule(chain, port(udp, 853), count(ReasonDoT), rejected)
	w.rule(chain, transport(tcp), accept)
	if n.UDP && w.tproxy {
		w.rule(chain, transport(udp), tproxy(w.rules.ProxyPort), accept)
	}
	w.rule(chain, port(udp, 443), count(ReasonQUIC), rejected)
	w.rule(chain, port(udp, 123), count(ReasonNTP), rejected)
	w.rule(chain, transport(udp), count(ReasonUDP), rejected)
	w.rule(chain, transport(unix.IPPROTO_ICMP), count(ReasonICMP), drop)
	w.rule(chain, transport(unix.IPPROTO_ICMPV6), count(ReasonICMP), drop)
	w.rule(chain, count(ReasonOther), drop)
	return chain
}

// nat redirects to our ports.
func (w *writer) nat() {
	w.base("nat", "nat", unix.NF_INET_PRE_ROUTING, priorityDNAT-5)
	w.each("nat", func(n Network, m Mode) string {
		chain := "nat_" + string(m)
		if m == Names && n.DNS {
			chain += "_dns"
		}
		if m == All && n.Mesh {
			chain += "_mesh"
		}
		if m != Names && m != All {
			return ""
		}
		if !w.chain(chain) {
			return chain
		}
		if m == All || n.DNS {
			w.rule(chain, port(unix.IPPROTO_UDP, 53), redirect(w.rules.DNSPort))
			w.rule(chain, port(unix.IPPROTO_TCP, 53), redirect(w.rules.DNSPort))
		}
		for _, p := range w.virtual() {
			w.rule(chain, transport(unix.IPPROTO_TCP), p, redirect(w.rules.ProxyPort))
		}
		if m == All {
			w.here(chain)
			if n.Mesh {
				w.rule(chain, addressed(w.rules.Mesh), accept)
			}
			w.rule(chain, transport(unix.IPPROTO_TCP), redirect(w.rules.ProxyPort))
		}
		return chain
	})
}

// forward drops what was not redirected.
func (w *writer) forward() {
	w.base("forward", "filter", unix.NF_INET_FORWARD, priorityFilter-10)
	for _, p := range w.virtual() {
		w.rule("forward", p, count(ReasonVirtual), rejected)
	}
	w.each("forward", func(n Network, m Mode) string {
		chain := "forward_" + string(m)
		if n.Mesh {
			chain += "_mesh"
		}
		if m == Off || !w.chain(chain) {
			if m == Off {
				return ""
			}
			return chain
		}
		if m == Block {
			w.rule(chain, count(ReasonBlocked), drop)
			return chain
		}
		if n.Mesh { // by a link, not by a default route where there is no other
			w.rule(chain, toBeginning(w.rules.Links), addressed(w.rules.Mesh), accept)
		}
		w.rule(chain, addressed(w.rules.Mesh), count(ReasonMesh), drop)
		if m == All {
			w.rule(chain, count(ReasonForward), drop)
		}
		return chain
	})
	for _, n := range w.rules.Networks {
		if !n.effective() {
			continue
		}
		for _, ifname := range n.Interfaces { // nobody gets into the LAN from the mesh
			w.rule("forward", fromBeginning(w.rules.Links), to(ifname), fresh(), count(ReasonMesh), drop)
		}
	}
}

// input keeps our ports for what was redirected, and for the router's own resolver.
func (w *writer) input() {
	w.base("input", "filter", unix.NF_INET_LOCAL_IN, priorityFilter-10)
	w.rule("input", from("lo"), accept)
	for _, proto := range []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		for _, p := range []uint16{w.rules.DNSPort, w.rules.ProxyPort} {
			w.rule("input", port(proto, p), direct(), count(ReasonDoor), drop)
		}
	}
}

// output keeps what is for clients in mode all from leaving by another interface: a
// route that a provider's DHCP gives (option 121) may lead there. A refusal that does
// not reach its client has the kernel complain to the server that it pretends to be.
func (w *writer) output() {
	if len(w.held) == 0 {
		return
	}
	w.base("output", "filter", unix.NF_INET_LOCAL_OUT, priorityFilter-10)
	w.rule("output", to("lo"), accept)
	for _, n := range w.rules.Networks {
		for _, ifname := range n.Interfaces {
			w.rule("output", to(ifname), accept)
		}
	}
	for _, p := range w.held {
		w.rule("output", addressed(p), count(ReasonAstray), drop)
		w.rule("output", about(p), count(ReasonAstray), drop)
	}
}

// postrouting hides clients behind our mesh address.
func (w *writer) postrouting() {
	if !w.rules.Self.IsValid() || !slices.ContainsFunc(w.rules.Networks, func(n Network) bool { return n.Mesh }) {
		return
	}
	w.base("postrouting", "nat", unix.NF_INET_POST_ROUTING, prioritySNAT-10)
	w.rule("postrouting", toBeginning(w.rules.Links), addressed(w.rules.Mesh), cameElsewhere(w.rules.Mesh), sourceNAT(w.rules.Self))
}
