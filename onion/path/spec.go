package path

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"globalnet/internal/identity"
	"globalnet/onion/cell"
)

const (
	random   = "rand"     // a hop that is chosen
	internet = "internet" // a target that each connection names anew

	maxSpec = 1024
	maxName = 63 // of a petname

	nodeText = 56 // characters of a NodeID
)

// Spec is a path as it is written by hand: listener>hop>…>target.
type Spec struct {
	Listen string // host:port
	Hops   []Hop
	Target Host // its Port is 0 for internet
}

// Hop is one hop of a Spec; the zero value is a random one.
type Hop struct {
	Node identity.NodeID
	Name string // petname, if Node is zero
	Port uint16 // as written; it has no effect, for relays are reached by their key
}

// Host is where a Spec leads: a node, an address or a name. A name may be a petname.
type Host struct {
	Node identity.NodeID
	Addr netip.Addr
	Name string
	Port uint16
}

// PartError says which part of a path that was written by hand is wrong, and what to
// write instead.
type PartError struct {
	Part string // "listener", "hop 2", "target"
	Text string
}

func (e *PartError) Error() string { return e.Part + ": " + e.Text }

func partError(part, format string, args ...any) error {
	return &PartError{part, fmt.Sprintf(format, args...)}
}

func hopPart(i int) string { return "hop " + strconv.Itoa(i+1) }

// Internet reports whether each connection names its own target: the listener is
// a proxy, and an exit that takes the target is added behind the hops.
func (s Spec) Internet() bool { return s.Target.Port == 0 }

// Parse reads a path such as 8080>rand>rand>rand>internet. The first part is where to
// listen, the last where the path leads, and what is between are its relays.
func Parse(text string) (Spec, error) {
	if len(text) > maxSpec {
		return Spec{}, fmt.Errorf("a path of %d characters, at most %d", len(text), maxSpec)
	}
	parts := strings.Split(text, ">")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	if len(parts) == 1 {
		return Spec{}, errors.New("a path is listener>hop>…>target: write for example 8080>rand>rand>rand>internet")
	}
	if len(parts) == 2 {
		return Spec{}, fmt.Errorf("no hop between listener and target: write for example %s>rand>rand>rand>%s",
			parts[0], parts[1])
	}
	var s Spec
	var err error
	if s.Listen, err = parseListen(parts[0]); err != nil {
		return Spec{}, err
	}
	last := len(parts) - 1
	if s.Target, err = parseTarget(parts[last]); err != nil {
		return Spec{}, err
	}
	most := cell.MaxHops
	if s.Internet() {
		most-- // the exit is one more
	}
	if last-1 > most {
		return Spec{}, fmt.Errorf("%d hops, at most %d before %s", last-1, most, parts[last])
	}
	for i, p := range parts[1:last] {
		h, err := parseHop(hopPart(i), p)
		if err != nil {
			return Spec{}, err
		}
		s.Hops = append(s.Hops, h)
	}
	return s, nil
}

func parseListen(p string) (string, error) {
	const part = "listener"
	host, port := "127.0.0.1", p
	if strings.Contains(p, ":") {
		var err error
		if host, port, err = net.SplitHostPort(p); err != nil || host == "" {
			return "", partError(part, "%q is no host:port; write 8080, localhost:8080 or [::1]:8080", p)
		}
	}
	n, err := parsePort(port)
	if err != nil {
		return "", partError(part, "%q is no port; write a number from 1 to 65535, or host:port", port)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		host = a.String()
	} else if !cell.ValidName(host) {
		return "", partError(part, "%q is no address to listen at; write localhost or an IP address", host)
	}
	return net.JoinHostPort(host, strconv.Itoa(int(n))), nil
}

func parsePort(p string) (uint16, error) {
	n, err := strconv.ParseUint(p, 10, 16)
	if err != nil || n == 0 {
		return 0, errors.New("no port")
	}
	return uint16(n), nil
}

// cutPort splits what may end in :port. Brackets around the rest are taken off.
func cutPort(p string) (rest string, port uint16, bracketed bool, err error) {
	rest = p
	if inner, ok := strings.CutPrefix(p, "["); ok {
		var after string
		if rest, after, bracketed = strings.Cut(inner, "]"); !bracketed {
			return "", 0, false, errors.New("a bracket is not closed")
		}
		if after == "" {
			return rest, 0, true, nil
		}
		if !strings.HasPrefix(after, ":") {
			return "", 0, false, fmt.Errorf("%q stands behind the bracket; only :port may", after)
		}
		p = after[1:]
	} else if i := strings.LastIndexByte(p, ':'); i >= 0 {
		rest, p = p[:i], p[i+1:]
	} else {
		return rest, 0, false, nil
	}
	if port, err = parsePort(p); err != nil {
		return "", 0, false, fmt.Errorf("%q is no port; write a number from 1 to 65535", p)
	}
	return rest, port, bracketed, nil
}

func parseHop(part, p string) (h Hop, err error) {
	const write = "write a node id, a petname or rand"
	if p == "" {
		return h, partError(part, "nothing is there; %s", write)
	}
	if strings.EqualFold(p, random) {
		return h, nil
	}
	if strings.EqualFold(p, internet) {
		return h, partError(part, "internet can only be the last part")
	}
	rest, port, bracketed, err := cutPort(p)
	if err != nil {
		return h, partError(part, "%v", err)
	}
	h.Port = port
	if strings.EqualFold(rest, random) || strings.EqualFold(rest, internet) {
		return h, partError(part, "%q takes no port or brackets; write %s alone", p, strings.ToLower(rest))
	}
	if bracketed || len(rest) == nodeText {
		if h.Node, err = parseNode(rest); err != nil {
			return h, partError(part, "%q is no node id (%v); write its %d characters as `globalnet relays` shows them", rest, err, nodeText)
		}
		return h, nil
	}
	if _, err := netip.ParseAddr(rest); err == nil || strings.Contains(rest, ":") {
		return h, partError(part, "%q is an address, and relays are known by their keys; %s", rest, write)
	}
	if !validPetname(rest) {
		return h, partError(part, "%q is no petname; %s", rest, write)
	}
	h.Name = rest
	return h, nil
}

// parseNode reads a NodeID, but not the zero one, which stands for a random hop.
func parseNode(s string) (identity.NodeID, error) {
	n, err := identity.ParseNodeID(s)
	if err == nil && n.IsZero() {
		err = errors.New("nobody has the key zero")
	}
	return n, err
}

// validPetname reports whether a configuration may call a node so.
func validPetname(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= maxName
}

func parseTarget(p string) (h Host, err error) {
	const part = "target"
	const write = "write host:port, NODE:port or internet"
	if p == "" {
		return h, partError(part, "nothing is there; %s", write)
	}
	if strings.EqualFold(p, internet) {
		return h, nil
	}
	if strings.Count(p, ":") > 1 && p[0] != '[' {
		return h, partError(part, "%q: write an IPv6 address in brackets, as in [2001:db8::1]:443", p)
	}
	rest, port, bracketed, err := cutPort(p)
	if err != nil {
		return h, partError(part, "%v", err)
	}
	if strings.EqualFold(rest, random) || strings.EqualFold(rest, internet) {
		return h, partError(part, "%q leads nowhere; %s", p, write)
	}
	if port == 0 {
		return h, partError(part, "%q has no port; the last part is where the path leads: %s", p, write)
	}
	h.Port = port
	if len(rest) == nodeText {
		if h.Node, err = parseNode(rest); err == nil {
			return h, nil
		}
	}
	if a, err := netip.ParseAddr(rest); err == nil && a.Zone() == "" {
		h.Addr = a.Unmap()
		return h, nil
	}
	if bracketed || !cell.ValidName(rest) {
		return h, partError(part, "%q is neither a name, an address nor a node id; %s", rest, write)
	}
	h.Name = rest
	return h, nil
}

// String returns the form that Parse reads.
func (s Spec) String() string {
	var b strings.Builder
	b.WriteString(s.Listen)
	for _, h := range s.Hops {
		b.WriteByte('>')
		b.WriteString(h.String())
	}
	b.WriteByte('>')
	b.WriteString(s.Target.String())
	return b.String()
}

func (h Hop) String() string {
	text := h.Name
	switch {
	case !h.Node.IsZero():
		text = h.Node.String()
	case h.Name == "":
		return random
	}
	if h.Port != 0 {
		text += ":" + strconv.Itoa(int(h.Port))
	}
	return text
}

func (h Host) String() string {
	text := h.Name
	switch {
	case h.Port == 0:
		return internet
	case !h.Node.IsZero():
		text = h.Node.String()
	case h.Addr.IsValid():
		text = h.Addr.String()
	}
	return net.JoinHostPort(text, strconv.Itoa(int(h.Port)))
}

// Route is a Spec whose petnames were looked up.
type Route struct {
	Hops   []identity.NodeID // zero: to be chosen
	Target *cell.Target      // TCP; nil: each connection has its own, and an exit is added
}

// Resolve looks the petnames up. A petname as the target wins over a host of that name.
func (s Spec) Resolve(names func(string) (identity.NodeID, bool)) (Route, error) {
	var r Route
	for i, h := range s.Hops {
		node := h.Node
		if h.Name != "" {
			var ok bool
			if node, ok = names(h.Name); !ok {
				return Route{}, partError(hopPart(i), "no node is called %q; write a node id, rand, or name the node in the configuration", h.Name)
			}
		}
		for k, other := range r.Hops {
			if !node.IsZero() && node == other {
				return Route{}, partError(hopPart(i), "%s is hop %d already; write another, or rand", h, k+1)
			}
		}
		r.Hops = append(r.Hops, node)
	}
	if s.Internet() {
		return r, nil
	}
	t := cell.Target{Network: cell.TCP, Name: s.Target.Name, Addr: s.Target.Addr, Node: s.Target.Node, Port: s.Target.Port}
	if t.Name != "" {
		if node, ok := names(t.Name); ok {
			t.Name, t.Node = "", node
		}
	}
	r.Target = &t
	return r, nil
}

// Fill replaces the random hops of r by relays that suit: the first by a guard, a last
// one by an exit for the target, and none twice. target is the connection's own, for
// routes to the internet. Hops that r names are taken whatever they are.
func (c *Chooser) Fill(now time.Time, r Route, target *cell.Target) (Choice, error) {
	hops := append(make([]identity.NodeID, 0, cell.MaxHops), r.Hops...)
	if r.Target != nil {
		target = r.Target
	} else {
		hops = append(hops, identity.NodeID{})
	}
	switch {
	case len(hops) == 0 || len(hops) > cell.MaxHops:
		return Choice{}, fmt.Errorf("a path has 1 to %d hops, not %d", cell.MaxHops, len(hops))
	case target == nil:
		return Choice{}, errors.New("a path to the internet needs the connection's target")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.complete(now, hops, target, nil, false)
}
